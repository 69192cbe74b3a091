//! Harnesses for the packet parsers and builders: each takes arbitrary bytes and panics if an invariant
//! is broken.
//!
//! The invariants: parsing neither panics nor loops for ever; an accepted packet can be read to its
//! end, and parses to the same values again; a parse error points at an octet that exists; a packet
//! built from parsed values parses to the same values.

use std::net::IpAddr;

use etherparse::IpSlice;
use packet::build::{self, Head, IpFields, TxChecksum};
use packet::checksum::{self, Checksum, Implementation, RxChecksum};
use packet::icmp::{IcmpMessage, Icmpv4, Icmpv4View, Icmpv6, Icmpv6View, Quote};
use packet::ip::{
    AnyIpPacket, Ip, IpPacket, IpParseError, IpVersion, Ipv4, Ipv6, MAX_EXTENSION_HEADERS,
    MAX_OPTIONS, Outline,
};
use packet::tcp::{TcpHeader, TcpOptionIter, TcpUnverified, TcpView};
use packet::udp::{UdpHeader, UdpView};

use super::input::Input;
use super::optional;

/// A harness.
pub type Harness = fn(&[u8]);

/// All harnesses, by the name of their fuzz target and corpus.
pub const ALL: &[(&str, Harness)] = &[
    ("ip", fuzz_ip),
    ("tcp", fuzz_tcp),
    ("udp", fuzz_udp),
    ("icmp", fuzz_icmp),
    ("checksum", fuzz_checksum),
    ("differential", fuzz_differential),
];

/// Returns `data` with the right IPv4 header checksum, so that a harness reaches what comes after that
/// check; `None` if `data` has no IPv4 header, or if the checksum is right already.
pub fn with_header_checksum(data: &[u8]) -> Option<Vec<u8>> {
    if IpVersion::of_packet(data) != Some(IpVersion::V4) {
        return None;
    }
    let mut data = data.to_vec();
    let header_len = usize::from(data.first()? & 0x0f) * 4;
    if header_len < 20 {
        return None;
    }
    let before: [u8; 2] = data.get(10..12)?.try_into().ok()?;
    data.get_mut(10..12)?.fill(0);
    let right = naive(data.get(..header_len)?).to_be_bytes();
    data.get_mut(10..12)?.copy_from_slice(&right);
    (before != right).then_some(data)
}

/// Runs `harness` on `data` as it is, and again with the right IPv4 header checksum.
fn either(data: &[u8], harness: fn(&[u8])) {
    harness(data);
    if let Some(data) = with_header_checksum(data) {
        harness(&data);
    }
}

/// Fuzzes the IP headers of both versions, with options and extension headers.
pub fn fuzz_ip(data: &[u8]) {
    either(data, ip_headers);
}

fn ip_headers(data: &[u8]) {
    ip::<Ipv4>(data);
    ip::<Ipv6>(data);
    if let Ok(packet) = IpPacket::<Ipv4>::parse(data) {
        assert!(packet.options().count() <= 40);
        let fields = IpFields {
            ident: packet.identification(),
            ..fields(&packet)
        };
        rebuild_v4(&packet, &fields);
    }
    if let Ok(packet) = IpPacket::<Ipv6>::parse(data) {
        assert!(packet.extensions().count() <= MAX_EXTENSION_HEADERS);
        for extension in packet.extensions() {
            use packet::ip::Ipv6Extension::{DestinationOptions, HopByHop, Routing};
            match extension {
                HopByHop(options) | DestinationOptions(options) => {
                    // Padding counts, too, with at most seven octets in a row.
                    assert!(options.count() <= (MAX_OPTIONS + 1) * 8);
                }
                Routing(routing) => assert_eq!(routing.segments_left, 0),
                _ => {}
            }
        }
        let fields = IpFields {
            flow_label: packet.flow_label(),
            ..fields(&packet)
        };
        rebuild_v6(&packet, &fields);
    }
    // An outline can be read from any bytes.
    if let Some(outline) = Outline::read(data) {
        assert!(outline.transport.len() <= data.len());
        let _ = (
            outline.ports(),
            outline.tcp_seq(),
            outline.may_be_answered(),
        );
    }
}

fn fields<I: Ip>(packet: &IpPacket<'_, I>) -> IpFields {
    IpFields {
        src: packet.src().into(),
        dst: packet.dst().into(),
        proto: packet.proto(),
        ttl: packet.ttl(),
        traffic_class: packet.traffic_class(),
        ident: 0,
        dont_fragment: packet.dont_fragment(),
        flow_label: 0,
    }
}

/// Builds the header again and compares it, except for the bits that have no field: the reserved flag,
/// a fragment's DF, and the octets after the end of the options.
fn rebuild_v4(packet: &IpPacket<'_, Ipv4>, fields: &IpFields) {
    let (mut head, len) = (Head::new(), packet.payload().len());
    let options = packet.bytes().get(20..packet.header_len()).unwrap_or(&[]);
    match packet.fragment() {
        Some(fragment) if options.is_empty() => {
            build::prepend_ip_fragment(&mut head, fields, fragment, len).expect("fits");
        }
        Some(_) => return,
        None => build::prepend_ipv4_with_options(&mut head, fields, options, len).expect("fits"),
    }
    let built = [head.as_slice(), packet.payload()].concat();
    let again = IpPacket::<Ipv4>::parse(&built).expect("built right");
    same(packet, &again);
    assert_eq!(again.identification(), packet.identification());
    assert!(again.options().eq(packet.options()));
}

/// Builds the header again before the same extension headers, and compares it.
fn rebuild_v6(packet: &IpPacket<'_, Ipv6>, fields: &IpFields) {
    let chain = packet.bytes().get(40..packet.header_len()).unwrap_or(&[]);
    let mut head = Head::new();
    let Some(out) = head.prepend(chain.len()).filter(|_| chain.len() <= 100) else {
        return;
    };
    out.copy_from_slice(chain);
    let fields = IpFields {
        proto: packet.header().next_header.into(),
        ..*fields
    };
    build::prepend_ip(&mut head, &fields, packet.payload().len()).expect("fits");
    let built = [head.as_slice(), packet.payload()].concat();
    assert_eq!(built, packet.bytes());
}

fn same<I: Ip>(one: &IpPacket<'_, I>, other: &IpPacket<'_, I>) {
    assert_eq!((one.src(), one.dst()), (other.src(), other.dst()));
    assert_eq!((one.proto(), one.ttl()), (other.proto(), other.ttl()));
    assert_eq!(one.traffic_class(), other.traffic_class());
    assert_eq!(one.fragment(), other.fragment());
    assert_eq!(one.payload(), other.payload());
}

fn ip<I: Ip>(data: &[u8]) {
    match IpPacket::<I>::parse(data) {
        Ok(packet) => {
            assert_eq!(&data[packet.payload_range()], packet.payload());
            assert_eq!(packet.bytes().len(), packet.total_len());
            assert!(packet.next_header_offset() < packet.header_len());
            // Without its padding it is the same packet; one octet shorter, it is invalid.
            let again = IpPacket::<I>::parse(packet.bytes()).expect("the same packet");
            assert_eq!(again.payload_range(), packet.payload_range());
            same(&packet, &again);
            assert!(IpPacket::<I>::parse(&data[..packet.total_len() - 1]).is_err());
            whole::<I>(&packet);
        }
        Err(IpParseError::Parse { .. }) => {}
        Err(error @ IpParseError::ParameterProblem { pointer, .. }) => {
            let pointer: u32 = pointer.into();
            assert!((pointer as usize) < data.len());
            assert!(!error.to_string().is_empty());
            if error.should_send_icmp() {
                may_be_answered(data);
            }
        }
    }
}

/// Panics if RFC 1122 section 3.2.2 or RFC 4443 section 2.4(e) forbids an ICMP error about this packet,
/// checked on the octets.
fn may_be_answered(data: &[u8]) {
    let v4 = data[0] >> 4 == 4;
    let (src, mut proto, mut rest) = if v4 {
        let header_len = usize::from(data[0] & 15) * 4;
        assert_eq!(u16::from_be_bytes([data[6], data[7]]) & 0x1fff, 0, "later");
        (&data[12..16], data[9], &data[header_len..])
    } else {
        let total_len = 40 + usize::from(u16::from_be_bytes([data[4], data[5]]));
        (&data[8..24], data[6], &data[40..total_len])
    };
    let one_host = match src {
        [0 | 127 | 224..=255, ..] if v4 => false,
        [0xff, ..] if !v4 => false,
        _ if !v4 => src[..15] != [0; 15] || src[15] > 1,
        _ => true,
    };
    assert!(one_host, "the source is not one host: {src:?}");
    while !v4 && matches!(proto, 0 | 43 | 44 | 60) && rest.len() >= 8 {
        let len = match proto {
            44 => 8,
            _ => 8 + usize::from(rest[1]) * 8,
        };
        if proto == 44 && rest[2..4] != [0, 0] && rest[2..4] != [0, 1] {
            assert_ne!(rest[0], 58, "a later fragment of what may be an error");
            return;
        }
        proto = rest[0];
        let Some(behind) = rest.get(len..) else {
            return;
        };
        rest = behind;
    }
    match (v4, proto, rest.first()) {
        (true, 1, kind) => assert!(matches!(kind, Some(0 | 8 | 13 | 14)), "an error"),
        (false, 58, kind) => assert!(kind.is_some_and(|kind| *kind >= 128 && *kind != 137)),
        _ => {}
    }
}

/// Checks that the header which a receiver rebuilds from a first fragment is that of a whole packet.
fn whole<I: Ip>(packet: &IpPacket<'_, I>) {
    let mut out = vec![0; packet.header_len()];
    if packet.fragment().map(|fragment| fragment.offset_bytes) != Some(0) {
        return;
    }
    let Some(len) = packet.write_whole_header(packet.payload().len(), &mut out) else {
        return;
    };
    let bytes = [&out[..len], packet.payload()].concat();
    match IpPacket::<I>::parse(&bytes) {
        Ok(whole) => {
            // Reassembly refuses a fragment within a fragment.
            assert!(whole.fragment().is_none() || I::VERSION == IpVersion::V6);
            assert_eq!(whole.total_len(), len + packet.payload().len());
        }
        // Only what was inside the fragment can be wrong now, and IPv4 has no headers there.
        Err(error) => {
            assert_eq!(I::VERSION, IpVersion::V6);
            assert!(matches!(error, IpParseError::ParameterProblem { .. }));
        }
    }
}

fn addrs(v6: bool) -> (IpAddr, IpAddr) {
    if v6 {
        ([0xfd; 16].into(), [0xfe; 16].into())
    } else {
        ([10, 0, 0, 1].into(), [10, 0, 0, 2].into())
    }
}

/// Computes the checksum by the definition of RFC 1071, a word at a time.
fn naive(bytes: &[u8]) -> u16 {
    let mut sum = 0u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Fuzzes a TCP segment; the first octet chooses the IP version.
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
    // The builder leaves out options that are not in use, so the header may be shorter. It parses to
    // the same values, with as many SACK blocks as fit.
    let mut head = Head::new();
    let (payload, mode) = (view.payload(), TxChecksum::Full);
    let pieces = [payload].into_iter();
    build::prepend_tcp(&mut head, &header, src, dst, pieces, payload.len(), mode).expect("fits");
    let built = [head.as_slice(), payload].concat();
    let again = TcpView::parse(src, dst, &built, RxChecksum::Unknown).expect("built right");
    let (mut expected, found) = (header, again.header());
    let (all, fitting) = (header.options.sack, found.options.sack);
    assert!(all.as_slice().starts_with(fitting.as_slice()));
    // No further block would have fitted: each takes eight octets, the first one four more.
    let room = 60 - again.header_len() - if fitting.is_empty() { 4 } else { 0 };
    assert!(fitting.len() == all.len() || room < 8);
    expected.options.sack = fitting;
    assert_eq!(found, expected);
    assert_eq!(again.payload(), payload);
}

/// Fuzzes a UDP datagram; the first octet chooses the IP version.
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
    let behind = &bytes[8 + payload.len()..];
    optional::surplus(header.len, !view.is_unchecked(), behind);
    let mut head = Head::new();
    let (pieces, mode) = ([payload].into_iter(), TxChecksum::Full);
    build::prepend_udp(&mut head, &header, src, dst, pieces, payload.len(), mode).expect("fits");
    let built = [head.as_slice(), payload].concat();
    let again = UdpView::parse(src, dst, &built, RxChecksum::Unknown).expect("built right");
    assert_eq!((again.header(), again.payload()), (header, payload));
    let _: UdpHeader = header;
}

/// Fuzzes an ICMP message, parsed as either version's.
pub fn fuzz_icmp(data: &[u8]) {
    if let Ok(view) = Icmpv4View::parse(data, RxChecksum::Vouched) {
        let message = view.message();
        rebuild_icmp(message, [10, 0, 0, 1].into(), view.body());
        assert_eq!(Icmpv4::from_bytes(&message.to_bytes()), message);
        assert!(view.quote().is_none() || message.is_error());
        quote(view.quote(), view.body());
    }
    let addr = [0xfd; 16].into();
    if let Ok(view) = Icmpv6View::parse(addr, addr, data, RxChecksum::Vouched) {
        let message = view.message();
        rebuild_icmp(message, addr.into(), view.body());
        assert_eq!(Icmpv6::from_bytes(&message.to_bytes()), message);
        assert!(view.quote().is_none() || message.is_error());
        quote(view.quote(), view.body());
        optional::mld(&view);
    }
    optional::igmp(data);
    assert_eq!(
        Icmpv4View::parse(data, RxChecksum::Unknown).is_ok(),
        data.len() >= 8 && naive(data) == 0
    );
}

fn quote(quote: Option<Quote<'_>>, body: &[u8]) {
    let Some(quote) = quote else {
        return;
    };
    assert!(body.starts_with(quote.original));
    if let Some(extensions) = quote.extensions {
        let behind = &body[quote.original.len()..];
        assert_eq!(extensions.bytes(), behind);
        let objects: usize = extensions
            .objects()
            .map(|object| 4 + object.payload.len())
            .sum();
        assert!(objects > 0 && objects + 4 == behind.len());
        assert!(behind[2..4] == [0, 0] || naive(behind) == 0);
    }
    if let Some(packet) = quote.packet() {
        assert!(packet.transport.len() <= quote.original.len());
        let _ = (packet.ports(), packet.tcp_seq());
    }
}

/// Builds the message again and checks that it parses to the same values, with the right checksum.
fn rebuild_icmp(message: impl Into<IcmpMessage>, addr: IpAddr, body: &[u8]) {
    let message = message.into();
    let mut head = Head::new();
    if body.len() > 60_000 {
        return;
    }
    build::prepend_icmp(
        &mut head,
        message,
        addr,
        addr,
        [body].into_iter(),
        body.len(),
    )
    .expect("fits");
    let built = [head.as_slice(), body].concat();
    match (message, addr) {
        (IcmpMessage::V6(message), IpAddr::V6(addr)) => {
            let view = Icmpv6View::parse(addr, addr, &built, RxChecksum::Unknown);
            let view = view.expect("built right");
            assert_eq!((view.message(), view.body()), (message, body));
        }
        (IcmpMessage::V4(message), _) => {
            let view = Icmpv4View::parse(&built, RxChecksum::Unknown).expect("built right");
            assert_eq!((view.message(), view.body()), (message, body));
        }
        _ => unreachable!("the address is of the message's version"),
    }
}

/// Fuzzes checksums over pieces; the first octets give the lengths of the pieces.
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
    for implementation in Implementation::ALL {
        assert!(
            implementation
                .checksum(bytes)
                .is_none_or(|sum| sum == expected)
        );
    }
    // One half of the octets, at an even offset, replaces the other.
    let half = bytes.len() / 2;
    let (old, new) = bytes.split_at(half);
    let new = &new[..half];
    let after = [new, &bytes[half..]].concat();
    if after.iter().any(|octet| *octet != 0) && half.is_multiple_of(2) {
        assert_eq!(checksum::update_bytes(expected, old, new), naive(&after));
    }
}

/// Checks that etherparse parses every accepted packet to the same values. (It accepts more packets;
/// the tests of the packet crate cover each of those cases.)
pub fn fuzz_differential(data: &[u8]) {
    either(data, differential);
}

fn differential(data: &[u8]) {
    let Some(ours) = AnyIpPacket::parse(data) else {
        return;
    };
    // It accepts authentication headers, parses on after a fragment header, and takes a payload length
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
            // All ones and zero are the same number, but only one of them is sent.
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
