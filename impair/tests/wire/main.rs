//! A wire, packet by packet: times, losses and queues from seeds, super-packets segment by segment.

mod frames;
mod segments;

use std::time::Duration;

use frames::*;
use impair::{Checksum, Frame, Wire};
use packet::checksum::verify;

#[test]
fn the_default_passes_everything_on_at_once() {
    let mut wire = wire("none");
    for len in [20, 1_500, 9_000] {
        assert!(wire.push(packet(len, 0), ms(3)).is_none());
        assert_eq!(wire.pop(ms(3)).map(|frame| frame.bytes().len()), Some(len));
    }
    let whole = super_packet(false, 60_000, 1_448);
    wire.push(whole.clone(), ms(3));
    assert_eq!(wire.pop(ms(3)), Some(whole), "in one piece");
    assert_eq!(wire.stats().delivered, 3 + 42);
    assert!(wire.next().is_none() && wire.pop(ms(9)).is_none());
}

#[test]
fn delay_and_jitter_keep_the_order_and_their_bounds() {
    let mut wire = wire("delay=50ms,jitter=10ms");
    for at in 0..1_000 {
        wire.push(packet(100 + at as usize, 0), us(at * 100));
    }
    let arrived = drain(&mut wire);
    let lens: Vec<usize> = arrived.iter().map(|(_, f)| f.bytes().len()).collect();
    assert_eq!(lens, (100..1_100).collect::<Vec<_>>());
    for (index, (at, _)) in arrived.iter().enumerate() {
        let way = *at - us(index as u64 * 100);
        assert!((ms(50)..=ms(60)).contains(&way), "{index}: {way:?}");
    }
    let ways: Vec<Duration> = arrived.iter().map(|(at, _)| *at).collect();
    assert!(
        ways.windows(2).any(|pair| pair[1] - pair[0] > us(100)),
        "no jitter"
    );
}

#[test]
fn a_rate_spaces_packets_by_their_length() {
    // 1,500 bytes take 1 ms.
    let mut wire = wire("rate=12mbit,delay=5ms");
    for len in [1_500, 750, 1_500] {
        wire.push(packet(len, 0), ms(0));
    }
    let times: Vec<Duration> = drain(&mut wire).iter().map(|(at, _)| *at).collect();
    assert_eq!(times, [us(6_000), us(6_500), us(7_500)]);
    // The line was idle since.
    wire.push(packet(1_500, 0), ms(20));
    assert_eq!(drain(&mut wire)[0].0, ms(26));
}

#[test]
fn a_queue_drops_what_arrives_or_what_has_waited_longest() {
    for (policy, expected) in [
        ("tail", [100, 101, 102, 103]),
        ("head", [100, 107, 108, 109]),
    ] {
        let mut wire = wire(&format!("rate=8mbit,queue=4p,drop={policy}"));
        for len in 100..110 {
            wire.push(packet(len, 0), ms(0));
        }
        assert_eq!(wire.stats().dropped, 6, "{policy}");
        assert_eq!(wire.stats().queued, 4, "{policy}");
        let lens: Vec<usize> = drain(&mut wire)
            .iter()
            .map(|(_, f)| f.bytes().len())
            .collect();
        assert_eq!(lens, expected, "{policy}");
        assert_eq!(wire.stats().queued_bytes, 0);
    }
}

#[test]
fn a_queue_is_bounded_in_bytes_and_in_time() {
    // 1,000 bytes take 1 ms.
    for queue in ["10000b", "10ms"] {
        let mut wire = wire(&format!("rate=8mbit,queue={queue}"));
        for _ in 0..100 {
            wire.push(packet(1_000, 0), ms(0));
        }
        assert_eq!(wire.stats().queued, 10, "{queue}");
        let last = drain(&mut wire).last().map(|(at, _)| *at);
        assert_eq!(last, Some(ms(10)), "{queue}");
    }
}

#[test]
fn a_packet_longer_than_the_queue_passes_an_empty_one() {
    let mut wire = wire("rate=8mbit,queue=100b");
    wire.push(packet(1_000, 0), ms(0));
    wire.push(packet(1_000, 0), ms(0));
    assert_eq!((drain(&mut wire).len(), wire.stats().dropped), (1, 1));
}

#[test]
fn a_long_queue_marks_those_that_know_marks() {
    let mut wire = wire("rate=8mbit,mark=3p");
    for ecn in [2, 2, 2, 2, 0, 1, 3] {
        wire.push(packet(1_000, ecn), ms(0));
    }
    let arrived = drain(&mut wire);
    let fields: Vec<u8> = arrived.iter().map(|(_, f)| f.bytes()[1]).collect();
    assert_eq!(fields, [2, 2, 2, 3, 0, 3, 3]);
    assert!(
        arrived.iter().all(|(_, f)| verify(&f.bytes()[..20])),
        "a header's checksum"
    );
    // One of them had the mark already.
    assert_eq!(wire.stats().marked, 3);
}

#[test]
fn controlled_delay_keeps_a_standing_queue_short() {
    // 1,000 bytes take 1 ms, and 1,050 bytes come in each, whatever is dropped.
    let longest = |settings: &str, ecn: u8| {
        let mut wire = wire(settings);
        let mut longest = 0;
        for at in 0..15_000 {
            wire.push(packet(1_050, ecn), ms(at));
            while wire.pop(ms(at)).is_some() {}
            if at > 14_000 {
                longest = longest.max(wire.stats().queued);
            }
        }
        (longest, wire.stats())
    };
    let (tail, _) = longest("rate=8mbit,queue=500p", 0);
    assert_eq!(tail, 500);
    let (codel, stats) = longest("rate=8mbit,queue=500p,drop=codel", 0);
    assert!(codel < 50 && stats.dropped > 100, "{codel} {stats:?}");
    let (_, stats) = longest("rate=8mbit,queue=500p,drop=codel,mark=1p", 2);
    assert!(stats.marked > 100, "{stats:?}");
}

#[test]
fn loss_is_independent_or_in_bursts() {
    let gaps = |settings: &str| {
        let (arrived, wire) = survivors(settings, 100_000);
        let lost = wire.stats().lost;
        assert_eq!(lost + arrived.len() as u64, 100_000);
        let bursts = arrived
            .windows(2)
            .filter(|pair| pair[1] - pair[0] > 1)
            .count();
        (lost as f64 / 100_000.0, lost as f64 / bursts as f64)
    };
    let (share, burst) = gaps("loss=10%");
    assert!((0.095..0.105).contains(&share), "{share}, seed {SEED}");
    assert!((1.05..1.2).contains(&burst), "{burst}, seed {SEED}");
    // A share of 1/(1+9) of the time is bad, for 5 packets on the mean.
    let (share, burst) = gaps("gilbert=2.2222%:20%");
    assert!((0.085..0.115).contains(&share), "{share}, seed {SEED}");
    assert!((4.5..5.5).contains(&burst), "{burst}, seed {SEED}");
    let (share, _) = gaps("gilbert=50%:50%:20%:10%");
    assert!((0.145..0.155).contains(&share), "{share}, seed {SEED}");
}

#[test]
fn the_same_seed_gives_the_same_packets_and_another_one_others() {
    let run = |seed| {
        let settings = "loss=5%,reorder=5%,duplicate=5%,corrupt=5%,delay=1ms,jitter=1ms";
        let mut wire = Wire::new(settings.parse().expect("known"), seed);
        for at in 0..500 {
            wire.push(packet(500, 0), us(at * 50));
        }
        drain(&mut wire)
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn what_is_reordered_is_overtaken_and_what_is_doubled_comes_twice() {
    let mut late = wire("reorder=10%,reorder-by=5ms");
    for at in 0..1_000 {
        late.push(packet(100 + at as usize, 0), us(at * 100));
    }
    let lens: Vec<usize> = drain(&mut late)
        .iter()
        .map(|(_, f)| f.bytes().len())
        .collect();
    let overtaken = lens.windows(2).filter(|pair| pair[1] < pair[0]).count() as u64;
    let reordered = late.stats().reordered;
    assert!((70..130).contains(&reordered), "{reordered}, seed {SEED}");
    assert!(overtaken > reordered / 2, "{overtaken} of {reordered}");
    let mut doubled = wire("duplicate=100%");
    doubled.push(packet(100, 0), ms(0));
    assert_eq!(drain(&mut doubled).len(), 2);
}

#[test]
fn a_change_concerns_what_comes_and_what_waits() {
    let mut wire = wire("rate=8kbit,delay=50ms");
    for _ in 0..3 {
        wire.push(packet(1_000, 0), ms(0));
    }
    assert_eq!(wire.next(), Some(ms(1_000)));
    wire.set("delay=10ms".parse().expect("known"), ms(500));
    let times: Vec<Duration> = drain(&mut wire).iter().map(|(at, _)| *at).collect();
    assert_eq!(times, [ms(510); 3], "without a rate nothing waits");
}

#[test]
fn what_is_on_the_way_is_bounded() {
    let mut wire = wire("delay=10m");
    for _ in 0..6_000 {
        wire.push(super_packet(false, 60_000, 1_448), ms(0));
    }
    let stats = wire.stats();
    assert!(
        stats.overflowed > 0 && stats.in_flight < 250_000,
        "{stats:?}"
    );
}

#[test]
fn no_bytes_are_a_reason_to_panic() {
    let mut state = SEED;
    let mut random = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as usize
    };
    let mut wire = wire(
        "rate=1gbit,loss=10%,corrupt=30%,duplicate=10%,reorder=10%,mark=1p,mtu=200,queue=50p,drop=head",
    );
    for round in 0..20_000 {
        let len = random() % 600;
        let mut bytes: Vec<u8> = (0..len).map(|_| random() as u8).collect();
        if let Some(first) = bytes.first_mut() {
            *first = if random() % 2 == 0 { 0x45 } else { 0x60 };
        }
        if len > 20 && random() % 2 == 0 {
            bytes[2..4].copy_from_slice(&(len as u16).to_be_bytes());
            bytes[9] = if random() % 2 == 0 { 6 } else { 17 };
            bytes[6] = 0;
        }
        let checksum = match random() % 3 {
            0 => Checksum::Complete,
            1 => Checksum::Vouched,
            _ => Checksum::Partial {
                start: random() as u16,
                offset: random() as u16,
            },
        };
        let gso = (random() % 300) as u16;
        wire.push(Frame::new(bytes, checksum, gso), us(round * 10));
        while wire.pop(us(round * 10)).is_some() {}
    }
    let stats = wire.stats();
    assert!(stats.delivered > 1_000, "{stats:?}");
}
