//! Damaged packets pass through parsing, reassembly and the ICMP rules: no code panics, memory stays
//! bounded, and no error is sent where the rules forbid it.

use core::net::IpAddr;

use bytes::Bytes;
use packet::build::{Head, IpFields, prepend_icmp, prepend_ip, prepend_ip_fragment, prepend_udp};
use packet::icmp::{IcmpMessage, Icmpv4, Icmpv4UnreachableCode, Icmpv6, Icmpv6UnreachableCode};
use packet::ip::{FragmentInfo, Ip, IpPacket, Ipv4, Ipv6};
use packet::udp::UdpHeader;
use packet::{IpProto, Payload, RxChecksum};

use super::error::{permit, port_unreachable};
use super::inbound::{Inbound, on_packet};
use super::testing::{addresses, ip};
use crate::base::time::Duration;
use crate::base::{EchoPolicy, Instant, Rng};
use crate::ip::addresses::AddressTable;
use crate::ip::key::HashKey;
use crate::ip::reassembly::{FragmentStatus, Reassembly};
use crate::ip::receive::{
    Cast, Delivery, Origin, Upper, classify, fragment_in, on_parse_error, parameter_problem,
};

/// Counts of the cases that occurred, so that the test can check that all of them did.
#[derive(Default, Debug)]
struct Met {
    unreadable: u32,
    dropped: u32,
    upper: u32,
    fragments: u32,
    completed: u32,
    errors: u32,
    pings: u32,
    answers: u32,
    suppressed: u32,
}

struct World {
    addresses: AddressTable,
    reassembly: Reassembly,
    met: Met,
}

impl World {
    fn receive<I: Ip>(&mut self, bytes: &Payload, origin: Origin, depth: u32) {
        assert!(depth < 2, "a packet is put together once");
        let packet = match IpPacket::<I>::parse(bytes) {
            Ok(packet) => packet,
            Err(error) => {
                self.met.unreadable += 1;
                if let (_, Some(message)) = on_parse_error(&error) {
                    self.answer(message, bytes);
                }
                return;
            }
        };
        match classify(&packet, &self.addresses, origin) {
            Delivery::Drop(_) => self.met.dropped += 1,
            Delivery::Answer(_, message) => self.answer(message, bytes),
            Delivery::Fragment => {
                self.met.fragments += 1;
                let input = fragment_in(&packet).expect("a fragment");
                match self.reassembly.on_fragment(Instant::ZERO, &input).status {
                    FragmentStatus::Complete(whole) => {
                        self.met.completed += 1;
                        self.receive::<I>(&whole, Origin::Reassembled, depth + 1);
                    }
                    FragmentStatus::ParameterProblem { pointer, code } => {
                        self.answer(parameter_problem(I::VERSION, code, pointer), bytes);
                    }
                    _ => {}
                }
            }
            Delivery::Upper(Upper::Icmp, cast) => {
                // Vouched: a damaged checksum would hide everything behind it.
                let checksum = RxChecksum::Vouched;
                let policy = EchoPolicy::default();
                match on_packet(&packet, cast, checksum, &self.addresses, policy) {
                    Inbound::EchoRequest(request) => {
                        assert_eq!(cast, Cast::Unicast);
                        assert!(request.payload.end <= bytes.len());
                        self.met.pings += 1;
                    }
                    Inbound::EchoReply { payload, .. } => assert!(payload.end <= bytes.len()),
                    Inbound::Error(error) => {
                        assert_eq!(error.local.ip(), packet.dst().into());
                        self.met.errors += 1;
                    }
                    Inbound::Drop(_) | Inbound::Mld => self.met.dropped += 1,
                }
            }
            Delivery::Upper(..) => {
                self.met.upper += 1;
                self.answer(port_unreachable(I::VERSION), bytes);
            }
        }
        assert!(self.reassembly.len() <= 16 && self.reassembly.bytes() <= 256 << 10);
    }

    fn answer(&mut self, message: IcmpMessage, bytes: &Payload) {
        let Ok(permit) = permit(&self.addresses, message, bytes) else {
            self.met.suppressed += 1;
            return;
        };
        self.met.answers += 1;
        let to = permit.to();
        let sent = permit.build(64).expect("built").to_vec();
        assert!(sent.len() <= if to.is_ipv4() { 576 } else { 1280 });
        let (src, dst): (IpAddr, IpAddr) = if to.is_ipv4() {
            let packet = IpPacket::<Ipv4>::parse(&sent).expect("our own");
            (packet.src().into(), packet.dst().into())
        } else {
            let packet = IpPacket::<Ipv6>::parse(&sent).expect("our own");
            (packet.src().into(), packet.dst().into())
        };
        assert!(self.addresses.is_local(src), "we answer as ourselves");
        assert!(self.addresses.check_source(dst).is_ok(), "to one host");
        // Our own errors, should they come back to us, are never answered.
        let back = Payload::from(Bytes::from(sent));
        assert!(permit_is_refused(&self.addresses, message, &back));
    }
}

fn permit_is_refused(addresses: &AddressTable, message: IcmpMessage, packet: &Payload) -> bool {
    permit(addresses, message, packet).is_err()
}

fn well_formed(rng: &mut Rng, ipv6: bool) -> Vec<u8> {
    let (src, dst) = if ipv6 {
        (ip("fd77::1"), ip("fd77::2"))
    } else {
        (ip("10.77.0.1"), ip("10.77.0.2"))
    };
    let mut fields = IpFields {
        src,
        dst,
        proto: IpProto::UDP,
        ttl: 3,
        traffic_class: 0,
        ident: 1,
        dont_fragment: false,
        flow_label: 0,
    };
    let data = vec![0x5a; 8 * rng.below(20) as usize];
    let mut head = Head::new();
    let quoted = || {
        let mut head = Head::new();
        let header = UdpHeader {
            src_port: 5,
            dst_port: 6,
            len: 0,
        };
        let none = [].into_iter();
        let checksum = packet::build::TxChecksum::Full;
        prepend_udp(&mut head, &header, dst, src, none, 0, checksum).expect("built");
        let back = IpFields {
            src: dst,
            dst: src,
            ..fields
        };
        prepend_ip(&mut head, &back, 0).expect("built");
        head.as_slice().to_vec()
    };
    let (message, body): (IcmpMessage, Vec<u8>) = match (rng.below(2), ipv6) {
        (0, false) => (
            Icmpv4::EchoRequest { ident: 1, seq: 2 }.into(),
            data.clone(),
        ),
        (0, true) => (
            Icmpv6::EchoRequest { ident: 1, seq: 2 }.into(),
            data.clone(),
        ),
        (_, false) => {
            let code = Icmpv4UnreachableCode::from(rng.below(16) as u8);
            let message = Icmpv4::DestinationUnreachable {
                code,
                next_hop_mtu: 1400,
            };
            (message.into(), quoted())
        }
        (_, true) => {
            let code = Icmpv6UnreachableCode::from(rng.below(8) as u8);
            (Icmpv6::DestinationUnreachable { code }.into(), quoted())
        }
    };
    match rng.below(4) {
        0 => {
            let pieces = [&body[..]].into_iter();
            prepend_icmp(&mut head, message, src, dst, pieces, body.len()).expect("built");
            fields.proto = message.proto();
            prepend_ip(&mut head, &fields, body.len()).expect("built");
            [head.as_slice(), &body].concat()
        }
        1 => {
            prepend_ip(&mut head, &fields, data.len()).expect("built");
            [head.as_slice(), &data].concat()
        }
        2 => {
            fields.proto = IpProto(rng.u32() as u8);
            prepend_ip(&mut head, &fields, data.len()).expect("built");
            [head.as_slice(), &data].concat()
        }
        _ => {
            let data = &data[..data.len().min(8 * (1 + rng.below(2) as usize))];
            let info = FragmentInfo {
                id: rng.below(4),
                offset_bytes: 8 * rng.below(4) as u16,
                more: rng.chance(500_000) && !data.is_empty(),
            };
            prepend_ip_fragment(&mut head, &fields, info, data.len()).expect("built");
            [head.as_slice(), data].concat()
        }
    }
}

#[test]
fn damaged_packets_are_survived() {
    let mut met = Met::default();
    for seed in 0..120u64 {
        let mut rng = Rng::from_u64(seed);
        let key = HashKey::random(&mut rng);
        let mut world = World {
            addresses: addresses(),
            reassembly: Reassembly::new(16, 256 << 10, Duration::from_secs(60), key),
            met,
        };
        for _ in 0..1_000 {
            let ipv6 = rng.chance(500_000);
            let mut bytes = well_formed(&mut rng, ipv6);
            for _ in 0..rng.below(3) {
                let at = rng.below(bytes.len() as u32) as usize;
                bytes[at] = rng.u32() as u8;
            }
            if rng.chance(100_000) {
                bytes.truncate(rng.below(bytes.len() as u32) as usize);
            }
            if !ipv6 && bytes.len() >= 20 {
                // With a right header checksum more of the damage gets through.
                bytes[10..12].copy_from_slice(&[0, 0]);
                let checksum = packet::checksum::of(&bytes[..20]);
                bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
            }
            let bytes = Payload::from(Bytes::from(bytes));
            if ipv6 {
                world.receive::<Ipv6>(&bytes, Origin::Received, 0);
            } else {
                world.receive::<Ipv4>(&bytes, Origin::Received, 0);
            }
        }
        met = world.met;
    }
    let Met {
        unreadable,
        dropped,
        upper,
        fragments,
        completed,
        errors,
        pings,
        answers,
        suppressed,
    } = met;
    for count in [
        unreadable, dropped, upper, fragments, completed, errors, pings, answers, suppressed,
    ] {
        assert!(count > 30, "everything was met often: {count}");
    }
}
