//! A datagram that was received, into the queue of its socket.

use packet::Buffers;
use packet::ip::IpVersion;

use super::super::turn::WorkerState;
use super::socket::SocketState;
use crate::base::mib::objects::UdpObject;
use crate::base::{Counters, DropReason, FateCell};
use crate::udp::Datagram;

/// The number of datagrams that went into a queue, and of those that did not.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(in crate::stack) struct Delivered {
    pub(in crate::stack) queued: u32,
    pub(in crate::stack) refused: u32,
    /// The reason, if there are some.
    pub(in crate::stack) reason: Option<DropReason>,
}

impl Delivered {
    /// Notes in `fate`, that of the packet, what did not go into the queue.
    pub(in crate::stack) fn note(&self, fate: &FateCell) {
        for reason in self.reason.iter().cycle().take(self.refused as usize) {
            fate.discard(*reason);
        }
    }
}

/// Delivers what was received to a socket whose `state` is locked, and counts the datagrams that are lost. With
/// `each` other than 0, the payload is that of several datagrams of so many bytes each.
pub(in crate::stack) fn deliver_to(
    state: &mut SocketState,
    received: Datagram,
    each: u16,
    buffers: &Buffers,
    counters: &Counters,
) -> Delivered {
    let Datagram { from, to, payload } = received;
    let socket = &mut state.socket;
    let (queued, refused, why) = if each == 0 || payload.len() <= usize::from(each) {
        match socket.deliver(from, to, payload, buffers) {
            Ok(()) => (1, 0, None),
            Err(reason) => (0, 1, Some(reason)),
        }
    } else {
        let outcome = socket.deliver_segmented(from, to, payload, each, buffers);
        (outcome.delivered, outcome.dropped, Some(outcome.reason))
    };
    let reason = why.filter(|_| refused > 0);
    if let Some(reason) = reason {
        for _ in 0..refused {
            counters.drop_packet(reason);
        }
    }
    for _ in 0..socket.take_displaced() {
        counters.drop_packet(DropReason::UdpDisplaced);
    }
    Delivered {
        queued,
        refused,
        reason,
    }
}

/// Counts what became of datagrams that a socket was found for.
#[inline]
pub(in crate::stack) fn count_delivered(
    worker: &mut WorkerState,
    version: IpVersion,
    delivered: Delivered,
) {
    let tally = &mut worker.tally;
    tally.udp(version, UdpObject::InDatagrams, delivered.queued.into());
    let Some(reason) = delivered.reason else {
        return;
    };
    delivered.note(&worker.fate);
    // The socket is connected to another peer.
    if reason == DropReason::UdpNoSocket {
        tally.udp(version, UdpObject::NoPorts, delivered.refused.into());
    } else {
        tally.udp(version, UdpObject::InErrors, delivered.refused.into());
        tally.udp(version, UdpObject::RcvbufErrors, delivered.refused.into());
    }
}
