//! Tests of which addresses are accepted, and of the kinds of destinations and sources.

use super::*;

fn table(prefixes: &[&str]) -> AddressTable {
    let mut table = AddressTable::new();
    for text in prefixes {
        table
            .add(text.parse().expect(text))
            .unwrap_or_else(|e| panic!("{text}: {e}"));
    }
    table
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect(text)
}

#[test]
fn only_addresses_that_a_host_can_own() {
    let mut t = AddressTable::new();
    let cases = [
        "0.0.0.0/8",
        "0.1.2.3/8",
        "127.0.0.1/8",
        "224.0.0.1/4",
        "240.0.0.1/4",
        "255.255.255.255/32",
        "10.0.0.0/24",
        "10.0.0.255/24",
        "::/64",
        "::1/128",
        "ff02::1/64",
        "::ffff:10.0.0.1/96",
    ];
    for text in cases {
        assert!(t.add(text.parse().expect(text)).is_err(), "{text}");
    }
    assert_eq!(t.iter().count(), 0);
    t.add("10.0.0.0/31".parse().expect("p"))
        .expect("/31 has no broadcast");
    assert_eq!(
        t.add("10.0.0.0/24".parse().expect("p")),
        Err(AddressError::SubnetBroadcast(
            "10.0.0.0/24".parse().expect("p")
        ))
    );
    assert_eq!(
        t.add("10.0.0.0/32".parse().expect("p")),
        Err(AddressError::Duplicate(ip("10.0.0.0")))
    );
    assert!(t.remove(ip("10.0.0.0")));
    assert!(!t.remove(ip("10.0.0.0")));
    assert!(!t.is_local(ip("10.0.0.0")));
}

#[test]
fn the_table_is_bounded() {
    let mut t = AddressTable::new();
    for n in 0..MAX_ADDRESSES as u32 {
        let address = IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0001 + n));
        t.add(Prefix::host(address)).expect("room");
    }
    assert_eq!(
        t.add(Prefix::host(ip("fd77::1"))),
        Err(AddressError::TooMany)
    );
}

#[test]
fn destinations() {
    let t = table(&["10.77.0.2/24", "fd77::12:3456/64", "192.0.2.9/31"]);
    let cases = [
        ("10.77.0.2", Destination::Local),
        ("192.0.2.9", Destination::Local),
        ("fd77::12:3456", Destination::Local),
        ("10.77.0.1", Destination::NotOurs),
        ("10.77.0.255", Destination::Broadcast(Broadcast::Subnet)),
        ("10.77.0.0", Destination::Broadcast(Broadcast::Subnet)),
        ("10.77.1.255", Destination::NotOurs),
        ("192.0.2.8", Destination::NotOurs),
        (
            "255.255.255.255",
            Destination::Broadcast(Broadcast::Limited),
        ),
        ("224.0.0.1", Destination::Multicast(Group::AllNodes)),
        ("224.0.0.2", Destination::NotOurs),
        ("239.1.2.3", Destination::NotOurs),
        ("0.0.0.0", Destination::NotOurs),
        ("127.0.0.1", Destination::NotOurs),
        ("ff02::1", Destination::Multicast(Group::AllNodes)),
        ("ff01::1", Destination::Multicast(Group::AllNodes)),
        ("ff05::1", Destination::NotOurs),
        ("ff02::2", Destination::NotOurs),
        (
            "ff02::1:ff12:3456",
            Destination::Multicast(Group::SolicitedNode),
        ),
        ("ff02::1:ff12:3457", Destination::NotOurs),
        ("::1", Destination::NotOurs),
        ("::", Destination::NotOurs),
    ];
    for (dst, expected) in cases {
        assert_eq!(t.classify(ip(dst)), expected, "{dst}");
    }
    let only_v4 = table(&["10.77.0.2/24"]);
    assert_eq!(only_v4.classify(ip("ff02::1")), Destination::NotOurs);
    let only_v6 = table(&["fd77::2/64"]);
    assert_eq!(only_v6.classify(ip("224.0.0.1")), Destination::NotOurs);
}

#[test]
fn groups_that_were_joined() {
    let mut t = table(&["10.77.0.2/24", "fd77::2/64"]);
    let groups = ["239.1.2.3", "ff05::7", "ff02::2"].map(ip);
    for group in groups {
        assert_eq!(t.classify(group), Destination::NotOurs);
        t.join(group);
        assert_eq!(t.classify(group), Destination::Multicast(Group::Joined));
    }
    assert_eq!(t.classify(ip("239.1.2.4")), Destination::NotOurs);
    for group in groups {
        t.leave(group);
        assert_eq!(t.classify(group), Destination::NotOurs);
    }
}

#[test]
fn sources() {
    let t = table(&["10.77.0.2/24", "fd77::2/64"]);
    for good in [
        "10.77.0.1",
        "8.8.8.8",
        "223.255.255.254",
        "169.254.0.1",
        "fd77::1",
        "fe80::1",
        "2001:db8::1",
    ] {
        assert_eq!(t.check_source(ip(good)), Ok(()), "{good}");
    }
    let bad = [
        "0.0.0.0",
        "0.0.0.7",
        "127.0.0.1",
        "127.255.255.255",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "10.77.0.2",
        "10.77.0.255",
        "10.77.0.0",
        "::",
        "::1",
        "ff02::1",
        "ff0e::1",
        "::ffff:10.77.0.1",
        "fd77::2",
    ];
    for src in bad {
        assert_eq!(
            t.check_source(ip(src)),
            Err(DropReason::IpSourceInvalid),
            "{src}"
        );
    }
}

#[test]
fn a_loopback_destination_is_reachable_and_its_own_source() {
    let none: &[&str] = &[];
    for prefixes in [none, &["10.77.0.2/24"], &["10.77.0.2/24", "fd77::2/64"]] {
        let t = table(prefixes);
        let at = |text: &str| SocketAddr::new(ip(text), 80);
        for loopback in ["127.0.0.1", "127.0.0.9", "::1"] {
            let mut found = ["192.0.2.1", "2001:db8::1", loopback].map(at);
            // No route leads anywhere: what cannot be reached comes last.
            t.sort_destinations(&mut found, |_| false);
            assert_eq!(found[0], at(loopback), "{prefixes:?}");
        }
    }
    let t = table(&["10.77.0.2/24", "fd77::2/64"]);
    let mut found = ["127.0.0.1", "::1"].map(|text| SocketAddr::new(ip(text), 80));
    t.sort_destinations(&mut found, |_| true);
    assert_eq!(found[0].ip(), ip("::1"), "the higher precedence");
}
