//! Datagrams to an acceptor for any address that are answered with ICMP errors.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};

use netstack::device::channel::ChannelConfig;
use netstack::net::{Destinations, Stack, UdpListener, UdpSocket, Unreachable};
use tests::pair::bounded_as as bounded;
use tests::{forge, pipes};

const UDP: u8 = 17;

fn everything(stack: &Stack) -> UdpListener {
    let prefixes = ["0.0.0.0/0", "::/0"].map(|text| text.parse().expect(text));
    for prefix in prefixes {
        stack.add_any_address(prefix).expect("added");
    }
    let destinations = Destinations {
        prefixes: prefixes.to_vec(),
        ports: 1..=u16::MAX,
    };
    UdpListener::bind_any(stack, destinations).expect("bind")
}

/// Type and code for each reason, over IPv4 and IPv6.
const REASONS: [(Unreachable, [(u8, u8); 2]); 4] = [
    (Unreachable::Network, [(3, 0), (1, 0)]),
    (Unreachable::Host, [(3, 1), (1, 3)]),
    (Unreachable::Port, [(3, 3), (1, 4)]),
    (Unreachable::Prohibited, [(3, 13), (1, 1)]),
];

#[tokio::test]
async fn the_error_comes_from_the_address_that_was_asked_and_quotes_the_datagram() {
    let addresses = ["10.77.0.2/24", "fd77::2/64"];
    let (stack, mut pipe) = pipes::stack(&addresses, ChannelConfig::default());
    let listener = everything(&stack);
    let ends: [[IpAddr; 2]; 2] = [["10.77.0.1", "192.0.2.9"], ["fd77::1", "2001:db8::9"]]
        .map(|pair| pair.map(|text| text.parse().expect(text)));
    for ([from, to], family) in ends.into_iter().zip(0..) {
        let header = [20, 40][family];
        for ((reason, codes), port) in REASONS.into_iter().zip(4_000_u16..) {
            for len in [0, 1_000] {
                let datagram = forge::udp(port, 53, &vec![7; len]);
                let packet = forge::sealed(forge::packet_to(from, to, UDP, &datagram));
                let whole = packet.clone();
                pipe.send(packet).await.expect("sent");
                let (flow, peer) = bounded("a flow", listener.accept()).await.expect("a flow");
                assert_eq!(peer, SocketAddr::new(from, port));
                let datagram = flow.recv_datagram().await.expect("the datagram");
                flow.refuse(datagram, reason).await.expect("refused");
                let error = bounded("an error", pipe.recv()).await.expect("a packet");
                let (receiver, _, message) = forge::parts(&error).expect("no fragment");
                assert_eq!(receiver, from);
                assert_eq!((message[0], message[1]), codes[family], "{reason:?}");
                let (sender, _, _) = forge::parts(&message[8..]).expect("a quote");
                assert_eq!(sender, to, "the quote's destination");
                // Ports, length and checksum as they were sent, and of the payload what fits.
                let quote = &message[8 + header..];
                assert_eq!(&quote[..8], &whole[header..header + 8]);
                assert!(quote[8..].iter().all(|byte| *byte == 7));
                let room = [576 - 20 - 8, 1_280 - 40 - 8][family];
                assert!(message.len() - 8 <= room);
                assert_eq!(quote.len() - 8, len.min(room - header - 8));
            }
        }
    }
}

/// RFC 1122 section 4.1.3.1: a socket that is connected to one peer waits for nobody else.
#[tokio::test]
async fn a_port_whose_only_socket_is_connected_to_another_is_closed_to_others() {
    let (stack, mut pipe) = pipes::stack(&["10.77.0.2/24"], ChannelConfig::default());
    let socket = UdpSocket::bind_now(&stack, "10.77.0.2:53").expect("bind");
    socket.connect("10.77.0.1:4000").await.expect("connected");
    let to = "10.77.0.2".parse().expect("an address");
    for (from, port, is_peer) in [
        ("10.77.0.1", 4_000, true),
        ("10.77.0.1", 4_001, false),
        ("10.77.0.9", 4_000, false),
    ] {
        let datagram = forge::udp(port, 53, b"?");
        let from: IpAddr = from.parse().expect("an address");
        let packet = forge::sealed(forge::packet_to(from, to, UDP, &datagram));
        pipe.send(packet).await.expect("sent");
        if is_peer {
            let mut room = [0; 8];
            let read = bounded("a datagram", socket.recv(&mut room)).await;
            assert_eq!(read.expect("read"), 1);
            continue;
        }
        let error = bounded("an error", pipe.recv()).await.expect("a packet");
        let (receiver, _, message) = forge::parts(&error).expect("no fragment");
        assert_eq!((receiver, message[0], message[1]), (from, 3, 3));
    }
}

#[tokio::test]
async fn a_connected_socket_learns_it_as_from_a_closed_port() {
    let (client, a) = pipes::stack(&["10.77.0.1/24"], ChannelConfig::default());
    let (server, b) = pipes::stack(&["10.77.0.2/24"], ChannelConfig::default());
    let carrying = tokio::spawn(pipes::carry(a, b));
    let listener = everything(&server);
    let socket = UdpSocket::bind_now(&client, "10.77.0.1:0").expect("bind");
    socket.connect("192.0.2.9:53").await.expect("connected");
    for _ in 0..3 {
        socket.send(b"?").await.expect("sent");
        let (flow, _) = bounded("a flow", listener.accept()).await.expect("a flow");
        let datagram = flow.recv_datagram().await.expect("the datagram");
        flow.refuse(datagram, Unreachable::Port)
            .await
            .expect("refused");
        let error = bounded("an error", socket.recv(&mut [0; 8])).await;
        let error = error.expect_err("nobody answers");
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{error}");
    }
    carrying.abort();
}

#[tokio::test]
async fn only_what_a_socket_received_can_be_refused() {
    let (stack, _pipe) = pipes::stack(&["10.77.0.2/24"], ChannelConfig::default());
    let bind = |text: &str| UdpSocket::bind_now(&stack, text).expect("bind");
    let (server, other, client) = (
        bind("10.77.0.2:53"),
        bind("10.77.0.2:54"),
        bind("10.77.0.2:0"),
    );
    client.send_to(b"?", "10.77.0.2:53").await.expect("sent");
    let question = bounded("a question", server.recv_datagram()).await;
    let refusal = other
        .refuse(question.expect("received"), Unreachable::Port)
        .await;
    let error = refusal.expect_err("it is not its own");
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
}

#[tokio::test]
async fn a_socket_of_the_same_host_learns_each_reason() {
    let (stack, _pipe) = pipes::stack(&["10.77.0.2/24"], ChannelConfig::default());
    let bind = |text: &str| UdpSocket::bind_now(&stack, text).expect("bind");
    let (server, client) = (bind("10.77.0.2:53"), bind("10.77.0.2:0"));
    client.connect("10.77.0.2:53").await.expect("connected");
    for (reason, kind) in [
        (Unreachable::Network, ErrorKind::NetworkUnreachable),
        (Unreachable::Host, ErrorKind::HostUnreachable),
        (Unreachable::Port, ErrorKind::ConnectionRefused),
    ] {
        client.send(b"?").await.expect("sent");
        let question = bounded("a question", server.recv_datagram()).await;
        let refused = server.refuse(question.expect("received"), reason).await;
        refused.expect("refused");
        let error = bounded("an error", client.recv(&mut [0; 8])).await;
        let error = error.expect_err("no answer");
        assert_eq!(error.kind(), kind, "{error}");
    }
}
