//! The out-of-order queue, range by range.

use packet::Buffers;
use packet::buf::Account;

use super::*;
use crate::base::Rng;

const LIMITS: Limits = Limits {
    ranges: 8,
    pinned: 1 << 20,
};

#[test]
fn what_was_before_the_gap_is_forgotten_when_much_has_arrived() {
    let base = SeqNum(u32::MAX - 10);
    let mut board = Assembler::new(7, base);
    for (arrived, ts_before) in [(0, 7), (1 << 29, 7), ((1 << 30) - 1, 7), (1 << 30, 9)] {
        board.on_advanced(base + arrived, 9);
        assert_eq!(board.ts_before(), ts_before, "{arrived}");
    }
    // From there on anew, however far that is from the beginning.
    for (arrived, ts_before) in [(2_000_000_000, 9), (1 << 31, 11), (3_000_000_000, 11)] {
        board.on_advanced(base + arrived, 11);
        assert_eq!(board.ts_before(), ts_before, "{arrived}");
    }
}

#[test]
fn any_order_gives_the_stream() {
    for seed in 0..500 {
        let mut rng = Rng::from_u64(seed);
        let buffers = Buffers::new(65_536, 8, 64);
        let base = SeqNum(rng.u32());
        let mut stream = vec![0u8; 4_000];
        rng.fill(&mut stream);
        let account = Account::default();
        let mut board = Assembler::new(0, SeqNum(0));
        let mut have = vec![false; stream.len()];
        let mut nxt = 0usize;
        let mut out = Vec::new();
        for step in 0.. {
            assert!(step < 20_000, "seed {seed}: no progress");
            if nxt == stream.len() {
                break;
            }
            let from = nxt + rng.below((stream.len() - nxt).min(900) as u32) as usize;
            let to = (from + 1 + rng.below(300) as usize).min(stream.len());
            if from == nxt {
                out.extend_from_slice(&stream[from..to]);
                nxt = to;
            } else {
                let data = buffers.copy(&stream[from..to]).expect("slab");
                let news = have[from..to].iter().filter(|h| !**h).count();
                let kept = board.insert(
                    base + from as u32,
                    &data,
                    LIMITS,
                    buffers.charging(&account),
                );
                assert!(kept <= news, "seed {seed}");
                if kept == news {
                    have[from..to].fill(true);
                } else {
                    // Full: what was kept is a prefix of the news.
                    let mut left = kept;
                    for h in &mut have[from..to] {
                        if !*h && left > 0 {
                            *h = true;
                            left -= 1;
                        }
                    }
                }
            }
            if let Some((data, end)) = board.take_from(base + nxt as u32) {
                out.extend(data.iter().flat_map(|p| p.iter().copied()));
                nxt = (end - base) as usize;
            }
            board.check(base + nxt as u32, LIMITS);
            let waiting = have[nxt..].iter().filter(|h| **h).count();
            assert_eq!(board.len(), waiting, "seed {seed}");
        }
        assert_eq!(out, stream, "seed {seed}");
        assert!(board.is_empty());
        drop(board);
        assert_eq!(buffers.small().in_use(), 0);
    }
}

#[test]
fn every_second_byte_is_bounded() {
    let buffers = Buffers::new(65_536, 8, 64);
    let account = Account::default();
    let mut board = Assembler::new(0, SeqNum(0));
    let byte = buffers.copy(b"x").expect("slab");
    let kept: usize = (0..10_000u32)
        .map(|i| board.insert(SeqNum(1 + 2 * i), &byte, LIMITS, buffers.charging(&account)))
        .sum();
    assert_eq!(kept, LIMITS.ranges);
    board.check(SeqNum(0), LIMITS);
}

#[test]
fn memory_is_bounded_even_within_one_range() {
    let buffers = Buffers::new(65_536, 64, 4_096);
    let account = Account::default();
    let mut board = Assembler::new(0, SeqNum(0));
    let limits = Limits {
        ranges: 8,
        pinned: 100_000,
    };
    // Backwards, so that no byte can be appended to a slab that is there already.
    for i in (1..5_000u32).rev() {
        let byte = buffers.copy(b"x").expect("slab");
        board.insert(SeqNum(i), &byte, limits, buffers.charging(&account));
    }
    assert!(buffers.small().in_use() * 2_048 <= limits.pinned + 4_096);
    assert!(board.len() >= 48);
}

#[test]
fn the_newest_range_is_reported_first() {
    let buffers = Buffers::new(65_536, 8, 64);
    let account = Account::default();
    let mut board = Assembler::new(0, SeqNum(0));
    let data = buffers.copy(b"0123456789").expect("slab");
    for at in [100u32, 300, 200, 400] {
        board.insert(SeqNum(at), &data, LIMITS, buffers.charging(&account));
    }
    board.insert(SeqNum(310), &data, LIMITS, buffers.charging(&account));
    let mut seen = Vec::new();
    board.recent(3, 0, |l, r| seen.push((l.0, r.0)));
    assert_eq!(seen, [(300, 320), (400, 410), (200, 210)]);
    seen.clear();
    board.recent(3, 2, |l, r| seen.push((l.0, r.0)));
    assert_eq!(
        seen,
        [(200, 210), (300, 320), (100, 110)],
        "the last but two"
    );
    seen.clear();
    board.recent(1, 9, |l, r| seen.push((l.0, r.0)));
    assert_eq!(seen, [(100, 110)], "there is always one");
    for at in [320u32, 330] {
        board.insert(SeqNum(at), &data, LIMITS, buffers.charging(&account));
    }
    for later in 0..=2 {
        seen.clear();
        board.recent(2, later, |l, r| seen.push((l.0, r.0)));
        assert_eq!(seen, [(300, 340), (400, 410)], "all three are in one range");
    }
}

#[test]
fn a_range_is_reported_first_for_each_of_its_segments() {
    let buffers = Buffers::new(65_536, 8, 64);
    let account = Account::default();
    let mut board = Assembler::new(0, SeqNum(0));
    let data = buffers.copy(b"0123456789").expect("slab");
    let first = |board: &Assembler, later| {
        let mut seen = Vec::new();
        board.recent(2, later, |l, r| seen.push((l.0, r.0)));
        seen
    };
    for turn in 0..3 * KEPT {
        let [a, b] = [SeqNum(100 + 10 * turn), SeqNum(100_000 + 10 * turn)];
        for seq in [a, b] {
            board.insert(seq, &data, LIMITS, buffers.charging(&account));
        }
        let ranges = [(100, a.0 + 10), (100_000, b.0 + 10)];
        for later in 0..(2 * turn + 2).min(KEPT - 1) {
            let is_second = later % 2 == 0;
            let mut expected = if is_second {
                vec![ranges[1], ranges[0]]
            } else {
                vec![ranges[0], ranges[1]]
            };
            // There was nothing before the very first one.
            expected.truncate((2 * turn + 2 - later) as usize);
            assert_eq!(first(&board, later), expected, "{turn}: {later}");
        }
    }
}

#[test]
fn a_range_that_only_later_segments_changed_is_not_reported() {
    let buffers = Buffers::new(65_536, 8, 64);
    let account = Account::default();
    let mut board = Assembler::new(0, SeqNum(0));
    let data = buffers.copy(b"0123456789").expect("slab");
    let at = |range: u32, n: u32| SeqNum(10_000 * (range + 1) + 10 * n);
    for range in 0..4 {
        for n in 0..2 * KEPT {
            let seq = at(range, n);
            board.insert(seq, &data, LIMITS, buffers.charging(&account));
        }
    }
    for later in 0..8 * KEPT {
        let own = 3 - later / (2 * KEPT);
        let mut seen = Vec::new();
        board.recent(4, later, |l, _| seen.push(l));
        let expected: Vec<SeqNum> = (0..=own).rev().map(|range| at(range, 0)).collect();
        assert_eq!(seen, expected, "{later}");
    }
}

#[test]
fn a_range_that_grew_again_brings_no_later_one_along() {
    let buffers = Buffers::new(65_536, 8, 64);
    let account = Account::default();
    let mut board = Assembler::new(0, SeqNum(0));
    let data = buffers.copy(b"0123456789").expect("slab");
    for seq in [100, 500, 110] {
        board.insert(SeqNum(seq), &data, LIMITS, buffers.charging(&account));
    }
    let mut seen = Vec::new();
    board.recent(4, 2, |l, r| seen.push((l.0, r.0)));
    assert_eq!(seen, [(100, 120)], "the second came later");
}

#[test]
fn no_more_is_visited_than_there_is_or_is_asked_for() {
    let buffers = Buffers::new(65_536, 8, 64);
    let account = Account::default();
    let mut board = Assembler::new(0, SeqNum(0));
    let data = buffers.copy(b"0123456789").expect("slab");
    board.recent(4, 3, |_, _| panic!("nothing waits"));
    for n in 1..=100 {
        board.insert(SeqNum(20 * n), &data, LIMITS, buffers.charging(&account));
        for max in 0..=4 {
            let mut count = 0;
            board.recent(max, n, |_, _| count += 1);
            assert!(count <= max.min(board.ranges()));
            assert_eq!(count == 0, max == 0, "there is always one");
        }
    }
}
