//! The list of a stack's sockets, and what a connection says of itself after its end.

use std::time::Duration;

use netstack::device::channel::ChannelConfig;
use netstack::net::{
    EchoSocket, QueueInfo, SocketInfo, SocketKind, Stack, TcpListener, TcpStream, UdpSocket,
};
use netstack::tcp::{RecoveryStage, State};
use tests::pipes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const LIMIT: Duration = Duration::from_secs(20);

fn pair() -> (Stack, Stack) {
    let (ours, a) = pipes::stack(&["10.77.0.1/24"], ChannelConfig::default());
    let (peer, b) = pipes::stack(&["10.77.0.2/24"], ChannelConfig::default());
    tokio::spawn(pipes::carry(a, b));
    (ours, peer)
}

/// Waits until the list of `stack` has a socket that `is_wanted`.
async fn find(stack: &Stack, is_wanted: impl Fn(&SocketInfo) -> bool) -> SocketInfo {
    let look = async {
        loop {
            if let Some(found) = stack.sockets().into_iter().find(|socket| is_wanted(socket)) {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let found = tokio::time::timeout(LIMIT, look).await;
    found.unwrap_or_else(|_| panic!("not among {:#?}", stack.sockets()))
}

#[tokio::test]
async fn every_kind_of_socket_is_listed_once_with_its_queues() {
    let (ours, peer) = pair();
    assert!(ours.sockets().is_empty());
    let listener = TcpListener::bind_now(&ours, "10.77.0.1:80").expect("bind");
    let mut client = TcpStream::connect(&peer, "10.77.0.1:80")
        .await
        .expect("connect");
    let waits = find(&ours, |socket| {
        matches!(
            socket.kind,
            SocketKind::TcpListener {
                waiting: 1,
                half_open: 0
            }
        )
    });
    assert_eq!(waits.await.local, listener.local_addr().expect("known"));
    let (stream, _) = listener.accept().await.expect("accept");

    client.write_all(b"unread").await.expect("write");
    let unread = find(
        &ours,
        |socket| matches!(&socket.kind, SocketKind::Tcp(info) if info.unread == 6),
    );
    let listed = unread.await;
    assert_eq!(
        (listed.local, listed.remote),
        (
            stream.local_addr().expect("known"),
            Some(stream.peer_addr().expect("known"))
        )
    );
    assert_eq!(listed.worker, Some(0));
    let SocketKind::Tcp(info) = &listed.kind else {
        panic!("{listed:?}");
    };
    assert_eq!(
        (info.state, info.recovery),
        (State::Established, RecoveryStage::None)
    );
    assert_eq!((info.bytes_in, info.lost, info.unsent), (6, 0, 0));
    let line = listed.to_string();
    for part in ["tcp", "ESTABLISHED", "10.77.0.1:80", "10.77.0.2:", "in:6"] {
        assert!(line.contains(part), "{line}");
    }

    let udp = UdpSocket::bind_now(&ours, "10.77.0.1:53").expect("bind");
    let sender = UdpSocket::bind_now(&peer, "10.77.0.2:53").expect("bind");
    udp.connect(sender.local_addr().expect("known"))
        .await
        .expect("connect");
    for _ in 0..3 {
        let to = udp.local_addr().expect("known");
        sender.send_to(b"question", to).await.expect("send");
    }
    let queued = |wanted: usize| move |socket: &SocketInfo| matches!(socket.kind, SocketKind::Udp(QueueInfo { queued, .. }) if queued == wanted);
    let listed = find(&ours, queued(3)).await;
    assert_eq!(listed.remote, Some(sender.local_addr().expect("known")));
    udp.recv(&mut [0; 100]).await.expect("a datagram");
    let SocketKind::Udp(queue) = find(&ours, queued(2)).await.kind else {
        panic!("not a UDP socket");
    };
    assert_eq!((queue.received, queue.dropped), (3, 0));
    let _echo = EchoSocket::bind(&ours, "10.77.0.1".parse().expect("an address")).expect("bind");

    // Bound and connected, the UDP socket has two entries in the table, and one in the list.
    let kinds: Vec<&str> = ours
        .sockets()
        .iter()
        .map(|socket| match socket.kind {
            SocketKind::TcpListener { .. } => "listener",
            SocketKind::Tcp(_) => "connection",
            SocketKind::Udp(_) => "udp",
            SocketKind::Echo(_) => "echo",
            _ => "another kind",
        })
        .collect();
    assert_eq!(kinds, ["listener", "connection", "udp", "echo"]);
}

#[tokio::test]
async fn datagrams_that_do_not_fit_are_counted_with_their_socket() {
    let (ours, peer) = pair();
    let udp = UdpSocket::bind_now(&ours, "10.77.0.1:53").expect("bind");
    let sender = UdpSocket::bind_now(&peer, "10.77.0.2:53").expect("bind");
    // Nobody reads: sooner or later the queue is full.
    let to = udp.local_addr().expect("known");
    let mut sent = 0;
    let queue = loop {
        assert!(sent < 100_000, "no datagram is dropped");
        // Few at a time: the queues between the stacks are short.
        for _ in 0..64 {
            sender.send_to(&[7; 1_000], to).await.expect("send");
            sent += 1;
        }
        let counted = find(
            &ours,
            |socket| matches!(socket.kind, SocketKind::Udp(queue) if queue.received + queue.dropped == sent),
        );
        let SocketKind::Udp(queue) = counted.await.kind else {
            panic!("not a UDP socket");
        };
        if queue.dropped > 0 {
            break queue;
        }
    };
    assert_eq!(queue.received, queue.queued as u64);
}

#[tokio::test]
async fn the_totals_of_a_connection_stay_after_its_end() {
    let (ours, peer) = pair();
    let listener = TcpListener::bind_now(&ours, "10.77.0.1:80").expect("bind");
    let mut client = TcpStream::connect(&peer, "10.77.0.1:80")
        .await
        .expect("connect");
    let (mut stream, _) = listener.accept().await.expect("accept");
    client.write_all(&[7; 3_000]).await.expect("write");
    client.shutdown().await.expect("shutdown");
    let mut received = Vec::new();
    stream.read_to_end(&mut received).await.expect("to the end");
    stream.write_all(b"an answer").await.expect("write");
    stream.shutdown().await.expect("shutdown");
    received.clear();
    client.read_to_end(&mut received).await.expect("to the end");
    for stack in [&ours, &peer] {
        let gone = async {
            while stack.connections() > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(LIMIT, gone).await.expect("it ends");
    }
    let (client, server) = (client.info(), stream.info());
    assert_eq!((client.bytes_out, client.bytes_in), (3_000, 9));
    assert_eq!((server.bytes_out, server.bytes_in), (9, 3_000));
    assert!(client.min_rtt > Duration::ZERO && client.delivery_rate.is_some());
}
