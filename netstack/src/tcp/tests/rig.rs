//! One connection, and a peer that says exactly what the test tells it to.
//!
//! The peer's sequence numbers are given relative to its SYN, ours relative to ours: the first byte
//! of each stream is 1.

use core::time::Duration;
use std::sync::Arc;

use packet::Buffers;
use packet::tcp::{SackBlocks, TcpFlags, TcpOptions, Timestamps};

use crate::base::{Instant, TcpConfig};
use crate::tcp::segment::SegmentParts;
use crate::tcp::{Context, Event, Open, SegmentOut, SegmentOutcome, SeqNum, State, Tcp};

pub(super) const ACK: TcpFlags = TcpFlags::ACK;
pub(super) const SYN: TcpFlags = TcpFlags::SYN;
pub(super) const RST: TcpFlags = TcpFlags::RST;
pub(super) const FIN: TcpFlags = TcpFlags::FIN;
/// The flags of ECN.
pub(super) const ECN: TcpFlags = TcpFlags::AE.union(TcpFlags::CWR).union(TcpFlags::ECE);

/// Both initial sequence numbers lie just below the wrap, so that every test crosses it.
const ISS: SeqNum = SeqNum(u32::MAX - 20);
const IRS: SeqNum = SeqNum(u32::MAX - 10);

/// A segment that was sent, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    /// Time since the call that returned it, in milliseconds.
    pub(super) at_millis: u64,
    /// Sequence number, relative to our SYN.
    pub(super) seq: u32,
    /// Length of the payload, in bytes.
    pub(super) len: usize,
    pub(super) flags: TcpFlags,
}

impl Sent {
    fn new(seg: &SegmentOut, start: Instant, now: Instant) -> Self {
        Self {
            at_millis: now.saturating_since(start).as_millis() as u64,
            seq: seg.seq - ISS,
            len: seg.payload.len_bytes(),
            flags: seg.flags,
        }
    }
}

/// Compares the payload alone: its sequence number and length.
impl PartialEq<(u32, usize)> for Sent {
    fn eq(&self, &(seq, len): &(u32, usize)) -> bool {
        self.seq == seq && self.len == len
    }
}

/// Relative numbers and flags of a segment without payload.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) seq: u32,
    pub(super) ack: u32,
    pub(super) flags: TcpFlags,
}

impl PartialEq<(u32, u32, TcpFlags)> for Header {
    fn eq(&self, &(seq, ack, flags): &(u32, u32, TcpFlags)) -> bool {
        (self.seq, self.ack, self.flags) == (seq, ack, flags)
    }
}

pub(super) struct Rig {
    pub(super) tcp: Tcp,
    pub(super) buffers: Buffers,
    pub(super) now: Instant,
    /// Window field of what the peer sends.
    pub(super) window: u16,
    /// Timestamp value of what the peer sends, if any.
    pub(super) ts: Option<u32>,
    pub(super) max_payload: usize,
    /// Events of the calls that the rig makes.
    events: Vec<(Instant, Event)>,
}

/// No options but MSS: the least that a test has to think of.
pub(super) fn plain() -> TcpConfig {
    TcpConfig {
        timestamps: false,
        sack: false,
        window_scaling: false,
        pacing: false,
        quick_acks: 0,
        ecn: false,
        recv_buffer_initial: 65_535,
        recv_buffer_max: 65_535,
        ..TcpConfig::default()
    }
}

pub(super) fn with_sack() -> TcpConfig {
    TcpConfig {
        sack: true,
        ..plain()
    }
}

/// SACK, with losses found by count and by the retransmission timer alone.
pub(super) fn without_rack() -> TcpConfig {
    TcpConfig {
        rack_tlp: false,
        ..with_sack()
    }
}

pub(super) fn open() -> Open {
    Open {
        isn: ISS,
        ts_offset: 7_000,
        mss: 1_000,
        path_mss: 1_000,
    }
}

/// Returns the options of the peer's SYN: everything, with an MSS of 1,000.
pub(super) fn syn_options(ts: Option<u32>) -> TcpOptions {
    TcpOptions {
        mss: Some(1_000),
        window_scale: Some(0),
        sack_permitted: true,
        timestamps: ts.map(|val| Timestamps { val, ecr: 0 }),
        ..TcpOptions::default()
    }
}

pub(super) fn syn() -> SegmentParts {
    SegmentParts {
        seq: IRS,
        flags: SYN,
        window: 60_000,
        options: syn_options(Some(500)),
        ..SegmentParts::default()
    }
}

impl Rig {
    fn of(tcp: Tcp, events: Vec<(Instant, Event)>) -> Self {
        Self {
            tcp,
            events,
            buffers: Buffers::new(65_536, 64, 64),
            now: Instant::from_millis(1_000),
            window: 60_000,
            ts: None,
            max_payload: 65_000,
        }
    }

    /// SYN-SENT, with the SYN on the wire.
    pub(super) fn syn_sent(cfg: TcpConfig) -> Self {
        let mut events = Vec::new();
        let cx = Context::new(Instant::from_millis(1_000)).with_subscriber(&mut events);
        let tcp = Tcp::connect(&Arc::new(cfg), open(), cx);
        let mut rig = Self::of(tcp, events);
        let out = rig.out();
        assert_eq!(out.len(), 1);
        assert_eq!((out[0].seq, out[0].flags.difference(ECN)), (ISS, SYN));
        assert_eq!(rig.tcp.state(), State::SynSent);
        rig
    }

    /// SYN-RECEIVED by a passive open, with the SYN-ACK on the wire.
    pub(super) fn syn_received(cfg: TcpConfig) -> Self {
        let (rig, syn_ack) = Self::accepting(cfg, syn());
        assert_eq!(syn_ack.flags, SYN | ACK);
        rig
    }

    /// SYN-RECEIVED by a passive open, and the SYN-ACK that answers `syn`.
    pub(super) fn accepting(cfg: TcpConfig, syn: SegmentParts) -> (Self, SegmentOut) {
        let mut events = Vec::new();
        let cx = Context::new(Instant::from_millis(1_000)).with_subscriber(&mut events);
        let tcp = Tcp::accept(&Arc::new(cfg), open(), &syn.into(), cx);
        let mut rig = Self::of(tcp, events);
        let mut out = rig.out();
        assert_eq!(out.len(), 1);
        assert_eq!((out[0].seq, out[0].ack), (ISS, IRS + 1));
        (rig, out.remove(0))
    }

    /// ESTABLISHED by an active open, 10 ms round trip, the handshake's ACK on the wire.
    pub(super) fn established(cfg: TcpConfig) -> Self {
        let timestamps = cfg.timestamps;
        let mut rig = Self::syn_sent(cfg);
        rig.now = rig.now + Duration::from_millis(10);
        let mut syn_ack = SegmentParts {
            ack: ISS + 1,
            flags: SYN | ACK,
            ..syn()
        };
        if timestamps {
            let ecr = rig.our_ts();
            syn_ack.options.timestamps = Some(Timestamps { val: 500, ecr });
            rig.ts = Some(500);
        }
        rig.give(syn_ack);
        assert_eq!(rig.tcp.state(), State::Established);
        let out = rig.out();
        assert_eq!(out.len(), 1);
        assert_eq!((out[0].flags, out[0].seq), (ACK, ISS + 1));
        rig
    }

    pub(super) fn our_ts(&self) -> u32 {
        self.now.as_millis() as u32 + 7_000
    }

    pub(super) fn give(&mut self, seg: SegmentParts) -> SegmentOutcome {
        let cx = Context::new(self.now).with_subscriber(&mut self.events);
        let outcome = self.tcp.on_segment(&mut seg.into(), cx, &self.buffers);
        self.tcp.check();
        outcome
    }

    pub(super) fn segment(
        &self,
        seq: u32,
        ack: u32,
        flags: TcpFlags,
        payload: &[u8],
    ) -> SegmentParts {
        SegmentParts {
            seq: IRS + seq,
            ack: if flags.contains(ACK) {
                ISS + ack
            } else {
                SeqNum(0)
            },
            flags,
            window: self.window,
            options: TcpOptions {
                timestamps: self.ts.map(|val| Timestamps {
                    val,
                    ecr: self.our_ts(),
                }),
                ..TcpOptions::default()
            },
            payload: self.buffers.copy(payload).expect("a slab"),
            ..SegmentParts::default()
        }
    }

    /// Sends `seq`, `ack`, `flags` and `payload` as the peer.
    pub(super) fn recv(
        &mut self,
        seq: u32,
        ack: u32,
        flags: TcpFlags,
        payload: &[u8],
    ) -> SegmentOutcome {
        let seg = self.segment(seq, ack, flags, payload);
        self.give(seg)
    }

    /// Acknowledges as the peer, with a SACK option.
    pub(super) fn recv_sack(&mut self, ack: u32, blocks: &[(u32, u32)]) -> SegmentOutcome {
        let mut seg = self.segment(1, ack, ACK, b"");
        let mut sack = SackBlocks::default();
        for &(left, right) in blocks {
            sack.push((ISS + left).0, (ISS + right).0);
        }
        seg.options.sack = sack;
        self.give(seg)
    }

    /// Returns everything that is sent now.
    pub(super) fn out(&mut self) -> Vec<SegmentOut> {
        let mut all = Vec::new();
        loop {
            let cx = Context::new(self.now).with_subscriber(&mut self.events);
            let Some(seg) = self.tcp.poll_transmit(cx, self.max_payload) else {
                break;
            };
            all.push(seg);
            assert!(all.len() < 10_000);
            self.tcp.check();
        }
        all
    }

    /// Returns the payload of every segment that is sent now.
    pub(super) fn payloads(&mut self) -> Vec<Sent> {
        let now = self.now;
        self.out()
            .iter()
            .map(|seg| Sent::new(seg, now, now))
            .collect()
    }

    /// Returns the header of the one segment that is sent now.
    pub(super) fn one(&mut self) -> Header {
        let out = self.out();
        assert_eq!(out.len(), 1, "{out:?}");
        Header {
            seq: out[0].seq - ISS,
            ack: out[0].ack - IRS,
            flags: out[0].flags,
        }
    }

    pub(super) fn send(&mut self, len: usize) {
        let data: Vec<u8> = (0..len).map(|i| i as u8).collect();
        let mut at = 0;
        while at < len {
            let taken = self.tcp.send(&data[at..], &self.buffers);
            assert!(taken > 0);
            at += taken;
        }
    }

    /// Lets time pass, timer by timer, up to `millis` from now; returns everything sent meanwhile.
    pub(super) fn pass(&mut self, millis: u64) -> Vec<Sent> {
        let start = self.now;
        let end = start + Duration::from_millis(millis);
        let mut sent = Vec::new();
        for _ in 0..100_000 {
            for seg in self.out() {
                sent.push(Sent::new(&seg, start, self.now));
            }
            match self.tcp.poll_timeout() {
                Some(at) if at <= end => {
                    self.now = at.max(self.now);
                    let cx = Context::new(self.now).with_subscriber(&mut self.events);
                    self.tcp.on_timeout(cx);
                }
                _ => {
                    self.now = end;
                    return sent;
                }
            }
        }
        panic!("timers never end");
    }

    /// The application closes.
    pub(super) fn close(&mut self) {
        let cx = Context::new(self.now).with_subscriber(&mut self.events);
        self.tcp.close(cx);
    }

    /// The application aborts.
    pub(super) fn abort(&mut self) {
        let cx = Context::new(self.now).with_subscriber(&mut self.events);
        self.tcp.abort(cx);
    }

    /// Takes the events since the last call, without their times.
    pub(super) fn events(&mut self) -> Vec<Event> {
        self.timed_events().into_iter().map(|(_, e)| e).collect()
    }

    /// Takes the events since the last call.
    pub(super) fn timed_events(&mut self) -> Vec<(Instant, Event)> {
        core::mem::take(&mut self.events)
    }

    pub(super) fn read_all(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(chunk) = self.tcp.recv_pop(self.now) {
            all.extend_from_slice(&chunk);
        }
        all
    }
}

/// Returns our sequence number `n` bytes after our SYN.
pub(super) fn ours(n: u32) -> SeqNum {
    ISS + n
}

/// Returns the peer's sequence number `n` bytes after its SYN.
pub(super) fn theirs(n: u32) -> SeqNum {
    IRS + n
}
