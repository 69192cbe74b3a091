//! Parsing, building and summing beside etherparse, smoltcp's wire layer, pnet_packet and
//! internet-checksum, in one run: `cargo bench -p benches --bench packet`.
//!
//! Every function is inlined into the loop that times it. The clock is the thread's processor time.

#![allow(missing_docs, clippy::unwrap_used)] // Macros make the items; a bench that fails says so.

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};

mod build;
mod cpu_time;
mod etherparse;
mod ours;
mod parse;
mod pnet;
mod samples;
mod smoltcp;
mod sums;

use cpu_time::CpuTime;

fn config() -> Criterion<CpuTime> {
    // Programs run without the ledger of the buffers, so a measurement with it would be wrong.
    assert_eq!(
        packet::Pool::new(1, 1).audit(),
        packet::buf::Audit::Unsupported,
        "built with the tests' features: run `cargo bench -p benches --bench packet`"
    );
    Criterion::default()
        .with_measurement(CpuTime)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(400))
        .sample_size(50)
}

criterion_group! {
    name = benches;
    config = config();
    targets = parse::v4_tcp, parse::v6_udp, build::v4_tcp, build::v6_udp, sums::checksums
}
criterion_main!(benches);
