//! A stack that talks to itself: over its own addresses and over the loopback addresses, with nobody at the other
//! end of its device.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;

use futures::poll;
use netstack::device::channel::PacketPipe;
use netstack::net::{EchoSocket, Stack, TcpListener, TcpStream, UdpListener, UdpSocket};
use netstack::{Counter, DropReason};
use tests::forge;
use tests::hostile::flag;
use tests::pair::{alone, bounded};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Sends `len` bytes to an echo service at `address` and reads them back.
async fn echoes(stack: &Stack, address: &str, len: usize) {
    let listener = TcpListener::bind(stack, format!("{address}:0"))
        .await
        .expect("bind");
    let to = listener.local_addr().expect("address");
    let serving = tokio::spawn(async move {
        let (stream, peer) = listener.accept().await.expect("accept");
        let (mut read, mut write) = stream.into_split();
        tokio::io::copy(&mut read, &mut write).await.expect("copy");
        peer
    });
    let stream = bounded(TcpStream::connect(stack, to))
        .await
        .expect("connect");
    let local = stream.local_addr().expect("local");
    assert_eq!(stream.peer_addr().expect("peer"), to);
    let sent: Vec<u8> = (0..len).map(|n| ((n * 31) >> 7) as u8).collect();
    let (mut read, mut write) = stream.into_split();
    let writing = async {
        write.write_all(&sent).await.expect("write");
        write.shutdown().await.expect("shutdown");
    };
    let mut got = Vec::new();
    let (read, ()) = bounded(async { tokio::join!(read.read_to_end(&mut got), writing) }).await;
    read.expect("read");
    assert!(got == sent, "{address}: {} of {len} bytes", got.len());
    assert_eq!(bounded(serving).await.expect("server"), local);
}

#[tokio::test]
async fn tcp_reaches_own_addresses_and_loopback() {
    let (stack, mut pipe) = alone();
    for address in ["10.77.0.2", "[fd00::2]", "127.0.0.1", "127.9.8.7", "[::1]"] {
        echoes(&stack, address, 3_000_000).await;
    }
    let counters = stack.counters();
    assert!(counters.count(Counter::Looped) > 0);
    assert_eq!(counters.dropped(DropReason::NoReceiveBuffer), 0);
    assert!(pipe.try_recv().is_none(), "a packet left by the device");
}

#[tokio::test]
async fn a_port_without_a_listener_refuses_at_once() {
    let (stack, _pipe) = alone();
    for address in ["10.77.0.2:9", "127.0.0.1:9", "[::1]:9"] {
        let error = bounded(TcpStream::connect(&stack, address))
            .await
            .expect_err("no listener");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "{address}");
    }
}

#[tokio::test]
async fn the_unspecified_address_takes_what_is_sent_to_loopback() {
    let (stack, _pipe) = alone();
    let listener = TcpListener::bind(&stack, "0.0.0.0:80").await.expect("bind");
    let _stream = bounded(TcpStream::connect(&stack, "127.0.0.1:80"))
        .await
        .expect("connect");
    let (accepted, peer) = bounded(listener.accept()).await.expect("accept");
    assert_eq!(
        accepted.local_addr().expect("local"),
        "127.0.0.1:80".parse().expect("address")
    );
    assert!(peer.ip().is_loopback());
}

#[tokio::test]
async fn udp_reaches_own_addresses_and_loopback() {
    let (stack, mut pipe) = alone();
    for address in ["10.77.0.2", "[fd00::2]", "127.0.0.1", "[::1]"] {
        let server = UdpSocket::bind(&stack, format!("{address}:0"))
            .await
            .expect("bind");
        let to = server.local_addr().expect("address");
        let any = if address.starts_with('[') {
            "[::]:0"
        } else {
            "0.0.0.0:0"
        };
        let client = UdpSocket::bind(&stack, any).await.expect("bind");
        let most = if to.is_ipv4() { 65_507 } else { 65_527 };
        let mut buffer = vec![0; 70_000];
        for len in [0, 1, 1_500, 9_000, most] {
            let sent = vec![len as u8; len];
            client.send_to(&sent, to).await.expect("send");
            let (count, from) = bounded(server.recv_from(&mut buffer)).await.expect("recv");
            assert!(buffer[..count] == sent[..], "{address}: {len} bytes");
            assert_eq!(from.ip(), to.ip());
            server.send_to(&sent, from).await.expect("answer");
            let (count, from) = bounded(client.recv_from(&mut buffer)).await.expect("recv");
            assert_eq!((count, from), (len, to));
        }
    }
    assert!(pipe.try_recv().is_none(), "a packet left by the device");
}

#[tokio::test]
async fn a_datagram_to_a_port_without_a_socket_is_refused() {
    let (stack, _pipe) = alone();
    let client = UdpSocket::bind(&stack, "127.0.0.1:0").await.expect("bind");
    client.connect("127.0.0.1:9").await.expect("connect");
    client.send(b"?").await.expect("send");
    let error = bounded(client.recv(&mut [0; 4]))
        .await
        .expect_err("refused");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn ping_reaches_own_addresses_and_loopback() {
    let (stack, mut pipe) = alone();
    for (address, any) in [
        ("10.77.0.2", "0.0.0.0"),
        ("127.0.0.1", "0.0.0.0"),
        ("::1", "::"),
    ] {
        let socket = EchoSocket::bind(&stack, any.parse().expect("any")).expect("bind");
        let to = address.parse().expect("address");
        for (seq, payload) in [(0, vec![]), (1, vec![1; 56]), (65_535, vec![2; 60_000])] {
            socket.send_to(&payload, seq, to).await.expect("send");
            let reply = bounded(socket.recv()).await.expect("reply");
            assert_eq!((reply.from, reply.seq), (to, seq));
            assert!(reply.payload[..] == payload[..]);
        }
    }
    assert!(pipe.try_recv().is_none(), "a packet left by the device");
}

/// Returns how many packets were dropped for an address that no packet on the link may have.
fn forged(stack: &Stack) -> u64 {
    let counters = stack.counters();
    counters.dropped(DropReason::IpSourceInvalid)
        + counters.dropped(DropReason::IpDestinationNotOurs)
}

/// Sends a datagram and a SYN from `from` to both ports of `to`.
async fn forge_both(pipe: &mut PacketPipe, from: IpAddr, to: IpAddr) {
    for port in [53, 54] {
        let udp = forge::udp(9, port, b"forged");
        let tcp = forge::tcp(9, port, 1, 0, flag::SYN, b"");
        for (proto, message) in [(forge::UDP, udp), (forge::TCP, tcp)] {
            let packet = forge::sealed(forge::packet_to(from, to, proto, &message));
            pipe.send(packet).await.expect("send");
        }
    }
}

/// A loopback address on the link is forged, in both directions.
#[tokio::test]
async fn loopback_addresses_stay_inside() {
    let (stack, mut pipe) = alone();
    for (loopback, any, ours, peer) in [
        ("127.0.0.1", "0.0.0.0", "10.77.0.2", "10.77.0.1"),
        ("::1", "::", "fd00::2", "fd00::1"),
    ] {
        let [loopback, any, ours, peer]: [IpAddr; 4] =
            [loopback, any, ours, peer].map(|text| text.parse().expect("address"));
        let bind = |ip, port| UdpSocket::bind_now(&stack, SocketAddr::new(ip, port));
        let server = bind(loopback, 53).expect("bind");
        let wildcard = bind(any, 54).expect("bind");
        let listen = |ip, port| TcpListener::bind_now(&stack, SocketAddr::new(ip, port));
        let _listeners =
            [(loopback, 53), (any, 54)].map(|(ip, port)| listen(ip, port).expect("bind"));
        let before = forged(&stack);
        for (from, to) in [(loopback, loopback), (loopback, ours), (peer, loopback)] {
            forge_both(&mut pipe, from, to).await;
        }
        // What comes behind them is the first that arrives.
        let honest = forge::packet_to(peer, ours, forge::UDP, &forge::udp(9, 54, b"honest"));
        pipe.send(forge::sealed(honest)).await.expect("send");
        let mut buffer = [0; 8];
        let (len, from) = bounded(wildcard.recv_from(&mut buffer))
            .await
            .expect("recv");
        assert_eq!((&buffer[..len], from.ip()), (&b"honest"[..], peer));
        assert_eq!(forged(&stack) - before, 12);
        for socket in [&server, &wildcard] {
            let nothing = socket.try_recv_from(&mut [0; 8]).expect_err("nothing");
            assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
        }
        assert_eq!(stack.half_open(), 0, "a handshake began");
        let outside = SocketAddr::new(peer, 9);
        let error = server.send_to(b"out", outside).await;
        let error = error.expect_err("a loopback source");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        let from = SocketAddr::new(loopback, 0);
        let error = TcpStream::connect_from(&stack, from, outside).await;
        let error = error.expect_err("a loopback source");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
    assert!(pipe.try_recv().is_none(), "a packet left by the device");
}

/// A socket that was made for a flow is in no table by its address; its tasks are woken all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flow_of_udp_ends_with_its_stack() {
    let (stack, _pipe) = alone();
    let listener = UdpListener::bind(&stack, "127.0.0.1:7").expect("bind");
    let client = UdpSocket::bind(&stack, "127.0.0.1:0").await.expect("bind");
    client.send_to(b"first", "127.0.0.1:7").await.expect("send");
    let (flow, _) = bounded(listener.accept()).await.expect("accept");
    bounded(flow.recv(&mut [0; 8])).await.expect("the first");
    let mut buffer = [0; 8];
    let mut waiting = pin!(flow.recv(&mut buffer));
    assert!(poll!(waiting.as_mut()).is_pending());
    stack.abort().expect("abort");
    bounded(waiting).await.expect_err("the stack ended");
}
