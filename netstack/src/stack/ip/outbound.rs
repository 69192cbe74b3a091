//! Packets on their way out: how they leave, and the batch that they leave in.

use std::net::IpAddr;

use super::super::turn::Turn;
use crate::base::counters::Counter;
use crate::ip::send::{Packets, TxParams};

/// Returns how packets to `remote` leave.
pub(in crate::stack) fn tx_params(
    turn: &mut Turn<'_>,
    remote: IpAddr,
    ttl: u8,
    traffic_class: u8,
) -> TxParams {
    let paths = &turn.host.ip.paths;
    TxParams {
        path: paths.get(&mut turn.key.ctx(), remote, turn.now),
        ttl,
        traffic_class,
        flow_label: 0,
        offload: turn.host.link.offload,
    }
}

/// Puts the packets of a datagram into the transmit batch.
pub(in crate::stack) fn queue_packets(turn: &mut Turn<'_>, packets: Packets) {
    if packets.is_fragmented() {
        turn.count(Counter::FragmentsOut, packets.remaining() as u64);
    }
    packets.append_to(&mut turn.worker.work.transmit);
}
