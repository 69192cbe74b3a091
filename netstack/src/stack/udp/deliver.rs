//! A datagram that was received, into the queue of its socket.

use packet::Buffers;

use super::socket::SocketState;
use crate::base::{Counters, DropReason};
use crate::udp::Datagram;

/// Delivers what was received to a socket whose `state` is locked, and counts the datagrams that are lost. With
/// `each` other than 0, the payload is that of several datagrams of so many bytes each.
pub(in crate::stack) fn deliver_to(
    state: &mut SocketState,
    received: Datagram,
    each: u16,
    buffers: &Buffers,
    counters: &Counters,
) {
    let Datagram { from, to, payload } = received;
    let socket = &mut state.socket;
    if each == 0 || payload.len() <= usize::from(each) {
        if let Err(reason) = socket.deliver(from, to, payload, buffers) {
            counters.drop_packet(reason);
        }
    } else {
        let outcome = socket.deliver_segmented(from, to, payload, each, buffers);
        for _ in 0..outcome.dropped {
            counters.drop_packet(outcome.reason);
        }
    }
    for _ in 0..socket.take_displaced() {
        counters.drop_packet(DropReason::UdpDisplaced);
    }
}
