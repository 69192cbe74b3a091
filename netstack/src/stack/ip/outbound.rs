//! Packets on their way out: how they leave, and the batch that they leave in.

use std::net::IpAddr;

use packet::TxPacket;

use super::super::turn::{Turn, WorkerState};
use crate::base::counters::Counter;
use crate::ip::pmtu::Path;
use crate::ip::send::{Packets, TxParams};

/// Path to the host itself: no link limits it, only the length field of IP.
pub(in crate::stack) const LOOPBACK: Path = Path {
    mtu: u16::MAX,
    dont_fragment: true,
};

/// Returns how packets to `remote` leave.
pub(in crate::stack) fn tx_params(
    turn: &mut Turn<'_>,
    remote: IpAddr,
    ttl: u8,
    traffic_class: u8,
) -> TxParams {
    let paths = &turn.host.ip.paths;
    let path = if turn.worker.addressing.addresses.is_here(remote) {
        LOOPBACK
    } else {
        paths.get(&mut turn.key.ctx(), remote, turn.now)
    };
    TxParams {
        path,
        ttl,
        traffic_class,
        flow_label: 0,
        offload: turn.host.link.offload,
    }
}

/// Returns the batch that packets to `remote` leave in: the device's, or that of the host itself.
#[inline]
pub(in crate::stack) fn batch(worker: &mut WorkerState, remote: IpAddr) -> &mut Vec<TxPacket> {
    if worker.addressing.addresses.is_here(remote) {
        &mut worker.work.looped
    } else {
        &mut worker.work.transmit
    }
}

/// Puts the packets of a datagram to `remote` into a batch.
pub(in crate::stack) fn queue_packets(turn: &mut Turn<'_>, packets: Packets, remote: IpAddr) {
    if packets.is_fragmented() {
        turn.count(Counter::FragmentsOut, packets.remaining() as u64);
    }
    packets.append_to(batch(turn.worker, remote));
}
