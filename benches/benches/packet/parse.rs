//! Parsing: every library gets the same bytes and must find the same fields.
//!
//! "headers" checks the transport header and the IP header, with its checksum where the library can.
//! "checksum" verifies the transport checksum as well.

use std::hint::black_box;

use criterion::{Bencher, Criterion, Throughput};
use packet::IpProto;

use super::cpu_time::CpuTime;
use super::{etherparse, ours, pnet, samples, smoltcp};

/// Fields that every library has to find: ports, sequence number and timestamp, payload length.
pub(crate) type Found = (u16, u16, u32, usize);

/// Number of packets in a batch, as a device delivers them: few enough for the first-level cache.
const BATCH: usize = 16;

/// Times `parse` over a batch of copies of `bytes`, after checking once that it finds the fields.
fn batch(
    b: &mut Bencher<'_, CpuTime>,
    bytes: &[u8],
    expected: Option<Found>,
    parse: impl Fn(&[u8]) -> Option<Found>,
) {
    assert!(expected.is_some());
    assert_eq!(parse(bytes), expected);
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

pub(crate) fn v4_tcp(c: &mut Criterion<CpuTime>) {
    for (name, bytes) in [
        ("ipv4 tcp 1500", samples::ipv4_tcp(1500, false)),
        ("ipv4 tcp 1500 timestamps", samples::ipv4_tcp(1500, true)),
        (
            "ipv4 tcp 1500 timestamps first",
            samples::ipv4_tcp_stamps_first(1500),
        ),
        (
            "ipv4 tcp 1500 timestamps and sack",
            samples::ipv4_tcp_sack(1500),
        ),
    ] {
        for verify in [false, true] {
            let what = if verify { "checksum" } else { "headers" };
            let mut group = c.benchmark_group(format!("parse {name} {what}"));
            group.throughput(Throughput::Elements(BATCH as u64));
            let checksum = ours::rx_checksum(verify);
            let caps = smoltcp::caps(verify);
            let expected = ours::v4_tcp(&bytes, checksum);
            group.bench_function("packet", |b| {
                batch(b, &bytes, expected, |bytes| ours::v4_tcp(bytes, checksum));
            });
            group.bench_function("smoltcp", |b| {
                batch(b, &bytes, expected, |bytes| smoltcp::v4_tcp(bytes, &caps));
            });
            group.bench_function("etherparse", |b| {
                batch(b, &bytes, expected, |bytes| {
                    etherparse::v4_tcp(bytes, verify)
                });
            });
            group.bench_function("etherparse, layer by layer", |b| {
                batch(b, &bytes, expected, |bytes| {
                    etherparse::v4_tcp_by_layer(bytes, verify)
                });
            });
            group.bench_function("pnet_packet", |b| {
                batch(b, &bytes, expected, |bytes| pnet::v4_tcp(bytes, verify));
            });
            group.finish();
        }
    }
}

pub(crate) fn v6_udp(c: &mut Criterion<CpuTime>) {
    for (name, bytes) in [
        ("ipv6 udp 64", samples::ipv6_udp(64, IpProto::UDP, &[])),
        (
            "ipv6 3 extensions udp 128",
            samples::ipv6_udp(128, IpProto::HOP_BY_HOP, &samples::THREE),
        ),
    ] {
        for verify in [false, true] {
            let what = if verify { "checksum" } else { "headers" };
            let mut group = c.benchmark_group(format!("parse {name} {what}"));
            group.throughput(Throughput::Elements(BATCH as u64));
            let checksum = ours::rx_checksum(verify);
            let caps = smoltcp::caps(verify);
            let expected = ours::v6_udp(&bytes, checksum);
            group.bench_function("packet", |b| {
                batch(b, &bytes, expected, |bytes| ours::v6_udp(bytes, checksum));
            });
            group.bench_function("smoltcp", |b| {
                batch(b, &bytes, expected, |bytes| smoltcp::v6_udp(bytes, &caps));
            });
            group.bench_function("etherparse", |b| {
                batch(b, &bytes, expected, |bytes| {
                    etherparse::v6_udp(bytes, verify)
                });
            });
            group.bench_function("etherparse, layer by layer", |b| {
                batch(b, &bytes, expected, |bytes| {
                    etherparse::v6_udp_by_layer(bytes, verify)
                });
            });
            group.bench_function("pnet_packet", |b| {
                batch(b, &bytes, expected, |bytes| pnet::v6_udp(bytes, verify));
            });
            group.finish();
        }
    }
}
