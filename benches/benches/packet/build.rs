//! Building: a packet in one buffer, with headers written and payload copied, which all libraries
//! support; and headers alone for a payload that stays where it is, as this project's stack sends.
//!
//! "headers" leaves out the transport checksum, or writes the pseudo-header's sum for the device where
//! the library can. "checksum" computes it. Every packet is parsed and compared before it is timed.

use std::hint::black_box;

use criterion::Criterion;
use packet::checksum::RxChecksum;
use packet::ip::{AnyIpPacket, IpPacket, Ipv6};
use packet::tcp::TcpView;
use packet::udp::UdpView;

use super::cpu_time::CpuTime;
use super::{etherparse, ours, pnet, samples, smoltcp};

/// Checks that `bytes` are the TCP sample: the same header, in any order of options, and payload.
fn check_tcp(name: &str, bytes: &[u8], data: &[u8], full: bool) {
    let packet = AnyIpPacket::parse(bytes).unwrap_or_else(|| panic!("{name}: no packet"));
    let (src, dst) = (samples::SRC4.into(), samples::DST4.into());
    assert_eq!((packet.src(), packet.dst()), (src, dst), "{name}");
    let checksum = ours::rx_checksum(full);
    let view = TcpView::parse(src, dst, packet.payload(), checksum)
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(view.header(), samples::tcp_header(true), "{name}");
    assert_eq!(view.payload(), data, "{name}");
}

/// Checks that `bytes` are the UDP sample after `extensions`.
fn check_udp(name: &str, bytes: &[u8], data: &[u8], extensions: &[u8], full: bool) {
    let packet = IpPacket::<Ipv6>::parse(bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
    let (src, dst) = (packet.src().into(), packet.dst().into());
    assert_eq!(packet.src().octets(), samples::SRC6, "{name}");
    assert_eq!(packet.dst().octets(), samples::DST6, "{name}");
    assert_eq!(bytes[40..packet.header_len()], *extensions, "{name}");
    let checksum = match full {
        true => RxChecksum::Unknown,
        false => RxChecksum::Vouched,
    };
    let mut datagram = packet.payload().to_vec();
    if !full {
        // Left out, but over IPv6 there must be something.
        datagram[7] |= 1;
    }
    let view = UdpView::parse(src, dst, &datagram, checksum)
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    let ports = (samples::UDP_SRC, samples::UDP_DST);
    assert_eq!((view.src_port(), view.dst_port()), ports, "{name}");
    assert_eq!(view.payload(), data, "{name}");
}

macro_rules! timed {
    ($group:expr, $data:expr, $check:expr, $name:expr, $build:expr) => {{
        let mut out = Vec::with_capacity(2000);
        $build($data, &mut out);
        $check($name, &out);
        $group.bench_function($name, |b| {
            b.iter(|| {
                $build(black_box($data), &mut out);
                black_box(out.as_slice());
            });
        });
    }};
}

pub(crate) fn v4_tcp(c: &mut Criterion<CpuTime>) {
    let data = &samples::payload(1500 - 20 - 32)[..];
    for full in [false, true] {
        let what = if full { "checksum" } else { "headers" };
        let mut group = c.benchmark_group(format!("build ipv4 tcp 1500 {what}"));
        let check = |name: &str, bytes: &[u8]| check_tcp(name, bytes, data, full);
        ours::bench_tcp_head(&mut group, data, full);
        timed!(
            group,
            data,
            check,
            "packet, copied",
            |data: &[u8], out: &mut Vec<u8>| { ours::build_tcp(data, out, full) }
        );
        timed!(
            group,
            data,
            check,
            "smoltcp",
            |data: &[u8], out: &mut Vec<u8>| { smoltcp::build_tcp(data, out, full) }
        );
        timed!(
            group,
            data,
            check,
            "etherparse",
            |data: &[u8], out: &mut Vec<u8>| { etherparse::build_tcp(data, out, full) }
        );
        let options = pnet::tcp_options();
        timed!(
            group,
            data,
            check,
            "pnet_packet",
            |data: &[u8], out: &mut Vec<u8>| { pnet::build_tcp(data, out, &options, full) }
        );
        group.finish();
    }
}

pub(crate) fn v6_udp(c: &mut Criterion<CpuTime>) {
    for (name, total, extensions) in [
        ("ipv6 udp 64", 64, &[][..]),
        ("ipv6 3 extensions udp 128", 128, &samples::THREE[..]),
    ] {
        let three = !extensions.is_empty();
        let data = &samples::payload(total - 48 - extensions.len())[..];
        for full in [false, true] {
            let what = if full { "checksum" } else { "headers" };
            let mut group = c.benchmark_group(format!("build {name} {what}"));
            let check = |name: &str, bytes: &[u8]| check_udp(name, bytes, data, extensions, full);
            ours::bench_udp_head(&mut group, data, three, full);
            timed!(
                group,
                data,
                check,
                "packet, copied",
                |data: &[u8], out: &mut Vec<u8>| { ours::build_udp(data, out, three, full) }
            );
            timed!(
                group,
                data,
                check,
                "smoltcp",
                |data: &[u8], out: &mut Vec<u8>| { smoltcp::build_udp(data, out, three, full) }
            );
            timed!(
                group,
                data,
                check,
                "etherparse",
                |data: &[u8], out: &mut Vec<u8>| { etherparse::build_udp(data, out, three, full) }
            );
            timed!(
                group,
                data,
                check,
                "pnet_packet",
                |data: &[u8], out: &mut Vec<u8>| { pnet::build_udp(data, out, three, full) }
            );
            group.finish();
        }
    }
}
