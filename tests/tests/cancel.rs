//! Futures that are given up after they were polled, one test for each row of the table of `docs/EMBEDDING.md`: they have
//! taken nothing, sent nothing, and leave nothing behind. The test turns the stacks itself, so every future is given up
//! while it waits.

use std::io::{IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use netstack::base::Instant;
use netstack::device::channel::{ChannelConfig, PacketPipe, channel, channel_queues};
use netstack::net::{
    EchoListener, EchoSocket, Interest, Stack, SynListener, TcpListener, TcpSocket, TcpStream,
    Turns, UdpListener, UdpSocket,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const SERVER: &str = "10.77.0.2:7";

/// A stack that the test turns.
struct Host {
    stack: Stack,
    turns: Vec<Turns>,
    pipe: PacketPipe,
}

fn host(number: u8) -> Host {
    let (device, pipe) = channel(ChannelConfig {
        to_stack: 4_096,
        from_stack: 4_096,
        ..ChannelConfig::default()
    });
    let builder = Stack::builder()
        .address([10, 77, 0, number].into(), 24)
        .seed([number; 32]);
    let made = builder.manual(vec![Box::new(device)], Instant::from_millis(1));
    let (stack, turns) = made.expect("a stack");
    Host { stack, turns, pipe }
}

/// A client and a server that the test turns, and their time.
struct World {
    client: Host,
    server: Host,
    now: Instant,
}

impl World {
    fn new() -> Self {
        Self {
            client: host(1),
            server: host(2),
            now: Instant::from_millis(1),
        }
    }

    /// Turns both stacks until they have nothing more to do for `millis` milliseconds.
    fn pass(&mut self, millis: u64) {
        for _ in 0..=millis {
            for _ in 0..64 {
                for host in [&mut self.client, &mut self.server] {
                    while host.turns[0].turn(self.now).expect("a living device").busy {}
                }
                let (client, server) = (&mut self.client.pipe, &mut self.server.pipe);
                let mut moved = 0;
                while let Some(packet) = client.try_recv() {
                    server.try_send(packet).expect("room");
                    moved += 1;
                }
                while let Some(packet) = server.try_recv() {
                    client.try_send(packet).expect("room");
                    moved += 1;
                }
                if moved == 0 {
                    break;
                }
            }
            self.now = self.now + Duration::from_millis(1);
        }
    }

    /// Runs a future to its end while the stacks are turned.
    fn run<F: Future>(&mut self, future: F) -> F::Output {
        let mut future = std::pin::pin!(future);
        for _ in 0..10_000 {
            if let Some(output) = future.as_mut().now_or_never() {
                return output;
            }
            self.pass(1);
        }
        panic!("it waits for ever");
    }

    /// Polls a future, turns the stacks without anything for it to happen, and drops it.
    fn give_up<F: Future>(&mut self, what: &str, future: F) {
        let mut future: Pin<Box<F>> = Box::pin(future);
        assert!(future.as_mut().now_or_never().is_none(), "{what} must wait");
        self.pass(1);
        assert!(future.as_mut().now_or_never().is_none(), "{what} must wait");
        drop(future);
        self.pass(1);
    }

    fn pair(&mut self) -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind_now(&self.server.stack, SERVER).expect("bind");
        let stack = self.client.stack.clone();
        let client = self
            .run(TcpStream::connect(&stack, SERVER))
            .expect("connect");
        let (server, _) = self.run(listener.accept()).expect("accept");
        (client, server)
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

#[test]
fn accepting() {
    let mut world = World::new();
    let (client, server) = (world.client.stack.clone(), world.server.stack.clone());
    let listener = TcpListener::bind_now(&server, SERVER).expect("bind");
    world.give_up("accept", listener.accept());
    let stream = world
        .run(TcpStream::connect(&client, SERVER))
        .expect("connect");
    let (_, peer) = world
        .run(listener.accept())
        .expect("what came is still there");
    assert_eq!(peer, stream.local_addr().expect("an address"));

    let deferred = SynListener::bind(&server, "10.77.0.2:8").expect("bind");
    world.give_up("next", deferred.next());
    let connecting = TcpStream::connect(&client, "10.77.0.2:8");
    let mut connecting = Box::pin(connecting);
    assert!(connecting.as_mut().now_or_never().is_none());
    let syn = world
        .run(deferred.next())
        .expect("what came is still there");
    // The handshake that the program gave up is reset.
    let mut accepting = Box::pin(syn.accept());
    assert!(accepting.as_mut().now_or_never().is_none());
    drop(accepting);
    let refused = world.run(async {
        match connecting.await {
            Ok(mut stream) => stream.read(&mut [0; 8]).await.map(drop),
            Err(error) => Err(error),
        }
    });
    assert!(refused.is_err(), "no connection is left on one side");

    let flows = UdpListener::bind(&server, SERVER).expect("bind");
    world.give_up("accept of a flow", flows.accept());
    let socket = UdpSocket::bind_now(&client, "10.77.0.1:0").expect("bind");
    socket.try_send_to(b"hello", address(SERVER)).expect("room");
    let (flow, _) = world.run(flows.accept()).expect("what came is still there");
    assert_eq!(world.run(flow.recv(&mut [0; 8])).expect("a datagram"), 5);
}

#[test]
fn connecting() {
    let mut world = World::new();
    let stack = world.client.stack.clone();
    let nobody = address("10.77.0.9:7");
    let local = address("10.77.0.1:4000");
    for _ in 0..3 {
        world.give_up("connect", TcpStream::connect(&stack, nobody));
        world.give_up(
            "connect_from",
            TcpStream::connect_from(&stack, local, nobody),
        );
        let socket = TcpSocket::new_v4(&stack);
        socket.bind(local).expect("the address is free again");
        world.give_up("connect of a socket", socket.connect(nobody));
        world.pass(1);
        assert_eq!(stack.connections(), 0, "no connection is left");
    }
}

#[test]
fn reading() {
    let mut world = World::new();
    let (mut client, mut server) = world.pair();
    let mut room = [0; 64];
    world.give_up("read", server.read(&mut room));
    world.give_up(
        "read_vectored",
        std::future::poll_fn(|_| {
            let read = server.try_read_vectored(&mut [IoSliceMut::new(&mut room)]);
            if read.is_err() {
                std::task::Poll::Pending
            } else {
                std::task::Poll::Ready(())
            }
        }),
    );
    world.give_up("readable", server.readable());
    world.give_up("ready", server.ready(Interest::READABLE));
    world.give_up("peek", server.peek(&mut room));
    world.give_up("recv_payload", server.recv_payload());
    world.run(client.write_all(b"0123456789")).expect("room");
    world.pass(1);
    assert_eq!(world.run(server.peek(&mut room)).expect("data"), 10);
    // A call that was given up after the data came has taken none of it, either.
    drop(server.recv_payload());
    let payload = world
        .run(server.recv_payload())
        .expect("data")
        .expect("no end");
    assert_eq!(&payload[..], b"0123456789");
    // tokio's `read_exact` may have taken a part.
    world.run(client.write_all(b"abc")).expect("room");
    world.pass(1);
    let mut exact = [0; 8];
    world.give_up("read_exact", server.read_exact(&mut exact));
    assert_eq!(&exact[..3], b"abc");
    world.run(client.write_all(b"defgh")).expect("room");
    world.pass(1);
    assert_eq!(world.run(server.read(&mut room)).expect("the rest"), 5);
}

#[test]
fn writing() {
    let mut world = World::new();
    let (mut client, mut server) = world.pair();
    let data = vec![7; 1 << 20];
    let mut written = 0;
    while let Ok(count) = client.try_write(&data) {
        written += count;
        world.pass(1);
    }
    world.give_up("write", client.write(b"never"));
    world.give_up(
        "write_vectored",
        client.write_vectored(&[IoSlice::new(b"never")]),
    );
    world.give_up("writable", client.writable());
    world.give_up("ready", client.ready(Interest::WRITABLE));
    // A payload, and tokio's `write_all`, may have been queued in part.
    let payload = || Bytes::from(vec![8; 8 << 20]).into();
    world.give_up("send_payload", client.send_payload(payload()));
    let mut counts = [0_usize; 9];
    let mut room = vec![0; 1 << 20];
    world.run(client.shutdown()).expect("the end is queued");
    loop {
        let count = world.run(server.read(&mut room)).expect("no reset");
        if count == 0 {
            break;
        }
        for byte in &room[..count] {
            counts[usize::from(*byte)] += 1;
        }
    }
    assert_eq!(counts[7], written);
    assert!(counts[8] < 8 << 20, "the payload was given up");
    assert_eq!(
        counts.iter().sum::<usize>(),
        counts[7] + counts[8],
        "nothing else"
    );
}

#[test]
fn datagrams() {
    let mut world = World::new();
    let (client, server) = (world.client.stack.clone(), world.server.stack.clone());
    let receiver = UdpSocket::bind_now(&server, SERVER).expect("bind");
    let mut room = [0; 64];
    let mut batch = Vec::new();
    world.give_up("recv", receiver.recv(&mut room));
    world.give_up("recv_from", receiver.recv_from(&mut room));
    world.give_up("recv_payload_from", receiver.recv_payload_from());
    world.give_up("recv_datagram", receiver.recv_datagram());
    world.give_up("recv_many", receiver.recv_many(&mut batch, 8));
    world.give_up("peek_from", receiver.peek_from(&mut room));
    world.give_up("peek_sender", receiver.peek_sender());
    world.give_up("readable", receiver.readable());
    world.give_up("ready", receiver.ready(Interest::READABLE));
    let sender = UdpSocket::bind_now(&client, "10.77.0.1:0").expect("bind");
    let to = address(SERVER);
    sender.try_send_to(b"one", to).expect("room");
    world.pass(1);
    assert_eq!(world.run(receiver.recv(&mut room)).expect("still there"), 3);

    // No turn takes what is sent: the queue fills, and each way of sending waits.
    let mut sent = 0;
    while sender.try_send_to(b"x", to).is_ok() {
        sent += 1;
    }
    let payload = || Bytes::from_static(b"never").into();
    let local = sender.local_addr().expect("an address");
    let polled_once: [Pin<Box<dyn Future<Output = bool>>>; 6] = [
        Box::pin(sender.send_to(b"never", to).map(|sent| sent.is_ok())),
        Box::pin(
            sender
                .send_payload_to(payload(), to)
                .map(|sent| sent.is_ok()),
        ),
        Box::pin(
            sender
                .send_payload_from(payload(), local, to)
                .map(|sent| sent.is_ok()),
        ),
        Box::pin(
            sender
                .send_from(b"never", local, to)
                .map(|sent| sent.is_ok()),
        ),
        Box::pin(
            sender
                .send_segments_to(b"never", 2, to)
                .map(|sent| sent.is_ok()),
        ),
        Box::pin(sender.writable().map(|ready| ready.is_ok())),
    ];
    for future in polled_once {
        assert!(future.now_or_never().is_none(), "the queue is full");
    }
    let mut received = 0;
    for _ in 0..1_000 {
        world.pass(1);
        while let Ok(count) = receiver.try_recv(&mut room) {
            assert_eq!(&room[..count], b"x", "what was given up is not sent");
            received += 1;
        }
    }
    assert_eq!(received, sent);
}

#[test]
fn pings() {
    let mut world = World::new();
    let (client, server) = (world.client.stack.clone(), world.server.stack.clone());
    let pinger = EchoSocket::bind(&client, [10, 77, 0, 1].into()).expect("bind");
    world.give_up("recv of a reply", pinger.recv());
    let prefix = "198.51.100.0/24".parse().expect("a prefix");
    server.add_any_address(prefix).expect("added");
    let answering = EchoListener::bind(&server, vec![prefix]).expect("bind");
    world.give_up("recv of a request", answering.recv());
    for to in [[10, 77, 0, 2], [198, 51, 100, 9]] {
        world
            .run(pinger.send_to(b"ping", 1, to.into()))
            .expect("room");
        if to[0] == 198 {
            let request = world
                .run(answering.recv())
                .expect("what came is still there");
            world.run(answering.reply(request)).expect("room");
        }
        let reply = world.run(pinger.recv()).expect("what came is still there");
        assert_eq!((&reply.payload[..], reply.from), (&b"ping"[..], to.into()));
    }
}

#[test]
fn packets() {
    let config = ChannelConfig {
        to_stack: 2,
        ..ChannelConfig::default()
    };
    let (device, pipe) = channel(config);
    let (mut receiver, mut sender) = pipe.into_split();
    let builder = Stack::builder().address([10, 77, 0, 1].into(), 24);
    let made = builder.manual(vec![Box::new(device)], Instant::from_millis(1));
    let (stack, mut turns) = made.expect("a stack");
    let mut batch = Vec::new();
    assert!(receiver.recv().now_or_never().is_none());
    assert!(receiver.recv_many(&mut batch, 8).now_or_never().is_none());
    assert!(receiver.recv_run().now_or_never().is_none());
    let socket = UdpSocket::bind_now(&stack, "10.77.0.1:5").expect("bind");
    socket.try_send_to(b"out", address(SERVER)).expect("room");
    while turns[0].turn(Instant::from_millis(2)).expect("a turn").busy {}
    assert!(
        receiver.recv().now_or_never().is_some(),
        "what came is still there"
    );

    for _ in 0..2 {
        sender.try_send(vec![0x45; 20]).expect("room");
    }
    let mut packets = vec![Bytes::from_static(b"never"); 3];
    assert!(
        sender
            .send(Bytes::from_static(b"never"))
            .now_or_never()
            .is_none()
    );
    assert!(sender.send_many(&mut packets).now_or_never().is_none());
    assert_eq!(packets.len(), 3, "all are still the program's");
    let mut buffers = vec![sender.packet_buffer(), sender.packet_buffer()];
    assert!(sender.send_buffers(&mut buffers).now_or_never().is_none());
    assert_eq!(buffers.len(), 2, "all are still the program's");
    let before = stack.counters().count(netstack::Counter::PacketsIn);
    while turns[0].turn(Instant::from_millis(3)).expect("a turn").busy {}
    let taken = stack.counters().count(netstack::Counter::PacketsIn) - before;
    assert_eq!(taken, 2);

    let (devices, mut queues, _receivers) = channel_queues(config, 1);
    for _ in 0..2 {
        queues.try_send(vec![0x45; 20]).expect("room");
    }
    assert!(
        queues
            .send(Bytes::from_static(b"never"))
            .now_or_never()
            .is_none()
    );
    drop(devices);
}

#[test]
fn time_and_the_end() {
    let mut world = World::new();
    let stack = world.client.stack.clone();
    let time = stack.time();
    world.give_up("sleep", time.sleep(Duration::from_secs(5)));
    world.give_up(
        "timeout",
        time.timeout(Duration::from_secs(5), std::future::pending::<()>()),
    );
    let mut interval = time.interval(Duration::from_millis(20));
    let first = world.run(interval.tick()).expect("the first tick");
    world.give_up("tick", interval.tick());
    let second = world.run(interval.tick()).expect("no tick was taken");
    assert_eq!(second, first + Duration::from_millis(20));
    world.give_up("closed", stack.closed());
    assert!(
        !world.run(async { stack.closed().now_or_never().is_some() }),
        "it goes on"
    );
    // Giving up the wait for the end does not call the end off.
    let (_ours, _theirs) = world.pair();
    let mut ending = Box::pin(stack.shutdown_async(Duration::from_millis(50)));
    assert!(ending.as_mut().now_or_never().is_none());
    drop(ending);
    // The grace passes on the machine's clock, in a thread of its own.
    for _ in 0..20_000 {
        for host in [&mut world.client, &mut world.server] {
            let _ = host.turns[0].turn(world.now);
        }
        if stack.closed().now_or_never().is_some() {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("the stack goes on");
}
