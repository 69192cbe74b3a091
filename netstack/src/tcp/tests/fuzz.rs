//! Segments that no sane peer sends: no panic, no broken invariant, bounded memory, and the
//! application never sees a byte that is not the peer's.

use core::time::Duration;

use super::rig::{ECN, Rig, ours, plain, syn_options, theirs};
use crate::base::{Rng, TcpConfig};
use crate::tcp::segment::SegmentParts;
use crate::tcp::{Algorithm, SeqNum, State};
use packet::tcp::{AccEcn, SackBlocks, TcpFlags, TcpOptions, Timestamps, UserTimeout};

/// Returns a number near something that matters, or anywhere.
fn near(rng: &mut Rng, base: SeqNum) -> SeqNum {
    match rng.below(10) {
        0 => SeqNum(rng.u32()),
        1 => base + rng.below(3),
        2 => base.back(rng.below(3)),
        3 => base.back(rng.below(70_000)),
        _ => base + rng.below(70_000),
    }
}

fn garbage(rng: &mut Rng, rig: &Rig, rcv_nxt: SeqNum, snd_una: SeqNum) -> SegmentParts {
    let seq = near(rng, rcv_nxt);
    let ack = near(rng, snd_una);
    let mut sack = SackBlocks::default();
    for _ in 0..rng.below(5) {
        sack.push(near(rng, snd_una).0, near(rng, snd_una).0);
    }
    let len = match rng.below(5) {
        0 => rng.below(20_000),
        1 => 1,
        2 => rng.below(1_500),
        _ => 0,
    } as usize;
    let mut flags = TcpFlags::empty();
    for (flag, per_million) in [
        (TcpFlags::ACK, 950_000),
        (TcpFlags::SYN, 20_000),
        (TcpFlags::FIN, 20_000),
        (TcpFlags::RST, 5_000),
        (TcpFlags::URG, 20_000),
        (TcpFlags::PSH, 300_000),
        (TcpFlags::ECE, 100_000),
        (TcpFlags::CWR, 100_000),
        (TcpFlags::AE, 100_000),
    ] {
        if rng.chance(per_million) {
            flags |= flag;
        }
    }
    // Each byte is a function of its sequence number, so that whatever is delivered can be checked. A SYN takes a
    // number.
    let first = seq + u32::from(flags.contains(TcpFlags::SYN));
    let payload: Vec<u8> = (0..len as u32).map(|i| (first + i).0 as u8).collect();
    let timestamps = rng.chance(700_000).then(|| Timestamps {
        val: 500 + rng.below(1_000),
        ecr: rig.our_ts().wrapping_sub(rng.below(3_000)),
    });
    SegmentParts {
        seq,
        ack,
        flags,
        window: rng.u32() as u16 >> rng.below(16),
        options: TcpOptions {
            mss: rng.chance(10_000).then(|| rng.u32() as u16),
            window_scale: rng.chance(10_000).then(|| rng.u32() as u8),
            sack_permitted: rng.chance(10_000),
            timestamps,
            sack,
            acc_ecn: rng.chance(200_000).then(|| {
                let fields = rng.below(4) as usize;
                AccEcn::new(rng.chance(500_000), rng.u32(), rng.u32(), rng.u32(), fields)
            }),
            user_timeout: rng.chance(10_000).then(|| UserTimeout {
                minutes: rng.chance(500_000),
                value: rng.u32() as u16 & 0x7fff,
            }),
            authentication_len: 0,
        },
        ecn: rng.below(4) as u8,
        gso_size: if rng.chance(300_000) {
            rng.u32() as u16
        } else {
            0
        },
        payload: rig.buffers.copy(&payload).unwrap_or_default(),
    }
}

/// Returns one of the algorithms.
pub(super) fn any_algorithm(rng: &mut Rng) -> Algorithm {
    let number = rng.below(Algorithm::ALL.len() as u32) as usize;
    Algorithm::ALL[number]
}

fn start(rng: &mut Rng) -> Rig {
    let cfg = TcpConfig {
        timestamps: rng.chance(500_000),
        sack: rng.chance(700_000),
        ecn: rng.chance(700_000),
        user_timeout_option: rng.chance(300_000),
        window_scaling: rng.chance(500_000),
        recv_buffer_initial: 2_048 + rng.below(100_000) as usize,
        recv_buffer_max: 200_000,
        send_buffer: 50_000,
        max_reassembly_ranges: 1 + rng.below(10) as usize,
        data_retries: 30,
        congestion: any_algorithm(rng),
        pacing: rng.chance(500_000),
        ..plain()
    };
    let mut rig = match rng.below(6) {
        0 => Rig::syn_sent(cfg),
        1 => Rig::syn_received(cfg),
        _ => Rig::established(cfg),
    };
    if rig.tcp.state() == State::SynSent && rng.chance(500_000) {
        let mut syn = rig.segment(0, 0, TcpFlags::SYN, b"");
        syn.options = syn_options(Some(500));
        syn.flags |= ECN;
        rig.give(syn);
    }
    rig
}

#[test]
fn garbage_does_no_harm() {
    for seed in 0..600 {
        let mut rng = Rng::from_u64(seed);
        let mut rig = start(&mut rng);
        let mut next_byte = theirs(1);
        let mut edge = None;
        for _ in 0..400 {
            let rcv_nxt = rig.tcp.recv_edge().map_or(theirs(1), |(_, nxt)| nxt);
            let una = match rig.tcp.recv_edge() {
                Some(_) => ours(1) + rig.tcp.info().bytes_out as u32,
                None => ours(1),
            };
            match rng.below(12) {
                0 => {
                    let taken = rig.tcp.send(&[9; 3_000], &rig.buffers);
                    assert!(taken <= 3_000);
                }
                1 => {
                    rig.now = rig.now + Duration::from_millis(u64::from(rng.below(500)));
                    rig.tcp.on_timeout(rig.now);
                }
                2 => {
                    while let Some(chunk) = rig.tcp.recv_pop(rig.now) {
                        for byte in chunk.iter() {
                            assert_eq!(*byte, next_byte.0 as u8, "seed {seed}");
                            next_byte += 1;
                        }
                    }
                }
                3 if rng.chance(20_000) => rig.tcp.close(rig.now),
                3 if rng.chance(10_000) => rig.tcp.close_recv(rig.now),
                4 if rng.chance(50_000) => rig.tcp.on_path_mtu(rng.u32() as u16, rig.now),
                _ => {
                    let seg = garbage(&mut rng, &rig, rcv_nxt, una);
                    rig.give(seg);
                }
            }
            rig.tcp.check();
            rig.max_payload = 1 + rng.below(65_000) as usize;
            for out in rig.out() {
                let most = rig.max_payload.max(usize::from(out.mss));
                assert!(out.payload.len_bytes() <= most);
            }
            if let Some((now, nxt)) = rig.tcp.recv_edge() {
                match edge {
                    Some(before) => {
                        assert!(now.at_or_after(before), "seed {seed}: the window shrank");
                    }
                    None => {
                        // It took some SYN for the peer's; here its stream begins.
                        let open = matches!(
                            rig.tcp.state(),
                            State::Established | State::FinWait1 | State::FinWait2 | State::Closed
                        );
                        next_byte = nxt.back(rig.tcp.recv_len() as u32 + u32::from(!open));
                    }
                }
                assert!(nxt.at_or_before(now + 1));
                edge = Some(now);
            }
        }
        // Whatever happened: an abort ends it, and nothing is held.
        rig.tcp.abort(rig.now);
        rig.out();
        assert!(rig.tcp.is_gone(), "seed {seed}");
        while rig.tcp.recv_pop(rig.now).is_some() {}
        let held = rig.buffers.small().in_use() + rig.buffers.large().in_use();
        assert_eq!(held, 0, "seed {seed}: slabs held");
        assert_eq!(rig.tcp.poll_timeout(), None);
    }
}

#[test]
fn one_byte_segments_out_of_order_cost_a_bounded_amount() {
    let mut cfg = plain();
    cfg.max_reassembly_ranges = 16;
    let mut rig = Rig::established(cfg);
    for i in 0..20_000u32 {
        rig.recv(3 + 2 * (i % 30_000), 1, TcpFlags::ACK, b"x");
        rig.out();
    }
    assert_eq!(rig.tcp.info().out_of_order, 16);
    assert!(rig.buffers.small().in_use() <= 17);
}

#[test]
fn a_flood_of_sack_blocks_costs_a_bounded_amount() {
    let mut rig = Rig::established(super::rig::with_sack());
    rig.send(60_000);
    rig.out();
    rig.recv(1, 10_001, TcpFlags::ACK, b"");
    rig.out();
    for i in 0..10_000u32 {
        let at = 10_003 + 4 * (i % 12_000);
        rig.recv_sack(10_001, &[(at, at + 1), (at + 2, at + 3)]);
        rig.out();
    }
    assert!(rig.tcp.info().sacked <= 128 * 3);
}
