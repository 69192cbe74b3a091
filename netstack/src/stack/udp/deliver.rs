//! A datagram that was received, into the queue of its socket.

use packet::Buffers;

use super::socket::SocketState;
use crate::base::{Counters, DropReason};
use crate::udp::Datagram;

/// The number of datagrams that went into a queue, and of those that did not.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(in crate::stack) struct Delivered {
    pub(in crate::stack) queued: u32,
    pub(in crate::stack) refused: u32,
    /// The socket is connected to another peer.
    pub(in crate::stack) is_for_another: bool,
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
    let (queued, refused, reason) = if each == 0 || payload.len() <= usize::from(each) {
        match socket.deliver(from, to, payload, buffers) {
            Ok(()) => (1, 0, None),
            Err(reason) => (0, 1, Some(reason)),
        }
    } else {
        let outcome = socket.deliver_segmented(from, to, payload, each, buffers);
        (outcome.delivered, outcome.dropped, Some(outcome.reason))
    };
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
        is_for_another: refused > 0 && reason == Some(DropReason::UdpNoSocket),
    }
}
