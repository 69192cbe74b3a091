//! The routes of a stack, as they change while it runs: what is sent, from which source, how long, and what is refused.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures::FutureExt as _;
use netstack::base::{Config, DropReason};
use netstack::net::{
    AddressFlags, Prefix, Route, RouteChangeError, RouteError, RouteKind, SourcePreference, Stack,
    TcpListener, TcpSocket, TcpStream, UdpSocket,
};
use tests::forge;
use tools::virtual_stack::VirtualStack;

const MTU: u16 = 1_500;
const SYN: u8 = 2;
const ACK: u8 = 16;

fn ip(text: &str) -> IpAddr {
    text.parse().expect(text)
}

fn prefix(text: &str) -> Prefix {
    text.parse().expect(text)
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect(text)
}

fn route(text: &str) -> Route {
    Route::new(prefix(text))
}

fn refusing(kind: RouteKind, text: &str) -> Route {
    Route {
        kind,
        ..route(text)
    }
}

/// A stack, and what it sends.
struct Link {
    world: VirtualStack,
    stack: Stack,
}

impl Link {
    fn new(addresses: &[(&str, u8)]) -> Self {
        let addresses: Vec<_> = addresses
            .iter()
            .map(|&(text, len)| (ip(text), len))
            .collect();
        let world = VirtualStack::new(Config::default(), &addresses, MTU, 7).expect("a stack");
        let stack = world.stack().clone();
        Self { world, stack }
    }

    /// Returns what is sent until the stack has nothing more to do.
    fn settle(&mut self) -> Vec<Vec<u8>> {
        let mut sent = Vec::new();
        let now = Duration::from_millis(1);
        self.world.settle(now, &mut sent).expect("at rest");
        sent
    }

    /// Delivers a packet and returns what is sent.
    fn deliver(&mut self, packet: Vec<u8>) -> Vec<Vec<u8>> {
        self.world.deliver(forge::sealed(packet), 0);
        self.settle()
    }

    fn no_route(&self) -> u64 {
        let counters = self.stack.counters();
        counters.dropped(DropReason::NoRoute)
    }
}

/// Sends a datagram from a socket.
fn send(socket: &UdpSocket, to: &str) -> io::Result<usize> {
    socket.send_to(b"?", to).now_or_never().expect("room")
}

/// Connects a TCP socket; returns the error of a call that fails at once.
fn connect(stack: &Stack, from: &str, to: &str) -> io::Result<()> {
    let to = address(to);
    let socket = if to.is_ipv4() {
        TcpSocket::new_v4(stack)
    } else {
        TcpSocket::new_v6(stack)
    };
    socket.bind(address(from))?;
    Box::pin(socket.connect(to))
        .now_or_never()
        .map_or(Ok(()), |done| done.map(|_| ()))
}

fn udp(stack: &Stack, local: &str) -> UdpSocket {
    UdpSocket::bind_now(stack, local).expect("bound")
}

#[test]
fn a_stack_begins_with_its_subnets_and_default_routes() {
    let link = Link::new(&[("10.77.0.2", 24), ("10.78.0.2", 16), ("fd77::2", 64)]);
    let routes: Vec<String> = link.stack.routes().map(|route| route.to_string()).collect();
    assert_eq!(
        routes,
        [
            "10.77.0.0/24",
            "10.78.0.0/16",
            "0.0.0.0/0",
            "fd77::/64",
            "::/0"
        ]
    );
}

/// `ip-route(8)` of Linux: what senders get from each type of route, and without one.
#[test]
fn what_has_no_route_or_one_that_refuses_is_an_error_of_each_call() {
    for (own, any, net, far, other) in [
        (
            "10.77.0.2",
            "0.0.0.0/0",
            "192.0.2.0/24",
            "192.0.2.1:9",
            "198.51.100.1:9",
        ),
        (
            "fd77::2",
            "::/0",
            "2001:db8:1::/48",
            "[2001:db8:1::1]:9",
            "[2001:db8:2::1]:9",
        ),
    ] {
        let mut link = Link::new(&[(own, 64.min(if own.contains(':') { 64 } else { 24 }))]);
        let stack = link.stack.clone();
        let unbound = SocketAddr::new(
            if own.contains(':') {
                ip("::")
            } else {
                ip("0.0.0.0")
            },
            0,
        );
        let bound = SocketAddr::new(ip(own), 0);
        let sockets = [unbound, bound].map(|local| udp(&stack, &local.to_string()));
        let outcomes = |to: &str| {
            let mut kinds = Vec::new();
            for socket in &sockets {
                kinds.push(send(socket, to).map_err(|error| error.kind()).map(|_| ()));
            }
            for local in [unbound, bound] {
                let connected = connect(&stack, &local.to_string(), to);
                kinds.push(connected.map_err(|error| error.kind()));
                let datagrams = udp(&stack, &local.to_string());
                let connected = datagrams.connect(to).now_or_never().expect("no wait");
                kinds.push(connected.map_err(|error| error.kind()));
            }
            kinds.dedup();
            kinds
        };
        assert_eq!(outcomes(far), [Ok(())]);
        for (kind, error) in [
            (RouteKind::Unreachable, ErrorKind::HostUnreachable),
            (RouteKind::Prohibit, ErrorKind::PermissionDenied),
            (RouteKind::Blackhole, ErrorKind::InvalidInput),
        ] {
            stack.replace_route(refusing(kind, net)).expect("replaced");
            assert_eq!(
                (outcomes(far), outcomes(other)),
                (vec![Err(error)], vec![Ok(())])
            );
        }
        stack.remove_route(prefix(net)).expect("removed");
        assert_eq!(outcomes(far), [Ok(())]);
        stack.remove_route(prefix(any)).expect("removed");
        let error = Err(ErrorKind::NetworkUnreachable);
        assert_eq!((outcomes(far), outcomes(other)), (vec![error], vec![error]));
        // Its own addresses, and groups, need no route.
        let itself = SocketAddr::new(ip(own), 7).to_string();
        assert_eq!(outcomes(&itself), [Ok(())]);
        stack.add_route(route(any)).expect("added");
        assert_eq!(outcomes(far), [Ok(())]);
        link.settle();
    }
}

#[test]
fn an_error_names_the_call_the_destination_and_the_route() {
    let link = Link::new(&[("10.77.0.2", 24)]);
    let prohibit = refusing(RouteKind::Prohibit, "192.0.2.0/24");
    link.stack.add_route(prohibit).expect("added");
    let error = send(&udp(&link.stack, "0.0.0.0:0"), "192.0.2.1:9").expect_err("refused");
    let text = "send: 192.0.2.1 is refused by the route prohibit 192.0.2.0/24";
    assert_eq!(error.to_string(), text);
    link.stack
        .remove_route(prefix("0.0.0.0/0"))
        .expect("removed");
    let error = connect(&link.stack, "10.77.0.2:0", "198.51.100.1:9").expect_err("no route");
    assert_eq!(
        error.to_string(),
        "connect: no route to 198.51.100.1: add one"
    );
}

/// A connected socket whose route is removed sends no more, and sends again when there is one.
#[test]
fn a_connected_socket_follows_the_routes() {
    let mut link = Link::new(&[("10.77.0.2", 24)]);
    let socket = udp(&link.stack, "10.77.0.2:9");
    let connected = socket.connect("192.0.2.1:9").now_or_never();
    connected.expect("no wait").expect("connected");
    let sends = || socket.send(b"?").now_or_never().expect("room");
    assert!(sends().is_ok());
    link.stack
        .remove_route(prefix("0.0.0.0/0"))
        .expect("removed");
    let error = sends().expect_err("no route");
    assert_eq!(error.kind(), ErrorKind::NetworkUnreachable);
    link.stack.add_route(route("192.0.0.0/8")).expect("added");
    assert!(sends().is_ok());
    assert_eq!(link.settle().len(), 2);
}

#[test]
fn a_route_chooses_the_source_and_the_length_of_packets() {
    let mut link = Link::new(&[("10.77.0.2", 24), ("10.78.0.2", 24)]);
    let (stack, far) = (link.stack.clone(), "192.0.2.1:9");
    let socket = udp(&stack, "0.0.0.0:0");
    let source =
        |sent: &[Vec<u8>]| IpAddr::from(<[u8; 4]>::try_from(&sent[0][12..16]).expect("four"));
    send(&socket, far).expect("sent");
    assert_eq!(source(&link.settle()), ip("10.77.0.2"));

    let second = Route {
        source: Some(ip("10.78.0.2")),
        mtu: Some(576),
        ..route("192.0.2.0/24")
    };
    stack.add_route(second).expect("added");
    socket
        .send_to(&[0; 1_000], far)
        .now_or_never()
        .expect("room")
        .expect("sent");
    let sent = link.settle();
    assert_eq!(source(&sent), ip("10.78.0.2"));
    assert!(
        sent.len() == 2 && sent.iter().all(|packet| packet.len() <= 576),
        "{sent:?}"
    );
    let mut connecting = Box::pin(TcpSocket::new_v4(&stack).connect(address(far)));
    assert!((&mut connecting).now_or_never().is_none());
    assert_eq!(source(&link.settle()), ip("10.78.0.2"));
    drop(connecting);
    link.settle();
    // A socket that is bound to an address keeps it.
    send(&udp(&stack, "10.77.0.2:0"), far).expect("sent");
    assert_eq!(source(&link.settle()), ip("10.77.0.2"));

    // The address goes, and with it the preference.
    stack
        .remove_address(prefix("10.78.0.2/24"))
        .expect("removed");
    send(&socket, far).expect("sent");
    assert_eq!(source(&link.settle()), ip("10.77.0.2"));
    assert!(stack.routes().any(|route| route
        == Route {
            source: None,
            ..second
        }));
}

/// RFC 9293 section 3.7.1: a segment is as long as what is known of its path, here the MTU of the route.
#[test]
fn segments_follow_the_mtu_of_the_route() {
    let mut link = Link::new(&[("10.77.0.2", 24)]);
    let slim = Route {
        mtu: Some(700),
        ..route("192.0.2.0/24")
    };
    link.stack.add_route(slim).expect("added");
    for (peer, longest) in [("192.0.2.1", 700), ("198.51.100.1", 1_500)] {
        let stream = open(&mut link, peer);
        let wrote = stream.try_write(&[7; 4_000]).expect("room");
        assert_eq!(wrote, 4_000);
        let sent = link.settle();
        let most = sent.iter().map(Vec::len).max();
        assert_eq!(most, Some(longest), "{peer}");
    }
}

/// Opens a connection of `peer` to the stack.
fn open(link: &mut Link, peer: &str) -> TcpStream {
    let (peer, own) = (ip(peer), ip("10.77.0.2"));
    let bound = TcpListener::bind(&link.stack, "10.77.0.2:80").now_or_never();
    let listener = bound.expect("no wait").expect("bound");
    let mut syn = forge::tcp(4_000, 80, 99, 0, SYN, &[2, 4, 5, 180]);
    // Its MSS option belongs to the header.
    syn[12] = 6 << 4;
    let sent = link.deliver(forge::packet_to(peer, own, 6, &syn));
    let iss = u32::from_be_bytes(sent[0][24..28].try_into().expect("four"));
    let ack = forge::tcp(4_000, 80, 100, iss.wrapping_add(1), ACK, b"");
    link.deliver(forge::packet_to(peer, own, 6, &ack));
    let accepted = listener.accept().now_or_never();
    accepted.expect("a connection").expect("accepted").0
}

#[test]
fn connections_in_place_are_not_disturbed() {
    let mut link = Link::new(&[("10.77.0.2", 24)]);
    let stream = open(&mut link, "192.0.2.1");
    link.stack
        .replace_route(refusing(RouteKind::Unreachable, "0.0.0.0/0"))
        .expect("replaced");
    assert_eq!(stream.try_write(b"hello").expect("room"), 5);
    let sent = link.settle();
    assert!(
        sent.iter().any(|packet| packet.ends_with(b"hello")),
        "{sent:?}"
    );
}

/// Handshakes, resets, pings and errors get no answer where nothing may be sent.
#[test]
fn nothing_is_answered_without_a_route_back() {
    let mut link = Link::new(&[("10.77.0.2", 24), ("fd77::2", 64)]);
    let bound = TcpListener::bind(&link.stack, "0.0.0.0:80").now_or_never();
    let _listener = bound.expect("no wait").expect("bound");
    let (from, own) = (ip("192.0.2.1"), ip("10.77.0.2"));
    let asks = |port: u16| {
        [
            forge::packet_to(from, own, 6, &forge::tcp(port, 80, 99, 0, SYN, b"")),
            forge::packet_to(from, own, 6, &forge::tcp(port, 81, 99, 0, SYN, b"")),
            forge::packet_to(from, own, 17, &forge::udp(port, 81, b"?")),
            forge::packet_to(from, own, 1, &forge::icmp(8, 0, [0, 1, 0, 1], b"?")),
            forge::packet_to(
                ip("2001:db8::1"),
                ip("fd77::2"),
                58,
                &forge::icmp(128, 0, [0, 1, 0, 1], b"?"),
            ),
        ]
    };
    for packet in asks(4_000) {
        assert_eq!(link.deliver(packet).len(), 1);
    }
    for any in ["0.0.0.0/0", "::/0"] {
        link.stack.remove_route(prefix(any)).expect("removed");
    }
    for (n, packet) in asks(4_001).into_iter().enumerate() {
        let dropped = link.no_route();
        let sent = link.deliver(packet);
        assert!(sent.is_empty(), "{n}: {sent:?}");
        assert_eq!(link.no_route(), dropped + 1, "{n}");
    }
}

#[test]
fn changes_that_are_refused_say_why() {
    let link = Link::new(&[("10.77.0.2", 24)]);
    let stack = &link.stack;
    let again = stack.add_route(route("10.77.0.0/24"));
    let duplicate = RouteError::Duplicate(prefix("10.77.0.0/24"));
    assert_eq!(again, Err(RouteChangeError::Refused(duplicate)));
    let foreign = Route {
        source: Some(ip("10.77.0.3")),
        ..route("192.0.2.0/24")
    };
    assert_eq!(
        stack.add_route(foreign),
        Err(RouteChangeError::Source(foreign))
    );
    let unknown = stack.remove_route(prefix("192.0.2.7/24"));
    assert_eq!(
        unknown,
        Err(RouteChangeError::Unknown(prefix("192.0.2.0/24")))
    );
    assert_eq!(stack.routes().count(), 2);
    // A default route that was removed does not come back with another address.
    stack.remove_route(prefix("0.0.0.0/0")).expect("removed");
    stack.add_address(prefix("10.79.0.1/24")).expect("added");
    assert!(stack.routes().all(|route| !route.prefix.is_empty()));
    // One of a family that it had none of does.
    stack.add_address(prefix("fd77::1/64")).expect("added");
    assert!(stack.routes().any(|route| route.prefix == prefix("::/0")));
}

/// RFC 5014: a socket prefers a temporary or a public source, whatever the stack does.
#[test]
fn a_socket_prefers_a_kind_of_source() {
    let mut link = Link::new(&[("2001:db8::1", 64)]);
    let stack = link.stack.clone();
    let temporary = AddressFlags {
        temporary: true,
        ..AddressFlags::default()
    };
    stack
        .add_address_with(prefix("2001:db8::7953/64"), temporary)
        .expect("added");
    let to = address("[2001:db8:9::9]:80");
    for stack_prefers in [true, false] {
        stack.prefer_temporary_addresses(stack_prefers);
        for (preference, is_temporary) in [
            (SourcePreference::Default, stack_prefers),
            (SourcePreference::Temporary, true),
            (SourcePreference::Public, false),
        ] {
            let socket = udp(&stack, "[::]:0");
            socket.set_source_preference(preference);
            send(&socket, "[2001:db8:9::9]:80").expect("sent");
            let connected = socket.connect(to).now_or_never();
            connected.expect("no wait").expect("connected");
            socket
                .send(b"?")
                .now_or_never()
                .expect("room")
                .expect("sent");
            let stream = TcpSocket::new_v6(&stack);
            stream.set_source_preference(preference);
            let mut connecting = Box::pin(stream.connect(to));
            assert!((&mut connecting).now_or_never().is_none());
            let sent = link.settle();
            let expected = ip(if is_temporary {
                "2001:db8::7953"
            } else {
                "2001:db8::1"
            });
            assert_eq!(sent.len(), 3);
            for packet in sent {
                let from = <[u8; 16]>::try_from(&packet[8..24]).expect("an address");
                assert_eq!(IpAddr::from(from), expected, "{preference:?}");
            }
        }
    }
}
