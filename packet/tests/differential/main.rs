//! Compares this crate with `etherparse`: both accept the same packets and find the same fields, or
//! there is a known reason for the difference.
//!
//! The packets are captured ones (`data/captured.hex`: TCP, UDP and ICMP errors of both versions on a
//! loopback, fragments, options), packets from a seeded generator, mutations of both, and random bytes.

mod generate;

use std::collections::BTreeMap;
use std::net::IpAddr;

use etherparse::{IpSlice, TcpOptionElement, TcpSlice, UdpSlice};
use packet::checksum::RxChecksum;
use packet::ip::{
    Icmpv6ParameterProblemCode as Code6, IpPacket, IpParseError, IpVersion, Ipv4, Ipv6, ParseError,
};
use packet::tcp::{TcpParseError, TcpView};
use packet::udp::{UdpParseError, UdpView};

use generate::{Rng, captured, made_v4, made_v6, mutate};

const SEED: u64 = 0x6469_6666_6572;
const ROUNDS: usize = 60_000;

/// The reason for a difference. "It" is etherparse.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Reason {
    /// It does not verify the IPv4 header checksum while it parses.
    Ipv4Checksum,
    /// It does not check IPv4 options.
    Ipv4Options,
    /// It does not check IPv4 fragments.
    Ipv4Fragment,
    /// It skips authentication headers. Here they end the chain, because they cannot be verified.
    Authentication,
    /// It takes a payload length of zero for "the rest of the bytes", as in a jumbogram (RFC 2675
    /// section 1).
    ZeroPayloadLength,
    /// It does not check IPv6 options.
    Ipv6Options,
    /// It does not check routing headers.
    Routing,
    /// It does not check IPv6 fragments, nor the contents of a first fragment (RFC 7112).
    Ipv6Fragment,
    /// It reads extension headers after a fragment header, although only the whole packet has them.
    BehindFragment,
    /// It has no limit on the number of extension headers.
    ChainLimit,
    /// It checks TCP options only when they are read.
    TcpOptions,
    /// It takes a UDP length of zero for "the rest of the bytes" (RFC 2675 section 4).
    UdpZeroLength,
    /// It does not require UDP checksums over IPv6 while it parses.
    UdpNoChecksum,
}

/// The fields that both parsers find in the IP headers.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Found {
    src: IpAddr,
    dst: IpAddr,
    proto: u8,
    ttl: u8,
    fragmented: bool,
    payload: Vec<u8>,
}

/// The fault, for either version.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fault {
    Parse(ParseError),
    Problem4,
    Problem6(Code6),
    Version,
}

fn ours(bytes: &[u8]) -> Result<Found, Fault> {
    fn found<I: packet::ip::Ip>(packet: &IpPacket<'_, I>, bytes: &[u8]) -> Found {
        assert_eq!(&bytes[packet.payload_range()], packet.payload());
        assert_eq!(packet.total_len(), packet.payload_range().end);
        Found {
            src: packet.src().into(),
            dst: packet.dst().into(),
            proto: packet.proto().0,
            ttl: packet.ttl(),
            fragmented: packet.fragment().is_some(),
            payload: packet.payload().to_vec(),
        }
    }
    match IpVersion::of_packet(bytes) {
        None => Err(Fault::Version),
        Some(IpVersion::V4) => match IpPacket::<Ipv4>::parse(bytes) {
            Ok(packet) => {
                // Every option and extension header of an accepted packet can be read.
                assert!(packet.options().count() <= 40);
                Ok(found(&packet, bytes))
            }
            Err(IpParseError::Parse { error }) => Err(Fault::Parse(error)),
            Err(IpParseError::ParameterProblem {
                pointer,
                header_len,
                ..
            }) => {
                assert!(usize::from(pointer) < header_len);
                Err(Fault::Problem4)
            }
        },
        Some(IpVersion::V6) => match IpPacket::<Ipv6>::parse(bytes) {
            Ok(packet) => {
                assert!(packet.extensions().count() <= packet::ip::MAX_EXTENSION_HEADERS);
                Ok(found(&packet, bytes))
            }
            Err(IpParseError::Parse { error }) => Err(Fault::Parse(error)),
            Err(IpParseError::ParameterProblem { pointer, code, .. }) => {
                assert!((pointer as usize) < bytes.len(), "{code:?} at {pointer}");
                Err(Fault::Problem6(code))
            }
        },
    }
}

fn theirs(bytes: &[u8]) -> Option<Found> {
    let ip = IpSlice::from_slice(bytes).ok()?;
    let ttl = match &ip {
        IpSlice::Ipv4(ip) => ip.header().ttl(),
        IpSlice::Ipv6(ip) => ip.header().hop_limit(),
    };
    Some(Found {
        src: ip.source_addr(),
        dst: ip.destination_addr(),
        proto: ip.payload().ip_number.0,
        ttl,
        fragmented: ip.payload().fragmented,
        payload: ip.payload().payload.to_vec(),
    })
}

/// Returns the reason why the parsers disagree on the IP headers, or `None` if there is none.
fn explain(bytes: &[u8], ours: &Result<Found, Fault>, theirs: Option<&Found>) -> Option<Reason> {
    let zero_len = bytes.len() > 40 && bytes[0] >> 4 == 6 && bytes[4..6] == [0, 0];
    if zero_len {
        return Some(Reason::ZeroPayloadLength);
    }
    match (ours, theirs) {
        (Err(Fault::Parse(ParseError::Checksum)), _) => Some(Reason::Ipv4Checksum),
        (Err(Fault::Parse(ParseError::Fragment)), _) => Some(Reason::Ipv4Fragment),
        (Err(Fault::Problem4), _) => Some(Reason::Ipv4Options),
        (Err(Fault::Problem6(code)), Some(_)) => match code {
            Code6::UnrecognizedOption | Code6::TooManyOptions | Code6::OptionTooBig => {
                Some(Reason::Ipv6Options)
            }
            Code6::IncompleteHeaderChain => Some(Reason::Ipv6Fragment),
            Code6::TooManyExtensionHeaders => Some(Reason::ChainLimit),
            Code6::ErroneousHeaderField => {
                let IpParseError::ParameterProblem { pointer, .. } =
                    IpPacket::<Ipv6>::parse(bytes).err()?
                else {
                    return None;
                };
                // The pointer tells which check failed.
                erroneous(bytes, pointer as usize)
            }
            _ => None,
        },
        (Ok(ours), _) if ours.proto == 51 => Some(Reason::Authentication),
        (Ok(ours), _) if ours.fragmented => {
            let chain = [0, 43, 44, 51, 60];
            chain
                .contains(&ours.proto)
                .then_some(Reason::BehindFragment)
        }
        _ => None,
    }
}

/// Returns the check of the IPv6 chain that fails with `pointer`: walks the chain up to that octet.
fn erroneous(bytes: &[u8], pointer: usize) -> Option<Reason> {
    if pointer == 4 {
        return Some(Reason::Ipv6Fragment);
    }
    let (mut kind, mut at) = (bytes[6], 40);
    loop {
        let len = if kind == 44 {
            8
        } else {
            8 + usize::from(*bytes.get(at + 1)?) * 8
        };
        if pointer < at + len {
            return match (kind, pointer - at) {
                (43, 2) => Some(Reason::Routing),
                (44, 2) => Some(Reason::Ipv6Fragment),
                (0 | 60, 2..) => Some(Reason::Ipv6Options),
                _ => None,
            };
        }
        kind = bytes[at];
        at += len;
    }
}

fn check_tcp(found: &Found, reasons: &mut BTreeMap<Reason, usize>) {
    let (src, dst, bytes) = (found.src, found.dst, &found.payload[..]);
    let ours = TcpView::parse(src, dst, bytes, RxChecksum::Vouched);
    let theirs = TcpSlice::from_slice(bytes);
    match (ours, theirs) {
        (Err(TcpParseError::Options), Ok(_)) => {
            *reasons.entry(Reason::TcpOptions).or_default() += 1;
        }
        (Err(_), Err(_)) => {}
        (Ok(ours), Ok(theirs)) => {
            let header = ours.header();
            assert_eq!(header.src_port, theirs.source_port());
            assert_eq!(header.dst_port, theirs.destination_port());
            assert_eq!(header.seq, theirs.sequence_number());
            assert_eq!(header.ack, theirs.acknowledgment_number());
            assert_eq!(header.window, theirs.window_size());
            assert_eq!(header.urgent, theirs.urgent_pointer());
            assert_eq!(header.flags.bits() & 1 != 0, theirs.fin());
            assert_eq!(header.flags.bits() & 2 != 0, theirs.syn());
            assert_eq!(header.flags.bits() & 4 != 0, theirs.rst());
            assert_eq!(header.flags.bits() & 8 != 0, theirs.psh());
            assert_eq!(header.flags.bits() & 16 != 0, theirs.ack());
            assert_eq!(ours.payload(), theirs.payload());
            let mut options = header.options;
            let all: Result<Vec<_>, _> = theirs.options_iterator().collect();
            // Its iterator stops at unknown kinds.
            for option in all.unwrap_or_default().into_iter().rev() {
                match option {
                    TcpOptionElement::MaximumSegmentSize(mss) => {
                        assert_eq!(options.mss.take().unwrap_or(mss), mss);
                    }
                    TcpOptionElement::WindowScale(shift) => {
                        assert_eq!(options.window_scale.take().unwrap_or(shift), shift);
                    }
                    TcpOptionElement::Timestamp(val, ecr) => {
                        if let Some(stamps) = options.timestamps.take() {
                            assert_eq!((stamps.val, stamps.ecr), (val, ecr));
                        }
                    }
                    TcpOptionElement::SelectiveAcknowledgement(first, more)
                        if !options.sack.is_empty() =>
                    {
                        let mut blocks = vec![first];
                        blocks.extend(more.into_iter().flatten());
                        assert_eq!(options.sack.as_slice(), blocks);
                        options.sack = packet::tcp::SackBlocks::new();
                    }
                    _ => {}
                }
            }
        }
        (ours, theirs) => panic!("TCP: {ours:?} but {theirs:?}: {bytes:02x?}"),
    }
}

fn check_udp(found: &Found, reasons: &mut BTreeMap<Reason, usize>) {
    let (src, dst, bytes) = (found.src, found.dst, &found.payload[..]);
    let ours = UdpView::parse(src, dst, bytes, RxChecksum::Vouched);
    match (ours, UdpSlice::from_slice(bytes)) {
        (Err(UdpParseError::MissingChecksum), Ok(theirs)) => {
            assert_eq!(theirs.checksum(), 0);
            *reasons.entry(Reason::UdpNoChecksum).or_default() += 1;
        }
        (Err(UdpParseError::Length), Ok(theirs)) => {
            assert_eq!(theirs.length(), 0);
            *reasons.entry(Reason::UdpZeroLength).or_default() += 1;
        }
        (Err(_), Err(_)) => {}
        (Ok(ours), Ok(theirs)) => {
            assert_eq!(ours.src_port(), theirs.source_port());
            assert_eq!(ours.dst_port(), theirs.destination_port());
            assert_eq!(ours.header().len, theirs.length());
            assert_eq!(ours.payload(), theirs.payload());
        }
        (ours, theirs) => panic!("UDP: {ours:?} but {theirs:?}: {bytes:02x?}"),
    }
}

fn check(bytes: &[u8], reasons: &mut BTreeMap<Reason, usize>) {
    let (ours, theirs) = (ours(bytes), theirs(bytes));
    match (&ours, &theirs) {
        (Ok(ours), Some(theirs)) if ours == theirs => {
            if !ours.fragmented {
                match ours.proto {
                    6 => check_tcp(ours, reasons),
                    17 => check_udp(ours, reasons),
                    _ => {}
                }
            }
        }
        (Err(_), None) => {}
        _ => match explain(bytes, &ours, theirs.as_ref()) {
            Some(reason) => *reasons.entry(reason).or_default() += 1,
            None => panic!("{ours:?}\nbut {theirs:?}\nof {bytes:02x?}"),
        },
    }
}

#[test]
fn captured_packets_agree() {
    let mut reasons = BTreeMap::new();
    for bytes in captured() {
        assert!(ours(&bytes).is_ok(), "{bytes:02x?}");
        check(&bytes, &mut reasons);
        // All their prefixes must agree, too.
        for len in 0..bytes.len().min(120) {
            check(&bytes[..len], &mut reasons);
        }
    }
    assert!(reasons.is_empty(), "{reasons:?}");
}

#[test]
fn generated_packets_agree_or_differ_for_a_reason() {
    let mut rng = Rng(SEED);
    let mut reasons = BTreeMap::new();
    let captured = captured();
    let mut accepted = 0;
    for _ in 0..ROUNDS {
        let mut bytes = match rng.below(8) {
            0 => {
                let len = rng.below(120);
                let mut noise = rng.bytes(len);
                if let Some(first) = noise.first_mut() {
                    *first = rng.pick(&[0x45, 0x46, 0x4f, 0x60, 0x6f, *first]);
                }
                noise
            }
            1 | 2 => captured[rng.below(captured.len())].clone(),
            3 | 4 => made_v4(&mut rng),
            _ => made_v6(&mut rng),
        };
        accepted += usize::from(ours(&bytes).is_ok());
        check(&bytes, &mut reasons);
        mutate(&mut rng, &mut bytes);
        accepted += usize::from(ours(&bytes).is_ok());
        check(&bytes, &mut reasons);
    }
    println!(
        "seed {SEED:#x}: {accepted} accepted of {}; {reasons:?}",
        2 * ROUNDS
    );
    // The generator reaches every reason.
    assert!(accepted > ROUNDS / 2);
    assert_eq!(reasons.len(), 13, "{reasons:?}");
}
