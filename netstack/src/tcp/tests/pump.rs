//! Two connections back to back, without a link, to measure what a segment costs: run by hand, with
//! a profiler or a stopwatch outside.

use std::sync::Arc;

use packet::{Buffers, Payload};

use super::rig::open;
use crate::base::{Instant, TcpConfig};
use crate::tcp::segment::SegmentParts;
use crate::tcp::{Segment, SegmentOut, Tcp};
use core::time::Duration;
use packet::tcp::TcpFlags;

/// As a device would deliver it: one slice if it was one, else one per slice.
fn segments(out: SegmentOut, mut deliver: impl FnMut(Segment)) {
    let mut seq = out.seq;
    let mut count = out.payload.len();
    if count == 0 {
        deliver(segment(&out, seq, out.flags, Payload::default()));
    }
    for piece in out.payload.iter() {
        count -= 1;
        let mut flags = out.flags;
        if count > 0 {
            flags.remove(TcpFlags::FIN | TcpFlags::PSH);
        }
        deliver(segment(&out, seq, flags, piece.clone()));
        seq += piece.len() as u32;
    }
}

fn segment(
    out: &SegmentOut,
    seq: crate::tcp::SeqNum,
    flags: TcpFlags,
    payload: Payload,
) -> Segment {
    let gso_size = if payload.len() > usize::from(out.mss) {
        out.mss
    } else {
        0
    };
    Segment::from(SegmentParts {
        seq,
        ack: out.ack,
        flags,
        window: out.window,
        options: out.options,
        gso_size,
        payload,
        ..SegmentParts::default()
    })
}

struct Pair {
    a: Tcp,
    b: Tcp,
    buffers: Buffers,
    now: Instant,
    segments: u64,
}

impl Pair {
    fn new() -> Self {
        let cfg = Arc::new(TcpConfig::default());
        let buffers = Buffers::new(65_536 + 128, 512, 4_096);
        let now = Instant::from_millis(1);
        let mut a = Tcp::connect(&cfg, open(), now);
        let mut syn = None;
        segments(a.poll_transmit(now, 0).expect("SYN"), |seg| syn = Some(seg));
        let b = Tcp::accept(&cfg, open(), &syn.expect("SYN"), now);
        let mut pair = Self {
            a,
            b,
            buffers,
            now,
            segments: 0,
        };
        pair.exchange();
        pair
    }

    /// Carries segments both ways until neither has any.
    fn exchange(&mut self) {
        loop {
            self.now = self.now + Duration::from_micros(1);
            let mut quiet = true;
            let (now, buffers) = (self.now, &self.buffers);
            while let Some(out) = self.a.poll_transmit(now, 65_000) {
                quiet = false;
                self.segments += 1;
                segments(out, |mut seg| {
                    let _ = self.b.on_segment(&mut seg, now, buffers);
                });
            }
            while let Some(out) = self.b.poll_transmit(now, 65_000) {
                quiet = false;
                self.segments += 1;
                segments(out, |mut seg| {
                    let _ = self.a.on_segment(&mut seg, now, buffers);
                });
            }
            if quiet {
                return;
            }
        }
    }
}

#[test]
#[ignore = "a measurement, run by hand"]
fn pump_bulk() {
    let mut pair = Pair::new();
    let data = vec![7; 1 << 20];
    let mut read = 0usize;
    for _ in 0..20_000 {
        pair.a.send(&data, &pair.buffers);
        pair.exchange();
        while let Some(chunk) = pair.b.recv_pop(pair.now) {
            read += chunk.len();
        }
    }
    println!("{} MB, {} segments", read >> 20, pair.segments);
}

#[test]
#[ignore = "a measurement, run by hand"]
fn pump_ping_pong() {
    let mut pair = Pair::new();
    pair.a.set_nodelay(true);
    pair.b.set_nodelay(true);
    for _ in 0..3_000_000 {
        pair.a.send(&[1; 64], &pair.buffers);
        pair.exchange();
        while let Some(chunk) = pair.b.recv_pop(pair.now) {
            pair.b.send(&chunk, &pair.buffers);
        }
        pair.exchange();
        while pair.a.recv_pop(pair.now).is_some() {}
    }
    println!("{} segments", pair.segments);
}

#[test]
#[ignore = "a measurement, run by hand"]
fn sizes() {
    println!(
        "Tcp {} Segment {} SegmentOut {} SegmentOutcome {}",
        size_of::<Tcp>(),
        size_of::<Segment>(),
        size_of::<SegmentOut>(),
        size_of::<crate::tcp::SegmentOutcome>()
    );
}
