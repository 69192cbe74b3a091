//! The headers of a message that a host believes.
//!
//! IGMP: a query of version 2 or 3 without the Router Alert option, and a general query to another group than
//! 224.0.0.1, came from elsewhere and is ignored (RFC 9776 section 9.1). A query of version 1, which has no such
//! option, must be sent to 224.0.0.1 (RFC 1112 appendix I): any host of the internet could send one to an address
//! of this host. MLD: a query must have a link-local source, a hop limit of 1 and the Router Alert option (RFC 9777
//! sections 5.1.14 and 6.2); a general one to a group is sent to `ff02::1` (section 5.1.15).
//!
//! A report of an older version is sent to the group that it reports (RFC 2236 section 3, RFC 2710 section 8). One
//! from elsewhere would keep this host from reporting a group that no neighbour reports.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use packet::ip::{
    Ip, IpPacket, IpVersion, Ipv4Option, Ipv4Options, Ipv6, Ipv6Extension, Ipv6Option,
};
use packet::membership::{Query, QueryVersion};

const ALL_NODES_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 1));
const ALL_NODES_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1));

/// Returns `true` if a host takes in `query`, which came in `packet`.
pub fn is_believable<I: Ip>(packet: &IpPacket<'_, I>, query: &Query<'_>) -> bool {
    let dst: IpAddr = packet.dst().into();
    // Any unicast address of the host will do (RFC 9776 section 4.1.12, RFC 9777 section 5.1.15).
    let is_general_elsewhere =
        |all_nodes| query.group.is_none() && dst.is_multicast() && dst != all_nodes;
    match (I::VERSION, query.version) {
        (IpVersion::V4, QueryVersion::One) => dst == ALL_NODES_V4,
        (IpVersion::V4, _) => has_router_alert_v4(packet) && !is_general_elsewhere(ALL_NODES_V4),
        (IpVersion::V6, _) => {
            is_sent_on_link(packet)
                && has_router_alert_v6(packet.bytes())
                && !is_general_elsewhere(ALL_NODES_V6)
        }
    }
}

/// Returns `true` if a host takes in an old version's report of `group`, which came in `packet`.
pub fn is_believable_report<I: Ip>(packet: &IpPacket<'_, I>, group: IpAddr) -> bool {
    let dst: IpAddr = packet.dst().into();
    let is_of_neighbour = match I::VERSION {
        IpVersion::V4 => true,
        IpVersion::V6 => is_sent_on_link(packet),
    };
    group.is_multicast() && dst == group && is_of_neighbour
}

/// Returns `true` if a packet of MLD was sent on this link. One from `::` says nothing for this host: routers ignore
/// it (RFC 3590 section 4).
fn is_sent_on_link<I: Ip>(packet: &IpPacket<'_, I>) -> bool {
    let src: IpAddr = packet.src().into();
    let is_link_local = matches!(src, IpAddr::V6(src) if src.is_unicast_link_local());
    is_link_local && packet.ttl() == 1
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
