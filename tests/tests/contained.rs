//! A panic in code of the program ends at most what that code belongs to: other connections on the same
//! worker go on, and the panic is counted.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use netstack::base::counters::Counter;
use netstack::base::{Counters, LinkCaps};
use netstack::device::memory::{self, LinkConfig, LinkDevice};
use netstack::device::{Device, Unpark};
use netstack::net::{ConnectionEvent, EndReason, Stack, TcpListener, TcpStream, UdpSocket};
use packet::frame::{RxPacket, TxPacket};
use packet::{Buffers, Payload};
use tests::pair::bounded_as as bounded;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const ECHO: u16 = 7;

fn start(device: impl Device, address: &str) -> Stack {
    Stack::builder()
        .address(address.parse().expect("an address"), 24)
        .start(vec![Box::new(device)])
        .expect("a stack")
}

fn stacks() -> (Stack, Stack) {
    let (a, b) = memory::pair(&LinkConfig::default());
    (start(a, "10.77.0.1"), start(b, "10.77.0.2"))
}

fn server(port: u16) -> SocketAddr {
    SocketAddr::from(([10, 77, 0, 2], port))
}

async fn echo(mut stream: TcpStream) {
    while let Ok(Some(payload)) = stream.recv_payload().await {
        if stream.send_payload(payload).await.is_err() {
            return;
        }
    }
}

fn serve_echo(stack: &Stack) {
    let listener = TcpListener::bind_now(stack, server(ECHO)).expect("bind");
    listener.serve(|stream, _| echo(stream)).expect("serve");
}

async fn exchange(stream: &mut TcpStream) {
    stream.write_all(b"hello").await.expect("write");
    let mut answer = [0; 5];
    bounded("an echo", stream.read_exact(&mut answer))
        .await
        .expect("read");
    assert_eq!(&answer, b"hello");
}

async fn connect(stack: &Stack, port: u16) -> TcpStream {
    bounded("connect", TcpStream::connect(stack, server(port)))
        .await
        .expect("connect")
}

fn panics(stack: &Stack) -> u64 {
    stack.counters().count(Counter::ProgramPanics)
}

async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    bounded(what, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

/// The second connection of the service panics where `bad` says; the first and the third go on.
async fn one_bad_connection(bad_closure: bool) {
    let (client, host) = stacks();
    let count = AtomicUsize::new(0);
    let listener = TcpListener::bind_now(&host, server(ECHO)).expect("bind");
    listener
        .serve(move |stream, _| {
            let bad = count.fetch_add(1, Ordering::Relaxed) == 1;
            assert!(!(bad && bad_closure), "one bad connection");
            async move {
                assert!(!bad, "one bad connection");
                echo(stream).await;
            }
        })
        .expect("serve");
    let mut first = connect(&client, ECHO).await;
    exchange(&mut first).await;
    let mut second = connect(&client, ECHO).await;
    let end = bounded("the bad one", second.read(&mut [0])).await;
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    exchange(&mut first).await;
    exchange(&mut connect(&client, ECHO).await).await;
    assert_eq!(panics(&host), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_closure_of_a_service() {
    one_bad_connection(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_future_of_a_service() {
    one_bad_connection(false).await;
}

/// Panics when it is woken, and when it is dropped.
struct BadWaker;

impl Wake for BadWaker {
    fn wake(self: Arc<Self>) {
        panic!("a bad waker");
    }
}

impl Drop for BadWaker {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("a bad waker is dropped");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wakers() {
    let (client, host) = stacks();
    serve_echo(&host);
    let mut good = connect(&client, ECHO).await;
    let mut bad = connect(&client, ECHO).await;
    let mut dropped = connect(&client, ECHO).await;
    bad.write_all(b"x").await.expect("write");
    {
        let waker = Waker::from(Arc::new(BadWaker));
        let mut cx = Context::from_waker(&waker);
        // If the echo was faster, there is nothing to wait for yet.
        while let Poll::Ready(echoed) = bad.poll_recv_payload(&mut cx) {
            echoed.expect("no error").expect("not the end");
        }
        assert!(dropped.poll_recv_payload(&mut cx).is_pending());
        std::mem::forget(waker);
    }
    bad.write_all(b"x").await.expect("write");
    eventually("the panic", || panics(&client) >= 1).await;
    exchange(&mut good).await;
    let mut one = [0];
    bounded("read", bad.read_exact(&mut one))
        .await
        .expect("the echo");
    drop(dropped);
    exchange(&mut good).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn destructors_of_wakers_that_a_worker_drops() {
    let (client, host) = stacks();
    serve_echo(&host);
    let mut good = connect(&client, ECHO).await;
    let mut stream = connect(&client, ECHO).await;
    let waker = Waker::from(Arc::new(BadWaker));
    assert!(
        stream
            .poll_recv_payload(&mut Context::from_waker(&waker))
            .is_pending()
    );
    // The stream has the only reference.
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(waker)));
    assert!(caught.is_ok());
    client.spawn_on(0, async move { drop(stream) });
    eventually("the panic", || panics(&client) == 1).await;
    exchange(&mut good).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscribers() {
    let (client, host) = stacks();
    serve_echo(&host);
    for stack in [&client, &host] {
        stack
            .subscribe(|event: &ConnectionEvent| panic!("{event:?}"))
            .expect("the first");
    }
    let mut stream = connect(&client, ECHO).await;
    exchange(&mut stream).await;
    stream.shutdown().await.expect("shutdown");
    assert_eq!(
        bounded("the end", stream.read(&mut [0]))
            .await
            .expect("a FIN"),
        0
    );
    assert!(panics(&client) > 0 && panics(&host) > 0);
}

/// Memory of the program.
struct BadOwner;

impl AsRef<[u8]> for BadOwner {
    fn as_ref(&self) -> &[u8] {
        b"hello"
    }
}

impl Drop for BadOwner {
    fn drop(&mut self) {
        panic!("a bad owner");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn owners_of_payloads() {
    let (client, host) = stacks();
    serve_echo(&host);
    let mut good = connect(&client, ECHO).await;
    let mut stream = connect(&client, ECHO).await;
    let udp = UdpSocket::bind_now(&client, "10.77.0.1:0");
    let udp = udp.expect("bind");
    let payload = || Payload::from(Bytes::from_owner(BadOwner));
    stream.send_payload(payload()).await.expect("send");
    bounded("read", stream.read_exact(&mut [0; 5]))
        .await
        .expect("the echo");
    udp.send_payload_to(payload(), server(9))
        .await
        .expect("send");
    eventually("the panics", || panics(&client) >= 2).await;
    exchange(&mut good).await;
    exchange(&mut stream).await;
}

/// A device whose sends call `on_send`.
struct SendDevice<F> {
    link: LinkDevice,
    on_send: F,
}

impl<F: FnMut(&[TxPacket]) + Send + 'static> Device for SendDevice<F> {
    fn caps(&self) -> LinkCaps {
        self.link.caps()
    }

    fn recv_batch(
        &mut self,
        out: &mut Vec<RxPacket>,
        max: usize,
        buffers: &Buffers,
        now: netstack::base::Instant,
        counters: &Counters,
    ) -> io::Result<usize> {
        self.link.recv_batch(out, max, buffers, now, counters)
    }

    fn send_batch(&mut self, batch: &mut Vec<TxPacket>, counters: &Counters) -> io::Result<()> {
        (self.on_send)(batch);
        self.link.send_batch(batch, counters)
    }

    fn park(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.link.park(timeout)
    }

    fn unparker(&self) -> Arc<dyn Unpark> {
        self.link.unparker()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_panics_is_gone() {
    let (a, b) = memory::pair(&LinkConfig::default());
    let mut left = 10;
    let bad = SendDevice {
        link: a,
        on_send: move |_: &[TxPacket]| {
            left -= 1;
            assert!(left > 0, "a bad device");
        },
    };
    let (client, host) = (start(bad, "10.77.0.1"), start(b, "10.77.0.2"));
    serve_echo(&host);
    let mut stream = connect(&client, ECHO).await;
    let error = loop {
        stream.write_all(b"x").await.ok();
        match bounded("read", stream.read(&mut [0])).await {
            Ok(count) => assert_eq!(count, 1),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), io::ErrorKind::NetworkDown, "{error}");
    assert!(error.to_string().contains("a bad device"), "{error}");
    let reason = bounded("closed", client.closed()).await;
    assert!(matches!(reason, EndReason::DeviceFailed { .. }), "{reason}");
    assert_eq!(panics(&client), 1);
    assert!(client.shutdown(Duration::ZERO).is_err());
}

/// A device calls the sockets of another stack while it sends, and while the other stack's worker runs
/// on the same machine.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_may_use_another_stack() {
    let (outer_client, outer_host) = stacks();
    let sink = UdpSocket::bind_now(&outer_host, server(9)).expect("bind");
    let listener = TcpListener::bind_now(&outer_host, server(8)).expect("bind");
    let connected = Arc::new(AtomicUsize::new(0));

    let (a, b) = memory::pair(&LinkConfig::default());
    let used = outer_client.clone();
    let from: SocketAddr = "10.77.0.1:0".parse().expect("an address");
    let connects = Arc::clone(&connected);
    let tunnel = SendDevice {
        link: a,
        on_send: move |batch: &[TxPacket]| {
            // Opens, sends, starts a connection and gives it up: each enters the other stack.
            let socket = UdpSocket::bind_now(&used, from).expect("bind");
            for _ in batch {
                socket.try_send_to(b"a packet", server(9)).expect("room");
            }
            let mut attempt = Box::pin(TcpStream::connect(&used, server(8)));
            let mut cx = Context::from_waker(Waker::noop());
            // The other stack's threads may be fast enough to connect at once.
            if let Poll::Ready(connected) = attempt.as_mut().poll(&mut cx) {
                connected.expect("connected");
            }
            drop(attempt);
            connects.fetch_add(1, Ordering::Relaxed);
        },
    };
    let (client, host) = (start(tunnel, "10.77.0.1"), start(b, "10.77.0.2"));
    serve_echo(&host);
    let mut stream = connect(&client, ECHO).await;
    for _ in 0..10 {
        exchange(&mut stream).await;
    }
    let mut buffer = [0; 16];
    let (len, _) = bounded("a datagram", sink.recv_from(&mut buffer))
        .await
        .expect("recv");
    assert_eq!(&buffer[..len], b"a packet");
    assert!(connected.load(Ordering::Relaxed) > 10);
    assert_eq!((panics(&client), panics(&outer_client)), (0, 0));
    drop(listener);
}

/// Starts a stack whose service, task and subscriber own handles of it, and aborts it.
async fn cycle(sentinel: &Arc<()>) {
    let (client, host) = stacks();
    let (stack, held) = (host.clone(), Arc::clone(sentinel));
    let listener = TcpListener::bind_now(&host, server(ECHO)).expect("bind");
    listener
        .serve(move |stream, _| {
            let held = (stack.clone(), Arc::clone(&held));
            async move {
                echo(stream).await;
                drop(held);
            }
        })
        .expect("serve");
    let held = (host.clone(), Arc::clone(sentinel));
    host.spawn_on(0, async move {
        std::future::pending::<()>().await;
        drop(held);
    });
    let held = (host.clone(), Arc::clone(sentinel));
    host.subscribe(move |_: &ConnectionEvent| {
        let _ = held.0.connections();
    })
    .expect("the first");
    let mut stream = connect(&client, ECHO).await;
    exchange(&mut stream).await;
    host.abort().expect("asked for");
    client.abort().expect("asked for");
}

fn resident_kilobytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("/proc");
    let pages = statm.split(' ').nth(1).expect("a number");
    pages.parse::<usize>().expect("a number") * 4
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_left_of_a_stack_that_its_own_services_hold() {
    let sentinel = Arc::new(());
    for _ in 0..20 {
        cycle(&sentinel).await;
    }
    // The allocator keeps a few megabytes for each thread that runs at a time, so that memory grows at first beside the other
    // tests of this program. What is left of stacks is left each time.
    let mut more = usize::MAX;
    for attempt in 1..=30 {
        let before = resident_kilobytes();
        for _ in 0..60 {
            cycle(&sentinel).await;
        }
        more = resident_kilobytes().saturating_sub(before);
        println!("60 stacks, attempt {attempt}: {more} kB more");
        if more < 10_000 {
            break;
        }
    }
    assert_eq!(
        Arc::strong_count(&sentinel),
        1,
        "values of the program are left"
    );
    assert!(more < 10_000, "{more} kB are left of 60 stacks");
}
