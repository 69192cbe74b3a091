//! Handshakes that are half open, segment by segment.

use super::*;
use crate::tcp::reply_limit::REPLIES_PER_SECOND;
use crate::tcp::segment::SegmentParts;

const CFG_MSS: u16 = 1_000;
const ISS: SeqNum = SeqNum(u32::MAX - 3);
const IRS: SeqNum = SeqNum(u32::MAX - 1);

fn syn(options: TcpOptions) -> Segment {
    SegmentParts {
        seq: IRS,
        flags: TcpFlags::SYN,
        window: 9_000,
        options,
        ..SegmentParts::default()
    }
    .into()
}

fn all_options() -> TcpOptions {
    TcpOptions {
        mss: Some(900),
        window_scale: Some(6),
        sack_permitted: true,
        timestamps: Some(Timestamps { val: 500, ecr: 0 }),
        ..TcpOptions::default()
    }
}

fn half(options: TcpOptions) -> HalfOpen {
    let open = Open {
        isn: ISS,
        ts_offset: 7,
        mss: CFG_MSS,
        path_mss: CFG_MSS,
    };
    HalfOpen::new(
        &TcpConfig::default(),
        open,
        &syn(options),
        Instant::from_millis(10),
    )
}

fn segment(seq: u32, ack: u32, flags: TcpFlags, ts: Option<u32>) -> Segment {
    SegmentParts {
        seq: IRS + seq,
        ack: ISS + ack,
        flags,
        options: TcpOptions {
            timestamps: ts.map(|val| Timestamps { val, ecr: 0 }),
            ..TcpOptions::default()
        },
        ..SegmentParts::default()
    }
    .into()
}

#[test]
fn it_is_small_and_forgets_nothing_of_the_syn() {
    assert_eq!(size_of::<HalfOpen>(), 32);
    for options in [all_options(), TcpOptions::default()] {
        assert_eq!(half(options).peer(), options);
    }
}

#[test]
fn the_syn_ack_offers_what_both_want() {
    let cfg = TcpConfig::default();
    let now = Instant::from_millis(12);
    let out = half(all_options()).syn_ack(&cfg, now);
    assert_eq!((out.seq, out.ack), (ISS, IRS + 1));
    assert_eq!(out.flags, TcpFlags::SYN | TcpFlags::ACK);
    let options = out.options;
    assert_eq!(
        (options.mss, options.window_scale),
        (Some(CFG_MSS), Some(9))
    );
    assert!(options.sack_permitted);
    let ts = options.timestamps.map(|ts| (ts.val, ts.ecr));
    assert_eq!(ts, Some((19, 500)));
    let bare = half(TcpOptions::default()).syn_ack(&cfg, now).options;
    let mss_alone = TcpOptions {
        mss: Some(CFG_MSS),
        ..TcpOptions::default()
    };
    assert_eq!(bare, mss_alone);
}

#[test]
fn a_little_window_is_offered_judged_and_kept() {
    let cfg = Arc::new(TcpConfig::default());
    let now = Instant::from_millis(12);
    let mut little = half(all_options()).with_little_window();
    assert_eq!(half(all_options()).syn_ack(&cfg, now).window, u16::MAX);
    assert_eq!(little.syn_ack(&cfg, now).window, FLOOR_BYTES as u16);
    assert_eq!(little.ack(&cfg, now).window, FLOOR_BYTES as u16);
    let beyond = segment(2 + FLOOR_BYTES as u32, 1, TcpFlags::ACK, Some(501));
    assert_ne!(little.on_segment(&cfg, &beyond, now), Step::Complete);
    let ack = segment(1, 1, TcpFlags::ACK, Some(501));
    assert_eq!(little.on_segment(&cfg, &ack, now), Step::Complete);
    let settings = Settings::new(&cfg);
    let done = little.establish(CFG_MSS, &cfg, settings, &ack, &mut now.into());
    assert_eq!(done.offered, FLOOR_BYTES as u32);
}

#[test]
fn segments_are_judged_in_the_order_of_the_rfc() {
    let cfg = TcpConfig::default();
    let now = Instant::from_millis(20);
    let (syn, ack, rst, fin) = (TcpFlags::SYN, TcpFlags::ACK, TcpFlags::RST, TcpFlags::FIN);
    let judge = |seq, ack_number, flags, ts| {
        let seg = segment(seq, ack_number, flags, ts);
        half(all_options()).on_segment(&cfg, &seg, now)
    };
    let stay = |reason, answer| Step::Stay(Some(reason), answer);
    let (challenged, not_acceptable) = (DropReason::TcpChallenged, DropReason::TcpNotAcceptable);
    assert_eq!(judge(1, 1, ack, Some(501)), Step::Complete);
    assert_eq!(judge(1, 1, ack | fin, Some(501)), Step::Complete);
    assert_eq!(
        judge(0, 0, syn, Some(500)),
        Step::Stay(None, Answer::SynAck)
    );
    assert_eq!(judge(0, 1, syn | ack, Some(500)), Step::Complete);
    assert_eq!(judge(1, 1, syn, Some(500)), stay(challenged, Answer::Ack));
    let bad_ack = stay(DropReason::TcpBadAck, Answer::Reset);
    assert_eq!(judge(1, 0, ack, Some(500)), bad_ack);
    assert_eq!(judge(1, 2, ack, Some(500)), bad_ack);
    let paws = stay(DropReason::TcpPaws, Answer::Ack);
    assert_eq!(judge(1, 1, ack, Some(499)), paws);
    assert_eq!(judge(1, 0, rst, None), Step::Reset);
    assert_eq!(judge(2, 0, rst, None), stay(challenged, Answer::Ack));
    assert_eq!(
        judge(90_000, 0, rst, None),
        stay(not_acceptable, Answer::None)
    );
    assert_eq!(
        judge(90_000, 1, ack, Some(500)),
        stay(not_acceptable, Answer::Ack)
    );
    let no_flags = TcpFlags::empty();
    assert_eq!(
        judge(1, 0, no_flags, Some(500)),
        stay(not_acceptable, Answer::None)
    );
}

#[test]
fn answers_are_limited_per_second() {
    let cfg = TcpConfig::default();
    let mut half = half(all_options());
    let again = segment(0, 0, TcpFlags::SYN, Some(500));
    let answered = (0..2_000)
        .map(|millis| half.on_segment(&cfg, &again, Instant::from_millis(millis)))
        .filter(|step| *step == Step::Stay(None, Answer::SynAck))
        .count();
    assert_eq!(answered, 2 * usize::from(REPLIES_PER_SECOND));
}

#[test]
fn the_syn_ack_is_sent_again_ever_later_and_then_given_up() {
    let cfg = TcpConfig::default();
    let mut half = half(all_options());
    let mut waits = vec![half.timeout(&cfg).as_secs()];
    while half.on_timeout(cfg.syn_retries, Instant::ZERO) {
        waits.push(half.timeout(&cfg).as_secs());
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64]);
    assert_eq!(half.retries(), cfg.syn_retries);
    assert!(!half.on_timeout(cfg.syn_retries, Instant::ZERO));
}

#[test]
fn a_round_trip_is_measured_only_if_it_is_unambiguous() {
    let cfg = Arc::new(TcpConfig::default());
    let settings = Settings::new(&cfg);
    let now = Instant::from_millis(35);
    let done = |half: HalfOpen| {
        let seg = segment(1, 1, TcpFlags::ACK, None);
        half.establish(CFG_MSS, &cfg, settings, &seg, &mut now.into())
    };
    let first = half(TcpOptions::default());
    assert_eq!(done(first).rtt, Some(Duration::from_millis(25)));
    assert!(!done(first).lossy);
    let mut repeated = first;
    let syn = segment(0, 0, TcpFlags::SYN, None);
    let _ = repeated.on_segment(&cfg, &syn, now);
    assert_eq!(done(repeated).rtt, None);
    let mut lost = first;
    assert!(lost.on_timeout(6, now));
    let established = done(lost);
    assert!(established.lossy && established.rtt.is_none());
    // The echo of the last SYN-ACK is its time. That of the first one may be as old as the loss of its answer.
    let mut lost = half(all_options());
    assert!(lost.on_timeout(6, Instant::from_millis(1_010)));
    for (ecr, rtt) in [(1_010, Some(25)), (10, None), (1_036, None)] {
        let timestamps = Some(Timestamps {
            val: 501,
            ecr: ecr + 7,
        });
        let ack = SegmentParts {
            seq: IRS + 1,
            ack: ISS + 1,
            flags: TcpFlags::ACK,
            options: TcpOptions {
                timestamps,
                ..TcpOptions::default()
            },
            ..SegmentParts::default()
        };
        let ack = ack.into();
        let mut cx = Instant::from_millis(1_035).into();
        let established = lost.establish(CFG_MSS, &cfg, settings, &ack, &mut cx);
        assert_eq!(established.rtt, rtt.map(Duration::from_millis), "{ecr}");
    }
}

#[test]
fn an_authentic_syn_succeeds_a_handshake_if_it_is_newer() {
    let again = |seq: u32, ts: Option<u32>, flags: TcpFlags| segment(seq, 0, flags, ts);
    let signed = half(all_options()).with_key_id(Some(3));
    assert_eq!(signed.key_id(), Some(3));
    assert!(signed.is_succeeded_by(&again(50_000, Some(501), TcpFlags::SYN)));
    // The same one, one that was recorded, and what opens nothing.
    for (seq, ts, flags) in [
        (0, Some(501), TcpFlags::SYN),
        (50_000, Some(499), TcpFlags::SYN),
        (50_000, Some(500), TcpFlags::SYN),
        (50_000, None, TcpFlags::SYN),
        (50_000, Some(501), TcpFlags::SYN | TcpFlags::ACK),
        (50_000, Some(501), TcpFlags::ACK),
    ] {
        assert!(
            !signed.is_succeeded_by(&again(seq, ts, flags)),
            "{seq} {ts:?} {flags:?}"
        );
    }
    // Anybody can send another one.
    let newer = again(50_000, Some(501), TcpFlags::SYN);
    assert!(!half(all_options()).is_succeeded_by(&newer));
    // No checkpoint has one.
    assert!(signed.restored().is_none() && half(all_options()).restored().is_some());
}
