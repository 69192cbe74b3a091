//! A datagram to a multicast group, to every socket that joined the group, wants the source and receives at the port, as
//! on Linux.
//!
//! The host itself is a member of the groups of all nodes and of its solicited-node groups: each socket that joined no
//! such group receives a copy of what is sent to them, as on Linux (`IP_MULTICAST_ALL`).

use std::net::SocketAddr;
use std::ops::Range;

use packet::frame::RxPacket;
use packet::ip::IpVersion;

use super::super::turn::Turn;
use super::super::udp::copies::deliver_copies;
use super::super::udp::deliver::{count_delivered, deliver_to};
use super::super::udp::inbound::{UdpArrival, read};
use crate::base::counters::DropReason;
use crate::base::mib::objects::UdpObject;
use crate::ip::addresses::{Destination, Group};
use crate::udp::Datagram;

/// Takes in one datagram to a group. No error answers it, whatever becomes of it (RFC 1122 section 3.2.2, RFC
/// 4443 section 2.4(e.3)).
pub(in crate::stack) fn receive(turn: &mut Turn<'_>, packet: &RxPacket, arrival: &UdpArrival) {
    let Some((from, to, range)) = read(turn, packet, arrival) else {
        return;
    };
    let (each, version) = (packet.gso_size, IpVersion::of_addr(arrival.dst));
    let (host, worker) = (turn.host, &mut *turn.worker);
    let (mut delivered, mut unwanted) = (false, false);
    host.groups
        .for_members(&mut turn.key.ctx(), arrival.dst, |socket, filter, ctx| {
            if socket.is_closed() || !socket.receives_at(to) {
                return;
            }
            if !filter.wants(arrival.src) {
                unwanted = true;
                return;
            }
            let payload = packet.data.slice(range.clone());
            let received = Datagram { from, to, payload };
            let outcome = socket.state.with(ctx, |state, _| {
                if state.socket.remote().is_some_and(|remote| remote != from) {
                    return None;
                }
                let buffers = &host.buffers;
                let outcome = deliver_to(state, received, each, buffers, &worker.counters);
                state.readers.drain_into(&mut worker.work.wakers);
                Some(outcome)
            });
            if let Some(outcome) = outcome {
                delivered = true;
                count_delivered(worker, version, outcome);
            }
        });
    delivered |= deliver_unjoined(turn, packet, (from, to), &range);
    if delivered {
        return;
    }
    let tally = &mut turn.worker.tally;
    tally.udp(version, UdpObject::IgnoredMulti, 1);
    turn.drop_packet(if unwanted {
        DropReason::GroupSourceUnwanted
    } else {
        DropReason::UdpNotJoined
    });
}

/// Delivers a copy of a datagram to a group that the host is always a member of to each socket that did not join it: a
/// member has got it, or does not want its source. Returns `false` if no socket gets one.
fn deliver_unjoined(
    turn: &mut Turn<'_>,
    packet: &RxPacket,
    ends: (SocketAddr, SocketAddr),
    range: &Range<usize>,
) -> bool {
    let group = ends.1.ip();
    let addresses = &turn.worker.addressing.addresses;
    let Destination::Multicast(Group::AllNodes | Group::SolicitedNode) = addresses.classify(group)
    else {
        return false;
    };
    deliver_copies(turn, packet, ends, range, |turn, socket| {
        let groups = &turn.host.groups;
        !socket.has_joined() || !groups.is_member(&mut turn.key.ctx(), group, socket)
    })
}
