//! Connections that do not end well: aborted, dropped with bytes unread, or cut off. Whatever
//! happens when, both ends must learn of it in bounded time, and nothing may be held.

use core::time::Duration;

use super::chaos::scenario;
use super::link::Sim;
use crate::base::Rng;
use crate::tcp::{Tcp, TcpError};

/// Runs until both ends are gone, whatever they think of it.
fn until_gone(sim: &mut Sim, limit: Duration) {
    let start = sim.now;
    while !sim
        .ends
        .iter()
        .all(|e| e.tcp.as_ref().is_none_or(Tcp::is_gone))
    {
        let went_on = sim.step();
        let gone = sim
            .ends
            .iter()
            .all(|e| e.tcp.as_ref().is_none_or(Tcp::is_gone));
        assert!(
            gone || (went_on && sim.now.saturating_since(start) < limit),
            "seed {}: {}",
            sim.seed,
            sim.describe()
        );
    }
    sim.in_transit.clear();
    for e in &mut sim.ends {
        if let Some(tcp) = &mut e.tcp {
            while tcp.recv_pop(sim.now).is_some() {}
            assert_eq!(tcp.poll_timeout(), None);
        }
        let held = e.buffers.large().in_use() + e.buffers.small().in_use();
        assert_eq!(held, 0, "seed {}: slabs held", sim.seed);
    }
}

#[test]
fn an_abort_at_any_moment() {
    for seed in 10_000..10_400 {
        let mut rng = Rng::from_u64(seed);
        let mut sim = scenario(seed);
        // Never more than this much of the applications' slowness.
        let now = sim.now;
        for e in &mut sim.ends {
            e.app.close_last = false;
            // The link can lose the reset and every answer to what comes later.
            let mut cfg = (*e.cfg).clone();
            cfg.keepalive_idle = Some(Duration::from_secs(30));
            e.cfg = std::sync::Arc::new(cfg);
            if let Some(tcp) = &mut e.tcp {
                tcp.set_keepalive(Some(Duration::from_secs(30)), now);
            }
        }
        let steps = rng.below(600);
        for _ in 0..steps {
            if !sim.step() {
                break;
            }
        }
        let now = sim.now;
        let end = rng.below(2) as usize;
        if let Some(tcp) = &mut sim.ends[end].tcp {
            if rng.below(2) == 0 {
                tcp.abort(now);
            } else {
                tcp.close(now);
                tcp.close_recv(now);
            }
            sim.ends[end].closed = true;
            sim.ends[end].written = sim.ends[end].app.total;
        }
        until_gone(&mut sim, Duration::from_secs(4_000));
    }
}

#[test]
fn a_cable_cut_at_any_moment() {
    for seed in 20_000..20_300 {
        let mut rng = Rng::from_u64(seed);
        let mut sim = scenario(seed);
        for e in &mut sim.ends {
            // A connection that waits for its peer in silence needs keepalive to notice.
            let mut cfg = (*e.cfg).clone();
            cfg.keepalive_idle = Some(Duration::from_secs(30));
            cfg.keepalive_interval = Duration::from_secs(5);
            e.cfg = std::sync::Arc::new(cfg);
            e.tcp = None;
        }
        sim.connect(0);
        sim.cut_at = sim.now + Duration::from_millis(u64::from(rng.below(3_000)));
        until_gone(&mut sim, Duration::from_secs(4_000));
        for e in &sim.ends {
            let fine = e.eof && e.closed;
            let told = matches!(
                e.tcp.as_ref().and_then(Tcp::error),
                Some(TcpError::TimedOut) | None
            );
            assert!(fine || told, "seed {seed}: {}", sim.describe());
        }
    }
}
