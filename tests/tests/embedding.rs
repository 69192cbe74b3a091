//! The calls that `docs/EMBEDDING.md` names exist: each is written out here, so that the compiler checks it, and a
//! test looks for the document's names in this file. Its Rust blocks are tests of the documentation.

use std::collections::BTreeSet;
use std::error::Error;
use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use netstack::Payload;
use netstack::base::Instant;
use netstack::device::channel::{
    ChannelConfig, Framing, PacketBuffer, PacketReceiver, PacketSender, QueueSender, channel_queues,
};
use netstack::device::memory::LinkConfig;
use netstack::device::pcap::Capture;
use netstack::device::{self, Device, TunConfig};
use netstack::engine::sim::Simulation;
use netstack::net::time::{Interval, Time};
use netstack::net::{
    AoAlgorithm, AoKey, AoKeys, Begin, Checkpoint, Destinations, EchoListener, EchoSocket,
    EndReason, Frozen, Interest, Prefix, Ready, Route, RouteKind, Serving, Stack, StackBuilder,
    Syn, SynListener, TcpListener, TcpSocket, TcpStream, ToSocketAddrs, UdpListener, UdpSocket,
    blocking, is_recalled,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const DOCUMENT: &str = "docs/EMBEDDING.md";

/// Names of other crates, and of features; the document says that this crate has none of the first.
const NOT_HERE: [&str; 24] = [
    // tokio's, without a counterpart of the same name
    "AsFd",
    "async_io",
    "bind_device",
    "from_std",
    "into_std",
    "set_quickack",
    "set_reuseport",
    "set_tclass_v6",
    "set_tos_v4",
    "try_io",
    // behind features, which `tests/ecosystem` has
    "HyperConnector",
    "axum",
    "hyper",
    "futures",
    "io",
    "tcp",
    "ao",
    "serve",
    // tokio's macro
    "select",
    // placeholders
    "addr",
    "bool",
    "fds",
    "mtu",
    "timer",
];

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

#[expect(dead_code, reason = "that it compiles is the test")]
async fn packets() -> Result {
    let _ = device::open(&TunConfig::new("t0"))?;
    let devices = device::open(&TunConfig::prepared("t0"))?;
    let (devices, replacer): (_, device::Replacer) = device::replaceable(devices);
    replacer.replace(Vec::new())?;
    let _ = device::from_fds(Vec::new(), 1_500)?;
    let (device, pipe) = device::channel::channel(ChannelConfig::default());
    let (mut from_stack, to_stack): (PacketReceiver, PacketSender) = pipe.into_split();
    let _ = from_stack.recv().await;
    let mut batch: Vec<Bytes> = Vec::new();
    from_stack.recv_many(&mut batch, 64).await;
    let mut to_stack = to_stack.clone();
    to_stack.send_many(&mut batch).await?;
    let mut buffers: Vec<PacketBuffer> = vec![to_stack.packet_buffer()];
    to_stack.send_buffers(&mut buffers).await?;
    to_stack.set_mtu(1_280)?;
    let _ = device.caps().mtu;
    let _ = from_stack.recv_run().await;
    let (_, mut queues, _) = channel_queues(ChannelConfig::default(), 2);
    let _: &mut QueueSender = &mut queues;
    queues.send(Bytes::new()).await?;
    let config = LinkConfig {
        tso: true,
        ..LinkConfig::default()
    };
    let _ = device::memory::pair(&config);
    let capture: Capture = todo();
    let tapped: Box<dyn Device> = Box::new(capture.tap(device));
    let observer: std::sync::Arc<dyn device::observe::Observer> = todo();
    let tapped: Box<dyn Device> = Box::new(device::observe::observe(tapped, observer));
    let _ = Stack::builder().start(devices)?;
    let (_, drivers) = Stack::builder().drive(vec![tapped])?;
    for driver in drivers {
        driver.busy_poll(Duration::from_micros(60)).await;
    }
    Ok(())
}

/// Stands for a value that the document does not describe.
fn todo<T>() -> T {
    unreachable!("this is compiled and never run")
}

#[expect(dead_code, reason = "that it compiles is the test")]
async fn stacks(builder: fn() -> StackBuilder, prefix: Prefix) -> Result {
    let timer = || -> Box<dyn FnMut(Duration) -> netstack::net::Sleep + Send> { todo() };
    let _ = builder().drive_with(Vec::new(), timer)?;
    let now = Instant::ZERO;
    let _ = builder().manual(Vec::new(), now)?;
    let _ = Simulation::new(now);
    let builder = builder().address(prefix.address(), prefix.len());
    let stack: Stack = builder.any_address(prefix).start(Vec::new())?;
    stack.add_address(prefix)?;
    stack.remove_address(prefix)?;
    stack.add_any_address(prefix)?;
    let _ = stack.mtu();
    let time: Time = stack.time();
    time.sleep(Duration::ZERO).await?;
    time.timeout(Duration::ZERO, async {}).await?;
    let mut interval: Interval = time.interval(Duration::from_secs(1));
    interval.tick().await?;
    stack.shutdown_async(Duration::ZERO).await?;
    stack.drain_async(Duration::ZERO).await?;
    stack.shutdown(Duration::ZERO)?;
    stack.drain(Duration::ZERO)?;
    stack.abort()?;
    let _: EndReason = stack.closed().await;
    Ok(())
}

#[expect(dead_code, reason = "that it compiles is the test")]
async fn listeners(stack: &Stack, to: Destinations, prefixes: Vec<Prefix>) -> Result {
    let listener = TcpListener::bind(stack, "10.77.0.2:7").await?;
    let _ = (listener.accept().await?, listener.local_addr()?);
    let _ = TcpListener::poll_accept;
    let serving: Serving = listener.serve(|_, _| async {})?;
    let _: TcpListener = serving.stop();
    let _ = TcpListener::bind_any(stack, to.clone())?;
    let _ = UdpSocket::bind_any(stack, to.clone())?;
    let flows = UdpListener::bind_any(stack, to)?;
    flows.set_idle_timeout(Some(Duration::from_secs(60)));
    let _ = EchoListener::bind(stack, prefixes)?.recv().await?;
    let _ = EchoSocket::bind(stack, "10.77.0.2".parse()?)?
        .recv()
        .await?;
    let deferred = SynListener::bind(stack, "10.77.0.2:80")?;
    let syn: Syn = deferred.next().await?;
    syn.accept().await?;
    Ok(())
}

#[expect(dead_code, reason = "that it compiles is the test")]
async fn sockets(stack: &Stack) -> Result {
    let _ = TcpSocket::new_v6(stack);
    let socket = TcpSocket::new_v4(stack);
    socket.set_filter(|_| true);
    socket.set_fast_open(16)?;
    let keys = AoKeys::new();
    keys.add(AoKey::new(AoAlgorithm::HmacSha1, 1, 2, b"secret")?)?;
    socket.set_ao_keys(Some(&keys));
    socket.set_max_segment(1_000)?;
    socket.set_send_buffer_size(1 << 16)?;
    socket.set_recv_buffer_size(1 << 16)?;
    socket.set_nodelay(true)?;
    socket.set_reuseaddr(true)?;
    socket.set_keepalive(Option::<Duration>::None)?;
    let _ = socket.keepalive()?;
    socket.set_linger(None)?;
    socket.set_keepalive_interval(Duration::from_secs(1))?;
    socket.set_keepalive_count(3)?;
    socket.set_user_timeout(Some(Duration::from_secs(60)))?;
    socket.set_ttl(64)?;
    socket.set_tos(0)?;
    socket.bind("10.77.0.2:0".parse()?)?;
    let _ = TcpSocket::new_v4(stack).listen(16)?;
    let server = "10.77.0.2:80".parse()?;
    let _ = TcpSocket::new_v4(stack)
        .connect_with_data(server, b"hello")
        .await?;
    let stream = socket.connect("10.77.0.1:7".parse()?).await?;
    let _ = stream.ao_info();
    Ok(())
}

#[expect(dead_code, reason = "that it compiles is the test")]
async fn streams(stack: &Stack, address: impl ToSocketAddrs) -> Result {
    let mut stream = TcpStream::connect(stack, address).await?;
    let _: Ready = stream.ready(Interest::READABLE).await?;
    stream.readable().await?;
    stream.writable().await?;
    stream.try_read(&mut [])?;
    stream.try_write(&[])?;
    stream.try_read_vectored(&mut [])?;
    stream.try_write_vectored(&[])?;
    stream.try_read_buf(&mut Vec::new())?;
    stream.peek(&mut []).await?;
    let _ = TcpStream::poll_peek;
    let _ = (TcpStream::poll_read_ready, TcpStream::poll_write_ready);
    let _ = (stream.nodelay()?, stream.ttl()?, stream.linger()?);
    let _ = (stream.take_error()?, stream.info());
    let _ = (stream.local_addr()?, stream.peer_addr()?);
    let time = Duration::ZERO;
    stream.set_linger(Some(time))?;
    if let Some(payload) = stream.recv_payload().await? {
        stream.send_payload(payload).await?;
    }
    stream.write_all(&[]).await?;
    let _ = stream.write_vectored(&[]).await?;
    let _ = stream.write(&[]).await?;
    let _ = stream.read(&mut []).await?;
    stream.read_exact(&mut []).await?;
    TcpStream::connect_from(stack, "10.77.0.2:0".parse()?, stream.peer_addr()?).await?;
    let _ = stream.split();
    let _ = stream.into_split();
    Ok(())
}

#[expect(dead_code, reason = "that it compiles is the test")]
async fn datagrams(stack: &Stack) -> Result {
    let socket = UdpSocket::bind(stack, "10.77.0.2:53").await?;
    let remote = "10.77.0.1:53";
    socket.connect(remote).await?;
    socket.send_to(&[], remote).await?;
    socket.send(&[]).await?;
    socket.recv(&mut []).await?;
    socket.recv_from(&mut []).await?;
    let _: Ready = socket.ready(Interest::WRITABLE).await?;
    socket.readable().await?;
    socket.writable().await?;
    socket.peek_from(&mut []).await?;
    socket.peek_sender().await?;
    socket.peek(&mut []).await?;
    socket.recv_buf(&mut Vec::new()).await?;
    socket.recv_buf_from(&mut Vec::new()).await?;
    let _ = (socket.ttl()?, socket.broadcast()?, socket.take_error()?);
    let (payload, from) = socket.recv_payload_from().await?;
    let asked = socket.recv_datagram().await?;
    socket.send_payload_from(payload, asked.to, from).await?;
    socket.recv_many(&mut Vec::new(), 8).await?;
    socket.send_segments_to(&[], 1_000, from).await?;
    let burst = socket.recv_segments().await?;
    socket
        .send_payload_segments(burst.payload, burst.segment, None, burst.from)
        .await?;
    socket.send_from(&[], asked.to, from).await?;
    let _ = UdpSocket::bind_per_worker(stack, from)?;
    let (group, any) = ([239, 1, 2, 3].into(), [0; 4].into());
    socket.join_multicast_v4(group, any)?;
    socket.leave_multicast_v4(group, any)?;
    let (group, source) = (group.into(), "192.0.2.1".parse()?);
    socket.join_source_group(group, source)?;
    socket.leave_source_group(group, source)?;
    socket.block_source(group, source)?;
    socket.unblock_source(group, source)?;
    socket.set_multicast_ttl_v4(1)?;
    socket.set_multicast_loop_v4(true)?;
    let _ = UdpSocket::bind_shared(stack, from)?;
    let _ = UdpSocket::bind_connected(stack, from, from)?;
    Ok(())
}

#[expect(dead_code, reason = "that it compiles is the test")]
async fn hand_over(stack: &Stack, mut stream: TcpStream, device: &dyn Device) -> Result {
    stack.set_limits(stack.limits())?;
    stack.recall();
    let mut payload = Payload::default();
    if let Err(error) = stream.send_payload_from(&mut payload).await {
        let _ = is_recalled(&error);
    }
    let frozen: Frozen = stack.freeze()?;
    let checkpoint = frozen.checkpoint([(&stream, Vec::new())]);
    let bytes = checkpoint.to_bytes()?;
    let checkpoint = Checkpoint::from_bytes(&bytes)?;
    let descriptor = device.descriptor().ok_or("none")??;
    let devices = device::from_fds(vec![descriptor], 1_500)?;
    let next = Stack::builder().restore(checkpoint).start(devices)?;
    if let Some((_, begin)) = next.take_restored() {
        Begin::begin(begin);
        frozen.leave();
    } else {
        frozen.thaw();
    }
    Ok(())
}

#[expect(dead_code, reason = "that it compiles is the test")]
fn routes(builder: StackBuilder, stack: &Stack, route: Route) -> Result<StackBuilder> {
    stack.add_route(route)?;
    stack.replace_route(route)?;
    stack.remove_route(route.prefix)?;
    let _ = (RouteKind::Link, std::io::ErrorKind::NetworkUnreachable);
    let _ = Framing::VirtioNet;
    Ok(builder.route(route))
}

#[expect(dead_code, reason = "that it compiles is the test")]
fn threads(mut stream: blocking::TcpStream) -> Result {
    let _ = Read::read(&mut stream, &mut [])?;
    let _ = Write::write(&mut stream, &[])?;
    Ok(())
}

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    std::fs::read_to_string(root.join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Returns the identifiers in `text`.
fn identifiers(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|word| word.starts_with(|c: char| c.is_alphabetic()))
}

/// Returns the identifiers of the document's inline code, but for those of commands, paths and patterns.
fn names(document: &str) -> BTreeSet<&str> {
    let spans = document.split('`').skip(1).step_by(2);
    spans
        .filter(|span| !span.contains(['/', '*', '"']) && !span.contains(".rs"))
        .filter(|span| !span.starts_with("cargo "))
        .flat_map(identifiers)
        .collect()
}

#[test]
fn every_name_in_the_guide_is_compiled_here() {
    let (document, source) = (read(DOCUMENT), read("tests/tests/embedding.rs"));
    let names = names(&document);
    assert!(names.len() > 100, "only {} names", names.len());
    // The list of exceptions is not a use.
    let (head, rest) = source.split_once("const NOT_HERE").expect("the list");
    let (_, tail) = rest.split_once("];").expect("its end");
    let compiled: BTreeSet<&str> = identifiers(head).chain(identifiers(tail)).collect();
    let missing: Vec<_> = names
        .iter()
        .filter(|name| !compiled.contains(*name) && !NOT_HERE.contains(*name))
        .collect();
    assert!(
        missing.is_empty(),
        "{DOCUMENT} names {missing:?}: call each of them in tests/tests/embedding.rs"
    );
    let needless: Vec<_> = NOT_HERE
        .iter()
        .filter(|name| !names.contains(*name))
        .collect();
    assert!(needless.is_empty(), "{DOCUMENT} has no {needless:?}");
}
