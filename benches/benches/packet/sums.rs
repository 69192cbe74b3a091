//! Checksums alone.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use packet::checksum::{self, Checksum, Implementation};

use super::cpu_time::CpuTime;
use super::samples;

pub(crate) fn checksums(c: &mut Criterion<CpuTime>) {
    let mut group = c.benchmark_group("checksum");
    type Sum = fn(&[u8]) -> u16;
    // Each returns the checksum field in host order.
    let peers: [(&str, Sum); 5] = [
        ("packet", |bytes| checksum::of(bytes)),
        ("smoltcp", |bytes| !smoltcp::wire::checksum::data(bytes)),
        ("etherparse", |bytes| {
            u16::from_be(
                etherparse::checksum::Sum16BitWords::new()
                    .add_slice(bytes)
                    .ones_complement(),
            )
        }),
        ("internet-checksum", |bytes| {
            u16::from_be_bytes(internet_checksum::checksum(bytes))
        }),
        ("pnet_packet", |bytes| {
            pnet_packet::util::checksum(bytes, usize::MAX)
        }),
    ];
    for len in [20usize, 64, 1500, 65_535] {
        let bytes = samples::payload(len);
        let expected = checksum::of(&bytes);
        group.throughput(Throughput::Bytes(len as u64));
        macro_rules! timed {
            ($name:expr, $sum:expr) => {
                assert_eq!($sum(&bytes), expected, "{} of {len}", $name);
                group.bench_with_input(BenchmarkId::new($name, len), &bytes, |b, bytes| {
                    b.iter(|| $sum(black_box(bytes)));
                });
            };
        }
        for (name, sum) in peers {
            timed!(name, sum);
        }
        if len >= 1500 {
            for implementation in Implementation::ALL {
                if implementation.checksum(&bytes).is_some() {
                    let sum = |bytes: &[u8]| implementation.checksum(bytes).unwrap_or(0);
                    timed!(format!("packet, {implementation:?}"), sum);
                }
            }
            let mut out = vec![0u8; len];
            group.bench_function(BenchmarkId::new("packet, copy and sum", len), |b| {
                b.iter(|| {
                    let mut sum = Checksum::new();
                    sum.copy_and_add(black_box(&bytes), black_box(&mut out));
                    sum.finish()
                });
            });
            group.bench_function(BenchmarkId::new("smoltcp, copy, then sum", len), |b| {
                b.iter(|| {
                    black_box(&mut out).copy_from_slice(black_box(&bytes));
                    !smoltcp::wire::checksum::data(&out)
                });
            });
            group.bench_function(BenchmarkId::new("copy alone", len), |b| {
                b.iter(|| black_box(&mut out).copy_from_slice(black_box(&bytes)));
            });
        }
    }
    group.finish();
}
