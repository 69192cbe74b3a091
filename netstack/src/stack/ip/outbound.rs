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

/// The batch that packets leave in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::stack) enum Way {
    /// The device's.
    Link,
    /// That of packets to the host itself.
    Loopback,
}

/// Returns how packets to `remote` are built, and the way that they leave.
pub(in crate::stack) fn tx_params(
    turn: &mut Turn<'_>,
    remote: IpAddr,
    ttl: u8,
    traffic_class: u8,
) -> (TxParams, Way) {
    let paths = &turn.host.ip.paths;
    let (path, way) = if turn.worker.addressing.addresses.is_here(remote) {
        (LOOPBACK, Way::Loopback)
    } else {
        let path = paths.get(&mut turn.key.ctx(), remote, turn.now);
        (path, Way::Link)
    };
    let params = TxParams {
        path,
        ttl,
        traffic_class,
        flow_label: 0,
        offload: turn.host.offload(),
    };
    (params, way)
}

/// Returns the batch of packets that leave that way.
#[inline]
pub(in crate::stack) fn batch(worker: &mut WorkerState, way: Way) -> &mut Vec<TxPacket> {
    match way {
        Way::Link => &mut worker.work.transmit,
        Way::Loopback => &mut worker.work.looped,
    }
}

/// Puts the packets of a datagram into a batch.
pub(in crate::stack) fn queue_packets(turn: &mut Turn<'_>, packets: Packets, way: Way) {
    if packets.is_fragmented() {
        turn.count(Counter::FragmentsOut, packets.remaining() as u64);
    }
    packets.append_to(batch(turn.worker, way));
}
