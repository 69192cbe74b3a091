//! The source of what a stack sends, as its addresses change while it runs (RFC 6724).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures::FutureExt as _;
use netstack::base::Config;
use netstack::net::{AddressFlags, PolicyRow, PolicyTable, Stack, TcpSocket, UdpSocket};
use tests::forge;
use tools::virtual_stack::VirtualStack;

fn ip(text: &str) -> IpAddr {
    text.parse().expect(text)
}

/// A stack, and what it sends.
struct Link {
    world: VirtualStack,
    stack: Stack,
}

impl Link {
    fn new(addresses: &[&str]) -> Self {
        let addresses: Vec<_> = addresses.iter().map(|text| (ip(text), 64)).collect();
        let world = VirtualStack::new(Config::default(), &addresses, 1_500, 7).expect("a stack");
        let stack = world.stack().clone();
        Self { world, stack }
    }

    fn settle(&mut self) -> Vec<Vec<u8>> {
        let mut sent = Vec::new();
        let now = Duration::from_millis(1);
        self.world.settle(now, &mut sent).expect("at rest");
        sent
    }

    /// Returns the sources of a datagram and of a SYN to `dst` of sockets that are bound to no address.
    fn sources(&mut self, dst: &str) -> [IpAddr; 2] {
        let to = SocketAddr::new(ip(dst), 80);
        let socket = UdpSocket::bind_now(&self.stack, "[::]:0").expect("bound");
        let sent = socket.send_to(b"?", to).now_or_never();
        sent.expect("room").expect("sent");
        let mut connecting = Box::pin(TcpSocket::new_v6(&self.stack).connect(to));
        assert!((&mut connecting).now_or_never().is_none());
        let sent = self.settle();
        let source = |next_header: u8| {
            let packet = sent.iter().find(|packet| packet[6] == next_header);
            let from = &packet.expect("a packet")[8..24];
            IpAddr::from(<[u8; 16]>::try_from(from).expect("an address"))
        };
        [source(17), source(6)]
    }
}

const DEPRECATED: AddressFlags = AddressFlags {
    deprecated: true,
    temporary: false,
};
const TEMPORARY: AddressFlags = AddressFlags {
    deprecated: false,
    temporary: true,
};

#[test]
fn sources_follow_the_addresses_as_they_change() {
    let mut link = Link::new(&["2001:db8::1", "fe80::1"]);
    let (far, near) = ("2001:db8:9::9", "fe80::9");
    assert_eq!(link.sources(far), [ip("2001:db8::1"); 2]);
    assert_eq!(link.sources(near), [ip("fe80::1"); 2]);

    let stack = link.stack.clone();
    let temporary = "2001:db8::7953/64".parse().expect("a prefix");
    stack.add_address_with(temporary, TEMPORARY).expect("added");
    assert_eq!(link.sources(far), [ip("2001:db8::7953"); 2]);
    stack.prefer_temporary_addresses(false);
    assert_eq!(link.sources(far), [ip("2001:db8::1"); 2]);

    let set = stack.set_address_flags(ip("2001:db8::1"), DEPRECATED);
    set.expect("ours");
    assert_eq!(link.sources(far), [ip("2001:db8::7953"); 2]);
    // One that is deprecated still receives, and sends if the program asks for it.
    let bound = UdpSocket::bind_now(&stack, "[2001:db8::1]:7").expect("bound");
    let packet = forge::packet_to(ip(far), ip("2001:db8::1"), 17, &forge::udp(9, 7, b"hello"));
    link.world.deliver(forge::sealed(packet), 0);
    link.settle();
    let received = bound.recv_from(&mut [0; 8]).now_or_never();
    assert!(received.is_some());
    assert!(
        stack
            .set_address_flags(ip("2001:db8::2"), DEPRECATED)
            .is_err()
    );

    stack.remove_address(temporary).expect("removed");
    assert_eq!(link.sources(far), [ip("2001:db8::1"); 2]);
}

#[test]
fn sources_follow_the_policy_table() {
    let mut link = Link::new(&["2001:db8:1::1", "2001:db8:2::1"]);
    let dst = "2001:db8:1::9";
    assert_eq!(link.sources(dst), [ip("2001:db8:1::1"); 2]);
    let mut rows = PolicyTable::default().rows().to_vec();
    for prefix in ["2001:db8:2::/48", "2001:db8:1::9/128"] {
        rows.push(PolicyRow {
            prefix: prefix.parse().expect(prefix),
            precedence: 43,
            label: 6,
        });
    }
    let table = PolicyTable::new(rows).expect("a table");
    link.stack.set_policy_table(table);
    assert_eq!(link.sources(dst), [ip("2001:db8:2::1"); 2]);
    let mut found =
        ["[2001:db8:5::5]:80", "[2001:db8:1::9]:80"].map(|text| text.parse().expect(text));
    link.stack.sort_destinations(&mut found);
    assert_eq!(
        found.map(|found: SocketAddr| found.ip()),
        [ip(dst), ip("2001:db8:5::5")]
    );
}

/// RFC 6437: all packets of a flow have its label, and another flow has another one.
#[test]
fn each_flow_of_ipv6_has_one_label() {
    let mut link = Link::new(&["2001:db8::1"]);
    let label = |packet: &[u8]| u32::from_be_bytes([0, packet[1] & 0xf, packet[2], packet[3]]);
    let socket = UdpSocket::bind_now(&link.stack, "[::]:7").expect("bound");
    for to in ["[2001:db8::9]:9", "[2001:db8::9]:9", "[2001:db8::9]:10"] {
        let sent = socket.send_to(b"hello", to).now_or_never();
        sent.expect("room").expect("sent");
    }
    let sent = link.settle();
    let labels: Vec<u32> = sent.iter().map(|packet| label(packet)).collect();
    assert!(
        labels[0] != 0 && labels[0] == labels[1] && labels[1] != labels[2],
        "{labels:x?}"
    );
    let remote: SocketAddr = "[2001:db8::9]:80".parse().expect("an address");
    let mut connecting = Box::pin(TcpSocket::new_v6(&link.stack).connect(remote));
    assert!((&mut connecting).now_or_never().is_none());
    let mut sent = Vec::new();
    for second in [0, 2, 5] {
        let now = Duration::from_millis(second * 1_000 + 1);
        link.world.settle(now, &mut sent).expect("at rest");
    }
    let labels: Vec<u32> = sent.iter().map(|packet| label(packet)).collect();
    assert!(labels.len() == 3 && labels[0] != 0, "{labels:x?}");
    assert!(
        labels.iter().all(|other| *other == labels[0]),
        "{labels:x?}"
    );
}

/// The zone of a link-local address says which link it is on. A stack has one, so every zone is that.
#[test]
fn a_zone_of_a_peer_does_not_matter() {
    let mut link = Link::new(&["fe80::1"]);
    let socket = UdpSocket::bind_now(&link.stack, "[fe80::1%3]:7").expect("bound");
    let connected = socket.connect("[fe80::9%3]:9").now_or_never();
    connected.expect("at once").expect("connected");
    let sent = socket.send(b"hello").now_or_never();
    sent.expect("room").expect("sent");
    assert_eq!(link.settle().len(), 1);
    let packet = forge::packet_to(
        ip("fe80::9"),
        ip("fe80::1"),
        17,
        &forge::udp(9, 7, b"answer"),
    );
    link.world.deliver(forge::sealed(packet), 0);
    link.settle();
    let mut buffer = [0; 16];
    let received = socket.recv(&mut buffer).now_or_never();
    assert_eq!(received.expect("received").expect("no error"), 6);
}
