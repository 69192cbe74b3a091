//! Received messages of IGMP and MLD.

use packet::RxChecksum;
use packet::icmp::Icmpv6View;
use packet::ip::{Ip, IpPacket, IpVersion};
use packet::membership::Membership;

use super::super::turn::Turn;
use crate::base::counters::{Counter, DropReason};
use crate::icmp::inbound::mld;
use crate::ip::addresses::{Destination, Group};
use crate::ip::multicast::envelope::{is_believable, is_believable_report};

/// Takes in a message of IGMP.
pub(in crate::stack) fn on_igmp<I: Ip>(turn: &mut Turn<'_>, ip: &IpPacket<'_, I>) {
    match Membership::parse_igmp(ip.payload()) {
        Ok(Membership::Query(query)) if is_believable(ip, &query) => {
            on_message(turn, IpVersion::V4, Membership::Query(query));
        }
        Ok(Membership::Report(group)) if is_believable_report(ip, group) => {
            on_message(turn, IpVersion::V4, Membership::Report(group));
        }
        Ok(_) => turn.drop_packet(DropReason::IgmpIgnored),
        Err(_) => turn.drop_packet(DropReason::IgmpMalformed),
    }
}

/// Takes in a message of MLD, whose checksum was verified.
pub(in crate::stack) fn on_mld<I: Ip>(turn: &mut Turn<'_>, ip: &IpPacket<'_, I>) {
    let (std::net::IpAddr::V6(src), std::net::IpAddr::V6(dst)) = (ip.src().into(), ip.dst().into())
    else {
        return;
    };
    let view = Icmpv6View::parse(src, dst, ip.payload(), RxChecksum::Vouched);
    match view.ok().and_then(|view| mld(ip, &view)) {
        Some(message) => on_message(turn, IpVersion::V6, message),
        None => turn.drop_packet(DropReason::IcmpIgnored),
    }
}

/// Returns `true` if a member wants packets to this group from this source; of groups that the host belongs to by itself,
/// from every source.
pub(in crate::stack) fn is_wanted<I: Ip>(turn: &mut Turn<'_>, ip: &IpPacket<'_, I>) -> bool {
    let (src, dst) = (ip.src().into(), ip.dst().into());
    let addresses = &turn.worker.addressing.addresses;
    if addresses.classify(dst) != Destination::Multicast(Group::Joined) {
        return true;
    }
    let groups = &turn.host.groups;
    groups.wants(&mut turn.key.ctx(), dst, src)
}

fn on_message(turn: &mut Turn<'_>, family: IpVersion, message: Membership<'_>) {
    if let Membership::Query(_) = message {
        turn.count(Counter::GroupQueries, 1);
    }
    let groups = &turn.host.groups;
    groups.on_message(&mut turn.key.ctx(), family, message, turn.now);
}
