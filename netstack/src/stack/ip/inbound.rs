//! A received packet, from its first byte to the protocol that it is for.
//!
//! Written once for both IP versions. Each packet is counted exactly once: as delivered by the
//! protocol above, or under one reason here.

use packet::RxChecksum;
use packet::frame::RxPacket;
use packet::ip::{Ip, IpPacket, IpVersion, Ipv4, Ipv6};

use super::super::icmp;
use super::super::multicast;
use super::super::tcp::deferred::Hop;
use super::super::tcp::inbound::{self as tcp, TcpArrival};
use super::super::turn::Turn;
use super::super::udp::inbound::{self as udp, UdpArrival};
use crate::base::counters::{Counter, DropReason};
use crate::ip::reassembly::FragmentStatus;
use crate::ip::receive::{
    Cast, Delivery, Origin, Upper, classify, fragment_in, on_parse_error, parameter_problem,
};

/// Takes in one packet.
pub fn receive(turn: &mut Turn<'_>, packet: RxPacket, origin: Origin) {
    match IpVersion::of_packet(&packet.data) {
        Some(IpVersion::V4) => receive_ip::<Ipv4>(turn, packet, origin),
        Some(IpVersion::V6) => receive_ip::<Ipv6>(turn, packet, origin),
        None => turn.drop_packet(DropReason::IpTooShortOrVersion),
    }
}

fn receive_ip<I: Ip>(turn: &mut Turn<'_>, packet: RxPacket, origin: Origin) {
    // A second reference to the slab, so that views may live while the packet is passed on.
    let data = packet.data.clone();
    let ip = match IpPacket::<I>::parse(&data) {
        Ok(ip) => ip,
        Err(error) => {
            let (reason, answer) = on_parse_error(&error);
            turn.drop_packet(reason);
            if let Some(message) = answer {
                icmp::outbound::send_error(turn, message, &data);
            }
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
        Delivery::Upper(Upper::Udp, Cast::Multicast) => {
            let arrival = UdpArrival {
                src: ip.src().into(),
                dst: ip.dst().into(),
                range: ip.payload_range(),
                cast: Cast::Multicast,
            };
            multicast::deliver::receive(turn, &packet, &arrival);
        }
        Delivery::Upper(Upper::Igmp, _) => multicast::inbound::on_igmp(turn, &ip),
        Delivery::Upper(Upper::Udp, cast) => {
            let arrival = UdpArrival {
                src: ip.src().into(),
                dst: ip.dst().into(),
                range: ip.payload_range(),
                cast,
            };
            udp::receive(turn, &packet, arrival);
        }
        Delivery::Upper(Upper::Icmp, cast) => icmp::inbound::receive(turn, &ip, cast, &packet),
        Delivery::Fragment => receive_fragment(turn, &ip, &packet),
        Delivery::Drop(reason) => turn.drop_packet(reason),
        Delivery::Answer(reason, message) => {
            turn.drop_packet(reason);
            icmp::outbound::send_error(turn, message, &data);
        }
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
    for _ in 0..lost {
        turn.drop_packet(DropReason::FragmentNoMemory);
    }
    if let Some(discarded) = outcome.discarded {
        for _ in 0..discarded.fragments {
            turn.drop_packet(discarded.reason);
        }
    }
    match outcome.status {
        FragmentStatus::Pending => {}
        FragmentStatus::Complete(whole) => {
            turn.count(Counter::Reassembled, 1);
            // In a buffer like any other packet, so that whoever keeps it is charged for it.
            let copy = buffers
                .copy_received(&whole)
                .or_else(|| buffers.copy_exact(&whole));
            let Some(whole) = copy else {
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
        if let Some(first) = timed_out.first {
            icmp::outbound::send_time_exceeded(turn, &first);
        }
    }
    true
}
