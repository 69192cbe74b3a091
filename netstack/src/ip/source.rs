//! Source address selection (RFC 6724 section 5).
//!
//! Applies rules 1 (same address), 2 (scope), 6 (label) and 8 (longest matching prefix), then the order of
//! addition. The other rules do not apply: the host has no deprecated, home or temporary addresses (3, 4,
//! 7) and only one interface (5, 5.5).

use core::net::IpAddr;

use super::prefix::{Prefix, common_prefix_len};

/// Selects the source of a packet to `dst` among `ours`, or returns `None` if none is of its family.
pub(super) fn select(ours: &[Prefix], dst: IpAddr) -> Option<IpAddr> {
    let dst_scope = scope(dst);
    let dst_label = label(dst);
    let mut best: Option<(&Prefix, SourceRank)> = None;
    for candidate in ours {
        let address = candidate.address();
        if address.is_ipv4() != dst.is_ipv4() {
            continue;
        }
        let own_scope = scope(address);
        let rank = SourceRank {
            same: address == dst,
            // A scope that reaches the destination comes first. Among those that do, the smallest is
            // best; among those that do not, the largest.
            scope_reaches: own_scope >= dst_scope,
            scope_distance: core::cmp::Reverse(own_scope.abs_diff(dst_scope)),
            label: label(address) == dst_label,
            matching: common_prefix_len(address, dst).min(candidate.len()),
        };
        if best.as_ref().is_none_or(|(_, so_far)| rank > *so_far) {
            best = Some((candidate, rank));
        }
    }
    best.map(|(candidate, _)| candidate.address())
}

/// The rank of a candidate. The order of the fields is that of the rules.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct SourceRank {
    same: bool,
    scope_reaches: bool,
    scope_distance: core::cmp::Reverse<u8>,
    label: bool,
    matching: u8,
}

/// Returns the scope of an address as a number that grows with its reach (RFC 6724 sections 3.1 and 3.2,
/// RFC 4291 section 2.7).
fn scope(address: IpAddr) -> u8 {
    const LINK_LOCAL: u8 = 2;
    const GLOBAL: u8 = 14;
    match address {
        IpAddr::V4(v4) if v4.is_link_local() || v4.is_loopback() => LINK_LOCAL,
        IpAddr::V4(_) => GLOBAL,
        IpAddr::V6(v6) if v6.is_multicast() => v6.octets()[1] & 0xf,
        IpAddr::V6(v6) if v6.is_unicast_link_local() || v6.is_loopback() => LINK_LOCAL,
        IpAddr::V6(v6) if v6.segments()[0] & 0xffc0 == 0xfec0 => 5,
        IpAddr::V6(_) => GLOBAL,
    }
}

/// Returns the label of an address in the default policy table (RFC 6724 section 2.1).
fn label(address: IpAddr) -> u8 {
    let IpAddr::V6(v6) = address else {
        return 4;
    };
    let bits = v6.to_bits();
    let segments = v6.segments();
    match segments {
        _ if bits == 1 => 0,
        [0, 0, 0, 0, 0, 0xffff, ..] => 4,
        [0, 0, 0, 0, 0, 0, ..] => 3,
        [0x2001, 0, ..] => 5,
        [0x2002, ..] => 2,
        [0x3ffe, ..] => 12,
        [first, ..] if first & 0xffc0 == 0xfec0 => 11,
        [first, ..] if first & 0xfe00 == 0xfc00 => 13,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
}
