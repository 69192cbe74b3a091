//! Probes of the path MTU (RFC 4821 sections 7.3 to 7.6): a path that carries segments of 500 bytes, and perhaps the 1,000
//! that the peer and the link allow.

use core::time::Duration;

use super::rig::{ACK, Rig, ours, plain, with_sack};
use crate::base::{Instant, MtuProbing, TcpConfig};
use crate::tcp::{Event, LossRule, MssChange, PathLimits, PathNews, Recovery};

const SEARCHED: PathLimits = PathLimits {
    mss: 500,
    ceiling: Some(1_000),
    link_mss: 1_000,
    floor: 0,
};

/// Returns a connection that has learnt from others that its path carries 500 bytes at least.
fn searching(cfg: TcpConfig) -> Rig {
    let mut rig = Rig::established(cfg);
    rig.tcp.follow_path(&SEARCHED, rig.now);
    rig.events();
    rig
}

/// Returns sequence number, length and segment size of everything that is sent now.
fn sent(rig: &mut Rig) -> Vec<(u32, usize, u16)> {
    let out = rig.out();
    out.iter()
        .map(|seg| (seg.seq - ours(0), seg.payload.len_bytes(), seg.mss))
        .collect()
}

/// Lets a round trip pass.
fn round_trip(rig: &mut Rig) {
    rig.now = rig.now + Duration::from_millis(10);
}

/// Sends a probe and `behind` bytes; returns the size of the probe, or zero if none leaves.
fn probe(rig: &mut Rig, behind: usize) -> u16 {
    let una = rig.tcp.info().bytes_out as u32 + 1;
    rig.send(1_000 + behind);
    let all = sent(rig);
    assert_eq!(all[0].0, una, "{all:?}");
    let (_, len, size) = all[0];
    if size == 500 {
        return 0;
    }
    assert_eq!(len, usize::from(size), "a wire segment of its own: {all:?}");
    size
}

/// Acknowledges everything.
fn acknowledge(rig: &mut Rig) {
    round_trip(rig);
    for _ in 0..50 {
        let next = rig.tcp.info().bytes_out as u32 + 1 + rig.tcp.info().in_flight;
        rig.recv(1, next, ACK, b"");
        rig.out();
        if rig.tcp.unacked() == 0 {
            return;
        }
    }
    panic!("never acknowledged");
}

/// Loses the probe that begins at `una`, alone: what was sent behind it arrives. Returns what is sent again.
fn lose_alone(rig: &mut Rig, una: u32, size: u16) -> Vec<(u32, usize, u16)> {
    round_trip(rig);
    let behind = una + u32::from(size);
    rig.recv_sack(una, &[(behind, behind + 2_000)]);
    sent(rig)
}

#[test]
fn rfc4821_7_5_a_probe_is_one_segment_and_its_arrival_raises_the_size() {
    let mut rig = searching(with_sack());
    rig.send(6_000);
    assert_eq!(sent(&mut rig), [(1, 1_000, 1_000), (1_001, 5_000, 500)]);
    round_trip(&mut rig);
    rig.events();
    let cwnd = rig.tcp.info().cwnd;
    rig.recv(1, 1_001, ACK, b"");
    assert_eq!(rig.tcp.info().mss, 1_000);
    let raised = Event::MssChanged {
        mss: 1_000,
        reason: MssChange::Probe,
    };
    assert!(rig.events().contains(&raised));
    assert!(
        rig.tcp.info().cwnd <= cwnd + 1_000,
        "a larger segment is no larger window"
    );
    let news = PathNews {
        mss: 1_000,
        ceiling: None,
    };
    assert_eq!(rig.tcp.take_path_news(rig.now), Some(news));
    assert_eq!(rig.tcp.take_path_news(rig.now), None);
    acknowledge(&mut rig);
    rig.send(2_000);
    assert_eq!(sent(&mut rig), [(6_001, 2_000, 1_000)]);
}

#[test]
fn a_probe_that_is_sacked_has_arrived() {
    let mut rig = searching(with_sack());
    rig.send(1_500);
    assert_eq!(sent(&mut rig), [(1, 1_500, 500)], "not enough to follow");
    rig.send(6_000);
    assert_eq!(sent(&mut rig)[0], (1_501, 1_000, 1_000));
    round_trip(&mut rig);
    rig.recv_sack(1_001, &[(1_501, 2_501)]);
    assert_eq!(rig.tcp.info().mss, 1_000);
}

#[test]
fn rfc4821_7_6_2_a_lone_lost_probe_is_no_congestion() {
    let mut rig = searching(with_sack());
    assert_eq!(probe(&mut rig, 5_000), 1_000);
    rig.events();
    let before = rig.tcp.info();
    let again = lose_alone(&mut rig, 1, 1_000);
    assert_eq!(again[0], (1, 1_000, 500), "two segments of the old size");
    let lost = Event::SegmentLost {
        seq: ours(1),
        len: 1_000,
        rule: LossRule::PathMtu,
    };
    assert!(rig.events().contains(&lost));
    acknowledge(&mut rig);
    let after = rig.tcp.info();
    assert!(after.cwnd >= before.cwnd && after.ssthresh == before.ssthresh);
    assert_eq!((after.recoveries, after.mss), (0, 500));
    let events = rig.events();
    assert!(
        !events
            .iter()
            .any(|event| matches!(event, Event::RecoveryEntered { .. })),
        "{events:?}"
    );
    let news = PathNews {
        mss: 500,
        ceiling: Some(999),
    };
    assert_eq!(rig.tcp.take_path_news(rig.now), Some(news));
}

#[test]
fn rfc4821_4_the_next_probe_waits_for_a_round_trip_for_each_segment_of_the_window() {
    let mut rig = searching(with_sack());
    assert_eq!(probe(&mut rig, 5_000), 1_000);
    let info = rig.tcp.info();
    let headway = info.srtt * (info.cwnd / 500);
    lose_alone(&mut rig, 1, 1_000);
    acknowledge(&mut rig);
    let began = rig.now;
    let mut size = 0;
    while size == 0 {
        size = probe(&mut rig, 5_000);
        if size == 0 {
            acknowledge(&mut rig);
        }
    }
    let waited = rig.now.saturating_since(began);
    assert_eq!(size, 750, "half of the range");
    assert!(
        waited >= headway && waited <= headway * 2,
        "{waited:?} of {headway:?}"
    );
}

#[test]
fn rfc4821_7_6_4_a_probe_that_is_lost_with_others_is_congestion_and_tried_again() {
    for with_one_ack in [true, false] {
        let mut rig = searching(with_sack());
        assert_eq!(probe(&mut rig, 5_000), 1_000);
        rig.events();
        let before = rig.tcp.info();
        round_trip(&mut rig);
        // The first segment behind the probe is lost, too.
        if !with_one_ack {
            rig.recv_sack(1, &[(5_001, 6_001)]);
            rig.out();
        }
        rig.recv_sack(1, &[(1_501, 6_001)]);
        rig.pass(5);
        let events = rig.events();
        let entered = Event::RecoveryEntered {
            kind: Recovery::Fast,
        };
        assert!(events.contains(&entered), "{events:?}");
        acknowledge(&mut rig);
        let after = rig.tcp.info();
        assert!(after.ssthresh < before.cwnd && after.recoveries == 1);
        assert_eq!(rig.tcp.take_path_news(rig.now), None, "inconclusive");
        // As soon as the window allows it, and of the same size.
        let mut size = 0;
        for _ in 0..30 {
            size = probe(&mut rig, 5_000);
            if size > 0 {
                break;
            }
            acknowledge(&mut rig);
        }
        assert_eq!(size, 1_000);
    }
}

#[test]
fn losses_that_are_found_after_that_of_the_probe_are_congestion() {
    let mut rig = searching(with_sack());
    assert_eq!(probe(&mut rig, 8_000), 1_000);
    let before = rig.tcp.info();
    let again = lose_alone(&mut rig, 1, 1_000);
    assert_eq!(again[0], (1, 1_000, 500));
    rig.events();
    // Only now the segment at 3,001 turns out to be lost.
    round_trip(&mut rig);
    rig.recv_sack(1_001, &[(1_001, 3_001), (3_501, 9_001)]);
    rig.recv_sack(3_001, &[(3_501, 9_001)]);
    rig.out();
    let entered = Event::RecoveryEntered {
        kind: Recovery::Fast,
    };
    assert!(rig.events().contains(&entered));
    acknowledge(&mut rig);
    assert!(rig.tcp.info().ssthresh < before.cwnd);
    assert_eq!(rig.tcp.take_path_news(rig.now), None, "inconclusive");
}

#[test]
fn three_inconclusive_probes_are_an_answer() {
    let mut rig = Rig::established(with_sack());
    // A window that is wide enough after each of three losses.
    for _ in 0..3 {
        rig.send(40_000);
        rig.out();
        acknowledge(&mut rig);
    }
    rig.tcp.follow_path(&SEARCHED, rig.now);
    let mut lost = 0;
    for _ in 0..500 {
        let una = rig.tcp.info().bytes_out as u32 + 1;
        let size = probe(&mut rig, 5_000);
        if size == 1_000 {
            lost += 1;
            round_trip(&mut rig);
            rig.recv_sack(una, &[(una + 1_500, una + 6_000)]);
            rig.out();
        }
        acknowledge(&mut rig);
        if rig.tcp.take_path_news(rig.now).is_some() {
            break;
        }
    }
    assert_eq!(lost, 3);
}

#[test]
fn rfc4821_7_4_no_probe_leaves_unless_enough_follows_it() {
    // Enough is the probe and four segments.
    for (bytes, window, first) in [
        (2_999, 60_000, 500),
        (3_000, 60_000, 1_000),
        (6_000, 2_999, 500),
        (6_000, 3_001, 1_000),
    ] {
        let mut rig = searching(with_sack());
        rig.window = window;
        rig.recv(1, 1, ACK, b"");
        rig.send(bytes);
        assert_eq!(sent(&mut rig)[0].2, first, "{bytes} bytes into {window}");
    }
    // A window of ten segments is too small.
    let mut rig = searching(TcpConfig {
        initial_window_segments: 5,
        ..with_sack()
    });
    rig.send(20_000);
    assert_eq!(sent(&mut rig)[0].2, 500);
    round_trip(&mut rig);
    rig.recv(1, 2_001, ACK, b"");
    assert_eq!(sent(&mut rig)[0], (5_001, 1_000, 1_000), "it has grown");
}

#[test]
fn what_is_in_flight_makes_room_for_a_probe() {
    let mut rig = Rig::established(with_sack());
    // The window is full when the search begins.
    rig.send(40_000);
    rig.out();
    let in_flight = rig.tcp.info().in_flight;
    assert_eq!(in_flight, 10_000);
    rig.tcp.follow_path(&SEARCHED, rig.now);
    round_trip(&mut rig);
    rig.recv(1, 301, ACK, b"");
    let all = sent(&mut rig);
    assert!(all.is_empty(), "less than the probe takes: {all:?}");
    rig.recv(1, 1_001, ACK, b"");
    assert_eq!(sent(&mut rig)[0], (10_001, 1_000, 1_000));
}

#[test]
fn nobody_probes_without_selective_acknowledgments_or_where_it_is_off() {
    let off = TcpConfig {
        mtu_probing: MtuProbing::Off,
        ..with_sack()
    };
    for cfg in [plain(), off] {
        let mut rig = searching(cfg);
        rig.send(10_000);
        assert_eq!(sent(&mut rig), [(1, 10_000, 500)]);
    }
}

#[test]
fn there_is_one_probe_at_a_time_and_none_during_a_recovery() {
    let mut rig = searching(with_sack());
    rig.send(60_000);
    let all = sent(&mut rig);
    assert_eq!(all.iter().filter(|sent| sent.2 > 500).count(), 1);
    round_trip(&mut rig);
    rig.recv_sack(1, &[(1_501, 6_001)]);
    for acked in [1_501, 6_001] {
        assert!(sent(&mut rig).iter().all(|sent| sent.2 == 500));
        rig.recv(1, acked, ACK, b"");
    }
}

#[test]
fn rfc4821_7_6_2_a_report_about_a_probe_is_its_answer() {
    let mut rig = searching(with_sack());
    assert_eq!(probe(&mut rig, 5_000), 1_000);
    rig.events();
    let before = rig.tcp.info();
    // About a segment behind it, or below what is sent: no answer.
    assert!(!rig.tcp.on_probe_too_big(ours(1_001), 800, rig.now));
    assert!(!rig.tcp.on_probe_too_big(ours(1), 400, rig.now));
    assert!(rig.tcp.on_probe_too_big(ours(1), 800, rig.now));
    assert_eq!(sent(&mut rig)[0], (1, 1_000, 500), "only the probe again");
    assert!(!rig.tcp.on_probe_too_big(ours(1), 700, rig.now), "once");
    acknowledge(&mut rig);
    let after = rig.tcp.info();
    assert_eq!((after.recoveries, after.mss), (0, 500));
    assert!(after.cwnd >= before.cwnd);
    assert_eq!(probe(&mut rig, 5_000), 800, "what the router said, at once");
    acknowledge(&mut rig);
    assert_eq!(rig.tcp.info().mss, 800);
    rig.send(20_000);
    assert!(sent(&mut rig).iter().all(|sent| sent.2 == 800), "converged");
}

#[test]
fn rfc4821_7_6_3_a_timeout_of_a_probe_lengthens_the_wait() {
    let mut rig = searching(with_sack());
    assert_eq!(probe(&mut rig, 5_000), 1_000);
    let info = rig.tcp.info();
    let headway = info.srtt * (info.cwnd / 500);
    // Nothing is heard any more until the timer has expired.
    let mut again = Vec::new();
    while rig.tcp.info().timeouts == 0 {
        again = rig.pass(10);
    }
    assert!(again.iter().all(|sent| sent.len <= 500), "{again:?}");
    acknowledge(&mut rig);
    let news = rig.tcp.take_path_news(rig.now).expect("an answer");
    assert_eq!(news.ceiling, Some(999));
    let began = rig.now;
    let mut size = 0;
    while size == 0 {
        size = probe(&mut rig, 5_000);
        if size == 0 {
            acknowledge(&mut rig);
        }
    }
    assert_eq!(size, 750);
    let waited = rig.now.saturating_since(began);
    // An acknowledgment came after the timeout.
    assert!(
        waited + Duration::from_millis(20) >= headway * 5,
        "{waited:?} of {headway:?}"
    );
}

/// Searches a path that carries segments of `largest` bytes, with enough data at any time; returns the sizes of the
/// probes until `end`.
fn search(rig: &mut Rig, largest: u16, end: Instant) -> Vec<u16> {
    let mut probes = Vec::new();
    while rig.now < end {
        let una = rig.tcp.info().bytes_out as u32 + 1;
        rig.send(8_000);
        let (_, len, size) = sent(rig)[0];
        if len == usize::from(size) && size > rig.tcp.info().mss {
            probes.push(size);
            if size > largest {
                lose_alone(rig, una, size);
            }
        }
        acknowledge(rig);
        rig.now = rig.now + Duration::from_millis(100);
    }
    probes
}

#[test]
fn rfc4821_7_3_the_search_converges_and_begins_again_after_ten_minutes() {
    for largest in [500, 507, 600, 777, 993, 999] {
        let mut rig = searching(with_sack());
        let began = rig.now;
        let probes = search(&mut rig, largest, began + Duration::from_secs(300));
        assert!(probes.len() <= 9, "{largest}: {probes:?}");
        assert_eq!(probes[0], 1_000);
        let mss = rig.tcp.info().mss;
        assert!(
            (largest.saturating_sub(7)..=largest).contains(&mss),
            "{mss} of {largest}: {probes:?}"
        );
        let silence = began + Duration::from_secs(599);
        let found = search(&mut rig, largest, silence);
        assert!(found.is_empty(), "{largest}: {found:?}");
        // The path may have changed: others forget it, too.
        let again = search(&mut rig, 1_000, silence + Duration::from_secs(310));
        assert_eq!(again, [1_000], "{largest}");
        assert_eq!(rig.tcp.info().mss, 1_000);
    }
}

#[test]
fn a_connection_that_always_probes_begins_small_where_nothing_is_known() {
    let cfg = TcpConfig {
        mtu_probing: MtuProbing::Always,
        mtu_probe_base: 500,
        ..with_sack()
    };
    let unknown = PathLimits::new(1_000, 1_000);
    let known = PathLimits {
        mss: 800,
        ..SEARCHED
    };
    for (limits, first) in [(unknown, 500), (known, 800)] {
        let mut rig = Rig::established(cfg.clone());
        rig.tcp.follow_path(&limits, rig.now);
        assert_eq!(rig.tcp.info().mss, first);
        rig.tcp.follow_path(&limits, rig.now);
        assert_eq!(rig.tcp.info().mss, first, "again");
        rig.send(9_000);
        assert_eq!(sent(&mut rig)[0], (1, 1_000, 1_000));
        acknowledge(&mut rig);
        assert_eq!(rig.tcp.info().mss, 1_000);
    }
    // Where no network is, there is nothing to search.
    let loopback = PathLimits {
        floor: 1_000,
        ..unknown
    };
    let mut rig = Rig::established(cfg);
    rig.tcp.follow_path(&loopback, rig.now);
    assert_eq!(rig.tcp.info().mss, 1_000);
}
