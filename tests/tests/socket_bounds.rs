//! Sockets of a stack on virtual time: how much one call or one turn does, which memory is counted, and under which
//! reason a datagram is discarded.

use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use netstack::base::{Config, DropReason};
use netstack::net::{
    EchoListener, EchoRequest, Interest, Stack, TcpListener, TcpSocket, TcpStream, UdpListener,
    UdpSocket,
};
use packet::Payload;
use tools::virtual_stack::VirtualStack;

const OURS: [u8; 4] = [10, 0, 0, 1];

/// A stack that talks to itself, and its clock.
struct World {
    inner: VirtualStack,
    now: Duration,
}

impl World {
    fn new(config: Config) -> Self {
        let inner = VirtualStack::new(config, &[(OURS.into(), 8)], 1_500, 3).expect("a stack");
        Self {
            inner,
            now: Duration::ZERO,
        }
    }

    fn stack(&self) -> &Stack {
        self.inner.stack()
    }

    /// Turns the stack until it has nothing to do, then lets a second pass.
    fn settle(&mut self) {
        self.inner
            .settle(self.now, &mut Vec::new())
            .expect("it comes to rest");
        self.now += Duration::from_secs(1);
    }

    fn udp(&self, port: u16) -> UdpSocket {
        UdpSocket::bind_now(self.stack(), at(port)).expect("a socket")
    }

    fn dropped(&self, reason: DropReason) -> u64 {
        self.stack().counters().dropped(reason)
    }
}

fn at(port: u16) -> SocketAddr {
    (OURS, port).into()
}

/// Counts how often it is woken.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_segmented_send_is_of_128_datagrams_at_most() {
    let mut world = World::new(Config::default());
    let (sender, receiver) = (world.udp(1), world.udp(2));
    let error = sender
        .try_send_segments(&[7; 1_281], 10, None, at(2))
        .expect_err("129 datagrams");
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    assert!(error.to_string().contains("129 datagrams"), "{error}");
    let error = sender
        .send_segments_to(&[7; 60_000], 1, at(2))
        .now_or_never();
    assert!(error.expect("at once").is_err());
    sender
        .try_send_segments(&[7; 1_275], 10, None, at(2))
        .expect("128 datagrams");
    world.settle();
    let mut received = Vec::new();
    let count = receiver.recv_many(&mut received, 1_000).now_or_never();
    assert_eq!(count.expect("at once").expect("received"), 128);
}

#[test]
fn accept_gives_way_after_some_datagrams_that_begin_no_flow() {
    let mut world = World::new(Config::default());
    let listener = UdpListener::bind(world.stack(), at(7)).expect("a listener");
    let client = world.udp(1_000);
    for n in 0..300_u16 {
        client.try_send_to(&n.to_be_bytes(), at(7)).expect("sent");
    }
    world.settle();
    let (flow, _) = listener
        .accept()
        .now_or_never()
        .expect("at once")
        .expect("accepted");
    let mut next = pin!(listener.accept());
    let mut polls = 0;
    while flow.try_recv(&mut [0; 2]).is_ok() {}
    loop {
        assert!(poll(next.as_mut()).is_pending(), "no other flow");
        let mut moved = 0;
        while flow.try_recv(&mut [0; 2]).is_ok() {
            moved += 1;
        }
        if moved == 0 {
            break;
        }
        assert!(moved <= 64, "{moved} datagrams in one poll");
        polls += 1;
    }
    assert!(polls >= 4, "{polls}");
}

#[test]
fn a_datagram_that_reaches_its_flow_through_the_listener_wakes_the_reader() {
    let mut world = World::new(Config::default());
    let listener = UdpListener::bind(world.stack(), at(7)).expect("a listener");
    let client = world.udp(1_000);
    for text in [b"one", b"two"] {
        client.try_send_to(text, at(7)).expect("sent");
    }
    world.settle();
    let accepted = listener.accept().now_or_never().expect("at once");
    let (flow, _) = accepted.expect("accepted");
    assert_eq!(flow.try_recv(&mut [0; 8]).expect("the first"), 3);
    let (count, mut buffer) = (Arc::new(Count::default()), [0; 8]);
    let waker = Waker::from(Arc::clone(&count));
    let mut reading = pin!(flow.recv(&mut buffer));
    let first = reading.as_mut().poll(&mut Context::from_waker(&waker));
    assert!(first.is_pending());
    assert!(listener.accept().now_or_never().is_none());
    assert_eq!(count.0.load(Relaxed), 1);
    assert!(poll(reading).is_ready());
}

#[test]
fn a_datagram_that_no_call_received_is_counted_when_its_socket_goes() {
    let mut world = World::new(Config::default());
    let (sender, other, receiver) = (world.udp(1), world.udp(2), world.udp(3));
    for from in [&sender, &other, &other] {
        from.try_send_to(b"?", at(3)).expect("sent");
    }
    world.settle();
    let connected = receiver.connect(at(1)).now_or_never();
    connected.expect("at once").expect("connected");
    assert_eq!(world.dropped(DropReason::UdpUnread), 2, "of the other");
    drop(receiver);
    assert_eq!(world.dropped(DropReason::UdpUnread), 3);
}

#[test]
fn a_connection_that_cannot_be_changed_stays() {
    let mut world = World::new(Config::default());
    let (ours, peer) = (world.udp(1), world.udp(4));
    let any = UdpSocket::bind_now(world.stack(), "0.0.0.0:1").expect("a socket");
    let connect = |socket: &UdpSocket, to| socket.connect(at(to)).now_or_never().expect("at once");
    connect(&ours, 3).expect("connected");
    connect(&any, 4).expect("connected");
    let error = connect(&any, 3).expect_err("the pair of addresses is taken");
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    peer.try_send_to(b"still", at(1)).expect("sent");
    world.settle();
    assert_eq!(any.try_recv(&mut [0; 8]).expect("received"), 5);
    assert_eq!(any.peer_addr().expect("connected"), at(4));
}

#[test]
fn an_answer_in_memory_of_the_program_is_counted_until_it_left() {
    let mut world = World::new(Config::default());
    let everything = vec!["10.0.0.0/8".parse().expect("a prefix")];
    let listener = EchoListener::bind(world.stack(), everything).expect("a listener");
    let before = world.stack().memory().used;
    let answer = EchoRequest {
        from: OURS.into(),
        to: OURS.into(),
        ident: 1,
        seq: 1,
        payload: Payload::from(Bytes::from(vec![1; 50_000])),
    };
    let sent = listener.reply(answer).now_or_never().expect("at once");
    sent.expect("queued");
    assert!(world.stack().memory().used >= before + 50_000);
    world.settle();
    assert!(world.stack().memory().used < before + 50_000);
}

/// Opens a connection of the stack to itself.
fn connection(world: &mut World) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind_now(world.stack(), at(80)).expect("a listener");
    let stack = world.stack().clone();
    let mut connecting = pin!(TcpStream::connect(&stack, at(80)));
    assert!(poll(connecting.as_mut()).is_pending());
    world.settle();
    let Poll::Ready(Ok(client)) = poll(connecting.as_mut()) else {
        panic!("no connection");
    };
    let accepted = listener.accept().now_or_never().expect("at once");
    (client, accepted.expect("accepted").0)
}

/// Queues datagrams, which leave in the next turn, until they hold all memory.
fn exhaust(world: &World, socket: &UdpSocket) {
    for len in [60_000, 1_400, 1] {
        let full = std::iter::repeat_with(|| socket.try_send_to(&vec![0; len], at(9)))
            .take(4_096)
            .find_map(Result::err)
            .expect("memory is limited");
        assert_eq!(full.kind(), std::io::ErrorKind::OutOfMemory, "{full}");
    }
    let memory = world.stack().memory();
    println!("{} of {} bytes used", memory.used, memory.limit);
}

#[test]
fn a_loop_of_writable_and_try_write_does_not_spin_without_memory() {
    let config = Config {
        memory_bytes: Some(8 << 20),
        ..Config::default()
    };
    let mut world = World::new(config);
    let (client, mut server) = connection(&mut world);
    let hog = world.udp(1);
    exhaust(&world, &hog);

    let mut turns = 0;
    let mut writing = Box::pin(async {
        loop {
            client.writable().await.expect("the stack lives");
            turns += 1;
            match client.try_write(b"at last") {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    assert!(turns < 100, "it spins");
                }
                written => return written,
            }
        }
    });
    for _ in 0..10 {
        assert!(poll(writing.as_mut()).is_pending());
    }
    let ready = pin!(client.ready(Interest::WRITABLE));
    assert!(poll(ready).is_pending());
    // The datagrams leave.
    world.settle();
    world.settle();
    let written = poll(writing.as_mut());
    drop(writing);
    assert!(matches!(written, Poll::Ready(Ok(7))), "{written:?}");
    assert!(turns <= 3, "{turns} turns");
    world.settle();
    assert_eq!(server.try_read(&mut [0; 16]).expect("it came"), 7);
    assert!(server.recv_payload().now_or_never().is_none());
}

/// Calls each option of TCP with values that it takes, and with values that it refuses.
macro_rules! options_of {
    ($socket:expr) => {{
        let (socket, second) = (&$socket, Duration::from_secs(1));
        let taken = [
            socket.set_keepalive(Some(second)),
            socket.set_keepalive(None),
            socket.set_keepalive_interval(second),
            socket.set_keepalive_count(255),
            socket.set_user_timeout(Some(second)),
            socket.set_user_timeout(None),
            socket.set_max_segment(88),
            socket.set_linger(None),
            socket.set_tos(255),
            socket.set_ttl(255),
        ];
        for (at, taken) in taken.into_iter().enumerate() {
            assert!(taken.is_ok(), "value {at}: {taken:?}");
        }
        let refused = [
            socket.set_keepalive(Some(Duration::ZERO)),
            socket.set_keepalive_interval(Duration::ZERO),
            socket.set_keepalive_count(0),
            socket.set_keepalive_count(256),
            socket.set_user_timeout(Some(Duration::ZERO)),
            socket.set_max_segment(87),
            socket.set_linger(Some(second)),
            socket.set_tos(256),
            socket.set_ttl(0),
        ];
        for (at, refused) in refused.into_iter().enumerate() {
            let error = refused.expect_err("refused");
            let kind = error.kind();
            assert_eq!(kind, std::io::ErrorKind::InvalidInput, "{at}: {error}");
        }
    }};
}

#[test]
fn an_option_has_one_name_and_one_check_before_and_after_connecting() {
    let mut world = World::new(Config::default());
    options_of!(TcpSocket::new_v4(world.stack()));
    let (client, _server) = connection(&mut world);
    options_of!(client);
}
