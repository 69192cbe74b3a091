//! A peer that lies about what it received: acknowledgments of what was never sent, windows that shrink, SACK blocks
//! and reports of duplicates that mean nothing, feedback about congestion marks that is made up. Under each congestion control memory and work stay bounded, and the
//! connection goes on or ends; the invariants are checked after every call.

use core::time::Duration;

use packet::tcp::{AccEcn, SackBlocks, TcpFlags};

use super::fuzz::any_algorithm;
use super::rig::{ACK, ECN, Rig, SYN, ours, syn, with_sack};
use crate::base::{Rng, TcpConfig};
use crate::tcp::segment::SegmentParts;
use crate::tcp::{Event, State, WindowChange};

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

/// Returns some of the three flags of ECN.
fn any_ecn_flags(rng: &mut Rng) -> TcpFlags {
    let flags = [TcpFlags::AE, TcpFlags::CWR, TcpFlags::ECE];
    flags
        .into_iter()
        .filter(|_| rng.chance(500_000))
        .fold(TcpFlags::empty(), TcpFlags::union)
}

/// Opens a connection with a peer that says anything about ECN from its SYN on.
fn open_with_any_ecn(rng: &mut Rng, cfg: TcpConfig) -> Rig {
    if rng.chance(500_000) {
        let mut rig = Rig::syn_sent(cfg);
        let flags = SYN | ACK | any_ecn_flags(rng);
        rig.give(SegmentParts {
            ack: ours(1),
            flags,
            ecn: rng.below(4) as u8,
            ..syn()
        });
        return rig;
    }
    let flags = SYN | any_ecn_flags(rng);
    let (mut rig, syn_ack) = Rig::accepting(cfg, SegmentParts { flags, ..syn() });
    assert!(syn_ack.flags.difference(ECN) == SYN | ACK);
    lie_about_marks(rng, &mut rig, 1, 1, b"");
    rig
}

/// Gives a segment whose numbers are true, and whose feedback and codepoint are not.
fn lie_about_marks(rng: &mut Rng, rig: &mut Rig, seq: u32, ack: u32, payload: &[u8]) {
    let mut seg = rig.segment(seq, ack, ACK | any_ecn_flags(rng), payload);
    seg.ecn = rng.below(4) as u8;
    seg.options.acc_ecn = rng.chance(500_000).then(|| {
        let fields = rng.below(4) as usize;
        let [ect0, ce, ect1] = [0; 3].map(|_: u32| rng.u32() >> rng.below(32));
        AccEcn::new(rng.chance(500_000), ect0, ce, ect1, fields)
    });
    rig.give(seg);
}

/// RFC 3168 section 6.1.2, RFC 9768 section 3.2.2.5: whatever a peer says of marks, the streams are intact, the window is a
/// segment at least, and is reduced once a round trip at most.
#[test]
fn lies_about_congestion_marks_cost_no_more_than_marks() {
    const BYTES: u32 = 40_000;
    for seed in 0..1_000 {
        let mut rng = Rng::from_u64(seed);
        let cfg = TcpConfig {
            ecn: true,
            congestion: any_algorithm(&mut rng),
            accurate_ecn: rng.chance(700_000),
            ..with_sack()
        };
        let mut rig = open_with_any_ecn(&mut rng, cfg);
        assert_eq!(rig.tcp.state(), State::Established, "seed {seed}");
        let data: Vec<u8> = (0..BYTES).map(|at| (at / 7) as u8).collect();
        let (mut queued, mut got, mut sent, mut read) = (0, Vec::<u8>::new(), 0, Vec::new());
        let mut rounds = 0;
        while got.len() < data.len() || read.len() < data.len() {
            rounds += 1;
            assert!(rounds < 2_000, "seed {seed}: the streams stand still");
            queued += rig.tcp.send(&data[queued..], &rig.buffers);
            rig.max_payload = 1 + rng.below(9_000) as usize;
            for seg in rig.out() {
                let at = (seg.seq - ours(1)) as usize;
                let payload: Vec<u8> = seg.payload.slices().flatten().copied().collect();
                if at <= got.len() && at + payload.len() > got.len() {
                    got.extend(&payload[got.len() - at..]);
                }
            }
            let cwnd = rig.tcp.info().cwnd;
            assert!(cwnd >= rig.tcp.info().mss.into(), "seed {seed}: {cwnd}");
            rig.now = rig.now + Duration::from_millis(10);
            rig.tcp.on_timeout(rig.now);
            rig.events();
            // Several acknowledgments in a round trip.
            let acked = (rig.tcp.tcb().expect("open").flight.una() - ours(1)) as usize;
            for part in 1..=3 {
                let ack = 1 + (acked + (got.len() - acked) * part / 3) as u32;
                let len = rng.below(1_000).min(BYTES - sent);
                let payload = &data[sent as usize..(sent + len) as usize];
                lie_about_marks(&mut rng, &mut rig, 1 + sent, ack, payload);
                sent += len;
            }
            let is_reduction = |event: &Event| {
                let Event::CongestionWindow { reason, .. } = event else {
                    return false;
                };
                *reason == WindowChange::Marks
            };
            let reductions = rig.events().into_iter().filter(is_reduction).count();
            // The last acknowledgment of a round trip and the first of the next may come together.
            assert!(reductions <= 2, "seed {seed}: {reductions} in a round trip");
            read.extend(rig.read_all());
        }
        assert!(got == data && read == data, "seed {seed}: a stream differs");
    }
}
