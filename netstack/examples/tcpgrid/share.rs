//! Two streams that share a path, on virtual time.
//!
//! Acknowledgments are late by a random part of [`JITTER_PACKETS`] packets' time at the bottleneck. Without it, the same packet of
//! each round meets the full queue, and the phases of the senders share it (Floyd and Jacobson, "Traffic phase effects in
//! packet-switched gateways", 1991).

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use netstack::base::{Config, Instant};
use netstack::device::memory;
use netstack::engine::sim::Simulation;
use netstack::net::TcpStream;
use netstack::tcp::Algorithm;
use tokio::io::AsyncWriteExt as _;

use crate::cell::{Path, count_received, peer};

/// An acknowledgment stands for two packets, and two senders take turns.
const JITTER_PACKETS: u32 = 4;
const PACKET_BITS: u64 = 1_500 * 8;

/// Lets two connections with these algorithms share `path` for `time`; returns the goodput of each in its second
/// half, in Mb/s.
pub(crate) fn share(
    path: &Path,
    algorithms: [Algorithm; 2],
    seed: u64,
    time: Duration,
) -> [f64; 2] {
    const PORT: u16 = 4_000;
    let mut link = path.link(seed);
    if let Some(bottleneck) = path.bottleneck {
        let nanos = PACKET_BITS * 1_000_000_000 / bottleneck.bits_per_second;
        link.b_to_a.jitter = Duration::from_nanos(nanos) * JITTER_PACKETS;
    }
    let (a, b) = memory::pair(&link);
    let mut sim = Simulation::new(Instant::from_millis(1_000));
    let config = Config::default();
    let a = peer(&mut sim, a, 1, &config);
    let b = peer(&mut sim, b, 2, &config);
    let mut counts = Vec::new();
    for (number, algorithm) in algorithms.into_iter().enumerate() {
        let to = SocketAddr::new(b.address, PORT + number as u16);
        counts.push(count_received(&mut sim, &b, to));
        let stack = a.stack.clone();
        sim.spawn(
            a.place,
            Box::pin(async move {
                let Ok(mut stream) = TcpStream::connect(&stack, to).await else {
                    return;
                };
                stream.set_congestion(algorithm);
                let data = vec![7; 1 << 16];
                while stream.write_all(&data).await.is_ok() {}
            }),
        );
    }
    let half = sim.now() + time / 2;
    sim.run_until(half, |_| false)
        .expect("the simulation goes on");
    let at_half: Vec<u64> = counts.iter().map(|c| c.load(Ordering::Relaxed)).collect();
    sim.run_until(half + time / 2, |_| false)
        .expect("the simulation goes on");
    let rate = |number: usize| {
        let bytes = counts[number].load(Ordering::Relaxed) - at_half[number];
        bytes as f64 * 8.0 / 1e6 / (time / 2).as_secs_f64()
    };
    [rate(0), rate(1)]
}
