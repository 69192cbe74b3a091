//! One cell of the grid: a stream from one stack to another over a link with given faults, on virtual time.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use netstack::base::{Config, Instant};
use netstack::device::Device as _;
use netstack::device::memory::{self, Impairment, LinkConfig, LinkDevice};
use netstack::engine::sim::Simulation;
use netstack::net::{Stack, TcpListener, TcpStream};
use netstack::stack::Host;
use netstack::tcp::TcpInfo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Payload of a full segment: an MTU of 1,500 less the headers and the timestamps.
pub(crate) const SEGMENT_BYTES: f64 = 1_448.0;

/// Queue and rate of a bottleneck, both directions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bottleneck {
    pub(crate) bits_per_second: u64,
    /// Queue in bandwidth-delay products, times ten.
    pub(crate) queue_tenths: u64,
}

/// A path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Path {
    pub(crate) rtt: Duration,
    pub(crate) bottleneck: Option<Bottleneck>,
    /// Losses per million packets, on the way of the data.
    pub(crate) loss_ppm: u32,
    /// Chance that the packet after a lost one is lost, too.
    pub(crate) burst_ppm: u32,
    /// Packets per million that are overtaken by those of the next `reorder_by`.
    pub(crate) reorder_ppm: u32,
    pub(crate) reorder_by: Duration,
    /// The link carries super-segments, and loses them whole.
    pub(crate) tso: bool,
}

impl Path {
    /// Creates a path without faults.
    pub(crate) const fn clean(rtt: Duration) -> Self {
        Self {
            rtt,
            bottleneck: None,
            loss_ppm: 0,
            burst_ppm: 0,
            reorder_ppm: 0,
            reorder_by: Duration::ZERO,
            tso: false,
        }
    }

    pub(crate) fn link(&self, seed: u64) -> LinkConfig {
        let delay = self.rtt / 2;
        let bytes_per_second = self.bottleneck.map(|b| b.bits_per_second / 8);
        let queue_bytes = self.bottleneck.map(|b| {
            let product = b.bits_per_second as f64 / 8.0 * self.rtt.as_secs_f64();
            (product * b.queue_tenths as f64 / 10.0).max(3_000.0) as u64
        });
        let back = Impairment {
            delay,
            ..Impairment::default()
        };
        LinkConfig {
            tso: self.tso,
            tx_checksum: true,
            a_to_b: Impairment {
                loss_ppm: self.loss_ppm,
                loss_burst_ppm: self.burst_ppm,
                reorder_ppm: self.reorder_ppm,
                reorder_by: self.reorder_by,
                bytes_per_second,
                queue_bytes,
                ..back.clone()
            },
            b_to_a: back,
            seed,
            ..LinkConfig::default()
        }
    }

    /// Returns what the path allows, in Mb/s: its rate, a window of `window` bytes each round trip, and
    /// what the loss leaves to CUBIC (the mean window of RFC 9438 section 5.1 or, where that is larger, of
    /// Reno: 1.22 segments over the root of the loss rate).
    pub(crate) fn bound(&self, window: f64) -> f64 {
        let rtt = self.rtt.as_secs_f64();
        let rate = self
            .bottleneck
            .map_or(f64::INFINITY, |b| b.bits_per_second as f64 / 1e6);
        let p = f64::from(self.loss_ppm) / 1e6;
        let segments = (1.22 / p.sqrt()).max(1.054 * rtt.powf(0.75) / p.powf(0.75));
        let loss = segments * SEGMENT_BYTES * 8.0 / rtt / 1e6;
        rate.min(window * 8.0 / rtt / 1e6).min(loss)
    }
}

/// The outcome of a cell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    pub(crate) megabits_per_second: f64,
    pub(crate) info: TcpInfo,
    /// Longest time without a byte delivered.
    pub(crate) longest_pause: Duration,
}

/// A stack of the simulation.
pub(crate) struct Peer {
    pub(crate) stack: Stack,
    pub(crate) place: usize,
    pub(crate) address: IpAddr,
}

/// Adds a stack behind `device`.
pub(crate) fn peer(sim: &mut Simulation, device: LinkDevice, number: u8, config: &Config) -> Peer {
    let address = IpAddr::V4(Ipv4Addr::new(10, 77, 0, number));
    let caps = device.caps();
    let host = Host::new(config.clone(), &[(address, 24)], caps, 1, [number; 32]).expect("a stack");
    let place = sim.add(&host, 0, device);
    Peer {
        stack: Stack::from_host(Arc::clone(&host)),
        place,
        address,
    }
}

/// Accepts one connection at `to`, a socket of `at`, and reads it to its end; returns the count of its bytes.
pub(crate) fn count_received(sim: &mut Simulation, at: &Peer, to: SocketAddr) -> Arc<AtomicU64> {
    let listener = TcpListener::bind_now(&at.stack, to).expect("bind");
    let received = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&received);
    sim.spawn(
        at.place,
        Box::pin(async move {
            let Ok((mut stream, _)) = listener.accept().await else {
                return;
            };
            let mut buffer = vec![0; 1 << 16];
            while let Ok(len @ 1..) = stream.read(&mut buffer).await {
                count.fetch_add(len as u64, Ordering::Relaxed);
            }
        }),
    );
    received
}

/// Sends over `path` until `most_bytes` have arrived or `time` has passed.
pub(crate) fn run(
    path: &Path,
    config: &Config,
    seed: u64,
    time: Duration,
    most_bytes: u64,
) -> Outcome {
    const PORT: u16 = 4_000;
    let (a, b) = memory::pair(&path.link(seed));
    let mut sim = Simulation::new(Instant::from_millis(1_000));
    let a = peer(&mut sim, a, 1, config);
    let b = peer(&mut sim, b, 2, config);
    let to = SocketAddr::new(b.address, PORT);
    let received = count_received(&mut sim, &b, to);
    let stack = a.stack.clone();
    sim.spawn(
        a.place,
        Box::pin(async move {
            let Ok(mut stream) = TcpStream::connect(&stack, to).await else {
                return;
            };
            let data = vec![7; 1 << 16];
            while stream.write_all(&data).await.is_ok() {}
        }),
    );
    let start = sim.now();
    let limit = start + time;
    let mut last = (0, start);
    let mut longest_pause = Duration::ZERO;
    let done = sim.run_until(limit, |sim| {
        let now = received.load(Ordering::Relaxed);
        if now > last.0 {
            longest_pause = longest_pause.max(sim.now() - last.1);
            last = (now, sim.now());
        }
        now >= most_bytes
    });
    done.expect("the simulation goes on");
    let bytes = received.load(Ordering::Relaxed) as f64;
    let seconds = (sim.now() - start).as_secs_f64();
    let connections = a.stack.tcp_info();
    let (_, _, info) = connections.first().expect("a connection");
    Outcome {
        megabits_per_second: bytes * 8.0 / 1e6 / seconds,
        info: *info,
        longest_pause: longest_pause.max(sim.now() - last.1),
    }
}
