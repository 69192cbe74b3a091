//! The packets of reports, the queries that are believed, and floods of them.

use super::*;

#[test]
fn lengths_that_no_version_has_are_refused() {
    for len in [0, 4, 7, 9, 10, 11] {
        let bytes = vec![0; len];
        assert!(Membership::parse_igmp(&bytes).is_err(), "{len}");
    }
    // Two sources announced, one there.
    let mut short = query4(10, "239.0.0.1", &["192.0.2.1"]);
    short[11] = 2;
    short[2..4].copy_from_slice(&[0, 0]);
    let sum = checksum::of(&short).to_be_bytes();
    short[2..4].copy_from_slice(&sum);
    assert!(Membership::parse_igmp(&short).is_err());
    let mut damaged = query4(10, "239.0.0.1", &[]);
    damaged[9] ^= 1;
    assert!(Membership::parse_igmp(&damaged).is_err(), "checksum");
    // Bytes behind the fields belong to the checksum and are ignored.
    let long = igmp(
        0x11,
        10,
        "239.0.0.1",
        &[&tail(2, 125, &[])[..], b"more"].concat(),
    );
    let Ok(Membership::Query(query)) = Membership::parse_igmp(&long) else {
        panic!("a query");
    };
    assert_eq!(query.source_count(), 0);
}

fn addresses(prefixes: &[&str]) -> AddressTable {
    let mut table = AddressTable::new();
    for prefix in prefixes {
        table.add(prefix.parse().expect(prefix)).expect(prefix);
    }
    table
}

#[test]
fn reports_have_ttl_1_router_alert_and_the_right_addresses() {
    let ours = addresses(&["10.0.0.1/24", "2001:db8::1/64", "fe80::1/64"]);
    let records = Report::Records(vec![record(RecordKind::ToExclude, "239.0.0.1", &[])]);
    let old = |version| Report::Old(version, ip("239.0.0.1"));
    let leave = Report::Leave(ip("239.0.0.1"));
    for (report, dst, kind) in [
        (&records, "224.0.0.22", 0x22),
        (&old(QueryVersion::Two), "239.0.0.1", 0x16),
        (&old(QueryVersion::One), "239.0.0.1", 0x12),
        (&leave, "224.0.0.2", 0x17),
    ] {
        let bytes = bytes_of(IpVersion::V4, report, &ours);
        let packet = IpPacket::<Ipv4>::parse(&bytes).expect("a packet");
        assert_eq!((packet.ttl(), packet.traffic_class()), (1, 0xc0));
        assert_eq!(IpAddr::from(packet.src()), ip("10.0.0.1"));
        assert_eq!(IpAddr::from(packet.dst()), ip(dst));
        assert_eq!(bytes[20..24], [148, 4, 0, 0]);
        assert_eq!(packet.payload()[0], kind);
        assert!(checksum::verify(packet.payload()));
    }
    let records = Report::Records(vec![record(RecordKind::ToExclude, "ff05::1", &[])]);
    for (report, dst, kind) in [
        (&records, "ff02::16", 143),
        (
            &Report::Old(QueryVersion::Two, ip("ff05::1")),
            "ff05::1",
            131,
        ),
        (&Report::Leave(ip("ff05::1")), "ff02::2", 132),
    ] {
        let bytes = bytes_of(IpVersion::V6, report, &ours);
        let packet = IpPacket::<Ipv6>::parse(&bytes).expect("a packet");
        assert_eq!(packet.ttl(), 1);
        assert_eq!(IpAddr::from(packet.src()), ip("fe80::1"));
        assert_eq!(IpAddr::from(packet.dst()), ip(dst));
        assert_eq!(bytes[40..48], [58, 0, 5, 2, 0, 0, 1, 0]);
        assert_eq!(packet.payload()[0], kind);
        let (src, dst) = (packet.src().into(), packet.dst().into());
        let icmp = packet::IpProto::ICMPV6;
        assert!(checksum::verify_transport(src, dst, icmp, packet.payload()));
    }
    // Without an address of the family, or without a link-local one.
    let bytes = bytes_of(IpVersion::V6, &records, &addresses(&["2001:db8::1/64"]));
    assert_eq!(
        IpPacket::<Ipv6>::parse(&bytes)
            .expect("a packet")
            .src()
            .to_bits(),
        0
    );
    let bytes = bytes_of(IpVersion::V4, &leave, &addresses(&["2001:db8::1/64"]));
    assert_eq!(
        IpPacket::<Ipv4>::parse(&bytes)
            .expect("a packet")
            .src()
            .to_bits(),
        0
    );
}

fn bytes_of(family: IpVersion, report: &Report, ours: &AddressTable) -> Vec<u8> {
    packets::packet(family, report, ours)
        .expect("a packet")
        .to_vec()
}

#[test]
fn queries_from_elsewhere_are_not_believed() {
    use packet::build::{
        Head, IpFields, prepend_ip, prepend_ipv4_with_options, prepend_options_header,
    };
    let fields = |src: &str, dst: &str, ttl| IpFields {
        src: ip(src),
        dst: ip(dst),
        proto: packet::IpProto::IGMP,
        ttl,
        traffic_class: 0,
        ident: 0,
        dont_fragment: true,
        flow_label: 0,
    };
    let v4 = |dst: &str, alert: bool, message: &[u8]| {
        let (mut head, fields) = (Head::new(), fields("10.0.0.2", dst, 1));
        let options: &[u8] = if alert { &[148, 4, 0, 0] } else { &[] };
        prepend_ipv4_with_options(&mut head, &fields, options, message.len()).expect("built");
        let bytes = [head.as_slice(), message].concat();
        let packet = IpPacket::<Ipv4>::parse(&bytes).expect("a packet");
        believed(&packet, read(IpVersion::V4, packet.payload()))
    };
    let (v1, v2) = (igmp(0x11, 0, "0.0.0.0", &[]), igmp(0x11, 9, "0.0.0.0", &[]));
    let specific = query4(9, "239.0.0.1", &[]);
    for (dst, alert, message, expected) in [
        ("224.0.0.1", true, &v2, true),
        ("224.0.0.1", false, &v2, false),
        ("224.0.0.1", false, &v1, true),
        ("239.0.0.1", true, &v2, false),
        // RFC 9776 section 4.1.12: any address of the host will do.
        ("10.0.0.1", true, &v2, true),
        ("239.0.0.1", true, &specific, true),
        ("239.0.0.1", false, &specific, false),
    ] {
        assert_eq!(
            v4(dst, alert, message),
            expected,
            "{dst} {alert} {message:?}"
        );
    }
    let v6 = |src: &str, ttl, alert: bool| {
        let message = query6(1_000, "::", &tail(2, 125, &[]));
        let mut head = Head::new();
        let mut fields = fields(src, "ff02::1", ttl);
        fields.proto = packet::IpProto::ICMPV6;
        if alert {
            fields.proto = packet::IpProto::HOP_BY_HOP;
            let alert = [5, 2, 0, 0];
            prepend_options_header(&mut head, packet::IpProto::ICMPV6, &alert).expect("built");
        }
        prepend_ip(&mut head, &fields, message.len()).expect("built");
        let bytes = [head.as_slice(), &message].concat();
        let packet = IpPacket::<Ipv6>::parse(&bytes).expect("a packet");
        believed(&packet, read(IpVersion::V6, packet.payload()))
    };
    assert!(v6("fe80::2", 1, true));
    assert!(!v6("2001:db8::2", 1, true), "source");
    assert!(!v6("fe80::2", 2, true), "hop limit");
    assert!(!v6("fe80::2", 1, false), "router alert");
}

fn believed<I: Ip>(packet: &IpPacket<'_, I>, message: Membership<'_>) -> bool {
    match message {
        Membership::Query(query) => is_believable::<I>(packet, &query),
        other => panic!("{other:?}"),
    }
}

/// Queries of every content and any order leave the state bounded and its timers in the future.
#[test]
fn floods_of_queries_change_nothing_but_the_time_of_answers() {
    let mut rig = Rig::member(IpVersion::V4, &["239.0.0.1"]);
    let mut random = Rng::from_u64(3);
    let (mut sent, mut asked, mut most_sources) = (0, 0, 0);
    for _ in 0..20_000 {
        let mut bytes = vec![0; 8 + random.below(64) as usize];
        random.fill(&mut bytes);
        bytes[0] = [0x11, 0x16, 0x12, 0x17, 0x22][random.below(5) as usize];
        match random.below(8) {
            0 => {}
            1 => bytes[4..8].fill(0),
            _ => bytes[4..8].copy_from_slice(&[239, 0, 0, 1]),
        }
        if random.chance(500_000) && bytes.len() >= 12 {
            // As many sources as there are.
            let count = (bytes.len() as u16 - 12) / 4;
            bytes[10..12].copy_from_slice(&count.to_be_bytes());
        }
        bytes[2..4].copy_from_slice(&[0, 0]);
        let sum = checksum::of(&bytes).to_be_bytes();
        bytes[2..4].copy_from_slice(&sum);
        match Membership::parse_igmp(&bytes) {
            Ok(Membership::Query(query)) => {
                asked += 1;
                query_in(&mut rig, &query);
            }
            Ok(Membership::Report(group)) => rig.reporter.on_old_report(group, rig.now),
            _ => {}
        }
        most_sources = most_sources.max(rig.reporter.queried_sources());
        sent += rig.pass(10).len();
        let next = rig.reporter.poll_timeout();
        assert!(next.is_none_or(|next| next > rig.now), "{next:?}");
    }
    assert!(
        most_sources > 0 && most_sources <= MAX_SOURCES,
        "{most_sources}"
    );
    // 200 seconds; several queries are answered by one report.
    assert!(asked > 1_000, "{asked}");
    assert!(sent > 0 && sent < asked / 2, "{sent} to {asked} queries");
}
