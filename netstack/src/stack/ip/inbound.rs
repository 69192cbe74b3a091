//! A received packet, from its first octet to the layer that it is for.
//!
//! Written once for both IP versions. Whatever happens to a packet, it is counted exactly once: as
//! delivered by the layer above, or under one reason here.

use std::net::IpAddr;

use lockorder::Key;
use packet::Payload;
use packet::RxChecksum;
use packet::frame::RxPacket;
use packet::icmp::IcmpMessage;
use packet::ip::{Ip, IpPacket, IpVersion, Ipv4, Ipv6};

use crate::base::counters::{Counter, DropReason};
use crate::icmp::error::{permit, reassembly_time_exceeded};
use crate::ip::reassembly::FragmentStatus;
use crate::ip::receive::{
    Delivery, Origin, Upper, classify, fragment_in, on_parse_error, parameter_problem,
};
use crate::stack::host::Shared;
use crate::stack::levels::StackLocks;
use crate::stack::tcp::inbound::TcpArrival;
use crate::stack::turn::WorkerState;
use crate::stack::udp::inbound::UdpArrival;

impl Shared {
    /// Takes in one packet from the device, or one that another worker handed over.
    pub fn receive(
        &self,
        key: &mut Key<StackLocks>,
        w: &mut WorkerState,
        packet: RxPacket,
        handed_over: bool,
    ) {
        let origin = Origin::Received;
        match IpVersion::of_packet(&packet.data) {
            Some(IpVersion::V4) => self.receive_ip::<Ipv4>(key, w, packet, handed_over, origin),
            Some(IpVersion::V6) => self.receive_ip::<Ipv6>(key, w, packet, handed_over, origin),
            None => w.counters.drop_packet(DropReason::IpTooShortOrVersion),
        }
    }

    fn receive_ip<I: Ip>(
        &self,
        key: &mut Key<StackLocks>,
        w: &mut WorkerState,
        packet: RxPacket,
        handed_over: bool,
        origin: Origin,
    ) {
        // A second reference to the slab, so that views may live while the packet is passed on.
        let data = packet.data.clone();
        let ip = match IpPacket::<I>::parse(&data) {
            Ok(ip) => ip,
            Err(error) => {
                let (reason, answer) = on_parse_error(&error);
                w.counters.drop_packet(reason);
                if let Some(message) = answer {
                    self.send_icmp_error(key, w, message, &data);
                }
                return;
            }
        };
        match classify(&ip, &w.addressing.addresses, origin) {
            Delivery::Upper(Upper::Tcp, _) => {
                let arrival = TcpArrival {
                    src: ip.src().into(),
                    dst: ip.dst().into(),
                    ecn: ip.traffic_class() & 3,
                    range: ip.payload_range(),
                    handed_over,
                };
                self.receive_tcp(key, w, packet, arrival);
            }
            Delivery::Upper(Upper::Udp, cast) => {
                let arrival = UdpArrival {
                    src: ip.src().into(),
                    dst: ip.dst().into(),
                    range: ip.payload_range(),
                    cast,
                };
                self.receive_udp(key, w, &packet, arrival);
            }
            Delivery::Upper(Upper::Icmp, cast) => {
                self.receive_icmp(key, w, &ip, cast, &packet);
            }
            Delivery::Fragment => self.receive_fragment(key, w, &ip, &packet),
            Delivery::Drop(reason) => w.counters.drop_packet(reason),
            Delivery::Answer(reason, message) => {
                w.counters.drop_packet(reason);
                self.send_icmp_error(key, w, message, &data);
            }
        }
    }

    fn receive_fragment<I: Ip>(
        &self,
        key: &mut Key<StackLocks>,
        w: &mut WorkerState,
        ip: &IpPacket<'_, I>,
        packet: &RxPacket,
    ) {
        let Some(fragment) = fragment_in(ip) else {
            w.counters.drop_packet(DropReason::FragmentInvalid);
            return;
        };
        let (outcome, deadline) = self.reassembly.with(&mut key.ctx(), |reassembly, _| {
            let outcome = reassembly.on_fragment(w.now, &fragment);
            (outcome, reassembly.poll_timeout())
        });
        self.note_reassembly_deadline(w, deadline);
        if let Some(discarded) = outcome.discarded {
            for _ in 0..discarded.fragments {
                w.counters.drop_packet(discarded.reason);
            }
        }
        match outcome.status {
            FragmentStatus::Pending => {}
            FragmentStatus::Complete(whole) => {
                w.counters.add(Counter::Reassembled, 1);
                let whole = RxPacket {
                    data: whole,
                    // The device never saw the whole datagram.
                    checksum: RxChecksum::Unknown,
                    gso_size: 0,
                    arrived_nanos: packet.arrived_nanos,
                };
                self.receive_ip::<I>(key, w, whole, false, Origin::Reassembled);
            }
            FragmentStatus::Drop(reason) => w.counters.drop_packet(reason),
            FragmentStatus::ParameterProblem { pointer, code } => {
                w.counters.drop_packet(DropReason::FragmentInvalid);
                let message = parameter_problem(I::VERSION, code, pointer);
                self.send_icmp_error(key, w, message, &packet.data);
            }
        }
    }

    /// Sends an ICMP error about `offending` if the rules and the rate allow it.
    pub(in crate::stack) fn send_icmp_error(
        &self,
        key: &mut Key<StackLocks>,
        w: &mut WorkerState,
        message: IcmpMessage,
        offending: &Payload,
    ) {
        let Ok(permit) = permit(&w.addressing.addresses, message, offending) else {
            return;
        };
        let allowed = self
            .icmp_limit
            .with(&mut key.ctx(), |limit, _| limit.allow(w.now, &mut w.rng));
        if !allowed {
            w.counters.add(Counter::IcmpErrorsLimited, 1);
            return;
        }
        if let Some(packet) = permit.build(self.config.ttl) {
            w.counters.add(Counter::IcmpErrorsSent, 1);
            w.local.transmit.push(packet);
        }
    }

    /// Time ran out for a datagram whose first fragment is `first`.
    pub(in crate::stack) fn send_time_exceeded(
        &self,
        key: &mut Key<StackLocks>,
        w: &mut WorkerState,
        first: &Payload,
    ) {
        if let Some(version) = IpVersion::of_packet(first) {
            self.send_icmp_error(key, w, reassembly_time_exceeded(version), first);
        }
    }
}

/// The version of an address.
pub(in crate::stack) fn version_of(address: IpAddr) -> IpVersion {
    IpVersion::of_addr(address)
}
