//! A datagram to a multicast group, to every socket that joined the group, wants the source and receives at the port, as
//! on Linux.
//!
//! The host itself is a member of the groups of all nodes and of its solicited-node groups: a socket that joined no
//! such group receives what is sent to them, as on Linux (`IP_MULTICAST_ALL`).

use std::net::SocketAddr;
use std::ops::Range;

use packet::frame::RxPacket;
use packet::ip::IpVersion;

use super::super::turn::Turn;
use super::super::udp::deliver::deliver_to;
use super::super::udp::inbound::{UdpArrival, count_delivered, read};
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
    // A socket that does not want the source does not get it as one that joined nothing either.
    if delivered || !unwanted && deliver_unjoined(turn, packet, (from, to), range) {
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

/// Delivers a datagram that no member took to the socket at its port, if it is to a group that the host is always a
/// member of. Returns `false` if it is not, or if there is no such socket.
fn deliver_unjoined(
    turn: &mut Turn<'_>,
    packet: &RxPacket,
    (from, to): (SocketAddr, SocketAddr),
    range: Range<usize>,
) -> bool {
    let addresses = &turn.worker.addressing.addresses;
    let Destination::Multicast(Group::AllNodes | Group::SolicitedNode) =
        addresses.classify(to.ip())
    else {
        return false;
    };
    let (host, index) = (turn.host, turn.worker.index);
    let found = host
        .udp
        .lookup(&mut turn.key.ctx(), from, to, index, || true);
    let Some(found) = found.filter(|socket| !socket.is_closed()) else {
        return false;
    };
    found.note_active(|| turn.now);
    let payload = packet.data.slice(range);
    let received = Datagram { from, to, payload };
    let worker = &mut *turn.worker;
    let outcome = found.state.with(&mut turn.key.ctx(), |state, _| {
        let (buffers, each) = (&host.buffers, packet.gso_size);
        let outcome = deliver_to(state, received, each, buffers, &worker.counters);
        state.readers.drain_into(&mut worker.work.wakers);
        outcome
    });
    count_delivered(worker, IpVersion::of_addr(to.ip()), outcome);
    true
}
