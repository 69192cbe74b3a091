//! A datagram to a multicast group, to every socket that joined the group and receives at the port, as on Linux.

use packet::frame::RxPacket;
use packet::ip::IpVersion;

use super::super::turn::Turn;
use super::super::udp::deliver::deliver_to;
use super::super::udp::inbound::{UdpArrival, count_delivered, read};
use crate::base::counters::DropReason;
use crate::base::mib::objects::UdpObject;
use crate::udp::Datagram;

/// Takes in one datagram to a group. No error answers it, whatever becomes of it (RFC 1122 section 3.2.2, RFC
/// 4443 section 2.4(e.3)).
pub(in crate::stack) fn receive(turn: &mut Turn<'_>, packet: &RxPacket, arrival: &UdpArrival) {
    let Some((from, to, range)) = read(turn, packet, arrival) else {
        return;
    };
    let (each, version) = (packet.gso_size, IpVersion::of_addr(arrival.dst));
    let (host, worker) = (turn.host, &mut *turn.worker);
    let mut delivered = false;
    host.groups
        .for_members(&mut turn.key.ctx(), arrival.dst, |socket, ctx| {
            if socket.is_closed() || !socket.receives_at(to) {
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
    if !delivered {
        let tally = &mut turn.worker.tally;
        tally.udp(version, UdpObject::IgnoredMulti, 1);
        turn.drop_packet(DropReason::UdpNotJoined);
    }
}
