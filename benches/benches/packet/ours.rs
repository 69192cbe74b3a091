//! This project's `packet`.

use std::hint::black_box;

use criterion::BenchmarkGroup;
use packet::IpProto;
use packet::build::{self, Head, Headroom, SliceHead, TxChecksum};
use packet::checksum::{Checksum, RxChecksum};
use packet::ip::{FragmentInfo, IpPacket, Ipv4, Ipv6};
use packet::tcp::TcpView;
use packet::udp::UdpView;

use super::cpu_time::CpuTime;
use super::parse::Found;
use super::samples;

pub(crate) fn rx_checksum(verify: bool) -> RxChecksum {
    match verify {
        true => RxChecksum::Unknown,
        false => RxChecksum::Vouched,
    }
}

#[inline(always)]
pub(crate) fn v4_tcp(bytes: &[u8], checksum: RxChecksum) -> Option<Found> {
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
pub(crate) fn v6_udp(bytes: &[u8], checksum: RxChecksum) -> Option<Found> {
    let packet = IpPacket::<Ipv6>::parse(bytes).ok()?;
    let (src, dst) = (packet.src().into(), packet.dst().into());
    let view = UdpView::parse(src, dst, packet.payload(), checksum).ok()?;
    Some((view.src_port(), view.dst_port(), 0, view.payload().len()))
}

#[inline(always)]
fn tcp_head(head: &mut impl Headroom, data: &[u8], mode: TxChecksum) {
    let (fields, header) = (
        samples::fields(false, IpProto::TCP),
        samples::tcp_header(true),
    );
    let (pieces, len) = ([data].into_iter(), data.len());
    build::prepend_tcp(
        head,
        black_box(&header),
        fields.src,
        fields.dst,
        pieces,
        len,
        mode,
    )
    .unwrap();
    build::prepend_ip(head, black_box(&fields), len).unwrap();
}

#[inline(always)]
fn udp_head(head: &mut impl Headroom, data: &[u8], three: bool, mode: TxChecksum) {
    let header = samples::udp_header();
    let mut fields = samples::fields(true, IpProto::UDP);
    let (pieces, len) = ([data].into_iter(), data.len());
    build::prepend_udp(
        head,
        black_box(&header),
        fields.src,
        fields.dst,
        pieces,
        len,
        mode,
    )
    .unwrap();
    if three {
        let atomic = FragmentInfo {
            id: 9,
            offset_bytes: 0,
            more: false,
        };
        build::prepend_fragment_header(head, IpProto::UDP, atomic).unwrap();
        build::prepend_options_header(head, IpProto::FRAGMENT, &[]).unwrap();
        let alert = [5, 2, 0, 0];
        build::prepend_options_header(head, IpProto::DEST_OPTS, black_box(&alert)).unwrap();
        fields.proto = IpProto::HOP_BY_HOP;
    }
    build::prepend_ip(head, black_box(&fields), len).unwrap();
}

fn tx_checksum(full: bool) -> TxChecksum {
    match full {
        true => TxChecksum::Full,
        false => TxChecksum::Partial,
    }
}

/// Times headers alone. The payload stays where it is and is summed in place or left to the device.
pub(crate) fn bench_tcp_head(group: &mut BenchmarkGroup<'_, CpuTime>, data: &[u8], full: bool) {
    group.bench_function("packet", |b| {
        b.iter(|| {
            let mut head = Head::new();
            tcp_head(&mut head, black_box(data), tx_checksum(full));
            black_box(head.as_slice());
        });
    });
}

pub(crate) fn bench_udp_head(
    group: &mut BenchmarkGroup<'_, CpuTime>,
    data: &[u8],
    three: bool,
    full: bool,
) {
    group.bench_function("packet", |b| {
        b.iter(|| {
            let mut head = Head::new();
            udp_head(&mut head, black_box(data), three, tx_checksum(full));
            black_box(head.as_slice());
        });
    });
}

/// Copies `data` into `out`, summing it on the way if `full` is set, and puts `headers` bytes of headers
/// in front of it.
#[inline(always)]
fn in_one_buffer(
    data: &[u8],
    out: &mut Vec<u8>,
    headers: usize,
    full: bool,
    build: impl FnOnce(&mut SliceHead<'_>, TxChecksum),
) {
    out.resize(headers + data.len(), 0);
    let (room, to) = out.split_at_mut(headers);
    let mode = if full {
        let mut sum = Checksum::new();
        sum.copy_and_add(data, to);
        TxChecksum::Payload(sum)
    } else {
        to.copy_from_slice(data);
        TxChecksum::Partial
    };
    build(&mut SliceHead::new(room), mode);
}

#[inline(always)]
pub(crate) fn build_tcp(data: &[u8], out: &mut Vec<u8>, full: bool) {
    in_one_buffer(data, out, 52, full, |head, mode| tcp_head(head, data, mode));
}

#[inline(always)]
pub(crate) fn build_udp(data: &[u8], out: &mut Vec<u8>, three: bool, full: bool) {
    let headers = 48 + if three { 24 } else { 0 };
    in_one_buffer(data, out, headers, full, |head, mode| {
        udp_head(head, data, three, mode);
    });
}
