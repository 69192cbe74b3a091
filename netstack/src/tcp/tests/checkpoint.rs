//! Checkpoints: a connection that is taken down and set up again at any moment of its life is the same for its peer.

use core::time::Duration;
use std::collections::BTreeSet;

use super::chaos::scenario;
use super::link::Sim;
use super::rig::{ACK, FIN, Rig, ours, theirs, with_sack};
use crate::base::{Rng, TcpConfig};
use crate::tcp::{State, Tcp};

/// As for any life, and a few timeouts more.
const LIMIT: Duration = Duration::from_secs(3_600);

/// Takes a connection down and sets it up again, if it can be. Returns the state that it was in.
fn renew(sim: &mut Sim, end: usize) -> Option<State> {
    let now = sim.now;
    let e = &mut sim.ends[end];
    let checkpoint = e.tcp.as_ref()?.checkpoint()?;
    // The bytes of the checkpoint are copies.
    e.tcp = None;
    let restored = Tcp::restore(&checkpoint, &e.cfg, &e.buffers, now);
    let tcp = restored.unwrap_or_else(|error| panic!("seed {}: {error}", sim.seed));
    let state = tcp.state();
    assert_eq!(state, checkpoint.state());
    assert_eq!(tcp.recv_len(), checkpoint.unread_len());
    e.tcp = Some(tcp);
    Some(state)
}

fn lives(seeds: core::ops::Range<u64>) {
    let mut seen = BTreeSet::new();
    let mut renewed = 0;
    for seed in seeds {
        let mut sim = scenario(seed);
        let mut rng = Rng::from_u64(seed ^ 0xc4ec_0000_0000_0000);
        let often = 1_000 << rng.below(8);
        let start = sim.now;
        while !sim.is_done() {
            if rng.chance(often)
                && let Some(state) = renew(&mut sim, rng.below(2) as usize)
            {
                seen.insert(format!("{state:?}"));
                renewed += 1;
            }
            let is_stuck = !sim.step() && !sim.is_done();
            let is_late = sim.now.saturating_since(start) > LIMIT || sim.steps > 3_000_000;
            assert!(!is_stuck && !is_late, "seed {seed}: {}", sim.describe());
        }
        // The streams are whole, and nothing is left.
        sim.run(LIMIT);
    }
    let states = "CloseWait Closing Established FinWait1 FinWait2 LastAck TimeWait";
    let seen: Vec<&str> = seen.iter().map(String::as_str).collect();
    assert_eq!(seen.join(" "), states, "every synchronised state");
    assert!(renewed > 3_000, "{renewed} times");
}

#[test]
fn streams_are_whole_however_often_connections_are_restored_0() {
    lives(0..500);
}

#[test]
fn streams_are_whole_however_often_connections_are_restored_1() {
    lives(500..1_000);
}

/// Returns the connection of a rig after a checkpoint.
fn restore(rig: &mut Rig, cfg: &TcpConfig) {
    let checkpoint = rig.tcp.checkpoint().expect("a synchronised connection");
    let cfg = std::sync::Arc::new(cfg.clone());
    rig.tcp = Tcp::restore(&checkpoint, &cfg, &rig.buffers, rig.now).expect("restored");
}

#[test]
fn what_is_in_flight_is_sent_again_when_nobody_acknowledges_it() {
    let mut rig = Rig::established(with_sack());
    rig.send(2_000);
    assert!(!rig.payloads().is_empty());
    restore(&mut rig, &with_sack());
    assert!(rig.out().is_empty(), "the peer may have it all");
    let again = rig.pass(2_000);
    assert!(again.iter().any(|sent| sent.seq == 1), "{again:?}");
    rig.recv(1, 2_001, ACK, b"");
    assert_eq!(rig.tcp.unacked(), 0);
}

#[test]
fn what_is_unread_and_ahead_of_a_gap_stays_received() {
    let mut rig = Rig::established(with_sack());
    rig.recv(1, 1, ACK, b"read ");
    assert_eq!(rig.read_all(), b"read ");
    rig.recv(6, 1, ACK, b"unread ");
    rig.recv(17, 1, ACK, b"ahead");
    rig.recv(22, 1, ACK | FIN, b"!");
    let mut checkpoint = rig.tcp.checkpoint().expect("established");
    checkpoint.put_back(b"read ");
    let cfg = std::sync::Arc::new(with_sack());
    rig.tcp = Tcp::restore(&checkpoint, &cfg, &rig.buffers, rig.now).expect("restored");
    assert_eq!(rig.read_all(), b"read unread ");
    rig.recv(13, 1, ACK, b"and ");
    assert_eq!(rig.read_all(), b"and ahead!");
    assert!(rig.tcp.is_recv_finished());
    assert_eq!(rig.tcp.state(), State::CloseWait);
    let acks = rig.out();
    assert_eq!(acks.last().map(|seg| seg.ack), Some(theirs(24)));
}

#[test]
fn a_smaller_configuration_takes_back_nothing_that_was_promised() {
    let mut rig = Rig::established(TcpConfig::default());
    rig.recv(1, 1, ACK, &[7; 1_000]);
    rig.out();
    let (edge, _) = rig.tcp.recv_edge().expect("open");
    let small = TcpConfig {
        recv_buffer_initial: 2_048,
        recv_buffer_max: 2_048,
        send_buffer: 2_048,
        max_reassembly_ranges: 1,
        ..TcpConfig::default()
    };
    restore(&mut rig, &small);
    assert_eq!(rig.tcp.recv_edge().map(|(edge, _)| edge), Some(edge));
    assert_eq!(rig.read_all().len(), 1_000);
}

#[test]
fn a_fin_that_was_sent_is_not_forgotten_and_one_that_was_not_is_sent() {
    for sent in [true, false] {
        let mut rig = Rig::established(with_sack());
        rig.send(10);
        rig.close();
        if sent {
            rig.out();
        }
        restore(&mut rig, &with_sack());
        assert_eq!(rig.tcp.state(), State::FinWait1);
        if !sent {
            let out = rig.out();
            assert_eq!(
                out.last().map(|seg| seg.flags),
                Some(ACK | FIN | packet::tcp::TcpFlags::PSH)
            );
        }
        rig.recv(1, 12, ACK, b"");
        assert_eq!(rig.tcp.state(), State::FinWait2);
        restore(&mut rig, &with_sack());
        rig.recv(1, 12, ACK | FIN, b"");
        assert_eq!(rig.tcp.state(), State::TimeWait);
        restore(&mut rig, &with_sack());
        let last = rig.out().pop().expect("the last ACK is owed");
        assert_eq!((last.seq, last.ack), (ours(12), theirs(2)));
        rig.pass(61_000);
        assert_eq!(rig.tcp.state(), State::Closed);
    }
}

#[test]
fn handshakes_and_ended_connections_have_no_checkpoint() {
    assert!(Rig::syn_sent(with_sack()).tcp.checkpoint().is_none());
    assert!(Rig::syn_received(with_sack()).tcp.checkpoint().is_none());
    let mut rig = Rig::established(with_sack());
    rig.abort();
    assert!(rig.tcp.checkpoint().is_none());
}

/// Another version must not take these bytes for its own.
#[cfg(feature = "checkpoint")]
#[test]
fn the_format_is_the_one_that_has_this_number() {
    let mut rig = Rig::established(with_sack());
    rig.send(10);
    rig.recv(1, 1, ACK, b"unread");
    rig.recv(9, 1, ACK, b"ahead");
    let checkpoint = rig.tcp.checkpoint().expect("established");
    let bytes = postcard::to_allocvec(&checkpoint).expect("encoded");
    let found = (bytes.len(), crc32fast::hash(&bytes));
    assert_eq!(
        found,
        (252, 1_983_074_351),
        "the format changed: raise Checkpoint::FORMAT, then put the new numbers here"
    );
}

/// Damage to the bytes of a checkpoint is an error, or a connection that works as one.
#[cfg(feature = "checkpoint")]
#[test]
fn a_corrupt_checkpoint_is_an_error_and_no_panic() {
    let (mut refused, mut restored) = (0, 0);
    for seed in 0..600 {
        let mut sim = scenario(seed);
        let mut rng = Rng::from_u64(seed ^ 0xbad0_0000_0000_0000);
        for _ in 0..rng.below(400) {
            if sim.is_done() || !sim.step() {
                break;
            }
        }
        let now = sim.now;
        let e = &mut sim.ends[rng.below(2) as usize];
        let Some(checkpoint) = e.tcp.as_ref().and_then(Tcp::checkpoint) else {
            continue;
        };
        let good = postcard::to_allocvec(&checkpoint).expect("encoded");
        for _ in 0..40 {
            let mut bytes = good.clone();
            for _ in 0..=rng.below(3) {
                // Numbers come before and behind the contents.
                let (at, len) = (rng.below(160), bytes.len() as u32);
                let at = if rng.chance(500_000) {
                    at
                } else {
                    len.saturating_sub(at + 1)
                };
                if let Some(byte) = bytes.get_mut(at as usize) {
                    *byte = rng.u32() as u8;
                }
            }
            let decoded = postcard::from_bytes(&bytes);
            let tcp = decoded.map(|decoded| Tcp::restore(&decoded, &e.cfg, &e.buffers, now));
            let Ok(Ok(mut tcp)) = tcp else {
                refused += 1;
                continue;
            };
            restored += 1;
            let mut now = now;
            for _ in 0..20 {
                while tcp.poll_transmit(now, 65_000).is_some() {}
                let _ = tcp.recv_pop(now);
                let Some(at) = tcp.poll_timeout() else { break };
                now = now.max(at);
                let _ = tcp.on_timeout(now);
            }
        }
    }
    assert!(
        refused > 1_000 && restored > 1_000,
        "{refused} refused, {restored} restored"
    );
}
