//! Parsing, building and summing beside etherparse, smoltcp's wire layer, pnet_packet and
//! internet-checksum, in one run: `cargo bench -p benches --bench packet`.
//!
//! Everybody gets the same bytes and must come up with the same fields. "headers" checks the IP header
//! with its checksum, where the library can, and the transport header; "checksum" verifies the transport
//! checksum as well. Every function is inlined into the loop that times it.

#![allow(missing_docs, clippy::unwrap_used)] // Macros make the items; a bench that fails says so.

use std::hint::black_box;
use std::net::IpAddr;
use std::time::Duration;

use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{Bencher, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use packet::build::{self, Head, IpFields, TxChecksum};
use packet::checksum::RxChecksum;
use packet::ip::{IpPacket, Ipv4, Ipv6};
use packet::tcp::{TcpFlags, TcpHeader, TcpOptions, TcpView, Timestamps};
use packet::udp::{UdpHeader, UdpView};
use packet::{IpProto, checksum};

mod samples {
    use super::*;

    pub(super) fn fields(v6: bool, proto: IpProto) -> IpFields {
        let addr = |last| -> IpAddr {
            if v6 {
                [0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last].into()
            } else {
                [10, 77, 0, last].into()
            }
        };
        IpFields {
            src: addr(1),
            dst: addr(2),
            proto,
            ttl: 64,
            traffic_class: 0,
            ident: 1,
            dont_fragment: true,
            flow_label: 0,
        }
    }

    pub(super) fn tcp_header(timestamps: bool) -> TcpHeader {
        TcpHeader {
            src_port: 40_000,
            dst_port: 80,
            seq: 1_000_000,
            ack: 2_000_000,
            flags: TcpFlags::ACK | TcpFlags::PSH,
            window: 512,
            urgent: 0,
            options: TcpOptions {
                timestamps: timestamps.then_some(Timestamps { val: 7, ecr: 9 }),
                ..TcpOptions::default()
            },
        }
    }

    pub(super) fn payload(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i * 31 + 7) as u8).collect()
    }

    /// An IPv4/TCP packet of `total` octets.
    pub(super) fn ipv4_tcp(total: usize, timestamps: bool) -> Vec<u8> {
        let (fields, header) = (fields(false, IpProto::TCP), tcp_header(timestamps));
        let data = payload(total - 20 - header.len());
        let mut head = Head::new();
        let pieces = [&data[..]].into_iter();
        let (src, dst, len) = (fields.src, fields.dst, data.len());
        build::prepend_tcp(&mut head, &header, src, dst, pieces, len, TxChecksum::Full).unwrap();
        build::prepend_ip(&mut head, &fields, data.len()).unwrap();
        [head.as_slice(), &data].concat()
    }

    /// An IPv6/UDP packet of `total` octets, with `extensions` (which begin with `first`) in between.
    pub(super) fn ipv6_udp(total: usize, first: IpProto, extensions: &[u8]) -> Vec<u8> {
        let fields = fields(true, first);
        let data = payload(total - 48 - extensions.len());
        let header = UdpHeader {
            src_port: 4000,
            dst_port: 53,
            len: 0,
        };
        let mut head = Head::new();
        let pieces = [&data[..]].into_iter();
        let (src, dst, len) = (fields.src, fields.dst, data.len());
        build::prepend_udp(&mut head, &header, src, dst, pieces, len, TxChecksum::Full).unwrap();
        head.prepend(extensions.len())
            .unwrap()
            .copy_from_slice(extensions);
        build::prepend_ip(&mut head, &fields, data.len()).unwrap();
        [head.as_slice(), &data].concat()
    }

    /// Hop-by-hop options (router alert), destination options (padding), an atomic fragment header.
    pub(super) const THREE: [u8; 24] = [
        60, 0, 5, 2, 0, 0, 1, 0, //
        44, 0, 1, 4, 0, 0, 0, 0, //
        17, 0, 0, 0, 0, 0, 0, 9,
    ];
}

/// The thread's processor time, so that what else runs on the machine counts less.
struct CpuTime;

impl Measurement for CpuTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
    }

    fn end(&self, start: Duration) -> Duration {
        self.start() - start
    }

    fn add(&self, a: &Duration, b: &Duration) -> Duration {
        *a + *b
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        value.as_nanos() as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

/// Fields that every library has to find.
type Found = (u16, u16, u32, usize);

/// Packets that are parsed in one go, as they come from a device: few enough for the first-level cache.
const BATCH: usize = 16;

/// Times `parse` over a batch of copies of `bytes`.
fn batch(b: &mut Bencher<'_, CpuTime>, bytes: &[u8], parse: impl Fn(&[u8]) -> Option<Found>) {
    let packets: Vec<Vec<u8>> = (0..BATCH).map(|_| bytes.to_vec()).collect();
    b.iter(|| {
        let mut found = 0;
        for packet in &packets {
            if let Some((src, dst, seq, len)) = parse(black_box(packet)) {
                found += u64::from(src) + u64::from(dst) + u64::from(seq) + len as u64;
            }
        }
        found
    });
}

#[inline(always)]
fn ours_v4_tcp(bytes: &[u8], checksum: RxChecksum) -> Option<Found> {
    let packet = IpPacket::<Ipv4>::parse(bytes).ok()?;
    let (src, dst) = (packet.src().into(), packet.dst().into());
    let view = TcpView::parse(src, dst, packet.payload(), checksum).ok()?;
    let header = view.header();
    let stamp = header.options.timestamps.map_or(0, |stamps| stamps.val);
    Some((
        header.src_port,
        header.dst_port,
        header.seq ^ stamp,
        view.payload().len(),
    ))
}

#[inline(always)]
fn ours_v6_udp(bytes: &[u8], checksum: RxChecksum) -> Option<Found> {
    let packet = IpPacket::<Ipv6>::parse(bytes).ok()?;
    let (src, dst) = (packet.src().into(), packet.dst().into());
    let view = UdpView::parse(src, dst, packet.payload(), checksum).ok()?;
    Some((view.src_port(), view.dst_port(), 0, view.payload().len()))
}

fn smoltcp_caps(verify: bool) -> smoltcp::phy::ChecksumCapabilities {
    let mut caps = smoltcp::phy::ChecksumCapabilities::default();
    if !verify {
        caps.tcp = smoltcp::phy::Checksum::Tx;
        caps.udp = smoltcp::phy::Checksum::Tx;
    }
    caps
}

#[inline(always)]
fn smoltcp_v4_tcp(bytes: &[u8], caps: &smoltcp::phy::ChecksumCapabilities) -> Option<Found> {
    use smoltcp::wire::{Ipv4Packet, Ipv4Repr, TcpPacket, TcpRepr};
    let packet = Ipv4Packet::new_checked(bytes).ok()?;
    let ip = Ipv4Repr::parse(&packet, caps).ok()?;
    let tcp = TcpPacket::new_checked(packet.payload()).ok()?;
    let repr = TcpRepr::parse(&tcp, &ip.src_addr.into(), &ip.dst_addr.into(), caps).ok()?;
    let stamp = repr.timestamp.map_or(0, |stamps| stamps.tsval);
    Some((
        repr.src_port,
        repr.dst_port,
        repr.seq_number.0 as u32 ^ stamp,
        repr.payload.len(),
    ))
}

#[inline(always)]
fn smoltcp_v6_udp(bytes: &[u8], caps: &smoltcp::phy::ChecksumCapabilities) -> Option<Found> {
    use smoltcp::wire::{
        IpProtocol, Ipv6ExtHeader, Ipv6ExtHeaderRepr, Ipv6FragmentHeader, Ipv6FragmentRepr,
        Ipv6HopByHopHeader, Ipv6HopByHopRepr, Ipv6Packet, Ipv6Repr, UdpPacket, UdpRepr,
    };
    let packet = Ipv6Packet::new_checked(bytes).ok()?;
    let ip = Ipv6Repr::parse(&packet).ok()?;
    let mut next = ip.next_header;
    let mut rest = packet.payload();
    loop {
        match next {
            IpProtocol::HopByHop | IpProtocol::Ipv6Opts => {
                let header = Ipv6ExtHeader::new_checked(rest).ok()?;
                let repr = Ipv6ExtHeaderRepr::parse(&header).ok()?;
                let options = Ipv6HopByHopHeader::new_checked(repr.data).ok()?;
                black_box(Ipv6HopByHopRepr::parse(&options).ok()?);
                next = repr.next_header;
                rest = rest.get(8 + usize::from(repr.length) * 8..)?;
            }
            IpProtocol::Ipv6Frag => {
                let header = Ipv6ExtHeader::new_checked(rest).ok()?;
                let repr = Ipv6ExtHeaderRepr::parse(&header).ok()?;
                let fragment = Ipv6FragmentHeader::new_checked(repr.data).ok()?;
                black_box(Ipv6FragmentRepr::parse(&fragment).ok()?);
                next = repr.next_header;
                rest = rest.get(8..)?;
            }
            _ => break,
        }
    }
    let udp = UdpPacket::new_checked(rest).ok()?;
    let repr = UdpRepr::parse(&udp, &ip.src_addr.into(), &ip.dst_addr.into(), caps).ok()?;
    Some((repr.src_port, repr.dst_port, 0, udp.payload().len()))
}

/// How much etherparse is to verify: by itself it looks at no checksum.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Etherparse {
    Nothing,
    IpHeader,
    All,
}

#[inline(always)]
fn etherparse_v4_tcp(bytes: &[u8], verify: Etherparse) -> Option<Found> {
    use etherparse::{NetSlice, SlicedPacket, TcpOptionElement, TransportSlice};
    let packet = SlicedPacket::from_ip(bytes).ok()?;
    let (Some(NetSlice::Ipv4(ip)), Some(TransportSlice::Tcp(tcp))) =
        (&packet.net, &packet.transport)
    else {
        return None;
    };
    let header = ip.header();
    if verify >= Etherparse::IpHeader
        && header.to_header().calc_header_checksum() != header.header_checksum()
    {
        return None;
    }
    let (src, dst) = (header.source(), header.destination());
    if verify == Etherparse::All && tcp.calc_checksum_ipv4(src, dst).ok()? != tcp.checksum() {
        return None;
    }
    let stamp = tcp.options_iterator().find_map(|option| match option {
        Ok(TcpOptionElement::Timestamp(val, _)) => Some(val),
        _ => None,
    });
    Some((
        tcp.source_port(),
        tcp.destination_port(),
        tcp.sequence_number() ^ stamp.unwrap_or(0),
        tcp.payload().len(),
    ))
}

#[inline(always)]
fn etherparse_v6_udp(bytes: &[u8], verify: bool) -> Option<Found> {
    use etherparse::{NetSlice, SlicedPacket, TransportSlice};
    let packet = SlicedPacket::from_ip(bytes).ok()?;
    let (Some(NetSlice::Ipv6(ip)), Some(TransportSlice::Udp(udp))) =
        (&packet.net, &packet.transport)
    else {
        return None;
    };
    if verify {
        let (src, dst) = (ip.header().source(), ip.header().destination());
        let header = udp.to_header();
        let sum = header
            .calc_checksum_ipv6_raw(src, dst, udp.payload())
            .ok()?;
        if sum != udp.checksum() {
            return None;
        }
    }
    let len = udp.payload().len();
    Some((udp.source_port(), udp.destination_port(), 0, len))
}

#[inline(always)]
fn pnet_v4_tcp(bytes: &[u8], verify: bool) -> Option<Found> {
    use pnet_packet::ipv4::Ipv4Packet;
    use pnet_packet::tcp::{self, TcpPacket};
    use pnet_packet::{Packet, ipv4};
    let ip = Ipv4Packet::new(bytes)?;
    if ipv4::checksum(&ip) != ip.get_checksum() {
        return None;
    }
    let tcp = TcpPacket::new(ip.payload())?;
    if verify {
        let sum = tcp::ipv4_checksum(&tcp, &ip.get_source(), &ip.get_destination());
        if sum != tcp.get_checksum() {
            return None;
        }
    }
    let stamp = tcp
        .get_options_iter()
        .find(|option| option.get_number().0 == 8)
        .map_or(0, |option| match *option.payload() {
            [a, b, c, d, ..] => u32::from_be_bytes([a, b, c, d]),
            _ => 0,
        });
    Some((
        tcp.get_source(),
        tcp.get_destination(),
        tcp.get_sequence() ^ stamp,
        tcp.payload().len(),
    ))
}

#[inline(always)]
fn pnet_v6_udp(bytes: &[u8], verify: bool) -> Option<Found> {
    use pnet_packet::Packet;
    use pnet_packet::ip::IpNextHeaderProtocols as Proto;
    use pnet_packet::ipv6::{ExtensionPacket, Ipv6Packet};
    use pnet_packet::udp::{self, UdpPacket};
    let ip = Ipv6Packet::new(bytes)?;
    let mut next = ip.get_next_header();
    let mut rest = ip.payload();
    while matches!(next, Proto::Hopopt | Proto::Ipv6Opts | Proto::Ipv6Frag) {
        let extension = ExtensionPacket::new(rest)?;
        next = extension.get_next_header();
        rest = rest.get(8 + usize::from(extension.get_hdr_ext_len()) * 8..)?;
    }
    let udp = UdpPacket::new(rest)?;
    if verify {
        let sum = udp::ipv6_checksum(&udp, &ip.get_source(), &ip.get_destination());
        if sum != udp.get_checksum() {
            return None;
        }
    }
    let len = udp.payload().len();
    Some((udp.get_source(), udp.get_destination(), 0, len))
}

fn parse_v4_tcp(c: &mut Criterion<CpuTime>) {
    for (name, bytes) in [
        ("parse ipv4 tcp 1500", samples::ipv4_tcp(1500, false)),
        (
            "parse ipv4 tcp 1500 timestamps",
            samples::ipv4_tcp(1500, true),
        ),
    ] {
        for verify in [false, true] {
            let what = if verify { "checksum" } else { "headers" };
            let mut group = c.benchmark_group(format!("{name} {what}"));
            let caps = smoltcp_caps(verify);
            let mode = if verify {
                RxChecksum::Unknown
            } else {
                RxChecksum::Vouched
            };
            let expected = ours_v4_tcp(&bytes, mode);
            assert!(expected.is_some());
            assert_eq!(smoltcp_v4_tcp(&bytes, &caps), expected);
            let level = if verify {
                Etherparse::All
            } else {
                Etherparse::IpHeader
            };
            assert_eq!(etherparse_v4_tcp(&bytes, level), expected);
            assert_eq!(pnet_v4_tcp(&bytes, verify), expected);
            group.throughput(Throughput::Elements(BATCH as u64));
            group.bench_function("packet", |b| {
                batch(b, &bytes, |bytes| ours_v4_tcp(bytes, mode));
            });
            group.bench_function("smoltcp", |b| {
                batch(b, &bytes, |bytes| smoltcp_v4_tcp(bytes, &caps));
            });
            group.bench_function("etherparse", |b| {
                batch(b, &bytes, |bytes| etherparse_v4_tcp(bytes, level));
            });
            if !verify {
                group.bench_function("etherparse, no checksum at all", |b| {
                    let level = Etherparse::Nothing;
                    batch(b, &bytes, |bytes| etherparse_v4_tcp(bytes, level));
                });
            }
            group.bench_function("pnet_packet", |b| {
                batch(b, &bytes, |bytes| pnet_v4_tcp(bytes, verify));
            });
            group.finish();
        }
    }
}

fn parse_v6_udp(c: &mut Criterion<CpuTime>) {
    for (name, bytes) in [
        (
            "parse ipv6 udp 64",
            samples::ipv6_udp(64, IpProto::UDP, &[]),
        ),
        (
            "parse ipv6 3 extensions udp 128",
            samples::ipv6_udp(128, IpProto::HOP_BY_HOP, &samples::THREE),
        ),
    ] {
        for verify in [false, true] {
            let what = if verify { "checksum" } else { "headers" };
            let mut group = c.benchmark_group(format!("{name} {what}"));
            let caps = smoltcp_caps(verify);
            let mode = if verify {
                RxChecksum::Unknown
            } else {
                RxChecksum::Vouched
            };
            let expected = ours_v6_udp(&bytes, mode);
            assert!(expected.is_some());
            assert_eq!(smoltcp_v6_udp(&bytes, &caps), expected);
            assert_eq!(etherparse_v6_udp(&bytes, verify), expected);
            assert_eq!(pnet_v6_udp(&bytes, verify), expected);
            group.throughput(Throughput::Elements(BATCH as u64));
            group.bench_function("packet", |b| {
                batch(b, &bytes, |bytes| ours_v6_udp(bytes, mode));
            });
            group.bench_function("smoltcp", |b| {
                batch(b, &bytes, |bytes| smoltcp_v6_udp(bytes, &caps));
            });
            group.bench_function("etherparse", |b| {
                batch(b, &bytes, |bytes| etherparse_v6_udp(bytes, verify));
            });
            group.bench_function("pnet_packet", |b| {
                batch(b, &bytes, |bytes| pnet_v6_udp(bytes, verify));
            });
            group.finish();
        }
    }
}

fn build_v4_tcp(c: &mut Criterion<CpuTime>) {
    let (fields, header) = (
        samples::fields(false, IpProto::TCP),
        samples::tcp_header(true),
    );
    let data = samples::payload(1500 - 20 - 32);
    let expected = samples::ipv4_tcp(1500, true);
    let mut out = vec![0u8; 1500];
    for mode in [TxChecksum::Partial, TxChecksum::Full] {
        let full = mode == TxChecksum::Full;
        let what = if full { "checksum" } else { "headers" };
        let mut group = c.benchmark_group(format!("build ipv4 tcp 1500 {what}"));
        group.bench_function("packet", |b| {
            b.iter(|| {
                let mut head = Head::new();
                let (src, dst) = (fields.src, fields.dst);
                let pieces = [&data[..]].into_iter();
                let header = black_box(&header);
                build::prepend_tcp(&mut head, header, src, dst, pieces, data.len(), mode).unwrap();
                build::prepend_ip(&mut head, &fields, data.len()).unwrap();
                black_box(head)
            });
        });
        group.bench_function("smoltcp", |b| {
            b.iter(|| smoltcp_build(black_box(&data), &mut out, full));
            assert!(!full || out.is_empty() || out.len() == expected.len());
        });
        if full {
            // The others always copy the payload and sum it.
            group.bench_function("etherparse", |b| {
                let mut out = Vec::with_capacity(2000);
                b.iter(|| {
                    out.clear();
                    etherparse_build(black_box(&data), &mut out);
                });
                assert_eq!(out.len(), expected.len());
            });
            group.bench_function("pnet_packet", |b| {
                b.iter(|| pnet_build(black_box(&data), &mut out));
            });
        }
        group.finish();
    }
}

fn smoltcp_build(data: &[u8], out: &mut [u8], full: bool) {
    use smoltcp::wire::{
        IpProtocol, Ipv4Address, Ipv4Packet, Ipv4Repr, TcpControl, TcpPacket, TcpRepr,
        TcpSeqNumber, TcpTimestampRepr,
    };
    let mut caps = smoltcp::phy::ChecksumCapabilities::default();
    if !full {
        caps.tcp = smoltcp::phy::Checksum::None;
    }
    let (src_addr, dst_addr) = (
        Ipv4Address::new(10, 77, 0, 1),
        Ipv4Address::new(10, 77, 0, 2),
    );
    let tcp = TcpRepr {
        src_port: 40_000,
        dst_port: 80,
        control: TcpControl::Psh,
        seq_number: TcpSeqNumber(1_000_000),
        ack_number: Some(TcpSeqNumber(2_000_000)),
        window_len: 512,
        window_scale: None,
        max_seg_size: None,
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: Some(TcpTimestampRepr::new(7, 9)),
        payload: data,
    };
    let ip = Ipv4Repr {
        src_addr,
        dst_addr,
        next_header: IpProtocol::Tcp,
        payload_len: tcp.buffer_len(),
        hop_limit: 64,
    };
    let mut packet = Ipv4Packet::new_unchecked(out);
    ip.emit(&mut packet, &caps);
    let mut segment = TcpPacket::new_unchecked(packet.payload_mut());
    tcp.emit(&mut segment, &src_addr.into(), &dst_addr.into(), &caps);
}

fn etherparse_build(data: &[u8], out: &mut Vec<u8>) {
    use etherparse::{PacketBuilder, TcpOptionElement};
    PacketBuilder::ipv4([10, 77, 0, 1], [10, 77, 0, 2], 64)
        .tcp(40_000, 80, 1_000_000, 512)
        .ack(2_000_000)
        .psh()
        .options(&[
            TcpOptionElement::Noop,
            TcpOptionElement::Noop,
            TcpOptionElement::Timestamp(7, 9),
        ])
        .unwrap()
        .write(out, data)
        .unwrap();
}

fn pnet_build(data: &[u8], out: &mut [u8]) {
    use pnet_packet::ip::IpNextHeaderProtocols;
    use pnet_packet::ipv4::{self, MutableIpv4Packet};
    use pnet_packet::tcp::{self, MutableTcpPacket, TcpOption};
    let (src, dst) = ([10, 77, 0, 1].into(), [10, 77, 0, 2].into());
    let total = out.len() as u16;
    let (ip_bytes, tcp_bytes) = out.split_at_mut(20);
    let mut segment = MutableTcpPacket::new(tcp_bytes).unwrap();
    segment.set_source(40_000);
    segment.set_destination(80);
    segment.set_sequence(1_000_000);
    segment.set_acknowledgement(2_000_000);
    segment.set_data_offset(8);
    segment.set_flags(0x18);
    segment.set_window(512);
    segment.set_options(&[
        TcpOption::nop(),
        TcpOption::nop(),
        TcpOption::timestamp(7, 9),
    ]);
    segment.set_payload(data);
    segment.set_checksum(0);
    let sum = tcp::ipv4_checksum(&segment.to_immutable(), &src, &dst);
    segment.set_checksum(sum);
    let mut packet = MutableIpv4Packet::new(ip_bytes).unwrap();
    packet.set_version(4);
    packet.set_header_length(5);
    packet.set_total_length(total);
    packet.set_identification(1);
    packet.set_flags(2);
    packet.set_ttl(64);
    packet.set_next_level_protocol(IpNextHeaderProtocols::Tcp);
    packet.set_source(src);
    packet.set_destination(dst);
    let sum = ipv4::checksum(&packet.to_immutable());
    packet.set_checksum(sum);
}

fn checksums(c: &mut Criterion<CpuTime>) {
    let mut group = c.benchmark_group("checksum");
    for len in [20usize, 64, 1500, 65_535] {
        let bytes = samples::payload(len);
        let expected = checksum::of(&bytes);
        assert_eq!(!smoltcp::wire::checksum::data(&bytes), expected);
        assert_eq!(internet_checksum::checksum(&bytes), expected.to_be_bytes());
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_with_input(BenchmarkId::new("packet", len), &bytes, |b, bytes| {
            b.iter(|| checksum::of(black_box(bytes)));
        });
        group.bench_with_input(BenchmarkId::new("smoltcp", len), &bytes, |b, bytes| {
            b.iter(|| smoltcp::wire::checksum::data(black_box(bytes)));
        });
        group.bench_with_input(BenchmarkId::new("etherparse", len), &bytes, |b, bytes| {
            b.iter(|| {
                etherparse::checksum::Sum16BitWords::new()
                    .add_slice(black_box(bytes))
                    .ones_complement()
            });
        });
        group.bench_with_input(
            BenchmarkId::new("internet-checksum", len),
            &bytes,
            |b, bytes| {
                b.iter(|| internet_checksum::checksum(black_box(bytes)));
            },
        );
        group.bench_with_input(BenchmarkId::new("pnet_packet", len), &bytes, |b, bytes| {
            b.iter(|| pnet_packet::util::checksum(black_box(bytes), usize::MAX));
        });
        if len >= 1500 {
            let mut out = vec![0u8; len];
            group.bench_function(BenchmarkId::new("packet, copy and sum", len), |b| {
                b.iter(|| {
                    let mut sum = checksum::Checksum::new();
                    sum.copy_and_add(black_box(&bytes), black_box(&mut out));
                    sum.finish()
                });
            });
        }
    }
    group.finish();
}

fn config() -> Criterion<CpuTime> {
    Criterion::default()
        .with_measurement(CpuTime)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(400))
        .sample_size(50)
}

criterion_group! {
    name = benches;
    config = config();
    targets = parse_v4_tcp, parse_v6_udp, build_v4_tcp, checksums
}
criterion_main!(benches);
