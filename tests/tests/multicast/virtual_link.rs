//! Groups on virtual time, with packets made by hand.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use futures::FutureExt as _;
use netstack::base::Config;
use netstack::net::UdpSocket;
use netstack::{Counter, DropReason};
use tests::forge;
use tools::virtual_stack::VirtualStack;

use super::{GROUP_V4, GROUP_V6, IS_EX, TO_EX, TO_IN, igmp_query, mld_query, records};

pub(super) const US_V4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
pub(super) const PEER_V4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 9);
pub(super) const US_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
pub(super) const PEER_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 9);

/// A stack, and the link to it.
pub(super) struct Link {
    pub(super) world: VirtualStack,
    now: Duration,
    next: Option<Duration>,
}

impl Link {
    pub(super) fn new() -> Self {
        let addresses = [(IpAddr::V4(US_V4), 8), (IpAddr::V6(US_V6), 64)];
        let world = VirtualStack::new(Config::default(), &addresses, 1_500, 7).expect("a stack");
        Self {
            world,
            now: Duration::from_millis(1),
            next: None,
        }
    }

    pub(super) fn bind(&self, address: &str) -> UdpSocket {
        UdpSocket::bind_now(self.world.stack(), address).expect(address)
    }

    pub(super) fn settle(&mut self) -> Vec<Vec<u8>> {
        let mut sent = Vec::new();
        self.next = self.world.settle(self.now, &mut sent).expect("at rest");
        sent
    }

    pub(super) fn send(&mut self, packet: Vec<u8>) -> Vec<Vec<u8>> {
        self.world.deliver(packet, 0);
        self.settle()
    }

    pub(super) fn pass(&mut self, time: Duration) -> Vec<Vec<u8>> {
        let end = self.now + time;
        let mut sent = self.settle();
        while let Some(next) = self.next.filter(|next| *next <= end) {
            self.now = next.max(self.now);
            sent.extend(self.settle());
        }
        self.now = end;
        sent
    }

    pub(super) fn dropped(&self, reason: DropReason) -> u64 {
        self.world.stack().counters().dropped(reason)
    }
}

pub(super) fn received(socket: &UdpSocket) -> Option<Vec<u8>> {
    let mut buffer = [0; 64];
    let (len, _) = socket
        .recv_from(&mut buffer)
        .now_or_never()?
        .expect("no error");
    Some(buffer[..len].to_vec())
}

pub(super) fn datagram(from: IpAddr, to: IpAddr, port: u16, payload: &[u8]) -> Vec<u8> {
    forge::sealed(forge::packet_to(
        from,
        to,
        17,
        &forge::udp(4_000, port, payload),
    ))
}

fn to_group_v4(port: u16) -> Vec<u8> {
    datagram(PEER_V4.into(), GROUP_V4.into(), port, b"to all")
}

#[test]
fn every_joined_socket_gets_a_datagram_and_no_other_does() {
    let mut link = Link::new();
    let stack = link.world.stack().clone();
    let wildcard = link.bind("0.0.0.0:5000");
    let bound = link.bind(&format!("{GROUP_V4}:5000"));
    let unicast = link.bind(&format!("{US_V4}:5000"));
    let other_port = link.bind("0.0.0.0:5001");
    link.send(to_group_v4(5_000));
    assert_eq!(
        link.dropped(DropReason::IpDestinationNotOurs),
        1,
        "no member"
    );
    for socket in [&wildcard, &bound, &unicast, &other_port] {
        assert_eq!(received(socket), None);
    }

    other_port
        .join_multicast_v4(GROUP_V4, US_V4)
        .expect("joined");
    link.send(to_group_v4(5_000));
    assert_eq!(
        link.dropped(DropReason::UdpNotJoined),
        1,
        "no member at this port"
    );
    for socket in [&wildcard, &bound, &unicast, &other_port] {
        assert_eq!(received(socket), None);
    }

    for socket in [&wildcard, &bound, &unicast] {
        let joined = socket.join_multicast_v4(GROUP_V4, Ipv4Addr::UNSPECIFIED);
        joined.expect("joined");
    }
    link.send(to_group_v4(5_000));
    assert_eq!(received(&wildcard).as_deref(), Some(&b"to all"[..]));
    assert_eq!(received(&bound).as_deref(), Some(&b"to all"[..]));
    assert_eq!(received(&unicast), None, "bound to another address");
    assert_eq!(received(&other_port), None);

    // A socket of the group gets nothing that is for the host.
    drop(unicast);
    link.send(datagram(PEER_V4.into(), US_V4.into(), 5_000, b"to one"));
    assert_eq!(received(&wildcard).as_deref(), Some(&b"to one"[..]));
    assert_eq!(received(&bound), None);
    let left = wildcard.leave_multicast_v4(GROUP_V4, Ipv4Addr::UNSPECIFIED);
    left.expect("left");
    link.send(to_group_v4(5_000));
    assert_eq!(
        (received(&wildcard), received(&bound).is_some()),
        (None, true)
    );
    drop((bound, other_port));
    link.send(to_group_v4(5_000));
    assert_eq!(
        link.dropped(DropReason::IpDestinationNotOurs),
        2,
        "the last one left"
    );
    assert_eq!(stack.counters().dropped(DropReason::UdpNoSocket), 0);
}

#[test]
fn each_of_the_sockets_of_the_workers_that_joined_gets_a_copy() {
    let mut link = Link::new();
    let any = "[::]:5000".parse().expect("an address");
    let sockets = UdpSocket::bind_per_worker(link.world.stack(), any).expect("bound");
    for socket in &sockets {
        socket.join_multicast_v6(&GROUP_V6, 1).expect("joined");
    }
    link.send(datagram(PEER_V6.into(), GROUP_V6.into(), 5_000, b"to all"));
    assert!(sockets.iter().all(|socket| received(socket).is_some()));
}

#[test]
fn a_datagram_to_a_group_is_never_answered_by_an_error() {
    let mut link = Link::new();
    let member = link.bind("0.0.0.0:5001");
    member.join_multicast_v4(GROUP_V4, US_V4).expect("joined");
    link.pass(Duration::from_secs(5));
    // No socket at the port, an unknown protocol, a group of every host, and a broadcast for comparison.
    for packet in [
        to_group_v4(5_000),
        forge::packet_to(PEER_V4.into(), GROUP_V4.into(), 200, b"what?"),
        datagram(PEER_V4.into(), [224, 0, 0, 1].into(), 5_000, b"?"),
        datagram(PEER_V4.into(), [10, 255, 255, 255].into(), 5_000, b"?"),
    ] {
        assert_eq!(link.send(packet), Vec::<Vec<u8>>::new());
    }
    assert_eq!(link.dropped(DropReason::UdpNotJoined), 2);
    assert_eq!(link.dropped(DropReason::UdpNoSocket), 1);
    let counters = link.world.stack().counters();
    assert_eq!(counters.count(Counter::IcmpErrorsSent), 0);
}

#[test]
fn joins_and_leaves_are_reported_and_queries_answered() {
    let mut link = Link::new();
    let (v4, v6) = (link.bind("0.0.0.0:5000"), link.bind("[::]:5000"));
    v4.join_multicast_v4(GROUP_V4, US_V4).expect("joined");
    v6.join_multicast_v6(&GROUP_V6, 0).expect("joined");
    let at_once = link.settle();
    let found: Vec<_> = at_once
        .iter()
        .filter_map(|packet| records(packet))
        .collect();
    let groups = [IpAddr::V4(GROUP_V4), IpAddr::V6(GROUP_V6)];
    assert_eq!(found, groups.map(|group| vec![(TO_EX, group, 0)]));
    let again = link.pass(Duration::from_secs(2));
    assert_eq!(again.len(), 2, "the robustness variable is two");

    assert!(
        link.send(igmp_query(PEER_V4, None, 10)).is_empty(),
        "not at once"
    );
    assert!(
        link.send(mld_query(PEER_V6, 1_000)).is_empty(),
        "not at once"
    );
    let answers = link.pass(Duration::from_secs(2));
    let mut found: Vec<_> = answers
        .iter()
        .filter_map(|packet| records(packet))
        .collect();
    found.sort();
    assert_eq!(found, groups.map(|group| vec![(IS_EX, group, 0)]));

    // A second member changes nothing that routers need to know.
    let second = link.bind("10.0.0.1:5001");
    second.join_multicast_v4(GROUP_V4, US_V4).expect("joined");
    drop(v4);
    assert_eq!(link.pass(Duration::from_secs(5)), Vec::<Vec<u8>>::new());
    drop(second);
    let found: Vec<_> = link
        .settle()
        .iter()
        .filter_map(|packet| records(packet))
        .collect();
    assert_eq!(found, [vec![(TO_IN, IpAddr::V4(GROUP_V4), 0)]]);
    let counters = link.world.stack().counters();
    assert_eq!(counters.count(Counter::GroupQueries), 2);
    assert_eq!(counters.count(Counter::GroupReports), 7);
}

#[test]
fn queries_from_elsewhere_and_damaged_ones_are_counted_and_not_answered() {
    let mut link = Link::new();
    let member = link.bind("0.0.0.0:5000");
    member.join_multicast_v4(GROUP_V4, US_V4).expect("joined");
    let member = link.bind("[::]:5000");
    member.join_multicast_v6(&GROUP_V6, 0).expect("joined");
    link.pass(Duration::from_secs(5));
    let mut no_alert = igmp_query(PEER_V4, None, 1);
    // No-operations in the place of the option.
    no_alert[20..24].copy_from_slice(&[1, 1, 1, 1]);
    forge::seal_v4(&mut no_alert);
    let mut damaged = igmp_query(PEER_V4, None, 1);
    damaged[26] ^= 1;
    let routed = mld_query("2001:db8::1".parse().expect("an address"), 100);
    for packet in [no_alert, damaged, routed] {
        link.send(packet);
    }
    assert_eq!(link.pass(Duration::from_secs(60)), Vec::<Vec<u8>>::new());
    assert_eq!(link.dropped(DropReason::IgmpIgnored), 1);
    assert_eq!(link.dropped(DropReason::IgmpMalformed), 1);
    assert_eq!(link.dropped(DropReason::IcmpIgnored), 1);
}

#[test]
fn groups_are_reported_again_once_the_host_has_a_link_local_address() {
    let mut link = Link::new();
    let stack = link.world.stack().clone();
    stack
        .add_address("2001:db8::1/64".parse().expect("a prefix"))
        .expect("added");
    stack
        .remove_address("fe80::1/64".parse().expect("a prefix"))
        .expect("removed");
    let member = link.bind("[::]:5000");
    member.join_multicast_v6(&GROUP_V6, 0).expect("joined");
    let sent = link.pass(Duration::from_secs(5));
    assert!(sent.len() == 2 && sent.iter().all(|packet| packet[8..24] == [0; 16]));
    stack
        .add_address("fe80::2/64".parse().expect("a prefix"))
        .expect("added");
    let sent = link.pass(Duration::from_secs(5));
    assert_eq!(sent.len(), 2);
    for packet in sent {
        let from: [u8; 16] = packet[8..24].try_into().expect("an address");
        assert_eq!(
            IpAddr::from(from),
            "fe80::2".parse::<IpAddr>().expect("an address")
        );
        assert_eq!(records(&packet), Some(vec![(TO_EX, GROUP_V6.into(), 0)]));
    }
}

#[test]
fn senders_choose_how_far_a_datagram_goes_and_whether_it_stays() {
    let mut link = Link::new();
    let member = link.bind("0.0.0.0:5000");
    member.join_multicast_v4(GROUP_V4, US_V4).expect("joined");
    let sender = link.bind("10.0.0.1:0");
    sender.set_ttl(77).expect("a time to live");
    link.pass(Duration::from_secs(5));
    let to = SocketAddr::from((GROUP_V4, 5_000));
    for (ttl, looped) in [(1, true), (16, true), (16, false), (0, true)] {
        sender.set_multicast_ttl_v4(ttl).expect("a time to live");
        sender.set_multicast_loop_v4(looped).expect("set");
        let sent = sender.send_to(b"to all", to).now_or_never();
        sent.expect("room").expect("sent");
        let sent = link.settle();
        let ttls: Vec<u32> = sent.iter().map(|packet| packet[8].into()).collect();
        let expected: &[u32] = if ttl == 0 { &[] } else { &[ttl] };
        assert_eq!(ttls, expected);
        assert_eq!(received(&member).is_some(), looped, "{ttl} {looped}");
    }
    // A member sends to its own group, from an address of the host.
    let group = link.bind(&format!("{GROUP_V4}:5001"));
    let sent = group.send_to(b"to all", to).now_or_never();
    sent.expect("room").expect("sent");
    let sent = link.settle();
    assert_eq!(sent[0][12..16], US_V4.octets());
    // A connected socket sends to its group, and hears nobody else.
    sender.set_multicast_ttl_v4(1).expect("a time to live");
    sender
        .connect(to)
        .now_or_never()
        .expect("now")
        .expect("connected");
    let sent = sender.send(b"to all").now_or_never();
    sent.expect("room").expect("sent");
    assert_eq!(link.settle().len(), 1);
}

#[test]
fn what_cannot_be_joined_is_refused() {
    let link = Link::new();
    let socket = link.bind("0.0.0.0:5000");
    let join = |group: [u8; 4], interface: [u8; 4]| {
        let joined = socket.join_multicast_v4(group.into(), interface.into());
        joined.map_err(|error| error.kind())
    };
    assert_eq!(join([10, 0, 0, 9], [0; 4]), Err(ErrorKind::InvalidInput));
    assert_eq!(
        join([239, 0, 0, 1], [10, 0, 0, 9]),
        Err(ErrorKind::AddrNotAvailable)
    );
    assert_eq!(join([239, 0, 0, 1], [10, 0, 0, 1]), Ok(()));
    assert_eq!(
        join([239, 0, 0, 1], [10, 0, 0, 1]),
        Err(ErrorKind::AddrInUse)
    );
    let kind = |result: std::io::Result<()>| result.expect_err("refused").kind();
    let v6 = socket.join_multicast_v6(&GROUP_V6, 0);
    assert_eq!(kind(v6), ErrorKind::InvalidInput);
    let elsewhere = socket.join_multicast_v6(&GROUP_V6, 2);
    assert_eq!(kind(elsewhere), ErrorKind::AddrNotAvailable);
    let left = socket.leave_multicast_v4([239, 0, 0, 2].into(), [0; 4].into());
    assert_eq!(kind(left), ErrorKind::AddrNotAvailable);
    // The stack's limit.
    let refused = (0..300u16).find_map(|n| join([239, 1, (n >> 8) as u8, n as u8], [0; 4]).err());
    assert_eq!(refused, Some(ErrorKind::OutOfMemory));
    let counters = link.world.stack().counters();
    assert_eq!(counters.count(Counter::GroupJoinsRefused), 1);
}

/// A flood of queries and of datagrams to groups leaves the stack as it was.
#[test]
fn floods_of_queries_are_answered_by_few_reports() {
    let mut link = Link::new();
    let member = link.bind("0.0.0.0:5000");
    member.join_multicast_v4(GROUP_V4, US_V4).expect("joined");
    link.pass(Duration::from_secs(5));
    let mut sent = 0;
    for n in 0..10_000u32 {
        let group = (n % 3 != 0).then_some(GROUP_V4);
        link.world.deliver(igmp_query(PEER_V4, group, 10), 0);
        link.world.deliver(to_group_v4(6_000), 0);
        sent += link.pass(Duration::from_millis(1)).len();
    }
    assert!(sent > 0 && sent < 1_000, "{sent} reports in ten seconds");
    assert_eq!(link.world.stack().memory().used, 0);
}
