//! The headers of a query that a host believes.
//!
//! IGMP: a query of version 2 or 3 without the Router Alert option, and a general query to another group than
//! 224.0.0.1, came from elsewhere and is ignored (RFC 9776 section 9.1). MLD: a query must have a link-local
//! source, a hop limit of 1 and the Router Alert option (RFC 9777 sections 5.1.14 and 6.2).

use core::net::{IpAddr, Ipv4Addr};

use packet::ip::{
    Ip, IpPacket, IpVersion, Ipv4Option, Ipv4Options, Ipv6, Ipv6Extension, Ipv6Option,
};
use packet::membership::{Query, QueryVersion};

/// Returns `true` if a host takes in `query`, which came in `packet`.
pub fn is_believable<I: Ip>(packet: &IpPacket<'_, I>, query: &Query<'_>) -> bool {
    match I::VERSION {
        IpVersion::V4 => {
            let dst: IpAddr = packet.dst().into();
            let is_general_elsewhere = query.group.is_none()
                && dst.is_multicast()
                && dst != IpAddr::V4(Ipv4Addr::new(224, 0, 0, 1));
            let has_alert = query.version == QueryVersion::One || has_router_alert_v4(packet);
            has_alert && !is_general_elsewhere
        }
        IpVersion::V6 => {
            let src: IpAddr = packet.src().into();
            let is_link_local = matches!(src, IpAddr::V6(src) if src.is_unicast_link_local());
            is_link_local && packet.ttl() == 1 && has_router_alert_v6(packet.bytes())
        }
    }
}

fn has_router_alert_v4<I: Ip>(packet: &IpPacket<'_, I>) -> bool {
    packet
        .bytes()
        .get(I::FIXED_HEADER_LEN..packet.header_len())
        .is_some_and(|options| {
            Ipv4Options::new(options).any(|option| matches!(option, Ipv4Option::RouterAlert(_)))
        })
}

/// Reads the headers once more, as those of IPv6, which they are: queries are rare.
fn has_router_alert_v6(bytes: &[u8]) -> bool {
    IpPacket::<Ipv6>::parse(bytes).is_ok_and(|packet| {
        packet.extensions().any(|extension| match extension {
            Ipv6Extension::HopByHop(mut options) => {
                options.any(|option| matches!(option, Ipv6Option::RouterAlert(_)))
            }
            _ => false,
        })
    })
}
