//! Harnesses for the packet parsers and builders: each takes arbitrary bytes and panics when a
//! promise is broken.
//!
//! The promises: nothing panics and everything ends; what was accepted can be read to its end and
//! says the same when it is read again; what was refused names an octet that exists; building from
//! what was read gives a packet that reads the same.

use std::net::IpAddr;

use etherparse::IpSlice;
use packet::build::{self, Head, TxChecksum};
use packet::checksum::{self, Checksum, RxChecksum};
use packet::icmp::{Icmpv4, Icmpv4View, Icmpv6, Icmpv6View, Quote};
use packet::ip::{
    AnyIpPacket, Ip, IpPacket, IpParseError, IpVersion, Ipv4, Ipv6, MAX_EXTENSION_HEADERS,
    MAX_OPTIONS,
};
use packet::tcp::{TcpHeader, TcpOptionIter, TcpUnverified, TcpView};
use packet::udp::{UdpHeader, UdpView};

use super::input::Input;

/// A harness.
pub type Harness = fn(&[u8]);

/// All harnesses by the name of their target and of their corpus.
pub const ALL: &[(&str, Harness)] = &[
    ("ip", fuzz_ip),
    ("tcp", fuzz_tcp),
    ("udp", fuzz_udp),
    ("icmp", fuzz_icmp),
    ("checksum", fuzz_checksum),
    ("differential", fuzz_differential),
];

/// IP headers of either version, options and extension headers.
pub fn fuzz_ip(data: &[u8]) {
    ip::<Ipv4>(data);
    ip::<Ipv6>(data);
    if let Ok(packet) = IpPacket::<Ipv4>::parse(data) {
        assert!(packet.options().count() <= 40);
    }
    if let Ok(packet) = IpPacket::<Ipv6>::parse(data) {
        assert!(packet.extensions().count() <= MAX_EXTENSION_HEADERS);
        for extension in packet.extensions() {
            use packet::ip::Ipv6Extension::{DestinationOptions, HopByHop, Routing};
            match extension {
                HopByHop(options) | DestinationOptions(options) => {
                    // Padding comes on top, but no more than seven octets in a row.
                    assert!(options.count() <= (MAX_OPTIONS + 1) * 8);
                }
                Routing(routing) => assert_eq!(routing.segments_left, 0),
                _ => {}
            }
        }
    }
    // The quote of an ICMP error is any bytes at all.
    let quote = Quote {
        original: data,
        extensions: None,
    };
    if let Some(quoted) = quote.packet() {
        assert!(quoted.transport.len() <= data.len());
        let _ = (quoted.ports(), quoted.tcp_seq());
    }
}

fn ip<I: Ip>(data: &[u8]) {
    match IpPacket::<I>::parse(data) {
        Ok(packet) => {
            assert_eq!(&data[packet.payload_range()], packet.payload());
            assert_eq!(packet.bytes().len(), packet.total_len());
            assert!(packet.next_header_offset() < packet.header_len());
            // Without its padding it is the same packet, one octet shorter it is none.
            let again = IpPacket::<I>::parse(packet.bytes()).expect("the same packet");
            assert_eq!(again.payload_range(), packet.payload_range());
            assert_eq!(again.proto(), packet.proto());
            assert_eq!(again.fragment(), packet.fragment());
            assert!(IpPacket::<I>::parse(&data[..packet.total_len() - 1]).is_err());
            whole::<I>(&packet);
        }
        Err(IpParseError::Parse { .. }) => {}
        Err(error @ IpParseError::ParameterProblem { pointer, .. }) => {
            let pointer: u32 = pointer.into();
            assert!((pointer as usize) < data.len());
            let _ = (error.should_send_icmp(), error.to_string());
        }
    }
}

/// The header that a receiver rebuilds for a first fragment is that of a whole packet.
fn whole<I: Ip>(packet: &IpPacket<'_, I>) {
    let mut out = vec![0; packet.header_len()];
    if packet.fragment().map(|fragment| fragment.offset_bytes) != Some(0) {
        return;
    }
    let Some(len) = packet.write_whole_header(packet.payload().len(), &mut out) else {
        return;
    };
    let bytes = [&out[..len], packet.payload()].concat();
    if let Ok(whole) = IpPacket::<I>::parse(&bytes) {
        assert_eq!(whole.fragment(), None);
        assert_eq!(whole.total_len(), len + packet.payload().len());
    } else {
        // Only what was inside the fragment can be wrong now, and IPv4 has no headers there.
        assert_eq!(I::VERSION, IpVersion::V6);
    }
}

fn addrs(v6: bool) -> (IpAddr, IpAddr) {
    if v6 {
        ([0xfd; 16].into(), [0xfe; 16].into())
    } else {
        ([10, 0, 0, 1].into(), [10, 0, 0, 2].into())
    }
}

/// The definition of RFC 1071, a word at a time.
fn naive(bytes: &[u8]) -> u16 {
    let mut sum = 0u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// A TCP segment; the first octet chooses the IP version.
pub fn fuzz_tcp(data: &[u8]) {
    let mut input = Input::new(data);
    let (src, dst) = addrs(input.u8() & 1 != 0);
    let bytes = input.bytes(data.len());
    if let Ok(segment) = TcpUnverified::parse(bytes) {
        assert!(segment.options().count() <= 40);
    }
    let _ = TcpView::parse(src, dst, bytes, RxChecksum::Unknown);
    let Ok(view) = TcpView::parse(src, dst, bytes, RxChecksum::Vouched) else {
        return;
    };
    assert_eq!(view.payload(), &bytes[view.header_len()..]);
    let header = view.header();
    // Options that are not in use are not written, so the header may be shorter; but never longer
    // than there is room, and it reads the same, as many SACK blocks as fit.
    let mut head = Head::new();
    let (payload, mode) = (view.payload(), TxChecksum::Full);
    let pieces = [payload].into_iter();
    build::prepend_tcp(&mut head, &header, src, dst, pieces, payload.len(), mode).expect("fits");
    let built = [head.as_slice(), payload].concat();
    let again = TcpView::parse(src, dst, &built, RxChecksum::Unknown).expect("built right");
    let (mut expected, found) = (header, again.header());
    assert!(found.options.sack.len() <= expected.options.sack.len());
    expected.options.sack = found.options.sack;
    assert_eq!(found, expected);
    assert_eq!(again.payload(), payload);
}

/// A UDP datagram; the first octet chooses the IP version.
pub fn fuzz_udp(data: &[u8]) {
    let mut input = Input::new(data);
    let (src, dst) = addrs(input.u8() & 1 != 0);
    let bytes = input.bytes(data.len());
    let _ = UdpView::parse(src, dst, bytes, RxChecksum::Unknown);
    let Ok(view) = UdpView::parse(src, dst, bytes, RxChecksum::Vouched) else {
        return;
    };
    let (header, payload) = (view.header(), view.payload());
    assert_eq!(payload.len() + 8, usize::from(header.len));
    let mut head = Head::new();
    let (pieces, mode) = ([payload].into_iter(), TxChecksum::Full);
    build::prepend_udp(&mut head, &header, src, dst, pieces, payload.len(), mode).expect("fits");
    let built = [head.as_slice(), payload].concat();
    let again = UdpView::parse(src, dst, &built, RxChecksum::Unknown).expect("built right");
    assert_eq!((again.header(), again.payload()), (header, payload));
    let _: UdpHeader = header;
}

/// An ICMP message, read as either version's.
pub fn fuzz_icmp(data: &[u8]) {
    if let Ok(view) = Icmpv4View::parse(data, RxChecksum::Vouched) {
        let message = view.message();
        assert_eq!(Icmpv4::from_octets(&message.to_octets()), message);
        assert!(view.quote().is_none() || message.is_error());
        quote(view.quote(), view.body());
    }
    let addr = [0xfd; 16].into();
    if let Ok(view) = Icmpv6View::parse(addr, addr, data, RxChecksum::Vouched) {
        let message = view.message();
        assert_eq!(Icmpv6::from_octets(&message.to_octets()), message);
        assert!(view.quote().is_none() || message.is_error());
        quote(view.quote(), view.body());
    }
    assert_eq!(
        Icmpv4View::parse(data, RxChecksum::Unknown).is_ok(),
        data.len() >= 8 && naive(data) == 0
    );
}

fn quote(quote: Option<Quote<'_>>, body: &[u8]) {
    let Some(quote) = quote else {
        return;
    };
    let extensions = quote.extensions.map_or(0, <[u8]>::len);
    assert_eq!(quote.original.len() + extensions, body.len());
    if let Some(packet) = quote.packet() {
        let _ = (packet.ports(), packet.tcp_seq());
    }
}

/// Sums over pieces: octets in front say how long the pieces are.
pub fn fuzz_checksum(data: &[u8]) {
    let mut input = Input::new(data);
    let pieces: Vec<usize> = (0..4).map(|_| usize::from(input.u16()) % 1500).collect();
    let bytes = input.bytes(data.len());
    let expected = naive(bytes);
    assert_eq!(checksum::of(bytes), expected);
    let (mut sum, mut copied) = (Checksum::new(), Checksum::new());
    let mut rest = bytes;
    for len in pieces.into_iter().chain([bytes.len()]) {
        let (piece, behind) = rest.split_at(len.min(rest.len()));
        let mut copy = vec![0; piece.len()];
        sum.add_bytes(piece);
        assert_eq!(copied.copy_and_add(piece, &mut copy), piece.len());
        assert_eq!(copy, piece);
        rest = behind;
    }
    assert_eq!((sum.finish(), copied.finish()), (expected, expected));
}

/// What is accepted here, etherparse reads likewise. (It accepts more; why is pinned down, reason by
/// reason, in the tests of the packet crate.)
pub fn fuzz_differential(data: &[u8]) {
    let Some(ours) = AnyIpPacket::parse(data) else {
        return;
    };
    // It passes authentication headers, reads on behind a fragment header, and takes a payload length
    // of zero for a jumbogram.
    let ah = ours.proto() == packet::IpProto::AH;
    let zero = matches!(&ours, AnyIpPacket::V6(packet) if packet.header().payload_len.get() == 0);
    if ah || zero || ours.fragment().is_some() {
        return;
    }
    let theirs = IpSlice::from_slice(data).expect("etherparse refuses what we accept");
    assert_eq!(theirs.source_addr(), ours.src());
    assert_eq!(theirs.destination_addr(), ours.dst());
    assert_eq!(theirs.payload().ip_number.0, ours.proto().0);
    assert_eq!(theirs.payload().payload, ours.payload());
    assert!(!theirs.payload().fragmented);
    let (src, dst, bytes) = (ours.src(), ours.dst(), ours.payload());
    match ours.proto() {
        packet::IpProto::TCP => {
            let Ok(view) = TcpView::parse(src, dst, bytes, RxChecksum::Vouched) else {
                return;
            };
            let theirs = etherparse::TcpSlice::from_slice(bytes).expect("a segment");
            let header: TcpHeader = view.header();
            assert_eq!(theirs.sequence_number(), header.seq);
            assert_eq!(theirs.acknowledgment_number(), header.ack);
            assert_eq!(theirs.window_size(), header.window);
            assert_eq!(theirs.payload(), view.payload());
            assert!(TcpOptionIter::new(theirs.options()).count() <= 40);
            let sum = match (src, dst) {
                (IpAddr::V4(src), IpAddr::V4(dst)) => {
                    theirs.calc_checksum_ipv4(src.octets(), dst.octets())
                }
                (IpAddr::V6(src), IpAddr::V6(dst)) => {
                    theirs.calc_checksum_ipv6(src.octets(), dst.octets())
                }
                _ => return,
            };
            let valid = TcpView::parse(src, dst, bytes, RxChecksum::Unknown).is_ok();
            // All ones and zero are the same number, but only one of them is ever sent.
            let field = theirs.checksum();
            if field != 0 && field != 0xffff {
                assert_eq!(valid, sum.is_ok_and(|sum| sum == field));
            }
        }
        packet::IpProto::UDP => {
            if let Ok(view) = UdpView::parse(src, dst, bytes, RxChecksum::Vouched) {
                let theirs = etherparse::UdpSlice::from_slice(bytes).expect("a datagram");
                assert_eq!(theirs.payload(), view.payload());
                assert_eq!(theirs.destination_port(), view.dst_port());
            }
        }
        _ => {}
    }
}
