//! A datagram to several hosts, to each socket of this one that may receive it.
//!
//! Linux gives a copy to each socket that is bound to the port, and to the destination or no address. The copies are
//! bounded, because the sockets that share an address are.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;

use packet::frame::RxPacket;
use packet::ip::IpVersion;

use super::super::turn::Turn;
use super::deliver::{count_delivered, deliver_to};
use super::socket::BoundSocket;
use crate::udp::Datagram;

/// Delivers a copy of a datagram to each socket that receives at `to` and for which `is_for` holds. Returns `false` if
/// there is none.
#[cold]
pub(in crate::stack) fn deliver_copies(
    turn: &mut Turn<'_>,
    packet: &RxPacket,
    (from, to): (SocketAddr, SocketAddr),
    range: &Range<usize>,
    is_for: impl Fn(&mut Turn<'_>, &Arc<BoundSocket>) -> bool,
) -> bool {
    let groups = turn.host.udp.receivers(&mut turn.key.ctx(), from, to);
    let index = turn.worker.index;
    let mut delivered = false;
    for socket in groups
        .iter()
        .flatten()
        .flat_map(|group| group.receivers(index))
    {
        if socket.takes_copies() && is_for(turn, socket) {
            let payload = packet.data.slice(range.clone());
            let received = Datagram { from, to, payload };
            delivered |= deliver_copy(turn, socket, received, packet.gso_size);
        }
    }
    delivered
}

/// Delivers a copy of a datagram to a socket. Returns `false` if that is connected to another peer.
fn deliver_copy(turn: &mut Turn<'_>, socket: &BoundSocket, received: Datagram, each: u16) -> bool {
    let (host, worker) = (turn.host, &mut *turn.worker);
    let version = IpVersion::of_addr(received.to.ip());
    socket.note_active(|| turn.now);
    let outcome = socket.state.with(&mut turn.key.ctx(), |state, _| {
        let remote = state.socket.remote();
        if remote.is_some_and(|remote| remote != received.from) {
            return None;
        }
        let outcome = deliver_to(state, received, each, &host.buffers, &worker.counters);
        state.readers.drain_into(&mut worker.work.wakers);
        Some(outcome)
    });
    if let Some(outcome) = outcome {
        count_delivered(worker, version, outcome);
    }
    outcome.is_some()
}
