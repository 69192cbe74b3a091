//! The times at which segments leave, and the algorithm that a socket chooses.

use core::num::NonZeroU64;
use core::time::Duration;

use super::rig::{ACK, Rig, Sent, with_sack};
use crate::base::TcpConfig;
use crate::base::congestion::{Acked, CongestionControl, Definition, Loss, Start, Window};
use crate::tcp::Algorithm;

fn paced(congestion: Algorithm) -> TcpConfig {
    TcpConfig {
        congestion,
        pacing: true,
        ..with_sack()
    }
}

/// Returns how many bytes left in each millisecond.
fn by_millis(sent: &[Sent]) -> Vec<usize> {
    let mut bytes = Vec::new();
    for segment in sent {
        let at = segment.at_millis as usize;
        bytes.resize(bytes.len().max(at + 1), 0);
        bytes[at] += segment.len;
    }
    bytes
}

#[test]
fn an_initial_window_leaves_at_once_and_a_later_one_is_spread() {
    let mut rig = Rig::established(paced(Algorithm::CUBIC));
    // A round trip of 100 ms becomes known.
    for i in 0..30 {
        rig.send(1_000);
        rig.out();
        rig.now = rig.now + Duration::from_millis(100);
        rig.recv(1, 1 + 1_000 * (i + 1), ACK, b"");
    }
    rig.send(40_000);
    let first: usize = rig.payloads().iter().map(|s| s.len).sum();
    assert_eq!(first, 10_000);
    rig.now = rig.now + Duration::from_millis(100);
    rig.recv(1, 39_001, ACK, b"");
    // 18,000 bytes in a quarter of the round trip, in quanta of two segments.
    let rates = by_millis(&rig.pass(60));
    assert_eq!(rates.iter().sum::<usize>(), 18_000);
    assert!(rates.len() >= 12 && rates.len() <= 27, "{rates:?}");
    assert!(rates.iter().all(|bytes| *bytes <= 4_000), "{rates:?}");
}

/// Timers could not divide such a round trip.
#[test]
fn a_window_leaves_at_once_where_the_round_trip_is_no_longer_than_a_tick_of_the_timers() {
    for (micros, is_spread) in [(900, false), (1_200, true)] {
        let mut rig = Rig::established(paced(Algorithm::CUBIC));
        for i in 0..60 {
            rig.send(1_000);
            rig.out();
            rig.now = rig.now + Duration::from_micros(micros);
            rig.recv(1, 1 + 1_000 * (i + 1), ACK, b"");
        }
        assert_eq!(rig.tcp.info().pacing_rate.is_some(), is_spread, "{micros}");
        rig.send(40_000);
        let at_once: usize = rig.payloads().iter().map(|s| s.len).sum();
        assert_eq!(at_once, 10_000, "the window");
    }
}

#[test]
fn draft_bbr_5_6_2_bbr_paces_from_the_first_flight() {
    let mut rig = Rig::established(TcpConfig {
        pacing: false,
        ..paced(Algorithm::BBR)
    });
    rig.send(10_000);
    // 2.77 windows in 10 ms: 2,770 bytes in a millisecond, in quanta of two segments.
    let sent = rig.pass(9);
    assert!(sent.iter().all(|s| s.len <= 2_000), "{sent:?}");
    let rates = by_millis(&sent);
    assert_eq!(rates.iter().sum::<usize>(), 10_000);
    assert!(rates.len() >= 2, "{rates:?}");
    assert!(rates.iter().all(|bytes| *bytes <= 6_000), "{rates:?}");
}

#[test]
fn what_waits_for_its_departure_needs_no_persist_timer() {
    let mut rig = Rig::established(paced(Algorithm::BBR));
    rig.send(10_000);
    rig.out();
    let at = rig.tcp.poll_timeout().expect("a departure");
    assert!(at > rig.now && at <= rig.now + Duration::from_millis(2));
    // The application gives up: nothing leaves any more.
    rig.abort();
    rig.out();
    assert_eq!(rig.tcp.poll_timeout(), None);
}

#[test]
fn rfc8985_7_3_a_tail_probe_waits_for_no_departure() {
    let mut rig = Rig::established(paced(Algorithm::BBR));
    rig.send(4_000);
    let sent = rig.pass(40);
    let last = sent.last().expect("a probe");
    assert_eq!((last.seq, last.len), (3_001, 1_000));
    assert!(last.at_millis <= 25, "{last:?}");
}

#[test]
fn a_retransmission_after_a_timeout_waits_for_no_departure() {
    let mut rig = Rig::established(TcpConfig {
        rack_tlp: false,
        ..paced(Algorithm::from(&SLOW))
    });
    rig.max_payload = 1_000;
    rig.send(2_000);
    // The next segment would leave after two seconds; the timeout comes first.
    let sent = rig.pass(1_000);
    assert_eq!(sent[0], (1, 1_000));
    assert_eq!(sent[1], (1, 1_000));
    let rto = rig.tcp.info().srtt + TcpConfig::default().rto_min;
    assert_eq!(u128::from(sent[1].at_millis), rto.as_millis());
}

/// Half a segment of a thousand bytes each second.
#[derive(Debug)]
struct Slow;

impl CongestionControl for Slow {
    fn on_ack(&mut self, _window: &mut Window, _acked: &Acked) {}

    fn on_loss(&mut self, _window: &mut Window, _loss: &Loss) {}

    fn on_timeout(&mut self, window: &mut Window, loss: &Loss) {
        window.cwnd = loss.mss;
    }

    fn on_undo(&mut self, _window: &mut Window) {}

    fn pacing_rate(&self) -> Option<NonZeroU64> {
        NonZeroU64::new(500)
    }
}

static SLOW: Definition = Definition::new("slow", |_: &Start| Box::new(Slow));

#[test]
fn draft_bbr_5_3_4_3_idle_time_that_a_connection_rests_for_measures_the_round_trip() {
    let mut rig = Rig::established(paced(Algorithm::BBR));
    rig.send(1_000);
    rig.out();
    rig.now = rig.now + Duration::from_millis(10);
    rig.recv(1, 1_001, ACK, b"");
    rig.pass(200);
    rig.tcp.rest(rig.now);
    assert!(rig.tcp.is_resting());
    rig.pass(6_000);
    let cwnd = rig.tcp.info().cwnd;
    rig.send(1_000);
    rig.out();
    rig.now = rig.now + Duration::from_millis(10);
    rig.recv(1, 2_001, ACK, b"");
    assert!(rig.tcp.info().cwnd >= cwnd, "ProbeRTT has a small window");
}

#[derive(Debug)]
struct Fixed;

impl CongestionControl for Fixed {
    fn on_ack(&mut self, window: &mut Window, acked: &Acked) {
        window.cwnd = 3 * acked.mss;
    }

    fn on_loss(&mut self, window: &mut Window, _loss: &Loss) {
        // Nonsense, which the connection bounds.
        *window = Window {
            cwnd: 0,
            ssthresh: 0,
        };
    }

    fn on_timeout(&mut self, window: &mut Window, _loss: &Loss) {
        window.cwnd = u32::MAX;
    }

    fn on_undo(&mut self, _window: &mut Window) {}
}

static FIXED: Definition = Definition::new("fixed", |_: &Start| Box::new(Fixed));

#[test]
fn a_program_brings_its_own_algorithm_and_its_windows_are_bounded() {
    let mut rig = Rig::established(TcpConfig {
        congestion: Algorithm::from(&FIXED),
        ..with_sack()
    });
    assert_eq!(rig.tcp.congestion().map(Algorithm::name), Some("fixed"));
    rig.max_payload = 1_000;
    rig.send(30_000);
    rig.out();
    rig.recv(1, 10_001, ACK, b"");
    assert_eq!(rig.payloads().len(), 3);
    rig.recv_sack(10_001, &[(11_001, 13_001)]);
    rig.pass(20);
    let info = rig.tcp.info();
    assert!(info.cwnd >= 1_000 && info.ssthresh >= 2_000);
    rig.pass(1_000);
    assert!(rig.tcp.info().cwnd <= 1 << 30);
}

#[test]
fn a_socket_changes_its_algorithm_while_it_rests_and_while_it_sends() {
    let mut rig = Rig::established(paced(Algorithm::CUBIC));
    rig.max_payload = 1_000;
    for round in 0..6 {
        let algorithm = Algorithm::ALL[round % 3];
        rig.tcp.set_congestion(algorithm);
        assert_eq!(rig.tcp.congestion(), Some(algorithm));
        rig.send(5_000);
        rig.pass(12);
        let end = 1 + 5_000 * (round as u32 + 1);
        rig.recv(1, end, ACK, b"");
        rig.pass(500);
        rig.tcp.rest(rig.now);
        assert!(rig.tcp.is_resting());
        assert_eq!(rig.tcp.congestion(), Some(algorithm));
    }
}

#[test]
fn rfc9040_a_connection_begins_with_what_the_last_one_found() {
    let mut first = Rig::established(with_sack());
    assert_eq!(first.tcp.path_metrics(), None, "it sent nothing");
    first.max_payload = 1_000;
    first.send(40_000);
    first.out();
    first.recv(1, 10_001, ACK, b"");
    first.out();
    first.recv_sack(10_001, &[(11_001, 15_001)]);
    first.out();
    let found = first.tcp.path_metrics().expect("metrics");
    let ssthresh = found.ssthresh.expect("a loss");
    assert_eq!(ssthresh, first.tcp.info().ssthresh);

    let mut second = Rig::established(with_sack());
    assert!(second.tcp.wants_path_metrics());
    second.tcp.adopt_path_metrics(Some(crate::tcp::PathMetrics {
        reorders: true,
        ..found
    }));
    assert_eq!(second.tcp.info().ssthresh, ssthresh);
    // The hint is no finding: it would never expire.
    second.send(1_000);
    second.out();
    second.recv(1, 1_001, ACK, b"");
    let passed_on = second.tcp.path_metrics().expect("metrics");
    assert_eq!((passed_on.ssthresh, passed_on.reorders), (None, false));
    // Once is enough, and what is below the initial window is no news.
    second.tcp.adopt_path_metrics(None);
    assert!(!second.tcp.wants_path_metrics());
    let mut third = Rig::established(with_sack());
    let tiny = crate::tcp::PathMetrics {
        ssthresh: Some(2_000),
        ..found
    };
    third.tcp.adopt_path_metrics(Some(tiny));
    assert!(third.tcp.info().ssthresh > 1 << 20);
    let mut without = Rig::established(TcpConfig {
        path_metrics: false,
        ..with_sack()
    });
    without.tcp.adopt_path_metrics(Some(found));
    assert!(without.tcp.info().ssthresh > 1 << 20);
}
