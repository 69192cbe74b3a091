//! A stack that answers for addresses that are not its own, and whose addresses change while it runs.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use netstack::base::DropReason;
use netstack::device::channel::{ChannelConfig, PacketPipe};
use netstack::device::{TunConfig, open};
use netstack::net::{Destinations, Prefix, Stack, TcpListener, TcpStream, UdpListener, UdpSocket};
use netstackd::probe::ping::Pinger;
use netstackd::probe::stream::connect_within;
use packet::Payload;
use tests::forge;
use tests::hostile::flag;
use tests::pipes;
use tests::world::{in_namespace, ip};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(20);

fn prefix(text: &str) -> Prefix {
    text.parse().expect(text)
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect(text)
}

fn everything(ports: std::ops::RangeInclusive<u16>) -> Destinations {
    Destinations {
        prefixes: vec![prefix("0.0.0.0/0"), prefix("::/0")],
        ports,
    }
}

fn stack(addresses: &[&str]) -> (Stack, PacketPipe) {
    pipes::stack(addresses, ChannelConfig::default())
}

/// Returns a client and a server, and the task that carries their packets.
fn pair() -> (Stack, Stack, JoinHandle<()>) {
    let (client, a) = stack(&["10.77.0.1/24", "fd77::1/64"]);
    let (server, b) = stack(&["10.77.0.2/24", "fd77::2/64"]);
    (client, server, tokio::spawn(pipes::carry(a, b)))
}

/// Connects, and sends the name that the server gives itself back.
async fn connect(client: &Stack, to: &str) -> io::Result<String> {
    let connected = timeout(LIMIT, TcpStream::connect(client, address(to))).await;
    let mut stream = connected.expect("an answer")?;
    let mut text = String::new();
    timeout(LIMIT, stream.read_to_string(&mut text))
        .await
        .expect("the end")?;
    Ok(text)
}

/// Answers each connection with `name` and the destination that the client chose.
fn announce(listener: TcpListener, name: &'static str) {
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let local = stream.local_addr().expect("a destination");
            let _ = stream.write_all(format!("{name} {local}").as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
}

#[tokio::test]
async fn the_most_specific_listener_takes_a_connection_and_knows_its_destination() {
    let (client, server, _carried) = pair();
    for any in ["192.0.2.0/24", "203.0.113.0/25", "2001:db8::/32"] {
        server.add_any_address(prefix(any)).expect("a prefix");
    }
    let bind = |to: &str| TcpListener::bind_now(&server, address(to)).expect("bind");
    announce(bind("0.0.0.0:80"), "wildcard");
    announce(bind("10.77.0.2:81"), "exact");
    let all = TcpListener::bind_any(&server, everything(1..=1_000)).expect("bind");
    announce(all, "all");
    let net = Destinations {
        prefixes: vec![prefix("192.0.2.0/28")],
        ports: 1..=1_000,
    };
    announce(TcpListener::bind_any(&server, net).expect("bind"), "net");
    for (to, name) in [
        ("10.77.0.2:80", "wildcard"),
        ("10.77.0.2:81", "exact"),
        ("10.77.0.2:82", "all"),
        ("192.0.2.200:80", "all"),
        ("192.0.2.7:80", "net"),
        ("203.0.113.5:1000", "all"),
        ("[2001:db8::99]:80", "all"),
    ] {
        let text = connect(&client, to).await.expect(to);
        assert_eq!(text, format!("{name} {to}"));
    }
    let refused = connect(&client, "192.0.2.7:1001")
        .await
        .expect_err("no listener");
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn destinations_that_no_packet_can_have_are_refused() {
    let (_client, server, _carried) = pair();
    let none = Destinations {
        prefixes: Vec::new(),
        ports: 1..=2,
    };
    #[expect(clippy::reversed_empty_ranges, reason = "that is what is refused")]
    let refused = [none, everything(5..=4), everything(0..=4)];
    for destinations in refused {
        let error = TcpListener::bind_any(&server, destinations.clone()).expect_err("refused");
        assert_eq!(
            error.kind(),
            io::ErrorKind::InvalidInput,
            "{destinations:?}: {error}"
        );
    }
    let first = TcpListener::bind_any(&server, everything(1..=9)).expect("bind");
    let again = TcpListener::bind_any(&server, everything(1..=9)).expect_err("in use");
    assert_eq!(again.kind(), io::ErrorKind::AddrInUse);
    drop(first);
    TcpListener::bind_any(&server, everything(1..=9)).expect("free again");
}

/// The LAND attack: a packet from an address to itself, which the stack answers for without owning it.
#[tokio::test]
async fn a_packet_from_a_destination_to_itself_is_dropped() {
    let (stack, mut pipe) = stack(&["10.77.0.2/24", "fd77::2/64"]);
    for any in ["0.0.0.0/0", "::/0"] {
        stack.add_any_address(prefix(any)).expect("added");
    }
    let _listener = TcpListener::bind_any(&stack, everything(1..=u16::MAX)).expect("bind");
    let flows = UdpListener::bind_any(&stack, everything(1..=u16::MAX)).expect("bind");
    for (to, other) in [
        ("192.0.2.1", "198.51.100.1"),
        ("2001:db8::1", "2001:db8::2"),
    ] {
        let [to, other]: [IpAddr; 2] = [to, other].map(|text| text.parse().expect(text));
        let before = stack.counters().dropped(DropReason::IpSourceInvalid);
        let packet =
            |from, proto, message: &[u8]| forge::sealed(forge::packet_to(from, to, proto, message));
        let syn = forge::tcp(80, 80, 1, 0, flag::SYN, &[]);
        for from in [to, other] {
            let packet = packet(from, forge::TCP, &syn);
            pipe.send(packet).await.expect("sent");
        }
        let answer = timeout(LIMIT, pipe.recv()).await.expect("an answer");
        let answer = answer.expect("a packet");
        let (answered, _, _) = forge::parts(&answer).expect("a packet");
        assert_eq!(answered, other, "to the other sender");
        let datagram = forge::udp(80, 80, b"?");
        for from in [to, other] {
            let packet = packet(from, forge::UDP, &datagram);
            pipe.send(packet).await.expect("sent");
        }
        let flow = timeout(LIMIT, flows.accept()).await.expect("a flow");
        assert_eq!(flow.expect("accepted").1.ip(), other, "of the other sender");
        let dropped = stack.counters().dropped(DropReason::IpSourceInvalid);
        assert_eq!(dropped - before, 2, "{to}");
    }
}

/// Echoes until the peer closes.
fn echo(listener: TcpListener) {
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = [0; 64];
                while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                    if stream.write_all(&buffer[..count]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
}

async fn ask(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(b"there?").await?;
    let mut answer = [0; 6];
    timeout(LIMIT, stream.read_exact(&mut answer))
        .await
        .expect("an answer or an error")?;
    assert_eq!(&answer, b"there?");
    Ok(())
}

#[tokio::test]
async fn addresses_come_and_go_and_only_their_own_connections_with_them() {
    let (client, server, _carried) = pair();
    echo(TcpListener::bind_now(&server, address("0.0.0.0:7")).expect("bind"));
    let connect = async |to: &str| {
        let connecting = TcpStream::connect(&client, address(to));
        timeout(LIMIT, connecting).await.expect("an answer")
    };
    let mut kept = connect("10.77.0.2:7").await.expect("the first address");

    server.add_address(prefix("10.99.0.2/24")).expect("added");
    let mut moved = connect("10.99.0.2:7").await.expect("the new address");
    server
        .add_any_address(prefix("192.0.2.0/24"))
        .expect("added");
    let mut any = connect("192.0.2.77:7").await.expect("any address");
    for stream in [&mut kept, &mut moved, &mut any] {
        ask(stream).await.expect("echo");
    }
    assert_eq!(server.addresses().len(), 3);

    server
        .remove_address(prefix("10.99.0.2/24"))
        .expect("removed");
    server
        .remove_any_address(prefix("192.0.2.0/24"))
        .expect("removed");
    for stream in [&mut moved, &mut any] {
        let error = ask(stream).await.expect_err("its address is gone");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
    ask(&mut kept).await.expect("not disturbed");

    let unknown = server
        .remove_address(prefix("10.99.0.2/24"))
        .expect_err("gone");
    assert!(unknown.to_string().contains("10.99.0.2/24"), "{unknown}");
    server
        .add_address(prefix("127.0.0.1/8"))
        .expect_err("loopback");
    server
        .remove_address(prefix("fd77::2/64"))
        .expect("another is left");
    let last = server
        .remove_address(prefix("10.77.0.2/24"))
        .expect_err("the last");
    assert!(last.to_string().contains("only address"), "{last}");
}

async fn question(socket: &UdpSocket, to: &str, text: &'static [u8]) -> SocketAddr {
    socket.send_to(text, address(to)).await.expect("sent");
    let mut buffer = [0; 64];
    let answer = timeout(LIMIT, socket.recv_from(&mut buffer)).await;
    let (len, from) = answer.expect("an answer").expect("received");
    assert_eq!(&buffer[..len], text);
    from
}

#[tokio::test]
async fn a_datagram_tells_its_destination_and_is_answered_from_there() {
    let (client, server, _carried) = pair();
    server.add_address(prefix("10.77.0.3/24")).expect("added");
    server
        .add_any_address(prefix("192.0.2.0/24"))
        .expect("added");
    let wildcard = UdpSocket::bind_now(&server, address("0.0.0.0:53")).expect("bind");
    let any = UdpSocket::bind_any(&server, everything(1..=60)).expect("bind");
    for socket in [wildcard, any] {
        tokio::spawn(async move {
            while let Ok(asked) = socket.recv_datagram().await {
                let sent = socket.send_payload_from(asked.payload, asked.to, asked.from);
                sent.await.expect("an address that it was asked at");
            }
        });
    }
    let socket = UdpSocket::bind_now(&client, address("10.77.0.1:0")).expect("bind");
    for to in [
        "10.77.0.2:53",
        "10.77.0.3:53",
        "192.0.2.9:53",
        "192.0.2.9:7",
        "10.77.0.3:60",
    ] {
        assert_eq!(question(&socket, to, b"who?").await, address(to));
    }
}

#[tokio::test]
async fn a_source_at_which_a_socket_receives_nothing_is_refused() {
    let (_client, server, _carried) = pair();
    server
        .add_any_address(prefix("192.0.2.0/24"))
        .expect("added");
    let send = async |socket: &UdpSocket, source: &str| {
        let payload = Payload::from(bytes::Bytes::from_static(b"x"));
        let sent = socket.send_payload_from(payload, address(source), address("10.77.0.1:9"));
        sent.await.map_err(|error| error.kind())
    };
    let refused = Err(io::ErrorKind::InvalidInput);
    let exact = UdpSocket::bind_now(&server, address("10.77.0.2:53")).expect("bind");
    assert_eq!(send(&exact, "10.77.0.2:53").await, Ok(()));
    for source in ["10.77.0.2:54", "192.0.2.1:53", "0.0.0.0:53", "[fd77::2]:53"] {
        assert_eq!(send(&exact, source).await, refused, "{source}");
    }
    let wildcard = UdpSocket::bind_now(&server, address("0.0.0.0:54")).expect("bind");
    assert_eq!(send(&wildcard, "192.0.2.1:54").await, Ok(()));
    assert_eq!(send(&wildcard, "203.0.113.1:54").await, refused);
    let any = UdpSocket::bind_any(&server, everything(60..=61)).expect("bind");
    assert_eq!(send(&any, "192.0.2.1:61").await, Ok(()));
    assert_eq!(send(&any, "192.0.2.1:62").await, refused);
    let nowhere = any
        .send_to(b"x", address("10.77.0.1:9"))
        .await
        .expect_err("no source");
    assert_eq!(nowhere.kind(), io::ErrorKind::InvalidInput);
    any.connect(address("10.77.0.1:9"))
        .await
        .expect_err("no address of its own");
}

#[tokio::test]
async fn each_flow_has_a_socket_of_its_own() {
    let (client, server, _carried) = pair();
    server
        .add_any_address(prefix("192.0.2.0/24"))
        .expect("added");
    let listener = UdpListener::bind_any(&server, everything(1..=u16::MAX)).expect("bind");
    let ours = |port| {
        let local = SocketAddr::from(([10, 77, 0, 1], port));
        UdpSocket::bind_now(&client, local).expect("bind")
    };
    let (one, two) = (ours(1_000), ours(2_000));
    for (socket, to) in [
        (&one, "192.0.2.1:5"),
        (&one, "192.0.2.2:5"),
        (&two, "192.0.2.1:5"),
    ] {
        for text in [&b"first"[..], b"second", b"third"] {
            socket.send_to(text, address(to)).await.expect("sent");
        }
    }
    let mut flows = Vec::new();
    for _ in 0..3 {
        let accepted = timeout(LIMIT, listener.accept()).await.expect("a flow");
        flows.push(accepted.expect("accepted"));
    }
    let ends: Vec<_> = flows
        .iter()
        .map(|(flow, peer)| (flow.local_addr().expect("local"), peer.port()))
        .collect();
    let expected = [
        ("192.0.2.1:5", 1_000),
        ("192.0.2.2:5", 1_000),
        ("192.0.2.1:5", 2_000),
    ];
    assert_eq!(ends, expected.map(|(to, port)| (address(to), port)));
    let mut buffer = [0; 16];
    for (flow, peer) in &flows {
        for text in [&b"first"[..], b"second", b"third"] {
            // Some came before the flow was accepted, in the listener's queue.
            let more = timeout(Duration::from_millis(20), listener.accept()).await;
            assert!(more.is_err(), "no other flow");
            let received = timeout(LIMIT, flow.recv_from(&mut buffer)).await;
            let (len, from) = received.expect("in time").expect("received");
            assert_eq!((&buffer[..len], from), (text, *peer));
        }
        flow.send(b"answer").await.expect("sent");
    }
    // A dropped flow makes room for a new one, and the others go on.
    drop(flows.remove(0));
    one.send_to(b"again", address("192.0.2.1:5"))
        .await
        .expect("sent");
    let again = timeout(LIMIT, listener.accept()).await.expect("a flow");
    assert_eq!(again.expect("accepted").1.port(), 1_000);
    two.send_to(b"still", address("192.0.2.1:5"))
        .await
        .expect("sent");
    let still = timeout(LIMIT, flows[1].0.recv(&mut buffer)).await;
    assert_eq!(still.expect("in time").expect("received"), 5);
}

#[test]
fn the_kernel_reaches_any_address_through_the_device() {
    in_namespace(|| {
        let mut tun = TunConfig::new("any0");
        tun.host_v4 = Some(([10, 77, 0, 1].into(), 24));
        let devices = open(&tun).expect("a TUN device");
        let stack = Stack::builder()
            .address(IpAddr::from([10, 77, 0, 2]), 24)
            .any_address(prefix("198.18.0.0/15"))
            .start(devices)
            .expect("a stack");
        ip("route add 198.18.0.0/15 dev any0");
        ip("route add 203.0.113.0/24 dev any0");
        let listener = TcpListener::bind_any(&stack, everything(1..=u16::MAX)).expect("bind");
        listener
            .serve(|mut stream, _| async move {
                let local = stream.local_addr().expect("a destination");
                let _ = stream.write_all(local.to_string().as_bytes()).await;
                let _ = stream.shutdown().await;
            })
            .expect("serve");
        for to in ["198.18.3.4:5", "198.19.255.254:65535", "10.77.0.2:443"] {
            let mut stream = std::net::TcpStream::connect(to).expect(to);
            stream.write_all(b"x").expect("written");
            let mut text = String::new();
            stream.read_to_string(&mut text).expect("read");
            assert_eq!(text, to);
        }
        let ping = |to: [u8; 4]| {
            Pinger::new(IpAddr::from(to), 7)
                .expect("a raw socket")
                .ping(8)
        };
        ping([198, 18, 9, 9]).expect("an answer of any address");
        let before = stack.counters().dropped(DropReason::IpDestinationNotOurs);
        let nowhere = address("203.0.113.9:80");
        connect_within(nowhere, Duration::from_millis(300)).expect_err("not covered by a prefix");
        assert!(stack.counters().dropped(DropReason::IpDestinationNotOurs) > before);
        let _ = stack.abort();
    });
}
