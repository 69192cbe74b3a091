//! Packets on their way out: how they leave, and the batch that they leave in.

use std::net::IpAddr;

use lockorder::Key;
use packet::TxPacket;
use packet::ip::IpVersion;

use super::super::host::Host;
use super::super::levels::StackLocks;
use super::super::turn::Turn;
use super::super::worklist::Worklist;
use crate::base::Instant;
use crate::base::counters::{Counter, DropReason};
use crate::base::mib::objects::IpObject;
use crate::ip::pmtu::Path;
use crate::ip::send::{Packets, TxParams};

/// Path to the host itself: no link limits it, only the length field of IP.
pub(in crate::stack) const LOOPBACK: Path = Path::unknown(u16::MAX);

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
    let (path, way) = if turn.worker.addressing.addresses.is_here(remote) {
        (LOOPBACK, Way::Loopback)
    } else {
        let path = path_to(turn.host, turn.key, remote, turn.now);
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

/// Returns what is known of the path to `remote` through the link: what routers reported, and the limit of the route.
pub(in crate::stack) fn path_to(
    host: &Host,
    key: &mut Key<StackLocks>,
    remote: IpAddr,
    now: Instant,
) -> Path {
    let path = host.ip.paths.get(&mut key.ctx(), remote, now);
    let route_mtu = host.ip.addressing.route_mtu(&mut key.ctx(), remote);
    path.within(route_mtu)
}

/// Returns the batch of packets that leave that way.
#[inline]
pub(in crate::stack) fn batch(work: &mut Worklist, way: Way) -> &mut Vec<TxPacket> {
    match way {
        Way::Link => &mut work.transmit,
        Way::Loopback => &mut work.looped,
    }
}

/// Puts the packets of a datagram to `dst` into a batch.
pub(in crate::stack) fn queue_packets(
    turn: &mut Turn<'_>,
    packets: Packets,
    way: Way,
    dst: IpAddr,
) {
    let fragments = if packets.is_fragmented() {
        packets.remaining() as u64
    } else {
        0
    };
    let out = batch(&mut turn.worker.work, way);
    let before = out.len();
    packets.append_to(out);
    let (tally, version) = (&mut turn.worker.tally, IpVersion::of_addr(dst));
    let sent = out.get(before..).unwrap_or(&[]);
    tally.sent_as(sent, version, dst.is_multicast());
    if fragments > 0 {
        tally.ip(version, IpObject::FragOks, 1);
        tally.ip(version, IpObject::FragCreates, fragments);
        turn.count(Counter::FragmentsOut, fragments);
    }
}

/// Counts and discards a packet that would exceed its path and may not be cut.
#[cold]
pub(in crate::stack) fn discard_too_big(turn: &mut Turn<'_>, dst: IpAddr) {
    let version = IpVersion::of_addr(dst);
    turn.worker.tally.ip(version, IpObject::OutRequests, 1);
    turn.worker.tally.ip(version, IpObject::FragFails, 1);
    turn.drop_packet(DropReason::TooBig);
}

/// Returns true if packets to `dst` may leave. Counts one that may not, and is discarded.
pub(in crate::stack) fn check_route(turn: &mut Turn<'_>, dst: IpAddr) -> bool {
    let reaches = turn.worker.addressing.route(dst).is_ok();
    if !reaches {
        discard_no_route(turn, dst);
    }
    reaches
}

/// Counts and discards a packet for which there is no route or no source.
#[cold]
pub(in crate::stack) fn discard_no_route(turn: &mut Turn<'_>, dst: IpAddr) {
    let version = IpVersion::of_addr(dst);
    turn.worker.tally.ip(version, IpObject::OutNoRoutes, 1);
    turn.drop_packet(DropReason::NoRoute);
}
