//! The packets that every library parses and builds.

use std::net::IpAddr;

use packet::IpProto;
use packet::build::{self, Head, IpFields, TxChecksum};
use packet::tcp::{SackBlocks, TcpFlags, TcpHeader, TcpOptions, Timestamps};
use packet::udp::UdpHeader;

pub(crate) const SRC4: [u8; 4] = [10, 77, 0, 1];
pub(crate) const DST4: [u8; 4] = [10, 77, 0, 2];
pub(crate) const SRC6: [u8; 16] = [0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
pub(crate) const DST6: [u8; 16] = [0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
pub(crate) const TTL: u8 = 64;

pub(crate) const TCP_SRC: u16 = 40_000;
pub(crate) const TCP_DST: u16 = 80;
pub(crate) const SEQ: u32 = 1_000_000;
pub(crate) const ACK: u32 = 2_000_000;
pub(crate) const WINDOW: u16 = 512;
pub(crate) const STAMPS: Timestamps = Timestamps { val: 7, ecr: 9 };

pub(crate) const UDP_SRC: u16 = 4000;
pub(crate) const UDP_DST: u16 = 53;

/// Hop-by-hop options (router alert), destination options (padding), an atomic fragment header.
pub(crate) const THREE: [u8; 24] = [
    60, 0, 5, 2, 0, 0, 1, 0, //
    44, 0, 1, 4, 0, 0, 0, 0, //
    17, 0, 0, 0, 0, 0, 0, 9,
];

pub(crate) fn fields(v6: bool, proto: IpProto) -> IpFields {
    let (src, dst): (IpAddr, IpAddr) = match v6 {
        true => (SRC6.into(), DST6.into()),
        false => (SRC4.into(), DST4.into()),
    };
    IpFields {
        src,
        dst,
        proto,
        ttl: TTL,
        traffic_class: 0,
        ident: 0,
        dont_fragment: true,
        flow_label: 0,
    }
}

pub(crate) fn tcp_header(timestamps: bool) -> TcpHeader {
    TcpHeader {
        src_port: TCP_SRC,
        dst_port: TCP_DST,
        seq: SEQ,
        ack: ACK,
        flags: TcpFlags::ACK | TcpFlags::PSH,
        window: WINDOW,
        urgent: 0,
        options: TcpOptions {
            timestamps: timestamps.then_some(STAMPS),
            ..TcpOptions::default()
        },
    }
}

pub(crate) fn udp_header() -> UdpHeader {
    UdpHeader {
        src_port: UDP_SRC,
        dst_port: UDP_DST,
        len: 0,
    }
}

pub(crate) fn payload(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 + 7) as u8).collect()
}

fn with_tcp(header: &TcpHeader, total: usize, edit: impl Fn(&mut [u8])) -> Vec<u8> {
    let fields = fields(false, IpProto::TCP);
    let data = payload(total - 20 - header.len());
    let mut segment = vec![0; header.len()];
    header.write(&mut segment);
    edit(&mut segment[20..]);
    segment.extend(&data);
    let (src, dst) = (fields.src, fields.dst);
    let len = segment.len() as u32;
    let mut sum = packet::checksum::pseudo_header(src, dst, IpProto::TCP, len);
    sum.add_bytes(&segment);
    segment[16..18].copy_from_slice(&sum.finish().to_be_bytes());
    let mut head = Head::new();
    build::prepend_ip(&mut head, &fields, segment.len()).unwrap();
    [head.as_slice(), &segment].concat()
}

/// Returns an IPv4/TCP packet of `total` bytes.
pub(crate) fn ipv4_tcp(total: usize, timestamps: bool) -> Vec<u8> {
    with_tcp(&tcp_header(timestamps), total, |_| ())
}

/// The same with the padding behind the timestamps, as some senders have it.
pub(crate) fn ipv4_tcp_stamps_first(total: usize) -> Vec<u8> {
    with_tcp(&tcp_header(true), total, |options| options.rotate_left(2))
}

/// The same with timestamps and two selectively acknowledged blocks.
pub(crate) fn ipv4_tcp_sack(total: usize) -> Vec<u8> {
    let mut header = tcp_header(true);
    let mut sack = SackBlocks::new();
    assert!(sack.push(10, 20) && sack.push(30, 40));
    header.options.sack = sack;
    with_tcp(&header, total, |_| ())
}

/// Returns an IPv6/UDP packet of `total` bytes, with `extensions` (which begin with `first`) in between.
pub(crate) fn ipv6_udp(total: usize, first: IpProto, extensions: &[u8]) -> Vec<u8> {
    let fields = fields(true, first);
    let data = payload(total - 48 - extensions.len());
    let mut head = Head::new();
    let pieces = [&data[..]].into_iter();
    let (src, dst, len) = (fields.src, fields.dst, data.len());
    let mode = TxChecksum::Full;
    build::prepend_udp(&mut head, &udp_header(), src, dst, pieces, len, mode).unwrap();
    head.prepend(extensions.len())
        .unwrap()
        .copy_from_slice(extensions);
    build::prepend_ip(&mut head, &fields, data.len()).unwrap();
    [head.as_slice(), &data].concat()
}
