//! A datagram to send, from the application's bytes to packets.

use std::net::SocketAddr;

use bytes::Bytes;
use packet::ip::IpVersion;
use packet::{IpProto, Payload, TxPacket};

use super::super::icmp::echo;
use super::super::icmp::outbound::send_error;
use super::super::ip::outbound::{
    LOOPBACK, Way, batch, discard_no_route, discard_too_big, queue_packets, tx_params,
};
use super::super::turn::Turn;
use super::inbound;
use super::socket::{OutDatagram, Protocol};
use crate::base::OffloadCaps;
use crate::base::counters::DropReason;
use crate::base::mib::objects::UdpObject;
use crate::icmp::error::{Unreachable, unreachable};
use crate::ip::addresses::is_node_local;
use crate::ip::pmtu::Path;
use crate::ip::send::{TxParams, fits_datagram, udp_gso_packet, udp_packets, write_udp};
use crate::udp::MtuDiscovery;

/// Builds the datagrams that were queued in this turn; true if there were any.
pub fn send_queued(turn: &mut Turn<'_>) -> bool {
    if turn.worker.work.tasks.datagrams.is_empty() {
        return false;
    }
    let mut datagrams = std::mem::take(&mut turn.worker.work.tasks.datagrams);
    for datagram in datagrams.drain() {
        send(turn, datagram);
    }
    turn.worker.work.tasks.datagrams = datagrams;
    true
}

fn send(turn: &mut Turn<'_>, datagram: OutDatagram) {
    if let Some(reason) = datagram.refused {
        refuse(turn, datagram, reason);
        return;
    }
    let (mut local, remote) = (datagram.local, datagram.remote);
    if local.ip().is_unspecified() {
        let addressing = &turn.worker.addressing;
        match addressing.source(remote.ip(), datagram.source_preference) {
            Ok(Some(source)) => local.set_ip(source),
            Ok(None) | Err(_) => {
                discard_no_route(turn, remote.ip());
                return;
            }
        }
    }
    let addresses = &turn.worker.addressing.addresses;
    if local.ip().is_loopback() && !addresses.is_here(remote.ip()) {
        // A loopback address never appears on a link (RFC 1122 section 3.2.1.3(g)).
        discard_no_route(turn, remote.ip());
        return;
    }
    if datagram.is_to_group && !goes_out(turn, (local, remote), &datagram) {
        return;
    }
    if datagram.protocol != Protocol::Udp {
        echo::send(turn, local, datagram);
        return;
    }
    let (mut params, way) = tx_params(turn, remote.ip(), datagram.ttl, datagram.traffic_class);
    params.flow_label = turn.host.ip.flow_labels.label(local, remote);
    let (payload, segment) = (datagram.payload, datagram.segment);
    if datagram.discovery != MtuDiscovery::Fragment {
        if datagram.discovery == MtuDiscovery::Probe && way == Way::Link {
            params.path = Path::unknown(params.path.link_mtu);
        }
        let len = match segment {
            0 => payload.len(),
            segment => payload.len().min(segment.into()),
        };
        if !fits_datagram(remote.ip(), len, &params) {
            // The path has shrunk since the program was told that it fits.
            discard_too_big(turn, remote.ip());
            return;
        }
        params.path.dont_fragment = true;
    }
    send_payload(turn, (local, remote), payload, segment, (&params, way));
}

/// Answers a received datagram with an ICMP error. A socket of this host that sent it is told the same.
#[cold]
fn refuse(turn: &mut Turn<'_>, datagram: OutDatagram, reason: Unreachable) {
    let (from, to) = (datagram.remote, datagram.local);
    if turn.worker.addressing.addresses.is_here(from.ip()) {
        inbound::refuse(turn, from, to, reason);
        return;
    }
    // The datagram as it came, but for the fields of its IP header, which were not kept.
    let params = TxParams {
        path: LOOPBACK,
        ttl: datagram.ttl,
        traffic_class: datagram.traffic_class,
        flow_label: 0,
        offload: OffloadCaps::default(),
    };
    let packets = udp_packets(from, to, datagram.payload.into(), &params, || 0);
    if let Some(packet) = packets.ok().and_then(|mut packets| packets.next()) {
        let message = unreachable(IpVersion::of_addr(to.ip()), reason);
        let quoted = Payload::from(Bytes::from(packet.to_vec()));
        send_error(turn, message, &quoted);
    }
}

/// Sends a datagram to a group to the members on this host. Returns `true` if it is for the link, too. Counts one
/// that is for neither.
#[cold]
fn goes_out(turn: &mut Turn<'_>, ends: (SocketAddr, SocketAddr), datagram: &OutDatagram) -> bool {
    let is_looped = datagram.protocol == Protocol::Udp && loop_back(turn, ends, datagram);
    let goes_out = datagram.ttl > 0 && !is_node_local(ends.1.ip());
    if !goes_out && !is_looped {
        turn.drop_packet(DropReason::UdpNotJoined);
    }
    goes_out
}

/// Sends a datagram to a group to the host itself, if a socket here joined the group and the sender did not turn
/// that off (RFC 1112 section 6.1). Returns `false` if it is not for the host.
#[cold]
fn loop_back(turn: &mut Turn<'_>, ends: (SocketAddr, SocketAddr), datagram: &OutDatagram) -> bool {
    // A task of this turn may have joined the group just before it sent.
    turn.worker.renew(turn.host, turn.key);
    let addresses = &turn.worker.addressing.addresses;
    if !datagram.loops || !addresses.is_joined(ends.1.ip()) {
        return false;
    }
    let params = TxParams {
        path: LOOPBACK,
        ttl: datagram.ttl,
        traffic_class: datagram.traffic_class,
        flow_label: 0,
        offload: turn.host.offload(),
    };
    let payload = datagram.payload.clone();
    let by = (&params, Way::Loopback);
    send_payload(turn, ends, payload, datagram.segment, by);
    true
}

/// Sends a payload as one datagram, or as several of `segment` bytes each.
#[inline]
fn send_payload(
    turn: &mut Turn<'_>,
    ends: (SocketAddr, SocketAddr),
    payload: Payload,
    segment: u16,
    by: (&TxParams, Way),
) {
    if segment > 0 && payload.len() > usize::from(segment) {
        send_segments(turn, ends, payload, segment, by);
    } else {
        send_one(turn, ends, payload, by);
    }
}

#[inline]
fn send_one(
    turn: &mut Turn<'_>,
    (local, remote): (SocketAddr, SocketAddr),
    payload: Payload,
    (params, way): (&TxParams, Way),
) {
    if !fits_datagram(remote.ip(), payload.len(), params) {
        send_fragments(turn, (local, remote), payload, (params, way));
        return;
    }
    let worker = &mut *turn.worker;
    let identification = &mut worker.identification;
    let ident = || identification.next(local.ip(), remote.ip(), IpProto::UDP.0);
    // Built where it stays: a packet is long, and each move of it costs time.
    let out = batch(&mut worker.work, way);
    let packet = out.push_mut(TxPacket::default());
    packet.payload = payload.into();
    if write_udp(packet, local, remote, params, ident).is_err() {
        out.pop();
        discard_too_big(turn, remote.ip());
        return;
    }
    worker.tally.sent(packet, remote.ip());
    let version = IpVersion::of_addr(remote.ip());
    worker.tally.udp(version, UdpObject::OutDatagrams, 1);
}

/// Sends a datagram that does not fit one packet.
fn send_fragments(
    turn: &mut Turn<'_>,
    (local, remote): (SocketAddr, SocketAddr),
    payload: Payload,
    (params, way): (&TxParams, Way),
) {
    let identification = &mut turn.worker.identification;
    let packets = udp_packets(local, remote, payload.into(), params, || {
        identification.next(local.ip(), remote.ip(), IpProto::UDP.0)
    });
    match packets {
        Ok(packets) => {
            let version = IpVersion::of_addr(remote.ip());
            turn.worker.tally.udp(version, UdpObject::OutDatagrams, 1);
            queue_packets(turn, packets, way, remote.ip());
        }
        Err(_) => discard_too_big(turn, remote.ip()),
    }
}

/// Sends a payload as datagrams of `segment` bytes each: cut by the device if it can, else here.
fn send_segments(
    turn: &mut Turn<'_>,
    (local, remote): (SocketAddr, SocketAddr),
    mut payload: Payload,
    segment: u16,
    (params, way): (&TxParams, Way),
) {
    let identification = &mut turn.worker.identification;
    let whole = udp_gso_packet(
        local,
        remote,
        payload.clone().into(),
        segment,
        params,
        || identification.next(local.ip(), remote.ip(), IpProto::UDP.0),
    );
    if let Ok(packet) = whole {
        let datagrams = payload.len().div_ceil(usize::from(segment).max(1)) as u64;
        let (tally, version) = (&mut turn.worker.tally, IpVersion::of_addr(remote.ip()));
        tally.udp(version, UdpObject::OutDatagrams, datagrams);
        tally.sent(&packet, remote.ip());
        batch(&mut turn.worker.work, way).push(packet);
        return;
    }
    while !payload.is_empty() {
        let piece = payload.split_to(usize::from(segment));
        send_one(turn, (local, remote), piece, (params, way));
    }
}
