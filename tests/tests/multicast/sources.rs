//! Filters of sources on virtual time: whose datagrams a member gets, what routers are told, and what is refused.

use std::io::ErrorKind;
use std::net::IpAddr;
use std::time::Duration;

use netstack::net::UdpSocket;
use netstack::{Counter, DropReason};
use tests::forge;

use super::virtual_link::{Link, PEER_V4, PEER_V6, US_V4, datagram, received};
use super::{
    ALLOW, BLOCK, GROUP_V4, GROUP_V6, IS_EX, IS_IN, SourceRecord, TO_EX, TO_IN, igmp_source_query,
    mld_source_query, source_records,
};

/// The groups, each with the address of a wildcard and the start of its sources' addresses.
const FAMILIES: [(IpAddr, &str, &str); 2] = [
    (IpAddr::V4(GROUP_V4), "0.0.0.0:5000", "10.0.0."),
    (IpAddr::V6(GROUP_V6), "[::]:5000", "fe80::"),
];

/// A source, by the last number of its address.
fn source(start: &str, number: u8) -> IpAddr {
    format!("{start}{number}").parse().expect("an address")
}

fn join(socket: &UdpSocket, group: IpAddr) -> std::io::Result<()> {
    match group {
        IpAddr::V4(v4) => socket.join_multicast_v4(v4, US_V4),
        IpAddr::V6(v6) => socket.join_multicast_v6(&v6, 0),
    }
}

fn members<const N: usize>(link: &Link, address: &str) -> [UdpSocket; N] {
    [(); N].map(|()| UdpSocket::bind_shared(link.world.stack(), address).expect(address))
}

/// Returns the records of all reports among `packets`.
fn said(packets: &[Vec<u8>]) -> Vec<SourceRecord> {
    let reports = packets.iter().filter_map(|packet| source_records(packet));
    reports.flatten().collect()
}

#[test]
fn a_member_receives_from_the_sources_that_it_wants_and_no_others() {
    for (group, address, start) in FAMILIES {
        let mut link = Link::new();
        let [some, others, all] = members(&link, address);
        let source = |number| source(start, number);
        some.join_source_group(group, source(20)).expect("joined");
        join(&others, group).expect("joined");
        others.block_source(group, source(21)).expect("blocked");
        join(&all, group).expect("joined");
        let mut got = |number: u8| {
            link.send(datagram(source(number), group, 5_000, b"to all"));
            [&some, &others, &all].map(|member| received(member).is_some())
        };
        assert_eq!(got(20), [true, true, true]);
        assert_eq!(got(21), [false, false, true]);
        assert_eq!(got(22), [false, true, true]);
        some.join_source_group(group, source(22)).expect("joined");
        others.unblock_source(group, source(21)).expect("unblocked");
        assert_eq!(got(21), [false, true, true]);
        assert_eq!(got(22), [true, true, true]);
        some.leave_source_group(group, source(20)).expect("left");
        assert_eq!(got(20), [false, true, true]);
        // The one that goes without a taker has its reason.
        drop((others, all));
        link.send(datagram(source(21), group, 5_000, b"to all"));
        link.send(datagram(source(22), group, 5_001, b"to all"));
        assert_eq!(received(&some), None);
        assert_eq!(link.dropped(DropReason::GroupSourceUnwanted), 1);
        assert_eq!(link.dropped(DropReason::UdpNotJoined), 1, "another port");
        // With the last source the socket leaves the group.
        some.leave_source_group(group, source(22)).expect("left");
        link.send(datagram(source(22), group, 5_000, b"to all"));
        assert_eq!(link.dropped(DropReason::IpDestinationNotOurs), 1);
        let counters = link.world.stack().counters();
        assert_eq!(counters.count(Counter::IcmpErrorsSent), 0);
    }
}

#[test]
fn a_filter_counts_for_a_group_of_every_host_too() {
    let mut link = Link::new();
    let group = IpAddr::from([224, 0, 0, 1]);
    let socket = link.bind("0.0.0.0:5000");
    let [wanted, unwanted] = [20, 21].map(|number| source("10.0.0.", number));
    socket.join_source_group(group, wanted).expect("joined");
    for (from, is_wanted) in [(wanted, true), (unwanted, false)] {
        link.send(datagram(from, group, 5_000, b"to all"));
        assert_eq!(received(&socket).is_some(), is_wanted, "{from}");
    }
    assert_eq!(link.dropped(DropReason::GroupSourceUnwanted), 1);
    // Routers are told nothing of it.
    assert_eq!(said(&link.pass(Duration::from_secs(5))), []);
}

#[test]
fn a_ping_to_a_group_from_a_source_that_nobody_wants_is_not_answered() {
    let mut link = Link::new();
    let group = IpAddr::V6(GROUP_V6);
    let socket = link.bind("[::]:5000");
    let [wanted, unwanted] = [20, 21].map(|number| source("fe80::", number));
    socket.join_source_group(group, wanted).expect("joined");
    link.pass(Duration::from_secs(5));
    for (from, to, is_answered) in [
        (wanted, group, true),
        (unwanted, group, false),
        (unwanted, "ff02::1".parse().expect("an address"), true),
    ] {
        let ping = forge::icmp(128, 0, [1, 2, 3, 4], b"hello");
        let ping = forge::sealed(forge::packet_to(from, to, 58, &ping));
        assert_eq!(
            link.send(ping).len(),
            usize::from(is_answered),
            "{from} {to}"
        );
    }
    assert_eq!(link.dropped(DropReason::GroupSourceUnwanted), 1);
}

#[test]
fn routers_are_told_what_one_of_the_members_wants() {
    for (group, address, start) in FAMILIES {
        let mut link = Link::new();
        link.settle();
        let [first, second, third] = members(&link, address);
        let source = |number| source(start, number);
        let all = |numbers: &[u8]| numbers.iter().map(|number| source(*number)).collect();
        // Each change is reported twice: this host's robustness variable.
        let mut changed = |kind: u8, sources: &[u8]| {
            let record = (kind, group, all(sources));
            let said = said(&link.pass(Duration::from_secs(5)));
            assert_eq!(said, [record.clone(), record]);
        };
        first.join_source_group(group, source(20)).expect("joined");
        changed(ALLOW, &[20]);
        second.join_source_group(group, source(21)).expect("joined");
        changed(ALLOW, &[21]);
        join(&third, group).expect("joined");
        changed(TO_EX, &[]);
        // The third does not want it, but the first does.
        third.block_source(group, source(20)).expect("blocked");
        third.block_source(group, source(22)).expect("blocked");
        changed(BLOCK, &[22]);
        first.join_source_group(group, source(22)).expect("joined");
        changed(ALLOW, &[22]);
        drop(third);
        changed(TO_IN, &[20, 21, 22]);
        drop(second);
        changed(BLOCK, &[21]);
        drop(first);
        changed(BLOCK, &[20, 22]);
    }
}

#[test]
fn queries_about_sources_are_answered_for_those_that_are_wanted() {
    for (group, address, start) in FAMILIES {
        let mut link = Link::new();
        let member = link.bind(address);
        let source = |number| source(start, number);
        let all = |numbers: &[u8]| -> Vec<IpAddr> {
            numbers.iter().map(|number| source(*number)).collect()
        };
        let mut asked = |numbers: &[u8]| {
            link.pass(Duration::from_secs(5));
            let sources = all(numbers);
            let query = match group {
                IpAddr::V4(v4) => igmp_source_query(PEER_V4, Some(v4), 10, &sources),
                IpAddr::V6(v6) => mld_source_query(PEER_V6, Some(v6), 1_000, &sources),
            };
            assert_eq!(said(&link.send(query)), [], "not at once");
            said(&link.pass(Duration::from_secs(2)))
        };
        member.join_source_group(group, source(20)).expect("joined");
        member.join_source_group(group, source(21)).expect("joined");
        assert_eq!(asked(&[]), [(IS_IN, group, all(&[20, 21]))]);
        assert_eq!(asked(&[20, 22]), [(IS_IN, group, all(&[20]))]);
        assert_eq!(asked(&[22]), []);
        for number in [20, 21] {
            member
                .leave_source_group(group, source(number))
                .expect("left");
        }
        join(&member, group).expect("joined");
        member.block_source(group, source(20)).expect("blocked");
        assert_eq!(asked(&[]), [(IS_EX, group, all(&[20]))]);
        assert_eq!(asked(&[20, 22]), [(IS_IN, group, all(&[22]))]);
        assert_eq!(asked(&[20]), []);
    }
}

#[test]
fn sources_that_cannot_be_chosen_are_refused() {
    let link = Link::new();
    let (group, socket) = (IpAddr::V4(GROUP_V4), link.bind("0.0.0.0:5000"));
    let (a, b) = (source("10.0.0.", 20), source("10.0.0.", 21));
    let kind = |result: std::io::Result<()>| result.expect_err("refused").kind();
    for number in ["224.0.0.9", "0.0.0.0", "255.255.255.255", "fe80::9"] {
        let from = number.parse().expect("an address");
        let refused = kind(socket.join_source_group(group, from));
        assert_eq!(refused, ErrorKind::InvalidInput, "{number}");
    }
    let refused = kind(socket.join_source_group(a, b));
    assert_eq!(refused, ErrorKind::InvalidInput, "no group");
    let refused = kind(socket.join_source_group(GROUP_V6.into(), PEER_V6.into()));
    assert_eq!(refused, ErrorKind::InvalidInput, "the other family");
    // Either sources that are wanted, or such that are not.
    join(&socket, group).expect("joined");
    socket.block_source(group, a).expect("blocked");
    let refused = kind(socket.join_source_group(group, b));
    assert_eq!(refused, ErrorKind::InvalidInput);
    assert_eq!(
        kind(socket.block_source(group, a)),
        ErrorKind::AddrNotAvailable
    );
    assert_eq!(
        kind(socket.unblock_source(group, b)),
        ErrorKind::AddrNotAvailable
    );
    // 64 sources for each group of a socket, and so many in all.
    let from = |socket: &UdpSocket, third: u8| {
        let mut sources = (1..=255).map(|last| IpAddr::from([10, 1, third, last]));
        let refused = sources.find_map(|from| {
            let joined = socket.join_source_group(group, from).err()?;
            Some((from, joined.kind()))
        });
        refused.expect("too many")
    };
    let many: Vec<_> = (0..65)
        .map(|_| UdpSocket::bind_shared(link.world.stack(), "0.0.0.0:5001").expect("bound"))
        .collect();
    // One of them is taken: it is blocked.
    for (third, socket) in many.iter().enumerate().take(63) {
        let refused = from(socket, third as u8);
        let expected = IpAddr::from([10, 1, third as u8, 65]);
        assert_eq!(refused, (expected, ErrorKind::OutOfMemory));
    }
    assert_eq!(from(&many[63], 63).0, IpAddr::from([10, 1, 63, 64]));
    assert_eq!(from(&many[64], 64).0, IpAddr::from([10, 1, 64, 1]));
    let counters = link.world.stack().counters();
    assert_eq!(counters.count(Counter::GroupJoinsRefused), 65);
    drop(many);
    let [next] = members(&link, "0.0.0.0:5002");
    assert_eq!(from(&next, 0).0, IpAddr::from([10, 1, 0, 65]), "room again");
}
