//! Messages from elsewhere, groups that every host is a member of, and scopes that no link has.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use netstack::net::{EchoSocket, UdpSocket};
use netstack::{Counter, DropReason};

use super::virtual_link::{Link, PEER_V4, PEER_V6, US_V4, US_V6, datagram, received};
use super::{GROUP_V4, GROUP_V6, igmp_packet, igmp_query, mld_packet};

const ALL_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 1);
const ALL_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

fn ip6(text: &str) -> Ipv6Addr {
    text.parse().expect(text)
}

/// Builds the report of IGMPv2 about [`GROUP_V4`].
fn igmp_report(to: Ipv4Addr) -> Vec<u8> {
    let message = [&[0x16, 0, 0, 0][..], &GROUP_V4.octets()].concat();
    igmp_packet(PEER_V4, to, message)
}

/// Builds a message of MLDv1: a general query that allows ten seconds, or the report about [`GROUP_V6`].
fn mld_v1(kind: u8, from: Ipv6Addr, to: Ipv6Addr) -> Vec<u8> {
    let (millis, group) = match kind {
        130 => (10_000u16, Ipv6Addr::UNSPECIFIED),
        _ => (0, GROUP_V6),
    };
    let [high, low] = millis.to_be_bytes();
    let fields = [kind, 0, 0, 0, high, low, 0, 0];
    mld_packet(from, to, [&fields[..], &group.octets()].concat())
}

fn send(socket: &UdpSocket, to: SocketAddr) {
    let sent = socket.send_to(b"to all", to).now_or_never();
    sent.expect("room").expect("sent");
}

#[test]
fn igmp_reports_and_queries_of_old_versions_from_elsewhere_change_nothing() {
    let mut link = Link::new();
    let member = link.bind("0.0.0.0:5000");
    member.join_multicast_v4(GROUP_V4, US_V4).expect("joined");
    link.pass(Duration::from_secs(5));
    // A query of version 1 to the host alone does not make it speak that version.
    let query_v1 = [0x11, 0, 0, 0, 0, 0, 0, 0];
    link.send(igmp_packet(PEER_V4, US_V4, query_v1.to_vec()));
    assert_eq!(link.dropped(DropReason::IgmpIgnored), 1);

    let query_v2 = [0x11, 100, 0, 0, 0, 0, 0, 0];
    let query_v2 = igmp_packet(PEER_V4, ALL_V4, query_v2.to_vec());
    link.send(query_v2.clone());
    link.send(igmp_report(US_V4));
    link.send(igmp_report(ALL_V4));
    assert_eq!(link.dropped(DropReason::IgmpIgnored), 3);
    let answers = link.pass(Duration::from_secs(11));
    assert_eq!(answers.len(), 1, "still reported by this host");
    assert_eq!(answers[0][24], 0x16, "in version 2");

    link.send(query_v2);
    link.send(igmp_report(GROUP_V4));
    let answers = link.pass(Duration::from_secs(11));
    assert_eq!(answers, Vec::<Vec<u8>>::new(), "a neighbour reported it");
    assert_eq!(link.dropped(DropReason::IgmpIgnored), 3);
}

#[test]
fn mld_reports_and_queries_of_old_versions_from_elsewhere_change_nothing() {
    let mut link = Link::new();
    let member = link.bind("[::]:5000");
    member.join_multicast_v6(&GROUP_V6, 0).expect("joined");
    link.pass(Duration::from_secs(5));
    link.send(mld_v1(130, PEER_V6, GROUP_V6));
    assert_eq!(link.dropped(DropReason::IcmpIgnored), 1, "a general query");

    link.send(mld_v1(130, PEER_V6, ALL_V6));
    let mut far = mld_v1(131, PEER_V6, GROUP_V6);
    far[7] = 2;
    for report in [
        mld_v1(131, PEER_V6, US_V6),
        mld_v1(131, PEER_V6, ALL_V6),
        mld_v1(131, ip6("2001:db8::9"), GROUP_V6),
        far,
    ] {
        link.send(report);
    }
    assert_eq!(link.dropped(DropReason::IcmpIgnored), 5);
    let answers = link.pass(Duration::from_secs(11));
    assert_eq!(answers.len(), 1, "still reported by this host");
    assert_eq!(answers[0][48], 131, "in version 1");

    link.send(mld_v1(130, PEER_V6, ALL_V6));
    link.send(mld_v1(131, PEER_V6, GROUP_V6));
    let answers = link.pass(Duration::from_secs(11));
    assert_eq!(answers, Vec::<Vec<u8>>::new(), "a neighbour reported it");
    assert_eq!(link.dropped(DropReason::IcmpIgnored), 5);
}

#[test]
fn a_switch_without_an_address_may_ask() {
    let mut link = Link::new();
    let member = link.bind("0.0.0.0:5000");
    member.join_multicast_v4(GROUP_V4, US_V4).expect("joined");
    link.pass(Duration::from_secs(5));
    link.send(igmp_query(Ipv4Addr::UNSPECIFIED, None, 10));
    assert_eq!(link.pass(Duration::from_secs(2)).len(), 1);
    let counters = link.world.stack().counters();
    assert_eq!(counters.count(Counter::GroupQueries), 1);
    assert_eq!(link.dropped(DropReason::IpSourceInvalid), 0);
}

#[test]
fn what_is_sent_right_after_a_join_is_looped_back() {
    let mut link = Link::new();
    let member = Arc::new(link.bind("0.0.0.0:5000"));
    link.settle();
    let joining = Arc::clone(&member);
    let to = SocketAddr::from((GROUP_V4, 5_000));
    link.world.spawn(async move {
        let joined = joining.join_multicast_v4(GROUP_V4, US_V4);
        joined.expect("joined");
        joining.send_to(b"to all", to).await.expect("sent");
    });
    link.settle();
    assert_eq!(received(&member).as_deref(), Some(&b"to all"[..]));
}

#[test]
fn a_datagram_that_neither_leaves_the_host_nor_has_a_member_is_counted() {
    let mut link = Link::new();
    let sender = link.bind("10.0.0.1:0");
    sender.set_multicast_ttl_v4(0).expect("a time to live");
    let to = SocketAddr::from((GROUP_V4, 5_000));
    send(&sender, to);
    assert_eq!(link.settle(), Vec::<Vec<u8>>::new());
    assert_eq!(link.dropped(DropReason::UdpNotJoined), 1, "no member");
    let member = link.bind("0.0.0.0:5000");
    member.join_multicast_v4(GROUP_V4, US_V4).expect("joined");
    link.pass(Duration::from_secs(5));
    send(&sender, to);
    link.settle();
    assert!(received(&member).is_some());
    assert_eq!(link.dropped(DropReason::UdpNotJoined), 1);
    sender.set_multicast_loop_v4(false).expect("set");
    send(&sender, to);
    assert_eq!(link.settle(), Vec::<Vec<u8>>::new());
    assert_eq!(received(&member), None);
    assert_eq!(link.dropped(DropReason::UdpNotJoined), 2, "not looped back");
}

#[test]
fn a_socket_that_joined_nothing_receives_what_is_for_every_host() {
    let mut link = Link::new();
    let (v4, v6) = (link.bind("0.0.0.0:5000"), link.bind("[::]:5000"));
    link.send(datagram(PEER_V4.into(), ALL_V4.into(), 5_000, b"v4"));
    assert_eq!(received(&v4).as_deref(), Some(&b"v4"[..]));
    for group in [ALL_V6, ip6("ff02::1:ff00:1")] {
        link.send(datagram(PEER_V6.into(), group.into(), 5_000, b"v6"));
        assert_eq!(received(&v6).as_deref(), Some(&b"v6"[..]), "{group}");
    }
    // Not what is for a group that another socket joined.
    let member = link.bind("0.0.0.0:5001");
    member.join_multicast_v4(GROUP_V4, US_V4).expect("joined");
    link.send(datagram(PEER_V4.into(), GROUP_V4.into(), 5_000, b"?"));
    assert_eq!(received(&v4), None);
    assert_eq!(link.dropped(DropReason::UdpNotJoined), 1);
}

#[test]
fn a_broadcast_reaches_each_socket_at_the_port_once() {
    let mut link = Link::new();
    let bind = |address| UdpSocket::bind_shared(link.world.stack(), address).expect("bound");
    let wildcards = [(); 3].map(|()| bind("0.0.0.0:5000"));
    let own = bind("10.0.0.1:5000");
    let connected = bind("0.0.0.0:5000");
    let peer = SocketAddr::from((PEER_V4, 4_000));
    let done = connected.connect(peer).now_or_never();
    done.expect("at once").expect("connected");
    for to in [[255; 4], [10, 255, 255, 255]] {
        link.send(datagram(PEER_V4.into(), to.into(), 5_000, b"to all"));
        for wildcard in &wildcards {
            assert_eq!(received(wildcard).as_deref(), Some(&b"to all"[..]));
            assert_eq!(received(wildcard), None);
        }
        assert_eq!([received(&own), received(&connected)], [None, None]);
    }
    let nobody = link.send(datagram(PEER_V4.into(), [255; 4].into(), 5_001, b"?"));
    assert_eq!(nobody, Vec::<Vec<u8>>::new(), "no error answers it");
    assert_eq!(link.dropped(DropReason::UdpNoSocket), 1);
}

#[test]
fn groups_of_scope_0_and_1_never_cross_the_link() {
    let mut link = Link::new();
    let (here, reserved) = (ip6("ff01::123"), ip6("ff10::123"));
    let member = link.bind("[::]:5000");
    member.join_multicast_v6(&here, 0).expect("joined");
    let refused = member.join_multicast_v6(&reserved, 0);
    assert_eq!(
        refused.expect_err("refused").kind(),
        ErrorKind::InvalidInput
    );
    link.pass(Duration::from_secs(5));
    for group in [here, ip6("ff01::1"), reserved] {
        link.send(datagram(PEER_V6.into(), group.into(), 5_000, b"?"));
        assert_eq!(received(&member), None, "{group}");
    }
    assert_eq!(link.dropped(DropReason::IpDestinationNotOurs), 3);

    let sender = link.bind(&format!("[{US_V6}]:0"));
    sender.set_multicast_hops_v6(9).expect("a hop limit");
    send(&sender, SocketAddr::from((here, 5_000)));
    assert_eq!(link.settle(), Vec::<Vec<u8>>::new());
    assert!(received(&member).is_some(), "looped back");
    send(&sender, SocketAddr::from((reserved, 5_000)));
    let echo = EchoSocket::bind(link.world.stack(), Ipv6Addr::UNSPECIFIED.into()).expect("bound");
    let asked = echo.send_to(b"?", 1, IpAddr::V6(here)).now_or_never();
    asked.expect("room").expect("sent");
    assert_eq!(link.settle(), Vec::<Vec<u8>>::new());
    assert_eq!(link.dropped(DropReason::UdpNotJoined), 2);
}

#[test]
fn echo_requests_to_groups_have_the_time_to_live_that_was_set() {
    let mut link = Link::new();
    let echo = EchoSocket::bind(link.world.stack(), Ipv4Addr::UNSPECIFIED.into()).expect("bound");
    for (set, expected) in [(None, 1), (Some(5), 5)] {
        if let Some(ttl) = set {
            echo.set_ttl(ttl).expect("a time to live");
        }
        let asked = echo.send_to(b"?", 1, ALL_V4.into()).now_or_never();
        asked.expect("room").expect("sent");
        let sent = link.settle();
        let ttls: Vec<u8> = sent.iter().map(|packet| packet[8]).collect();
        assert_eq!(ttls, [expected]);
    }
}
