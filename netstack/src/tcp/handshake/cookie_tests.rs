//! Cookies that are made, brought back, guessed and worn out.

use std::sync::Arc;

use super::*;
use crate::tcp::segment::SegmentParts;
use crate::tcp::{Step, Tcp};

const IRS: SeqNum = SeqNum(u32::MAX);

fn flow() -> Flow {
    Flow {
        local: "10.0.0.1:80".parse().expect("an address"),
        remote: "10.0.0.2:4000".parse().expect("an address"),
    }
}

fn open() -> Open {
    Open {
        isn: SeqNum(0),
        ts_offset: 77_000,
        mss: 1_460,
        path_mss: 1_460,
    }
}

fn secrets(now: Instant) -> (CookieSecrets, Rng) {
    let mut rng = Rng::from_u64(5);
    let mut secrets = CookieSecrets::new(&mut rng);
    secrets.rotate(now, &mut rng);
    (secrets, rng)
}

fn syn(options: TcpOptions) -> Segment {
    SegmentParts {
        seq: IRS,
        flags: TcpFlags::SYN,
        options,
        ..SegmentParts::default()
    }
    .into()
}

fn modern() -> TcpOptions {
    TcpOptions {
        mss: Some(1_460),
        window_scale: Some(9),
        sack_permitted: true,
        timestamps: Some(Timestamps { val: 500, ecr: 0 }),
        ..TcpOptions::default()
    }
}

/// Returns the third segment of a handshake whose SYN-ACK was `syn_ack`.
fn answer(syn_ack: &SegmentOut) -> SegmentParts {
    SegmentParts {
        seq: syn_ack.ack,
        ack: syn_ack.seq + 1,
        flags: TcpFlags::ACK,
        options: TcpOptions {
            timestamps: syn_ack.options.timestamps.map(|ts| Timestamps {
                val: ts.ecr + 1,
                ecr: ts.val,
            }),
            ..TcpOptions::default()
        },
        ..SegmentParts::default()
    }
}

/// Returns the handshake that a cookie restores after a SYN with these options.
fn kept(options: TcpOptions, now: Instant) -> Option<HalfOpen> {
    let cfg = TcpConfig::default();
    let (secrets, _) = secrets(now);
    let syn_ack = secrets.syn_ack(&cfg, &flow(), open(), &syn(options), now);
    let seg = answer(&syn_ack).into();
    secrets
        .recall(&cfg, &flow(), open(), &seg, now + Duration::from_secs(1))
        .ok()
}

#[test]
fn with_timestamps_everything_is_kept() {
    for at in 0..200 {
        let now = Instant::from_millis(1_000_000 + at);
        for (scale, sack) in [
            (None, true),
            (Some(0), false),
            (Some(14), true),
            (Some(9), true),
        ] {
            let options = TcpOptions {
                window_scale: scale,
                sack_permitted: sack,
                ..modern()
            };
            let peer = kept(options, now).expect("valid").peer();
            assert_eq!((peer.window_scale, peer.sack_permitted), (scale, sack));
            assert_eq!(peer.timestamps.map(|ts| ts.val), Some(501));
            assert_eq!(peer.mss, Some(1_460));
        }
    }
}

#[test]
fn a_cookie_keeps_ecn_with_classic_feedback() {
    let cfg = TcpConfig::default();
    let now = Instant::from_millis(1_000_000);
    let (secrets, _) = secrets(now);
    let offers = TcpFlags::AE | TcpFlags::CWR | TcpFlags::ECE;
    for (offer, options, mode) in [
        (offers, modern(), EcnMode::Classic),
        (TcpFlags::CWR | TcpFlags::ECE, modern(), EcnMode::Classic),
        (TcpFlags::empty(), modern(), EcnMode::Off),
        (offers, TcpOptions::default(), EcnMode::Off),
    ] {
        let syn = Segment::from(SegmentParts {
            seq: IRS,
            flags: TcpFlags::SYN | offer,
            options,
            ..SegmentParts::default()
        });
        let syn_ack = secrets.syn_ack(&cfg, &flow(), open(), &syn, now);
        let agrees = syn_ack.flags.contains(TcpFlags::ECE);
        assert_eq!(agrees, mode == EcnMode::Classic);
        let seg = answer(&syn_ack).into();
        let half = secrets
            .recall(&cfg, &flow(), open(), &seg, now)
            .expect("valid");
        assert_eq!(half.ecn_mode(), mode);
    }
}

#[test]
fn without_timestamps_only_the_mss_is_kept_and_nothing_else_is_offered() {
    let cfg = TcpConfig::default();
    let now = Instant::from_millis(9);
    let options = TcpOptions {
        timestamps: None,
        ..modern()
    };
    let (secrets, _) = secrets(now);
    let syn_ack = secrets.syn_ack(&cfg, &flow(), open(), &syn(options), now);
    let mss_alone = TcpOptions {
        mss: Some(1_460),
        ..TcpOptions::default()
    };
    assert_eq!(syn_ack.options, mss_alone);
    assert_eq!(kept(options, now).expect("valid").peer(), mss_alone);
}

#[test]
fn an_mss_falls_into_the_largest_class_that_it_reaches() {
    let class = |mss| MSS_CLASSES[class_of(mss) as usize];
    assert_eq!(class(None), 536);
    assert_eq!(
        class(Some(0)),
        216,
        "the floor of the configuration applies later"
    );
    assert_eq!(class(Some(1_459)), 1_452);
    assert_eq!(class(Some(1_460)), 1_460);
    assert_eq!(class(Some(u16::MAX)), 8_960);
    assert!(MSS_CLASSES.is_sorted());
}

#[test]
fn the_stamp_is_never_after_the_clock() {
    for clock in (0..300).chain(u32::MAX - 300..=u32::MAX) {
        for scale in [None, Some(0), Some(14), Some(200)] {
            let stamp = stamp(clock, true, true, scale);
            assert!(clock.wrapping_sub(stamp) < 64, "{clock} {stamp}");
        }
    }
}

#[test]
fn whatever_differs_makes_a_cookie_invalid() {
    let cfg = TcpConfig::default();
    let now = Instant::from_millis(100_000);
    let (secrets, mut rng) = secrets(now);
    let syn_ack = secrets.syn_ack(&cfg, &flow(), open(), &syn(modern()), now);
    let recall = |parts: SegmentParts, flow: Flow, now| {
        secrets
            .recall(&cfg, &flow, open(), &parts.into(), now)
            .is_ok()
    };
    let right = || answer(&syn_ack);
    assert!(recall(right(), flow(), now));
    let other = Flow {
        remote: "10.0.0.2:4001".parse().expect("an address"),
        ..flow()
    };
    assert!(!recall(right(), other, now), "another port");
    let with = |change: &dyn Fn(&mut SegmentParts)| {
        let mut parts = right();
        change(&mut parts);
        recall(parts, flow(), now)
    };
    assert!(!with(&|p| p.seq += 1), "another sequence number");
    assert!(!with(&|p| p.options.timestamps = None), "no timestamp");
    assert!(!with(&|p| p.flags = TcpFlags::RST | TcpFlags::ACK));
    assert!(!with(&|p| p.flags = TcpFlags::SYN | TcpFlags::ACK));
    assert!(!with(&|p| p.flags = TcpFlags::empty()));
    for bit in 0..32 {
        assert!(
            !with(&|p| p.ack = SeqNum(p.ack.back(1).0 ^ 1 << bit) + 1),
            "bit {bit}"
        );
    }
    let guessed = (0..100_000)
        .filter(|_| {
            let ack = SeqNum(rng.u32());
            with(&|p| p.ack = ack)
        })
        .count();
    assert!(guessed <= 1, "{guessed} of 100,000 guesses");
}

#[test]
fn a_later_segment_of_the_first_flight_is_told_from_a_stranger_s() {
    let cfg = TcpConfig::default();
    let now = Instant::from_millis(100_000);
    let (secrets, mut rng) = secrets(now);
    let syn_ack = secrets.syn_ack(&cfg, &flow(), open(), &syn(modern()), now);
    let recall = |len: usize, change: &dyn Fn(&mut SegmentParts)| {
        let mut parts = answer(&syn_ack);
        parts.payload = bytes::Bytes::from(vec![0; len]).into();
        change(&mut parts);
        let half = secrets.recall(&cfg, &flow(), open(), &parts.into(), now);
        half.err()
    };
    assert_eq!(recall(1_448, &|_| {}), None);
    for count in 1..=45 {
        // Of full size, the last of a flight, of a path that carries less.
        for (len, size) in [(1_448, 1_448), (7, 1_448), (1_188, 1_188)] {
            let later = recall(len, &|p| p.seq += count * size);
            assert_eq!(later, Some(NotRecalled::Later), "{count} of {size}");
        }
        let coalesced = recall(14_480, &|p| {
            p.gso_size = 1_448;
            p.seq += count * 1_448;
        });
        assert_eq!(coalesced, Some(NotRecalled::Later));
    }
    for bytes in [1, 1_447, 46 * 1_448, 1 << 27, u32::MAX] {
        assert_eq!(
            recall(1_448, &|p| p.seq += bytes),
            Some(NotRecalled::Stranger)
        );
    }
    assert_eq!(recall(0, &|p| p.seq += 1_448), Some(NotRecalled::Stranger));
    // Late segments of a connection that is over, whose service echoed everything: both numbers have advanced alike.
    for echoed in (0..2_000).map(|n| 1 + n * 37).chain([1 << 26, 1 << 27]) {
        let late = recall(0, &|p| {
            p.seq += echoed;
            p.ack += echoed;
        });
        assert_eq!(late, Some(NotRecalled::Stranger), "{echoed}");
    }
    for _ in 0..10_000 {
        let ack = SeqNum(rng.u32());
        assert_eq!(recall(1_448, &|p| p.ack = ack), Some(NotRecalled::Stranger));
    }
}

#[test]
fn secrets_rotate_and_old_cookies_die() {
    let cfg = TcpConfig::default();
    let now = Instant::from_millis(1_000);
    let (mut secrets, mut rng) = secrets(now);
    let syn_ack = secrets.syn_ack(&cfg, &flow(), open(), &syn(modern()), now);
    let mut valid_at = |seconds: u64| {
        let at = Instant::from_millis(seconds * 1_000);
        secrets.rotate(at, &mut rng);
        let mut parts = answer(&syn_ack);
        // The age of the timestamp is another check.
        if let Some(ts) = &mut parts.options.timestamps {
            ts.ecr = ts_at(at, open().ts_offset);
        }
        secrets
            .recall(&cfg, &flow(), open(), &parts.into(), at)
            .is_ok()
    };
    assert!(valid_at(63) && valid_at(64) && valid_at(127));
    assert!(!valid_at(128));
    assert!(!valid_at(1_000), "after a long silence both are new");
}

#[test]
fn a_cookie_becomes_a_connection_that_measures_nothing_of_it() {
    let cfg = Arc::new(TcpConfig::default());
    let now = Instant::from_millis(5_000);
    let mut half = kept(modern(), now).expect("valid");
    let parts = SegmentParts {
        seq: IRS + 1,
        ack: half.iss() + 1,
        flags: TcpFlags::ACK,
        window: 100,
        options: TcpOptions {
            timestamps: Some(Timestamps { val: 501, ecr: 1 }),
            ..TcpOptions::default()
        },
        ..SegmentParts::default()
    };
    let mut seg: Segment = parts.into();
    assert_eq!(half.on_segment(&cfg, &seg, now), Step::Complete);
    let buffers = packet::Buffers::new(2_048, 16, 64);
    let (tcp, outcome) = Tcp::complete(&half, 1_460, &cfg, &mut seg, now, &buffers);
    assert_eq!(outcome.drop, None);
    let info = tcp.info();
    assert_eq!((info.srtt, info.send_window), (Duration::ZERO, 100 << 9));
    assert_eq!(info.mss, 1_460 - 12);
}
