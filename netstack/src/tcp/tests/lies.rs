//! A peer that lies about what it received: acknowledgments of what was never sent, windows that shrink, SACK blocks
//! and reports of duplicates that mean nothing. Under each congestion control memory and work stay bounded, and the
//! connection goes on or ends; the invariants are checked after every call.

use core::time::Duration;

use packet::tcp::SackBlocks;

use super::fuzz::any_algorithm;
use super::rig::{ACK, Rig, ours, with_sack};
use crate::base::{Rng, TcpConfig};
use crate::tcp::State;

/// Bytes that the application keeps queued.
const QUEUED: usize = 60_000;
/// Most segments of one call: a window of them again, and as much anew.
const MOST_SEGMENTS: usize = 4_000;

/// Returns a number near something that was sent, or far from it.
fn position(rng: &mut Rng, una: u32, nxt: u32) -> u32 {
    match rng.below(8) {
        0 => rng.u32(),
        1 => una.wrapping_sub(rng.below(70_000)),
        2 => nxt.wrapping_add(rng.below(70_000)),
        _ => una.wrapping_add(rng.below(nxt.wrapping_sub(una).saturating_add(2))),
    }
}

fn lie(rng: &mut Rng, rig: &mut Rig) {
    let tcb = rig.tcp.tcb().expect("open");
    let una = tcb.flight.una() - ours(0);
    let nxt = tcb.flight.nxt() - ours(0);
    let ack = match rng.below(4) {
        0 => position(rng, una, nxt),
        1 => una.wrapping_add(rng.below(nxt - una + 1)),
        _ => una,
    };
    let mut sack = SackBlocks::default();
    for _ in 0..rng.below(5) {
        let left = position(rng, una, nxt);
        let right = match rng.below(4) {
            0 => position(rng, una, nxt),
            _ => left.wrapping_add(1 + rng.below(3_000)),
        };
        sack.push((ours(0) + left).0, (ours(0) + right).0);
    }
    if rng.chance(100_000) {
        rig.window = rng.u32() as u16 >> rng.below(16);
    }
    let mut seg = rig.segment(1, ack, ACK, b"");
    seg.options.sack = sack;
    if let Some(ts) = &mut seg.options.timestamps
        && rng.chance(200_000)
    {
        ts.ecr = rng.u32();
    }
    rig.give(seg);
}

#[test]
fn lies_cost_a_bounded_amount_under_each_congestion_control() {
    for seed in 0..900 {
        let mut rng = Rng::from_u64(seed);
        let cfg = TcpConfig {
            timestamps: rng.chance(500_000),
            sack: rng.chance(850_000),
            congestion: any_algorithm(&mut rng),
            pacing: rng.chance(500_000),
            data_retries: 200,
            ..with_sack()
        };
        let mut rig = Rig::established(cfg);
        for _ in 0..150 {
            if rig.tcp.state() != State::Established {
                break;
            }
            let unsent = QUEUED.saturating_sub(rig.tcp.unacked());
            rig.tcp.send(&vec![7; unsent], &rig.buffers);
            match rng.below(6) {
                0 => {
                    rig.now = rig.now + Duration::from_micros(u64::from(rng.below(300_000)));
                    rig.tcp.on_timeout(rig.now);
                }
                _ => lie(&mut rng, &mut rig),
            }
            rig.max_payload = 1 + rng.below(65_000) as usize;
            let sent = rig.out().len();
            assert!(sent <= MOST_SEGMENTS, "seed {seed}: {sent} segments");
            let tcb = rig.tcp.tcb().expect("open");
            let records = tcb.flight.records();
            assert!(records <= 8_192 + 128, "seed {seed}: {records} records");
            let runs = tcb.flight.kept_lost_runs();
            assert_eq!(
                runs, 0,
                "seed {seed}: the congestion control has taken them"
            );
        }
        rig.abort();
        rig.out();
        assert!(rig.tcp.is_gone(), "seed {seed}");
        let held = rig.buffers.small().in_use() + rig.buffers.large().in_use();
        assert_eq!(held, 0, "seed {seed}: slabs held");
    }
}
