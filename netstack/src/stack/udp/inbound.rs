//! A received UDP datagram, from its verified bytes to the socket that it is for.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use packet::frame::RxPacket;
use packet::ip::IpVersion;
use packet::udp::surplus::Surplus;
use packet::udp::{UdpParseError, UdpView};

use super::super::icmp;
use super::super::turn::Turn;
use super::copies::deliver_copies;
use super::deliver::{count_delivered, deliver_to};
use super::socket::BoundSocket;
use crate::base::counters::{Counter, DropReason};
use crate::base::mib::objects::UdpObject;
use crate::icmp::error::{Unreachable, port_unreachable};
use crate::icmp::{ErrorKind, TransportError};
use crate::ip::receive::Cast;
use crate::udp::{Datagram, MtuDiscovery, SocketError};

/// A UDP packet whose IP header was checked.
pub(in crate::stack) struct UdpArrival {
    pub(in crate::stack) src: IpAddr,
    pub(in crate::stack) dst: IpAddr,
    pub(in crate::stack) range: Range<usize>,
    pub(in crate::stack) cast: Cast,
}

/// Reads the header of a datagram: its sender, its destination, and the range of its payload in the packet. Counts
/// and discards a malformed one.
#[inline]
pub(in crate::stack) fn read(
    turn: &mut Turn<'_>,
    packet: &RxPacket,
    arrival: &UdpArrival,
) -> Option<(SocketAddr, SocketAddr, Range<usize>)> {
    let bytes = packet.data.get(arrival.range.clone()).unwrap_or(&[]);
    let view = match UdpView::parse(arrival.src, arrival.dst, bytes, packet.checksum) {
        Ok(view) => view,
        Err(error) => {
            on_malformed(turn, arrival, error);
            return None;
        }
    };
    let header = view.header();
    let from = SocketAddr::new(arrival.src, header.src_port);
    let to = SocketAddr::new(arrival.dst, header.dst_port);
    let start = arrival.range.start + packet::udp::LEN;
    let range = start..start + view.payload().len();
    if range.end != arrival.range.end && !is_surplus_harmless(turn, packet, &view, bytes) {
        return None;
    }
    Some((from, to, range))
}

/// Counts and discards a datagram in error.
#[cold]
fn on_malformed(turn: &mut Turn<'_>, arrival: &UdpArrival, error: UdpParseError) {
    let version = IpVersion::of_addr(arrival.dst);
    turn.worker.tally.udp(version, UdpObject::InErrors, 1);
    if let UdpParseError::Checksum | UdpParseError::MissingChecksum = error {
        turn.worker.tally.udp(version, UdpObject::InCsumErrors, 1);
        turn.drop_packet(DropReason::UdpChecksum);
    } else {
        turn.drop_packet(DropReason::UdpMalformed);
    }
}

/// Looks at the surplus area of a datagram, and counts it (RFC 9868). No option changes what is delivered, but for one
/// that makes the user data something else. False if the datagram was discarded for that.
#[cold]
fn is_surplus_harmless(
    turn: &mut Turn<'_>,
    packet: &RxPacket,
    view: &UdpView<'_>,
    bytes: &[u8],
) -> bool {
    if packet.gso_size != 0 {
        // The device counted the datagrams' lengths together.
        return true;
    }
    let len = view.header().len;
    let area = bytes.get(usize::from(len)..).unwrap_or(&[]);
    match Surplus::parse(len, !view.is_unchecked(), area) {
        Ok(surplus) if surplus.has_unsafe() && !view.payload().is_empty() => {
            let version = IpVersion::of_packet(&packet.data).unwrap_or(IpVersion::V4);
            turn.worker.tally.udp(version, UdpObject::InErrors, 1);
            turn.drop_packet(DropReason::UdpUnsafeOption);
            return false;
        }
        Ok(_) => turn.count(Counter::UdpOptions, 1),
        Err(_) => turn.count(Counter::UdpSurplusInvalid, 1),
    }
    true
}

/// Takes in one datagram to one host or a broadcast address.
pub(in crate::stack) fn receive(turn: &mut Turn<'_>, packet: &RxPacket, arrival: UdpArrival) {
    let Some((from, to, range)) = read(turn, packet, &arrival) else {
        return;
    };
    if arrival.cast != Cast::Unicast {
        if !deliver_copies(turn, packet, (from, to), &range, |_, _| true) {
            on_no_socket(turn, packet, &arrival, (from, to));
        }
        return;
    }
    let index = turn.worker.index;
    let addresses = &turn.worker.addressing.addresses;
    let is_own = || addresses.is_here(arrival.dst);
    let found = turn
        .host
        .udp
        .lookup(&mut turn.key.ctx(), from, to, index, is_own)
        .filter(|socket| !socket.is_closed());
    let Some(found) = found else {
        on_no_socket(turn, packet, &arrival, (from, to));
        return;
    };
    let payload = packet.data.slice(range);
    let each = packet.gso_size;
    let buffers = &turn.host.buffers;
    let worker = &mut *turn.worker;
    found.note_active(|| turn.now);
    let received = Datagram { from, to, payload };
    let delivered = found.state.with(&mut turn.key.ctx(), |state, _| {
        let delivered = deliver_to(state, received, each, buffers, &worker.counters);
        state.readers.drain_into(&mut worker.work.wakers);
        delivered
    });
    count_delivered(worker, IpVersion::of_addr(arrival.dst), delivered);
    if delivered.reason == Some(DropReason::UdpNoSocket) {
        // Nobody waits for a datagram from there.
        answer_no_port(turn, packet, &arrival, (from, to));
    }
}

/// Counts and discards a datagram that no socket takes, and tells its sender.
#[cold]
fn on_no_socket(
    turn: &mut Turn<'_>,
    packet: &RxPacket,
    arrival: &UdpArrival,
    ends: (SocketAddr, SocketAddr),
) {
    let version = IpVersion::of_addr(arrival.dst);
    turn.worker.tally.udp(version, UdpObject::NoPorts, 1);
    turn.drop_packet(DropReason::UdpNoSocket);
    answer_no_port(turn, packet, arrival, ends);
}

/// Tells the sender of a datagram that no socket takes it (RFC 1122 section 4.1.3.1).
#[cold]
fn answer_no_port(
    turn: &mut Turn<'_>,
    packet: &RxPacket,
    arrival: &UdpArrival,
    (from, to): (SocketAddr, SocketAddr),
) {
    // From the device comes nothing with a source of ours.
    if turn.worker.addressing.addresses.is_here(arrival.src) {
        refuse(turn, from, to, Unreachable::Port);
    } else if arrival.cast == Cast::Unicast {
        let message = port_unreachable(IpVersion::of_addr(arrival.dst));
        icmp::outbound::send_error(turn, message, &packet.data);
    }
}

/// Tells a socket of this host that what it sent to `to` does not arrive: an ICMP error would say the same.
pub(super) fn refuse(turn: &mut Turn<'_>, from: SocketAddr, to: SocketAddr, reason: Unreachable) {
    let index = turn.worker.index;
    let sockets = &turn.host.udp;
    let sender = sockets.lookup(&mut turn.key.ctx(), to, from, index, || true);
    if let Some(sender) = sender {
        let error = match reason {
            Unreachable::Network => SocketError::NetUnreachable,
            Unreachable::Host => SocketError::HostUnreachable,
            Unreachable::Port => SocketError::Refused,
            Unreachable::Prohibited => SocketError::Prohibited,
        };
        report(turn, &sender, to, error);
    }
}

/// Reports an error about a datagram to `remote` to the socket that sent it.
fn report(turn: &mut Turn<'_>, socket: &BoundSocket, remote: SocketAddr, error: SocketError) {
    let wakers = &mut turn.worker.work.wakers;
    socket.state.with(&mut turn.key.ctx(), |state, _| {
        if state.socket.on_error(remote, error) {
            state.readers.drain_into(wakers);
        }
    });
}

/// Returns false if a socket is connected to another peer than `remote`: it did not send what a report quotes (RFC 8085
/// section 5.2).
fn may_have_sent_to(turn: &mut Turn<'_>, socket: &BoundSocket, remote: SocketAddr) -> bool {
    !socket.was_connected()
        || socket.state.with(&mut turn.key.ctx(), |state, _| {
            state.socket.remote().is_none_or(|peer| peer == remote)
        })
}

/// Takes in an ICMP error about a datagram of ours; false if no socket sent it.
pub(in crate::stack) fn on_icmp_error(turn: &mut Turn<'_>, error: &TransportError) -> bool {
    let index = turn.worker.index;
    let addresses = &turn.worker.addressing.addresses;
    let is_own = || addresses.is_local(error.local.ip());
    let (host, remote, local) = (turn.host, error.remote, error.local);
    let found = host
        .udp
        .lookup(&mut turn.key.ctx(), remote, local, index, is_own);
    let Some(found) = found else {
        return false;
    };
    let what = match error.kind {
        ErrorKind::PortUnreachable | ErrorKind::ProtocolUnreachable => SocketError::Refused,
        ErrorKind::HostUnreachable | ErrorKind::TimeExceeded => SocketError::HostUnreachable,
        ErrorKind::NetUnreachable => SocketError::NetUnreachable,
        ErrorKind::AdminProhibited => SocketError::Prohibited,
        ErrorKind::ParameterProblem | ErrorKind::Unknown { .. } => SocketError::Protocol,
        ErrorKind::PacketTooBig { mtu } => {
            // From now on such datagrams are fragmented; the application needs no report, unless it asked for none to
            // be fragmented.
            let (remote, quoted) = (error.remote.ip(), error.quoted_len);
            if !may_have_sent_to(turn, &found, error.remote) {
                return false;
            }
            let paths = &turn.host.ip.paths;
            let is_news = paths
                .on_packet_too_big(&mut turn.key.ctx(), remote, mtu, quoted, turn.now)
                .is_some();
            let is_answer = found.mtu_discovery() != MtuDiscovery::Fragment && mtu < quoted;
            if is_answer {
                let mtu = u16::try_from(mtu).unwrap_or(u16::MAX);
                report(turn, &found, error.remote, SocketError::TooBig { mtu });
            }
            return is_news || is_answer;
        }
    };
    report(turn, &found, error.remote, what);
    true
}
