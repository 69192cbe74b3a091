//! Thousands of seeded lives of a connection: every mixture of bad link, small window, slow
//! application, option set, way to open and way to close must end with both streams intact, both
//! connections gone and nothing held.

use core::time::Duration;

use super::fuzz::any_algorithm;
use super::link::{App, Impairment, Sim};
use crate::base::{Instant, Rng, TcpConfig};

fn config(rng: &mut Rng) -> TcpConfig {
    let recv_buffer_initial = match rng.below(4) {
        0 => 2_048,
        1 => 2_048 + rng.below(20_000) as usize,
        _ => 65_535 + rng.below(200_000) as usize,
    };
    TcpConfig {
        recv_buffer_initial,
        recv_buffer_max: recv_buffer_initial << rng.below(5),
        send_buffer: 2_048 << rng.below(8),
        sack: rng.chance(750_000),
        rack_tlp: rng.chance(850_000),
        timestamps: rng.chance(750_000),
        ecn: rng.chance(750_000),
        ecn_offer: rng.chance(750_000),
        accurate_ecn: rng.chance(750_000),
        window_scaling: rng.chance(750_000),
        nagle: rng.chance(500_000),
        max_reassembly_ranges: 1 + rng.below(64) as usize,
        initial_window_segments: 1 + rng.below(10),
        // A bad link must not end the connection: that is what this test is not about.
        syn_retries: 40,
        data_retries: 60,
        rto_max: Duration::from_secs(5),
        time_wait: Duration::from_secs(60),
        congestion: any_algorithm(rng),
        pacing: rng.chance(500_000),
        ..TcpConfig::default()
    }
}

fn app(rng: &mut Rng, now: Instant) -> App {
    let pause = match rng.below(3) {
        0 => Duration::from_micros(u64::from(1 + rng.below(20_000))),
        _ => Duration::ZERO,
    };
    // Slow applications move less, so that every seed costs about the same.
    let most: u32 = if pause.is_zero() { 150_000 } else { 15_000 };
    let read_from = match rng.below(6) {
        0 => now + Duration::from_millis(u64::from(rng.below(20_000))),
        _ => Instant::ZERO,
    };
    let (write_bits, read_bits) = if pause.is_zero() {
        (rng.below(18), 4 + rng.below(14))
    } else {
        (8 + rng.below(10), 8 + rng.below(10))
    };
    App {
        total: match rng.below(5) {
            0 => 0,
            1 => u64::from(rng.below(20)),
            _ => u64::from(rng.below(most)),
        },
        write_max: 1 + rng.below(1 << write_bits),
        read_max: 1 + rng.below(1 << read_bits),
        pause,
        read_from,
        close_last: false,
    }
}

fn impairment(rng: &mut Rng) -> Impairment {
    let gentle = rng.below(4) == 0;
    let mut up_to = |most: u32| if gentle { 0 } else { rng.below(most) };
    let (loss, duplicate, reorder) = (up_to(200_000), up_to(100_000), up_to(400_000));
    Impairment {
        loss_per_million: loss,
        duplicate_per_million: duplicate,
        reorder_per_million: reorder,
        reorder_by: Duration::from_micros(u64::from(rng.below(60_000))),
        delay: Duration::from_micros(u64::from(20 + rng.below(40_000))),
        mark_per_million: if gentle { 0 } else { rng.below(100_000) },
        whole_per_million: rng.below(3) * 500_000,
        largest: usize::MAX,
    }
}

pub(super) fn scenario(seed: u64) -> Sim {
    let mut rng = Rng::from_u64(seed ^ 0x5eed_0000_0000_0000);
    let cfg = config(&mut rng);
    let start = Instant::from_millis(seed % 5_000_000);
    let mut apps = [app(&mut rng, start), app(&mut rng, start)];
    if rng.below(3) == 0 {
        apps[rng.below(2) as usize].close_last = true;
    }
    let impair = [impairment(&mut rng), impairment(&mut rng)];
    let mut sim = Sim::new(seed, &cfg, apps, impair[0]);
    sim.impair = impair;
    // Some paths drop large segments silently.
    let mut rng_of_holes = Rng::from_u64(seed ^ 0x401e_0000_0000_0000);
    for impair in &mut sim.impair {
        if rng_of_holes.below(4) == 0 {
            impair.largest = 560 + rng_of_holes.below(1_000) as usize;
        }
    }
    for e in &mut sim.ends {
        e.mss = match rng.below(4) {
            0 => 100 + rng.below(500) as u16,
            1 => 8_960,
            _ => 1_460,
        };
        e.max_payload = if rng.chance(500_000) {
            65_000
        } else {
            usize::from(e.mss)
        };
        if rng.chance(500_000) {
            let other = std::sync::Arc::new(config(&mut rng));
            e.cfg = other;
        }
    }
    sim.connect(0);
    if rng.below(5) == 0 {
        // A simultaneous open, unless the first SYN is quicker.
        sim.connect(1);
    }
    sim
}

/// Longest life that any seed may have: a slow reader, then a link that loses a third of all round
/// trips, at no more than 5 s per retransmission, then TIME-WAIT.
const LIMIT: Duration = Duration::from_secs(1_800);

fn run(seeds: core::ops::Range<u64>) {
    for seed in seeds {
        scenario(seed).run(LIMIT);
    }
}

#[test]
fn lives_0() {
    run(0..1_000);
}

#[test]
fn lives_1() {
    run(1_000..2_000);
}

#[test]
fn lives_2() {
    run(2_000..3_000);
}

/// Many more, from seed `FROM` to seed `TO`.
#[test]
#[ignore = "long, run by hand"]
fn lives_by_hand() {
    let seed = |name: &str, default: u64| {
        std::env::var(name)
            .ok()
            .and_then(|seed| seed.parse().ok())
            .unwrap_or(default)
    };
    run(seed("FROM", 3_000)..seed("TO", 4_000));
}

/// Not a test of anything: says which seeds were slowest, for whoever tunes recovery.
#[test]
#[ignore = "a report, run by hand"]
fn report_slowest() {
    let mut all: Vec<(u64, u64, u64)> = (0..3_000)
        .map(|seed| {
            let mut sim = scenario(seed);
            let start = sim.now;
            sim.run(Duration::from_secs(100_000));
            (
                sim.now.saturating_since(start).as_millis() as u64,
                seed,
                sim.steps,
            )
        })
        .collect();
    all.sort_unstable();
    for (millis, seed, steps) in all.iter().rev().take(20) {
        println!("seed {seed}: {millis} ms, {steps} steps");
    }
}

/// Prints the life of the seed in `SEED`, second by second.
#[test]
#[ignore = "a report, run by hand"]
fn trace_seed() {
    let seed = std::env::var("SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or(0);
    let mut sim = scenario(seed);
    for e in &sim.ends {
        println!("{:?}\n{:?} mss {}", e.cfg, e.app, e.mss);
    }
    println!("{:?}", sim.impair);
    let mut second = u64::MAX;
    while !sim.is_done() && sim.steps < 1_000_000 {
        let at = sim.now.as_millis() / 1_000;
        if at != second {
            second = at;
            println!("{:?} {}", sim.now, sim.describe());
        }
        sim.step();
    }
}
