//! A stack that takes the place of another one on a TUN device: what waited in the first for its program, waits in the second.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream as HostStream, UdpSocket as HostSocket};
use std::thread;
use std::time::Duration;

use futures::executor::block_on;
use netstack::base::counters::Counter;
use netstack::device::{self, TunConfig};
use netstack::net::{
    Checkpoint, Stack, StackBuilder, SynListener, TcpListener, TcpStream, UdpSocket,
};
use netstackd::probe::stream::connect_within;
use tests::world::{eventually, in_namespace, nft};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const LIMIT: Duration = Duration::from_secs(60);
const OURS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);

fn at(port: u16) -> SocketAddr {
    (OURS, port).into()
}

fn builder() -> StackBuilder {
    Stack::builder().address(OURS.into(), 24)
}

/// The sockets of the program.
struct Sockets {
    plain: TcpListener,
    asking: SynListener,
    datagrams: UdpSocket,
}

impl Sockets {
    fn bind(stack: &Stack) -> Self {
        Self {
            plain: TcpListener::bind_now(stack, at(80)).expect("a port"),
            asking: SynListener::bind(stack, at(81)).expect("a port"),
            datagrams: UdpSocket::bind_now(stack, at(53)).expect("a port"),
        }
    }
}

/// Drops the kernel's acknowledgments to a port, so that a handshake stays half open.
const DEAF: &str = "table ip deaf { chain out { type filter hook output priority 0; \
                    oifname t0 tcp dport 80 tcp flags & (syn|ack) == ack drop; }; }";

/// Returns a counter of the kernel's TCP in this thread's namespace.
fn resets() -> String {
    let text = std::fs::read_to_string("/proc/thread-self/net/snmp").expect("counters");
    let mut lines = text.lines().filter(|line| line.starts_with("Tcp: "));
    let (names, values) = (lines.next().expect("names"), lines.next().expect("values"));
    let pairs = names.split(' ').zip(values.split(' '));
    let resets = pairs.filter(|(name, _)| ["EstabResets", "OutRsts"].contains(name));
    format!("{:?}", resets.collect::<Vec<_>>())
}

/// Lets a second stack take the place of `old` on the device.
fn successor(old: &Stack, fds: Vec<std::os::fd::OwnedFd>) -> (Stack, Sockets) {
    let before = old.counters();
    let frozen = old.freeze().expect("at rest");
    let bytes = frozen.checkpoint([]).to_bytes().expect("bytes");
    let checkpoint = Checkpoint::from_bytes(&bytes).expect("good bytes");
    let devices = device::from_fds(fds, 1_500).expect("the queue");
    let new = builder()
        .restore(checkpoint)
        .start(devices)
        .expect("a stack");
    let sockets = Sockets::bind(&new);
    let (streams, begin) = new.take_restored().expect("restored");
    assert!(streams.is_empty(), "nobody had accepted them");
    begin.begin();
    frozen.leave();
    let after = new.counters();
    for ((label, after), (_, before)) in after.iter().zip(before.iter()) {
        assert!(after >= before, "{label}: {after} after {before}");
    }
    let mib = new.mib();
    assert!(mib.tcp.passive_opens >= 4 && mib.udp.in_datagrams >= 3);
    (new, sockets)
}

/// Answers what comes on a connection until its end.
async fn serve(mut stream: TcpStream) {
    let mut all = Vec::new();
    stream
        .read_to_end(&mut all)
        .await
        .expect("the peer's bytes");
    stream.write_all(&all).await.expect("sent");
    stream.shutdown().await.expect("closed");
}

fn asked(mut stream: HostStream, text: &str) -> String {
    stream.write_all(text.as_bytes()).expect("sent");
    stream.shutdown(std::net::Shutdown::Write).expect("closed");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn what_waits_for_the_program_waits_in_the_next_stack() {
    in_namespace(|| {
        let mut config = TunConfig::new("t0");
        config.host_v4 = Some((Ipv4Addr::new(10, 77, 0, 1), 24));
        let devices = device::open(&config).expect("a device");
        let fds = devices.iter().map(|queue| queue.descriptor()?.ok());
        let fds = fds.collect::<Option<Vec<_>>>().expect("descriptors");
        let old = builder().start(devices).expect("a stack");
        let sockets = Sockets::bind(&old);
        // Nobody accepts these.
        let connect = |port| connect_within(at(port), LIMIT).expect("connected");
        let waiting: Vec<_> = (0..3).map(|_| connect(80)).collect();
        let ports = waiting.iter().map(|one| one.local_addr().expect("bound"));
        let ports: Vec<SocketAddr> = ports.collect();
        // The kernel has this one; its acknowledgment is lost.
        nft(DEAF);
        let half = connect(80);
        // Nobody decides about this one.
        let undecided = thread::spawn(move || connect_within(at(81), LIMIT));
        let client = HostSocket::bind("0.0.0.0:0").expect("a socket");
        for text in ["one", "two", "three"] {
            client.send_to(text.as_bytes(), at(53)).expect("sent");
        }
        eventually("everything waits", || {
            let datagrams = old.mib().udp.in_datagrams;
            (old.connections(), old.half_open(), datagrams) == (3, 2, 3)
        });
        let (new, next) = successor(&old, fds);
        assert_eq!((new.connections(), new.half_open()), (3, 2));
        drop((sockets, old));
        nft("delete table ip deaf");
        block_on(async {
            let mut buffer = [0; 16];
            for text in ["one", "two", "three"] {
                let (count, from) = next
                    .datagrams
                    .recv_from(&mut buffer)
                    .await
                    .expect("it waits");
                assert_eq!(&buffer[..count], text.as_bytes());
                assert_eq!(from.port(), client.local_addr().expect("bound").port());
            }
            for expected in ports {
                let (stream, peer) = next.plain.accept().await.expect("it waits");
                assert_eq!(peer, expected);
                new.spawn_on(0, serve(stream));
            }
            let syn = next.asking.next().await.expect("it is asked again");
            new.spawn_on(0, serve(syn.accept().await.expect("a connection")));
        });
        let undecided = undecided.join().expect("no panic").expect("connected");
        assert_eq!(asked(undecided, "decided"), "decided");
        for stream in waiting {
            assert_eq!(asked(stream, "accepted"), "accepted");
        }
        let half = thread::spawn(move || asked(half, "completed"));
        let (stream, _) = block_on(next.plain.accept()).expect("it completes");
        new.spawn_on(0, serve(stream));
        assert_eq!(half.join().expect("no panic"), "completed");
        assert_eq!(resets(), r#"[("EstabResets", "0"), ("OutRsts", "0")]"#);
        assert_eq!(new.counters().count(Counter::TcpPassiveOpens), 5);
        new.abort().expect("the end");
    });
}

#[test]
fn a_smaller_backlog_takes_what_it_has_room_for() {
    let (first, _first_pipe) = tests::pipes::stack(&["10.77.0.2/24"], Default::default());
    let listener = TcpListener::bind_now(&first, at(80)).expect("a port");
    let clients = (0..4).map(|_| block_on(TcpStream::connect(&first, at(80))));
    let clients: Vec<_> = clients.collect::<Result<_, _>>().expect("connected");
    let frozen = first.freeze().expect("at rest");
    let handed = clients.iter().map(|client| (client, b"client".to_vec()));
    let checkpoint = frozen.checkpoint(handed);
    assert_eq!(checkpoint.connections(), 8);
    let (device, _pipe) = netstack::device::channel::channel(Default::default());
    let mut config = netstack::base::Config::default();
    config.tcp.backlog = 2;
    let builder = builder().config(config).restore(checkpoint);
    let second = builder.start(vec![Box::new(device)]).expect("a stack");
    let next = TcpListener::bind_now(&second, at(80)).expect("a port");
    let (clients_again, begin) = second.take_restored().expect("restored");
    assert_eq!(clients_again.len(), 4);
    begin.begin();
    frozen.leave();
    drop((listener, clients));
    for client in clients_again.iter().take(2) {
        let (_, peer) = block_on(next.accept()).expect("it waits");
        assert!(
            clients_again
                .iter()
                .any(|one| one.stream.local_addr().ok() == Some(peer))
        );
        assert_eq!(client.note.as_deref(), Some(b"client".as_slice()));
    }
    eventually("the others are reset", || {
        second.counters().count(Counter::TcpResetsIn) == 2
    });
    second.abort().expect("the end");
}
