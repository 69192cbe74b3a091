//! The examples of RFC 6724 section 10, and each rule.

use core::net::{IpAddr, SocketAddr};

use super::policy::{PolicyError, PolicyRow, PolicyTable};
use super::source::{AddressFlags, Candidate, Selection, SourcePreference};
use crate::ip::addresses::AddressTable;

fn table(prefixes: &[&str]) -> AddressTable {
    let mut table = AddressTable::new();
    for text in prefixes {
        table.add(text.parse().expect(text)).expect(text);
    }
    table
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect(text)
}

/// Reads addresses, each with `d` behind it if it is deprecated, `t` if it is temporary. Prefixes of IPv6 are 64 bits
/// long, those of IPv4 24.
fn candidates(texts: &[&str]) -> Vec<Candidate> {
    let candidate = |text: &&str| {
        let (address, flags) = text.split_once(' ').unwrap_or((text, ""));
        let len = if address.contains(':') { 64 } else { 24 };
        Candidate {
            prefix: format!("{address}/{len}").parse().expect(text),
            flags: AddressFlags {
                deprecated: flags.contains('d'),
                temporary: flags.contains('t'),
            },
        }
    };
    texts.iter().map(candidate).collect()
}

fn source(selection: &Selection, ours: &[Candidate], dst: &str) -> Option<IpAddr> {
    let source = selection.source(ours, ip(dst), SourcePreference::Default);
    source.map(|candidate| candidate.prefix.address())
}

/// The default table with other rows, by prefix.
fn policy(rows: &[(&str, u8, u8)]) -> Selection {
    let mut all = PolicyTable::default().rows().to_vec();
    for &(prefix, precedence, label) in rows {
        let prefix = prefix.parse().expect(prefix);
        all.retain(|row| row.prefix != prefix);
        all.push(PolicyRow {
            prefix,
            precedence,
            label,
        });
    }
    Selection {
        policy: PolicyTable::new(all).expect("a table"),
        ..Selection::default()
    }
}

#[test]
fn source_selection() {
    let t = table(&[
        "10.77.0.2/24",
        "192.168.1.2/16",
        "169.254.3.4/16",
        "fe80::2/64",
        "fd77::2/64",
        "2001:db8::2/64",
        "2001:db8:1::2/64",
    ]);
    let cases = [
        ("10.77.0.9", "10.77.0.2"),
        ("192.168.77.1", "192.168.1.2"),
        ("169.254.9.9", "169.254.3.4"),
        // Nothing matches: longest common prefix, then the first.
        ("11.0.0.1", "10.77.0.2"),
        ("192.168.1.2", "192.168.1.2"),
        ("fe80::9", "fe80::2"),
        ("ff02::1", "fe80::2"),
        ("fd00::1", "fd77::2"),
        ("2001:db8:1::9", "2001:db8:1::2"),
        ("2001:db8::9", "2001:db8::2"),
        // Rule 6 beats rule 8: a global destination does not get the unique-local source.
        ("2607:f8b0::1", "2001:db8::2"),
        ("f000::1", "2001:db8::2"),
        ("2001:db8:1::2", "2001:db8:1::2"),
    ];
    for (dst, expected) in cases {
        assert_eq!(t.select_source(ip(dst)), Some(ip(expected)), "{dst}");
    }
    assert_eq!(table(&["10.0.0.1/8"]).select_source(ip("::2")), None);
    // Only a link-local address: still better than none (scope too small).
    assert_eq!(
        table(&["fe80::2/64"]).select_source(ip("2001:db8::1")),
        Some(ip("fe80::2"))
    );
}

/// RFC 6724 section 10.1, without the example about home addresses.
#[test]
fn the_examples_of_sources() {
    for (dst, ours, expected) in [
        (
            "2001:db8:1::1",
            ["2001:db8:3::1", "fe80::1"],
            "2001:db8:3::1",
        ),
        ("ff05::1", ["2001:db8:3::1", "fe80::1"], "2001:db8:3::1"),
        (
            "2001:db8:1::1",
            ["2001:db8:1::1 d", "2001:db8:2::1"],
            "2001:db8:1::1",
        ),
        ("fe80::1", ["fe80::2 d", "2001:db8:1::1"], "fe80::2"),
        (
            "2001:db8:1::1",
            ["2001:db8:1::2", "2001:db8:3::2"],
            "2001:db8:1::2",
        ),
        (
            "2002:c633:6401::1",
            ["2002:c633:6401::d5e3:7953:13eb:22e8 t", "2001:db8:1::2"],
            "2002:c633:6401::d5e3:7953:13eb:22e8",
        ),
        (
            "2001:db8:1::d5e3:0:0:1",
            ["2001:db8:1::2", "2001:db8:1::d5e3:7953:13eb:22e8 t"],
            "2001:db8:1::d5e3:7953:13eb:22e8",
        ),
        // Section 10.6: a group of the reserved scope 0 has no label but that of ::/0.
        (
            "ff00::1",
            ["2001:db8:1::1", "fd11:1111:1111:1::1"],
            "2001:db8:1::1",
        ),
    ] {
        let mut ours = candidates(&ours);
        for _ in 0..2 {
            let found = source(&Selection::default(), &ours, dst);
            assert_eq!(found, Some(ip(expected)), "{dst}");
            ours.reverse();
        }
    }
}

/// Each rule of section 5 beats those that come after it.
#[test]
fn the_rules_of_sources_in_their_order() {
    let public = Selection {
        prefer_temporary: false,
        ..Selection::default()
    };
    let default = Selection::default();
    for (selection, dst, better, worse) in [
        // 1 before 3 and 6.
        (&default, "fd77::1", "fd77::1 d", "fd77::2"),
        // 2 before 3: the smaller scope that reaches, the larger one that does not.
        (&default, "fe80::9", "fe80::1 d", "2001:db8::1"),
        (&default, "2001:db8:9::9", "2001:db8::1 d", "fe80::1"),
        (&default, "ff0e::9", "2001:db8::1 d", "fe80::1"),
        // 3 before 6.
        (&default, "2002:1::9", "2001:db8::1", "2002:1::1 d"),
        // 6 before 7.
        (&default, "2002:1::9", "2002:1::1", "2001:db8::1 t"),
        // 7 before 8, both ways.
        (
            &default,
            "2001:db8:1::9",
            "2001:db8:2::1 t",
            "2001:db8:1::1",
        ),
        (&public, "2001:db8:1::9", "2001:db8:2::1", "2001:db8:1::1 t"),
        // 8: the longer match; what matches beyond the prefix length does not count.
        (&default, "2001:db8:1::9", "2001:db8:1::1", "2001:db8:2::1"),
        (&default, "192.0.2.9", "192.0.2.1", "192.0.3.1"),
    ] {
        for ours in [[better, worse], [worse, better]] {
            let found = source(selection, &candidates(&ours), dst);
            let expected = better.split(' ').next().map(ip);
            assert_eq!(found, expected, "{dst} from {ours:?}");
        }
    }
    // Otherwise the first.
    let ours = candidates(&["2001:db8::1", "2001:db8::2"]);
    assert_eq!(
        source(&default, &ours, "2001:db8::3"),
        Some(ip("2001:db8::1"))
    );
}

/// Destinations of RFC 6724 section 10: the policy, our addresses, the destinations in the expected order.
#[test]
fn the_examples_of_destinations() {
    let default = Selection::default();
    let ipv4_first = policy(&[("::ffff:0:0/96", 100, 4)]);
    let link_local_last = policy(&[("fe80::/10", 33, 1)]);
    let multihomed = policy(&[("2001:db8:1aaa::/48", 43, 6), ("2001:db8:1bbb::/48", 43, 6)]);
    let unique_local = policy(&[("fd11:1111:1111::/48", 45, 14)]);
    let six_to_four = policy(&[("2002:c633:6401::/48", 45, 14)]);
    let site_a = &["2001:db8:1aaa::a", "2001:db8:70aa::a", "fe80::a"][..];
    let ula = &["2001:db8:1::1", "fd11:1111:1111:1::1"][..];
    for (selection, ours, expected) in [
        // 10.2
        (
            &default,
            &["2001:db8:1::2", "fe80::1", "169.254.13.78"][..],
            ["2001:db8:1::1", "198.51.100.121"],
        ),
        (
            &default,
            &["fe80::1", "198.51.100.117"],
            ["198.51.100.121", "2001:db8:1::1"],
        ),
        (
            &default,
            &["2001:db8:1::2", "fe80::1", "10.1.2.4"],
            ["2001:db8:1::1", "10.1.2.3"],
        ),
        (
            &default,
            &["2001:db8:1::2", "fe80::2"],
            ["fe80::1", "2001:db8:1::1"],
        ),
        (
            &default,
            &["2001:db8:1::2", "fe80::2 d"],
            ["2001:db8:1::1", "fe80::1"],
        ),
        (
            &default,
            &["2001:db8:1::2", "2001:db8:3f44::2", "fe80::2"],
            ["2001:db8:1::1", "2001:db8:3ffe::1"],
        ),
        (
            &default,
            &["2002:c633:6401::2", "fe80::2"],
            ["2002:c633:6401::1", "2001:db8:1::1"],
        ),
        (
            &default,
            &["2002:c633:6401::2", "2001:db8:1::2", "fe80::2"],
            ["2001:db8:1::1", "2002:c633:6401::1"],
        ),
        // 10.3
        (
            &ipv4_first,
            &["2001:db8::2", "fe80::1", "169.254.13.78"],
            ["2001:db8::1", "198.51.100.121"],
        ),
        (
            &ipv4_first,
            &["fe80::1", "198.51.100.117"],
            ["198.51.100.121", "2001:db8::1"],
        ),
        (
            &ipv4_first,
            &["2001:db8::2", "fe80::1", "10.1.2.4"],
            ["10.1.2.3", "2001:db8::1"],
        ),
        // 10.4
        (
            &link_local_last,
            &["2001:db8::2", "fe80::2"],
            ["2001:db8::1", "fe80::1"],
        ),
        (
            &link_local_last,
            &["2001:db8::2 d", "fe80::2"],
            ["fe80::1", "2001:db8::1"],
        ),
        // 10.5
        (&default, site_a, ["2001:db8:70bb::b", "2001:db8:1bbb::b"]),
        (&default, site_a, ["2001:db8:1ccc::c", "2001:db8:6ccc::c"]),
        (
            &multihomed,
            site_a,
            ["2001:db8:1bbb::b", "2001:db8:70bb::b"],
        ),
        (
            &multihomed,
            site_a,
            ["2001:db8:6ccc::c", "2001:db8:1ccc::c"],
        ),
        // 10.6
        (&default, ula, ["2001:db8:2::2", "fd22:2222:2222:2::2"]),
        (&unique_local, ula, ["2001:db8:2::2", "fd22:2222:2222:2::2"]),
        (&unique_local, ula, ["fd11:1111:1111:2::2", "2001:db8:2::2"]),
        // 10.7
        (
            &default,
            &["2002:c633:6401::2", "10.1.2.3"],
            ["203.0.113.1", "2001:db8:1::1"],
        ),
        (
            &six_to_four,
            &["2002:c633:6401:1::1", "10.1.2.3"],
            ["2002:c633:6401:2::2", "203.0.113.1"],
        ),
        // Rule 1: no source of that family.
        (&default, &["10.1.2.3"], ["203.0.113.1", "2001:db8:1::1"]),
    ] {
        let ours = candidates(ours);
        let expected = expected.map(|text| SocketAddr::new(ip(text), 80));
        let mut reversed = expected;
        reversed.reverse();
        for mut order in [expected, reversed] {
            selection.sort(&mut order, |dst| {
                selection.source(&ours, dst, SourcePreference::Default)
            });
            assert_eq!(order, expected, "{ours:?}");
        }
    }
}

#[test]
fn equal_destinations_stay_in_their_order() {
    let ours = candidates(&["192.0.2.1", "2001:db8::1"]);
    let selection = Selection::default();
    let mut destinations: Vec<SocketAddr> = (1..=200u16)
        .rev()
        .map(|port| ([198, 51, 100, 1], port).into())
        .collect();
    let before = destinations.clone();
    selection.sort(&mut destinations, |dst| {
        selection.source(&ours, dst, SourcePreference::Default)
    });
    assert_eq!(destinations, before);
}

#[test]
fn policy_tables() {
    let label = |address| PolicyTable::default().label(ip(address));
    for (address, expected) in [
        ("::1", 0),
        ("2607:f8b0::1", 1),
        ("10.0.0.1", 4),
        ("::ffff:10.0.0.1", 4),
        ("2002:1::1", 2),
        ("2001::1", 5),
        ("2001:db8::1", 1),
        ("fc00::1", 13),
        ("fdff::1", 13),
        ("::2", 3),
        ("fec0::1", 11),
        ("3ffe::1", 12),
        ("fe80::1", 1),
        ("ff02::1", 1),
    ] {
        assert_eq!(label(address), Some(expected), "{address}");
    }
    let row = |prefix: &str| PolicyRow {
        prefix: prefix.parse().expect(prefix),
        precedence: 1,
        label: 1,
    };
    let refused = |rows: &[&str]| PolicyTable::new(rows.iter().map(|text| row(text)).collect());
    let v4 = "10.0.0.0/8".parse().expect("a prefix");
    assert_eq!(refused(&["10.0.0.0/8"]), Err(PolicyError::Ipv4(v4)));
    let twice = "2001:db8::/32".parse().expect("a prefix");
    let rows = ["2001:db8::1/32", "::/0", "2001:db8::2/32"];
    assert_eq!(refused(&rows), Err(PolicyError::Duplicate(twice)));
    assert_eq!(refused(&["::/0"; 65]), Err(PolicyError::TooMany));
    // Without a row, no label matches, not even that of another address without one.
    let empty = Selection {
        policy: PolicyTable::new(Vec::new()).expect("a table"),
        ..Selection::default()
    };
    let ours = candidates(&["2001:db8:2::1", "2001:db8:1::1"]);
    assert_eq!(
        source(&empty, &ours, "2001:db8:1::9"),
        Some(ip("2001:db8:1::1"))
    );
}
