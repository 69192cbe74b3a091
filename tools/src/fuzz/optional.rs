//! Harnesses for what follows a UDP datagram, and for messages of group membership. The harnesses of UDP and ICMP call
//! them.

use std::net::IpAddr;

use packet::icmp::Icmpv6View;
use packet::membership::{Membership, QueryVersion};
use packet::udp::surplus::{MAX_OPTIONS, Surplus};

/// Reads a surplus area as if its checksum were right, and as it is.
pub(super) fn surplus(udp_len: u16, is_checked: bool, area: &[u8]) {
    let _ = Surplus::parse(udp_len, is_checked, area);
    let mut unchecked = area.to_vec();
    let ocs = usize::from(udp_len % 2);
    if let Some(field) = unchecked.get_mut(ocs..ocs + 2) {
        field.fill(0);
    }
    let Ok(surplus) = Surplus::parse(udp_len, false, &unchecked) else {
        return;
    };
    let (mut count, mut len) = (0, 0);
    for option in surplus.options() {
        assert!(option.kind > 1, "padding is no option");
        count += 1;
        len += 2 + option.data.len();
    }
    assert!(count <= MAX_OPTIONS && len <= area.len());
}

/// Reads a message of IGMP, with a right checksum and with the one that it has.
pub(super) fn igmp(data: &[u8]) {
    let _ = Membership::parse_igmp(data);
    let mut sealed = data.to_vec();
    if let Some(field) = sealed.get_mut(2..4) {
        field.fill(0);
    }
    let sum = packet::checksum::of(&sealed).to_be_bytes();
    if let Some(field) = sealed.get_mut(2..4) {
        field.copy_from_slice(&sum);
    }
    if let Ok(message) = Membership::parse_igmp(&sealed) {
        check(message, data.len(), IpAddr::is_ipv4);
    }
}

/// Reads a message of MLD.
pub(super) fn mld(view: &Icmpv6View<'_>) {
    if let Some(Ok(message)) = Membership::of_mld(view) {
        check(message, view.body().len() + 8, IpAddr::is_ipv6);
    }
}

fn check(message: Membership<'_>, len: usize, is_of_family: fn(&IpAddr) -> bool) {
    match message {
        Membership::Query(query) => {
            assert!(query.group.as_ref().is_none_or(is_of_family));
            assert_eq!(query.sources().count(), query.source_count());
            assert!(query.sources().all(|source| is_of_family(&source)));
            assert!(query.source_count() * 4 < len);
            assert!(query.source_count() == 0 || query.version == QueryVersion::Three);
        }
        Membership::Report(group) => assert!(is_of_family(&group)),
        Membership::Other => {}
    }
}
