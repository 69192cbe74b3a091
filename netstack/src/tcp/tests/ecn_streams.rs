//! Streams over links that mark segments (RFC 3168, RFC 9768).

use super::link::{App, Impairment, Sim};
use crate::base::TcpConfig;
use crate::tcp::Tcp;
use core::time::Duration;

/// Runs a stream of two megabytes each way over a link that marks every twentieth segment.
fn marking(accurate: bool, whole_per_million: u32, loss_per_million: u32) -> Sim {
    // A super-segment is marked as a whole: there are few of them.
    let mark_per_million = if whole_per_million > 0 {
        200_000
    } else {
        50_000
    };
    let cfg = TcpConfig {
        accurate_ecn: accurate,
        ..TcpConfig::default()
    };
    let impair = Impairment {
        mark_per_million,
        delay: Duration::from_millis(2),
        whole_per_million,
        loss_per_million,
        ..Impairment::none()
    };
    let mut sim = Sim::new(
        7,
        &cfg,
        [App::bulk(2_000_000), App::bulk(2_000_000)],
        impair,
    );
    sim.connect(0);
    while sim.ends.iter().any(|end| end.read < 2_000_000) {
        assert!(sim.step(), "{}", sim.describe());
    }
    sim
}

#[test]
fn marks_slow_a_stream_down_and_lose_nothing() {
    for accurate in [false, true] {
        for whole in [0, 1_000_000] {
            let sim = marking(accurate, whole, 0);
            for end in &sim.ends {
                let info = end.tcp.as_ref().map(Tcp::info).expect("tcp");
                assert!(info.received_ce > 10, "{info:?}");
                assert!(info.delivered_ce > 0, "{info:?}");
                assert_eq!((info.retransmits, info.timeouts), (0, 0));
                assert!(info.ssthresh < 1 << 30, "{info:?}");
            }
        }
    }
}

#[test]
fn accurate_feedback_counts_what_was_marked() {
    let mut sim = marking(true, 0, 0);
    // What is still on its way arrives.
    for _ in 0..200 {
        sim.step();
    }
    let info = |sim: &Sim, end: usize| sim.ends[end].tcp.as_ref().map(Tcp::info).expect("tcp");
    for (sender, receiver) in [(0, 1), (1, 0)] {
        let said = info(&sim, sender).delivered_ce;
        let counted = info(&sim, receiver).received_ce;
        assert!(
            said <= counted && said + 8 >= counted,
            "{said} of {counted}"
        );
    }
}

#[test]
fn lost_segments_and_marks_together_leave_the_stream_intact() {
    for accurate in [false, true] {
        let sim = marking(accurate, 0, 10_000);
        assert!(sim.ends.iter().all(|end| end.read == 2_000_000));
    }
}
