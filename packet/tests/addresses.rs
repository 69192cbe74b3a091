//! Classes of addresses, subnets, and the witness types.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use packet::ip::{IpAddress, MulticastScope, Specified, Subnet, SubnetError, Unicast};

/// Returns the classes of an address as letters, in this order.
fn classes<A: IpAddress>(addr: A) -> String {
    let all = [
        ('u', addr.is_unspecified()),
        ('l', addr.is_loopback()),
        ('k', addr.is_link_local()),
        ('m', addr.is_multicast()),
        ('b', addr.is_limited_broadcast()),
        ('d', addr.is_documentation()),
        ('r', addr.is_reserved()),
        ('p', addr.is_private()),
        ('s', addr.is_shared()),
        ('t', addr.is_benchmarking()),
        ('1', addr.is_unicast()),
    ];
    all.iter().filter(|(_, is)| *is).map(|(c, _)| c).collect()
}

#[test]
fn ipv4_classes() {
    for (addr, expected) in [
        ("0.0.0.0", "u"),
        ("0.0.0.1", "r"),
        ("0.255.255.255", "r"),
        ("1.0.0.0", "1"),
        ("9.255.255.255", "1"),
        ("10.0.0.0", "p1"),
        ("100.63.255.255", "1"),
        ("100.64.0.0", "s1"),
        ("100.127.255.255", "s1"),
        ("100.128.0.0", "1"),
        ("126.255.255.255", "1"),
        ("127.0.0.0", "l1"),
        ("127.255.255.255", "l1"),
        ("169.253.255.255", "1"),
        ("169.254.0.0", "k1"),
        ("169.255.0.0", "1"),
        ("172.15.255.255", "1"),
        ("172.16.0.0", "p1"),
        ("172.31.255.255", "p1"),
        ("172.32.0.0", "1"),
        ("192.0.2.1", "d1"),
        ("192.168.0.0", "p1"),
        ("198.17.255.255", "1"),
        ("198.18.0.0", "t1"),
        ("198.19.255.255", "t1"),
        ("198.51.100.1", "d1"),
        ("203.0.113.1", "d1"),
        ("223.255.255.255", "1"),
        ("224.0.0.0", "m"),
        ("239.255.255.255", "m"),
        ("240.0.0.0", "r"),
        ("255.255.255.254", "r"),
        ("255.255.255.255", "b"),
    ] {
        let parsed: Ipv4Addr = addr.parse().expect(addr);
        assert_eq!(classes(parsed), expected, "{addr}");
        assert_eq!(Unicast::new(parsed).is_some(), expected.contains('1'));
        assert_eq!(Specified::new(parsed).is_some(), expected != "u");
    }
}

#[test]
fn ipv6_classes() {
    for (addr, expected) in [
        ("::", "u"),
        ("::1", "l1"),
        ("::2", "1"),
        ("fe7f::1", "1"),
        ("fe80::1", "k1"),
        ("febf::1", "k1"),
        ("fec0::1", "1"),
        ("fc00::1", "p1"),
        ("fdff::1", "p1"),
        ("fe00::1", "1"),
        ("2001:db8::1", "d1"),
        ("2001:db9::1", "1"),
        ("3fff:fff::1", "d1"),
        ("3fff:1000::1", "1"),
        ("ff02::1", "m"),
        ("2001:2::1", "t1"),
        ("2001:2:1::1", "1"),
        ("::ffff:10.0.0.1", "r"),
        ("::ffff:0.0.0.0", "r"),
        ("64:ff9b::10.0.0.1", "1"),
    ] {
        let parsed: Ipv6Addr = addr.parse().expect(addr);
        assert_eq!(classes(parsed), expected, "{addr}");
        assert_eq!(Unicast::new(parsed).is_some(), expected.contains('1'));
        assert_eq!(Specified::new(parsed).is_some(), expected != "u");
    }
}

#[test]
fn multicast_scopes() {
    use MulticastScope::{
        AdminLocal, Global, InterfaceLocal, LinkLocal, OrganizationLocal, RealmLocal, Reserved,
        SiteLocal,
    };
    for (addr, scope) in [
        ("224.0.0.251", LinkLocal),
        ("224.0.1.1", Global),
        ("239.255.0.1", RealmLocal),
        ("239.192.0.1", OrganizationLocal),
        ("239.195.255.255", OrganizationLocal),
        ("238.255.255.255", Global),
        ("239.0.0.0", OrganizationLocal),
        ("239.196.0.0", OrganizationLocal),
        ("ff01::1", InterfaceLocal),
        ("ff12::1", LinkLocal),
        ("ff03::1", RealmLocal),
        ("ff04::1", AdminLocal),
        ("ff05::1", SiteLocal),
        ("ff08::1", OrganizationLocal),
        ("ff0e::1", Global),
        ("ff00::1", Reserved(0)),
        ("ff06::1", Reserved(6)),
        ("ff0f::1", Global),
    ] {
        let found = match addr.parse::<IpAddr>().expect(addr) {
            IpAddr::V4(addr) => addr.multicast_scope(),
            IpAddr::V6(addr) => addr.multicast_scope(),
        };
        assert_eq!(found, Some(scope), "{addr}");
    }
}

#[test]
fn subnets() {
    let subnet = |text: &str| text.parse::<Subnet<Ipv4Addr>>();
    assert_eq!(subnet("10.0.0.1/24"), Err(SubnetError::HostBits));
    assert_eq!(subnet("10.0.0.0/33"), Err(SubnetError::PrefixTooLong));
    assert_eq!(subnet("10.0.0.0"), Err(SubnetError::Syntax));
    assert_eq!(subnet("fd00::/8"), Err(SubnetError::Syntax));
    let lan = subnet("10.0.0.0/24").expect("subnet");
    assert_eq!(lan.to_string(), "10.0.0.0/24");
    let at = |last| Ipv4Addr::new(10, 0, 0, last);
    assert!(lan.contains(at(0)) && lan.contains(at(255)));
    assert!(!lan.contains(Ipv4Addr::new(10, 0, 1, 0)));
    assert!(lan.is_broadcast(at(255)) && lan.is_broadcast(at(0)) && !lan.is_broadcast(at(1)));
    // Point-to-point links and hosts have no broadcast (RFC 3021).
    for text in ["10.0.0.0/31", "10.0.0.0/32"] {
        let subnet = subnet(text).expect(text);
        assert_eq!(subnet.broadcast(), None);
        assert!(!subnet.is_broadcast(at(0)) && !subnet.is_broadcast(at(1)));
    }
    let all = subnet("0.0.0.0/0").expect("all");
    assert!(all.contains(Ipv4Addr::BROADCAST) && all.covers(&lan) && !lan.covers(&all));
    assert_eq!(all.last(), Ipv4Addr::BROADCAST);
    // For every prefix length of both versions, the subnet contains the address, but not the addresses
    // next to the subnet.
    for len in 1..=128u8 {
        let addr: Ipv6Addr = "2001:db8:a5a5:5a5a:a5a5:5a5a:a5a5:5a5a"
            .parse()
            .expect("addr");
        let subnet = Subnet::containing(addr, len).expect("length");
        assert!(subnet.contains(addr) && subnet.contains(subnet.last()));
        assert!(!subnet.contains(Ipv6Addr::from_bits(
            subnet.network().to_bits().wrapping_sub(1)
        )));
        assert!(!subnet.contains(Ipv6Addr::from_bits(subnet.last().to_bits().wrapping_add(1))));
        if len <= 32 {
            let addr = Ipv4Addr::new(165, 90, 165, 90);
            let subnet = Subnet::containing(addr, len).expect("length");
            assert!(subnet.contains(addr) && subnet.contains(subnet.last()));
            let before = subnet.network().to_bits().wrapping_sub(1);
            assert!(!subnet.contains(Ipv4Addr::from_bits(before)));
        }
    }
}

#[test]
fn conversions() {
    let (v4, v6) = (Ipv4Addr::new(1, 2, 3, 4), Ipv6Addr::LOCALHOST);
    assert_eq!(Ipv4Addr::from_ip_addr(v4.into()), Some(v4));
    assert_eq!(Ipv4Addr::from_ip_addr(v6.into()), None);
    assert_eq!(Ipv6Addr::from_ip_addr(v6.into()), Some(v6));
    assert_eq!(Ipv6Addr::from_ip_addr(v4.into()), None);
    assert_eq!(<Ipv4Addr as IpAddress>::from_bits_truncated(v4.bits()), v4);
    assert_eq!(<Ipv6Addr as IpAddress>::from_bits_truncated(v6.bits()), v6);
}
