//! A received packet, from its first byte to the protocol that it is for.
//!
//! Written once for both IP versions. Each packet is counted exactly once: as delivered by the
//! protocol above, or under one reason here.

use std::net::IpAddr;

use packet::frame::RxPacket;
use packet::ip::{Ip, IpPacket, IpParseError, IpVersion, Ipv4, Ipv6, ParseError};
use packet::{Payload, RxChecksum};

use super::super::icmp;
use super::super::multicast;
use super::super::tcp::deferred::Hop;
use super::super::tcp::inbound::{self as tcp, TcpArrival};
use super::super::turn::Turn;
use super::super::udp::inbound::{self as udp, UdpArrival};
use crate::base::counters::{Counter, DropReason};
use crate::base::mib::objects::IpObject;
use crate::ip::reassembly::FragmentStatus;
use crate::ip::receive::{
    Cast, Delivery, Origin, Upper, classify, fragment_in, on_parse_error, parameter_problem,
};

/// Takes in one packet.
pub fn receive(turn: &mut Turn<'_>, packet: RxPacket, origin: Origin) {
    let Some(version) = IpVersion::of_packet(&packet.data) else {
        turn.drop_packet(DropReason::IpTooShortOrVersion);
        return;
    };
    if origin != Origin::HandedOver {
        let tally = &mut turn.worker.tally;
        tally.ip(version, IpObject::InReceives, 1);
        tally.ip(version, IpObject::InOctets, packet.data.len() as u64);
    }
    match version {
        IpVersion::V4 => receive_ip::<Ipv4>(turn, packet, origin),
        IpVersion::V6 => receive_ip::<Ipv6>(turn, packet, origin),
    }
}

fn receive_ip<I: Ip>(turn: &mut Turn<'_>, packet: RxPacket, origin: Origin) {
    // A second reference to the slab, so that views may live while the packet is passed on.
    let data = packet.data.clone();
    let ip = match IpPacket::<I>::parse(&data) {
        Ok(ip) => ip,
        Err(error) => {
            on_unreadable(turn, &error, &data);
            return;
        }
    };
    match classify(&ip, &turn.worker.addressing.addresses, origin) {
        Delivery::Upper(Upper::Tcp, _) => {
            let arrival = TcpArrival {
                src: ip.src().into(),
                dst: ip.dst().into(),
                hop: Hop {
                    ttl: ip.ttl(),
                    traffic_class: ip.traffic_class(),
                },
                range: ip.payload_range(),
                handed_over: origin == Origin::HandedOver,
            };
            tcp::receive(turn, packet, arrival);
        }
        Delivery::Upper(Upper::Udp, cast) => {
            turn.worker.tally.ip(I::VERSION, IpObject::InDelivers, 1);
            let arrival = UdpArrival {
                src: ip.src().into(),
                dst: ip.dst().into(),
                range: ip.payload_range(),
                cast,
            };
            if cast == Cast::Unicast {
                udp::receive(turn, &packet, arrival);
            } else {
                receive_for_many(turn, &ip, origin, &packet, arrival);
            }
        }
        Delivery::Upper(upper @ (Upper::Icmp | Upper::Igmp), cast) => {
            turn.worker.tally.ip(I::VERSION, IpObject::InDelivers, 1);
            count_cast(turn, &ip, cast, origin);
            if upper == Upper::Icmp {
                icmp::inbound::receive(turn, &ip, cast, &packet);
            } else {
                multicast::inbound::on_igmp(turn, &ip);
            }
        }
        Delivery::Fragment => {
            count_other(turn, &ip, IpObject::ReasmReqds, origin);
            receive_fragment(turn, &ip, &packet);
        }
        Delivery::Drop(reason) => {
            count_other(turn, &ip, object_of(reason), origin);
            turn.drop_packet(reason);
        }
        Delivery::Answer(reason, message) => {
            count_other(turn, &ip, IpObject::InUnknownProtos, origin);
            turn.drop_packet(reason);
            icmp::outbound::send_error(turn, message, &data);
        }
    }
}

/// Takes in a datagram to a broadcast address or a group.
fn receive_for_many<I: Ip>(
    turn: &mut Turn<'_>,
    ip: &IpPacket<'_, I>,
    origin: Origin,
    packet: &RxPacket,
    arrival: UdpArrival,
) {
    count_cast(turn, ip, arrival.cast, origin);
    if arrival.cast == Cast::Multicast {
        multicast::deliver::receive(turn, packet, &arrival);
    } else {
        udp::receive(turn, packet, arrival);
    }
}

/// Counts a packet to many hosts. A reassembled one was counted with its fragments.
fn count_cast<I: Ip>(turn: &mut Turn<'_>, ip: &IpPacket<'_, I>, cast: Cast, origin: Origin) {
    if origin == Origin::Reassembled {
        return;
    }
    let tally = &mut turn.worker.tally;
    match cast {
        Cast::Unicast => {}
        Cast::Broadcast => tally.ip(I::VERSION, IpObject::InBcastPkts, 1),
        Cast::Multicast => {
            tally.ip(I::VERSION, IpObject::InMcastPkts, 1);
            tally.ip(I::VERSION, IpObject::InMcastOctets, ip.total_len() as u64);
        }
    }
}

/// Counts a packet that is delivered to no protocol.
#[cold]
fn count_other<I: Ip>(turn: &mut Turn<'_>, ip: &IpPacket<'_, I>, object: IpObject, origin: Origin) {
    let dst: IpAddr = ip.dst().into();
    let cast = if dst.is_multicast() {
        Cast::Multicast
    } else if turn.worker.addressing.is_broadcast(dst) {
        Cast::Broadcast
    } else {
        Cast::Unicast
    };
    count_cast(turn, ip, cast, origin);
    turn.worker.tally.ip(I::VERSION, object, 1);
}

/// Returns the object of a packet that was discarded for `reason` though its headers are valid.
fn object_of(reason: DropReason) -> IpObject {
    match reason {
        DropReason::IpDestinationNotOurs | DropReason::IpSourceInvalid => IpObject::InAddrErrors,
        // It says itself that it carries nothing.
        DropReason::IpNoNextHeader => IpObject::InDelivers,
        DropReason::FragmentInvalid => IpObject::ReasmFails,
        _ => IpObject::InDiscards,
    }
}

/// Counts, discards and perhaps answers a packet whose headers cannot be parsed.
#[cold]
fn on_unreadable<I: Ip>(turn: &mut Turn<'_>, error: &IpParseError<I>, data: &Payload) {
    let truncated = IpParseError::Parse {
        error: ParseError::Truncated,
    };
    let object = if *error == truncated {
        IpObject::InTruncatedPkts
    } else {
        IpObject::InHdrErrors
    };
    turn.worker.tally.ip(I::VERSION, object, 1);
    let (reason, answer) = on_parse_error(error);
    turn.drop_packet(reason);
    if let Some(message) = answer {
        icmp::outbound::send_error(turn, message, data);
    }
}

fn receive_fragment<I: Ip>(turn: &mut Turn<'_>, ip: &IpPacket<'_, I>, packet: &RxPacket) {
    let Some(fragment) = fragment_in(ip) else {
        turn.drop_packet(DropReason::FragmentInvalid);
        return;
    };
    let reassembly = &turn.host.ip.reassembly;
    let buffers = &turn.host.buffers;
    let (outcome, lost) = reassembly.on_fragment(&mut turn.key.ctx(), &fragment, buffers, turn.now);
    let is_failure = match outcome.status {
        FragmentStatus::Drop(reason) => reason != DropReason::FragmentDuplicate,
        FragmentStatus::ParameterProblem { .. } => true,
        FragmentStatus::Pending | FragmentStatus::Complete(_) => outcome.discarded.is_some(),
    };
    let fails = u64::from(is_failure) + u64::from(lost > 0);
    turn.worker
        .tally
        .ip(I::VERSION, IpObject::ReasmFails, fails);
    for _ in 0..lost {
        turn.drop_other(DropReason::FragmentNoMemory);
    }
    // Those that it takes with it when it is discarded are counted as it is.
    let count = match outcome.status {
        FragmentStatus::Pending | FragmentStatus::Complete(_) => Turn::drop_other,
        _ => Turn::drop_packet,
    };
    if let Some(discarded) = outcome.discarded {
        for _ in 0..discarded.fragments {
            count(turn, discarded.reason);
        }
    }
    match outcome.status {
        FragmentStatus::Pending => {}
        FragmentStatus::Complete(whole) => {
            turn.count(Counter::Reassembled, 1);
            turn.worker.tally.ip(I::VERSION, IpObject::ReasmOks, 1);
            // In a buffer like any other packet, so that whoever keeps it is charged for it.
            let copy = buffers
                .copy_received(&whole)
                .or_else(|| buffers.copy_exact(&whole));
            let Some(whole) = copy else {
                turn.worker.tally.ip(I::VERSION, IpObject::InDiscards, 1);
                turn.drop_packet(DropReason::FragmentNoMemory);
                return;
            };
            let whole = RxPacket {
                data: whole,
                // The device never saw the whole datagram.
                checksum: RxChecksum::Unknown,
                gso_size: 0,
                arrived_nanos: packet.arrived_nanos,
            };
            receive_ip::<I>(turn, whole, Origin::Reassembled);
        }
        FragmentStatus::Drop(reason) => turn.drop_packet(reason),
        FragmentStatus::ParameterProblem { pointer, code } => {
            turn.drop_packet(DropReason::FragmentInvalid);
            let message = parameter_problem(I::VERSION, code, pointer);
            icmp::outbound::send_error(turn, message, &packet.data);
        }
    }
}

/// Gives up datagrams whose fragments did not all come in time, and says so to their senders (RFC
/// 1122 section 3.3.2, RFC 8200 section 4.5). True if there were any.
pub fn on_reassembly_timeout(turn: &mut Turn<'_>) -> bool {
    let reassembly = &turn.host.ip.reassembly;
    if reassembly
        .deadline()
        .is_none_or(|deadline| deadline > turn.now)
    {
        return false;
    }
    for timed_out in reassembly.expire(&mut turn.key.ctx(), &turn.host.buffers, turn.now) {
        for _ in 0..timed_out.fragments {
            turn.drop_packet(DropReason::FragmentTimeout);
        }
        let tally = &mut turn.worker.tally;
        tally.ip(timed_out.version, IpObject::ReasmFails, 1);
        tally.ip(timed_out.version, IpObject::ReasmTimeout, 1);
        if let Some(first) = timed_out.first {
            icmp::outbound::send_time_exceeded(turn, &first);
        }
    }
    true
}
