//! Two connections, a link between them that misbehaves as told, applications at both ends, and
//! virtual time. Everything follows from one seed.

use std::collections::BTreeMap;
use std::sync::Arc;

use packet::Buffers;

use crate::base::{Instant, Rng, TcpConfig};
use crate::tcp::segment::SegmentParts;
use crate::tcp::{Open, Readiness, Segment, SegmentOut, SeqNum, State, Tcp, TcpError};
use core::time::Duration;
use packet::tcp::TcpFlags;

/// Impairments of a link.
#[derive(Clone, Copy, Debug)]
pub(super) struct Impairment {
    pub(super) loss_per_million: u32,
    pub(super) duplicate_per_million: u32,
    /// Chance of being held back by up to `reorder_by`.
    pub(super) reorder_per_million: u32,
    pub(super) reorder_by: Duration,
    pub(super) delay: Duration,
    /// Chance of a congestion mark, for what may be marked.
    pub(super) mark_per_million: u32,
    /// Deliver super-segments whole (as an offloading device does) rather than cut.
    pub(super) whole_per_million: u32,
    /// Largest wire segment that gets through, payload and options: the others vanish.
    pub(super) largest: usize,
}

impl Impairment {
    pub(super) fn none() -> Self {
        Self {
            loss_per_million: 0,
            duplicate_per_million: 0,
            reorder_per_million: 0,
            reorder_by: Duration::ZERO,
            delay: Duration::from_micros(50),
            mark_per_million: 0,
            whole_per_million: 1_000_000,
            largest: usize::MAX,
        }
    }
}

/// The behaviour of an application.
#[derive(Clone, Copy, Debug)]
pub(super) struct App {
    /// Bytes to write before closing.
    pub(super) total: u64,
    /// Most bytes per write.
    pub(super) write_max: u32,
    /// Most bytes per read.
    pub(super) read_max: u32,
    /// Mean pause between turns; zero: a turn at every event.
    pub(super) pause: Duration,
    /// The application reads from then on.
    pub(super) read_from: Instant,
    /// Close only after the peer's FIN.
    pub(super) close_last: bool,
}

impl App {
    pub(super) fn bulk(total: u64) -> Self {
        Self {
            total,
            write_max: 1 << 20,
            read_max: 1 << 20,
            pause: Duration::ZERO,
            read_from: Instant::ZERO,
            close_last: false,
        }
    }
}

pub(super) struct End {
    pub(super) tcp: Option<Tcp>,
    pub(super) cfg: Arc<TcpConfig>,
    pub(super) app: App,
    pub(super) buffers: Buffers,
    pub(super) written: u64,
    pub(super) read: u64,
    pub(super) eof: bool,
    pub(super) closed: bool,
    pub(super) error: Option<TcpError>,
    pub(super) max_payload: usize,
    pub(super) mss: u16,
    pub(super) readiness: Readiness,
    pub(super) segments_out: u64,
    pub(super) largest_out: usize,
    next_turn: Instant,
    stream: u64,
    edge: Option<SeqNum>,
}

/// Returns the byte at `position` of stream `stream`.
pub(super) fn byte_at(stream: u64, position: u64) -> u8 {
    let x = (position ^ stream).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (x >> 56) as u8 ^ (x >> 24) as u8
}

impl End {
    pub(super) fn new(cfg: &Arc<TcpConfig>, app: App, stream: u64) -> Self {
        Self {
            tcp: None,
            cfg: Arc::clone(cfg),
            app,
            buffers: Buffers::new(65_536 + 128, 512, 4_096),
            written: 0,
            read: 0,
            eof: false,
            closed: false,
            error: None,
            max_payload: 65_000,
            mss: 1_460,
            readiness: Readiness::empty(),
            segments_out: 0,
            largest_out: 0,
            next_turn: Instant::ZERO,
            stream,
            edge: None,
        }
    }
}

/// When a segment arrives; those that arrive at the same time do so in the order in which they were
/// sent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Arrival {
    at: Instant,
    number: u64,
}

pub(super) struct Sim {
    pub(super) seed: u64,
    pub(super) now: Instant,
    pub(super) rng: Rng,
    pub(super) ends: [End; 2],
    pub(super) impair: [Impairment; 2],
    pub(super) in_transit: BTreeMap<Arrival, (usize, Segment)>,
    /// The link loses everything from then on.
    pub(super) cut_at: Instant,
    sent: u64,
    pub(super) steps: u64,
}

impl Sim {
    pub(super) fn new(seed: u64, cfg: &TcpConfig, apps: [App; 2], impair: Impairment) -> Self {
        let cfg = Arc::new(cfg.clone());
        let [a, b] = apps;
        Self {
            seed,
            now: Instant::from_millis(seed % 5_000_000),
            rng: Rng::from_u64(seed),
            ends: [End::new(&cfg, a, 1), End::new(&cfg, b, 2)],
            impair: [impair; 2],
            in_transit: BTreeMap::new(),
            cut_at: Instant::FAR_FUTURE,
            sent: 0,
            steps: 0,
        }
    }

    pub(super) fn open(&mut self, end: usize) -> Open {
        Open {
            isn: SeqNum(self.rng.u32()),
            ts_offset: self.rng.u32(),
            mss: self.ends[end].mss,
            path_mss: self.ends[end].mss,
        }
    }

    /// End 0 connects; end 1 accepts when the SYN comes.
    pub(super) fn connect(&mut self, end: usize) {
        let open = self.open(end);
        let now = self.now;
        let end = &mut self.ends[end];
        end.tcp = Some(Tcp::connect(&end.cfg, open, now));
    }

    fn transmit(&mut self, from: usize, out: SegmentOut) {
        let impair = self.impair[from];
        self.ends[from].segments_out += 1;
        let len = out.payload.len_bytes();
        self.ends[from].largest_out = self.ends[from].largest_out.max(len);
        let whole = self.rng.chance(impair.whole_per_million);
        let mss = usize::from(out.mss).max(1);
        let bytes = out.payload.to_vec();
        let pieces: Vec<(usize, usize)> = if len == 0 || whole {
            vec![(0, len)]
        } else {
            (0..len)
                .step_by(mss)
                .map(|at| (at, (at + mss).min(len)))
                .collect()
        };
        let last = pieces.len() - 1;
        let options = out.options.encoded_len();
        for (i, (start, end)) in pieces.into_iter().enumerate() {
            let copies = 1 + usize::from(self.rng.chance(impair.duplicate_per_million));
            for _ in 0..copies {
                if self.rng.chance(impair.loss_per_million) || self.now >= self.cut_at {
                    continue;
                }
                if (end - start).min(mss) + options > impair.largest && start < end {
                    continue;
                }
                let mut at = self.now + impair.delay;
                if self.rng.chance(impair.reorder_per_million) {
                    let span = impair.reorder_by.as_micros() as u32;
                    at = at + Duration::from_micros(u64::from(self.rng.below(span.max(1))));
                }
                let to = 1 - from;
                let buffers = &self.ends[to].buffers;
                let mut flags = out.flags;
                if i != last {
                    flags.remove(TcpFlags::FIN | TcpFlags::PSH);
                }
                if i > 0 {
                    // As devices that cut do (RFC 3168 section 6.1.2).
                    flags.remove(TcpFlags::CWR);
                }
                // As a device receives: each packet in a large slab of its own.
                let Some(mut slab) = buffers.large().take() else {
                    continue;
                };
                slab.as_mut_slice()[..end - start].copy_from_slice(&bytes[start..end]);
                let marked = out.ecn != 0 && self.rng.chance(impair.mark_per_million);
                let seg = SegmentParts {
                    ecn: if marked { 3 } else { out.ecn },
                    seq: out.seq + start as u32,
                    ack: out.ack,
                    flags,
                    window: out.window,
                    options: out.options,
                    gso_size: if end - start > mss { out.mss } else { 0 },
                    payload: slab.freeze(0..end - start),
                };
                self.sent += 1;
                let arrival = Arrival {
                    at,
                    number: self.sent,
                };
                self.in_transit.insert(arrival, (to, seg.into()));
            }
        }
    }

    /// Sends what `end` has to send.
    pub(super) fn drain(&mut self, end: usize) {
        for round in 0.. {
            assert!(
                round < 20_000,
                "seed {}: poll_transmit never ends",
                self.seed
            );
            let now = self.now;
            let e = &mut self.ends[end];
            let Some(tcp) = e.tcp.as_mut() else { return };
            let most = e.max_payload;
            let one = usize::from(e.mss);
            let Some(out) = tcp.poll_transmit(now, most) else {
                return;
            };
            assert!(
                out.payload.len_bytes() <= most.max(one),
                "seed {}: too long",
                self.seed
            );
            self.transmit(end, out);
        }
    }

    /// One turn of the application at `end`.
    pub(super) fn turn(&mut self, end: usize) {
        let now = self.now;
        let e = &mut self.ends[end];
        if now < e.next_turn {
            return;
        }
        if !e.app.pause.is_zero() {
            let micros = 2 * e.app.pause.as_micros() as u32;
            e.next_turn = now + Duration::from_micros(u64::from(self.rng.below(micros) + 1));
        }
        let Some(tcp) = e.tcp.as_mut() else { return };
        if !matches!(tcp.state(), State::SynSent | State::SynReceived) {
            while e.written < e.app.total {
                let want =
                    (e.app.total - e.written).min(u64::from(1 + self.rng.below(e.app.write_max)));
                let data: Vec<u8> = (0..want)
                    .map(|i| byte_at(e.stream, e.written + i))
                    .collect();
                let taken = tcp.send(&data, &e.buffers) as u64;
                assert!(taken <= want);
                e.written += taken;
                if taken < want || !e.app.pause.is_zero() {
                    break;
                }
            }
        }
        let other = 3 - e.stream;
        while now >= e.app.read_from {
            let most = 1 + self.rng.below(e.app.read_max) as usize;
            let chunk = tcp.recv_chunk();
            let take = chunk.len().min(most);
            for (i, byte) in chunk[..take].iter().enumerate() {
                assert_eq!(
                    *byte,
                    byte_at(other, e.read + i as u64),
                    "seed {}: byte {} is wrong",
                    self.seed,
                    e.read + i as u64
                );
            }
            if take == 0 {
                break;
            }
            e.read += take as u64;
            if self.rng.chance(100_000) && take == chunk.len() {
                let slice = tcp.recv_pop(now).expect("a chunk");
                assert_eq!(slice.len(), take);
            } else {
                tcp.recv_consume(take, now);
            }
            if !e.app.pause.is_zero() {
                break;
            }
        }
        if tcp.is_recv_finished() {
            e.eof = true;
        }
        let open = !matches!(tcp.state(), State::SynSent | State::SynReceived);
        if open && e.written == e.app.total && !e.closed && (e.eof || !e.app.close_last) {
            tcp.close(now);
            e.closed = true;
        }
        if let Some(error) = tcp.error() {
            e.error = Some(error);
        }
    }

    fn check(&mut self, end: usize) {
        let e = &mut self.ends[end];
        let Some(tcp) = &e.tcp else { return };
        tcp.check();
        if let Some((edge, nxt)) = tcp.recv_edge() {
            if let Some(before) = e.edge {
                // The FIN itself may move RCV.NXT one past the edge.
                assert!(
                    edge.at_or_after(before),
                    "seed {}: the window shrank",
                    self.seed
                );
            }
            assert!(nxt.at_or_before(edge + 1));
            e.edge = Some(edge);
        }
    }

    /// Returns the time of the next event.
    fn next(&self) -> Option<Instant> {
        let link = self.in_transit.keys().next().map(|arrival| arrival.at);
        let mut next = link.unwrap_or(Instant::FAR_FUTURE);
        for e in &self.ends {
            let Some(tcp) = &e.tcp else { continue };
            next = next.min(tcp.poll_timeout().unwrap_or(Instant::FAR_FUTURE));
            let busy = tcp.recv_len() > 0
                || (tcp.is_recv_finished() && !e.eof)
                || (e.written < e.app.total && tcp.send_room() > 0)
                || (e.written == e.app.total && !e.closed && (e.eof || !e.app.close_last));
            if busy && !e.app.pause.is_zero() {
                next = next.min(e.next_turn.max(self.now + Duration::from_nanos(1)));
            }
            if tcp.recv_len() > 0 && e.app.read_from > self.now {
                next = next.min(e.app.read_from);
            }
        }
        (next != Instant::FAR_FUTURE).then_some(next)
    }

    /// Advances to the next event and handles it. False if there is none.
    pub(super) fn step(&mut self) -> bool {
        self.steps += 1;
        for end in 0..2 {
            self.turn(end);
            self.drain(end);
            self.check(end);
        }
        let Some(next) = self.next() else {
            return false;
        };
        self.now = self.now.max(next);
        while let Some(entry) = self.in_transit.first_entry() {
            if entry.key().at > self.now {
                break;
            }
            let (to, seg) = entry.remove();
            self.deliver(to, seg);
            self.drain(to);
            self.check(to);
        }
        for end in 0..2 {
            let now = self.now;
            if let Some(tcp) = self.ends[end].tcp.as_mut() {
                let due = tcp.poll_timeout().is_some_and(|at| at <= now);
                if due {
                    let readiness = tcp.on_timeout(now);
                    self.ends[end].readiness |= readiness;
                    let again = self.ends[end].tcp.as_ref().and_then(Tcp::poll_timeout);
                    assert!(
                        again.is_none_or(|at| at > now),
                        "seed {}: a timer that was handled is still due",
                        self.seed
                    );
                }
            }
        }
        true
    }

    pub(super) fn deliver(&mut self, to: usize, mut seg: Segment) {
        let now = self.now;
        let open = self.open(to);
        let e = &mut self.ends[to];
        let Some(tcp) = e.tcp.as_mut() else {
            // A listener.
            if seg.has(TcpFlags::SYN) && !seg.has(TcpFlags::ACK) {
                e.tcp = Some(Tcp::accept(&e.cfg, open, &seg, now));
            }
            return;
        };
        let outcome = tcp.on_segment(&mut seg, now, &e.buffers);
        e.readiness |= outcome.readiness;
        if let Some(rst) = outcome.rst {
            self.transmit(to, rst.into());
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.ends.iter().all(|e| {
            let gone = e.tcp.as_ref().is_some_and(Tcp::is_gone);
            gone && e.eof
        })
    }

    /// Runs until both connections are gone; checks that both streams came over, that it took less
    /// than `limit` of virtual time, and that nothing is left.
    pub(super) fn run(&mut self, limit: Duration) {
        let start = self.now;
        while !self.is_done() {
            let stuck = !self.step() && !self.is_done();
            let late = self.now.saturating_since(start) > limit;
            assert!(
                !stuck && !late && self.steps < 3_000_000,
                "seed {}: {} after {:?}, {} steps: {}",
                self.seed,
                if stuck { "stalled" } else { "too slow" },
                self.now.saturating_since(start),
                self.steps,
                self.describe()
            );
        }
        for i in 0..2 {
            let (e, other) = (&self.ends[i], &self.ends[1 - i]);
            assert_eq!(e.error, None, "seed {}: end {i}", self.seed);
            assert_eq!(e.read, other.app.total, "seed {}: end {i}", self.seed);
        }
        self.in_transit.clear();
        for e in &mut self.ends {
            let tcp = e.tcp.as_ref().expect("it was there");
            assert_eq!(tcp.poll_timeout(), None, "seed {}", self.seed);
            let held = e.buffers.large().in_use() + e.buffers.small().in_use();
            assert_eq!(
                held, 0,
                "seed {}: slabs held by a dead connection",
                self.seed
            );
        }
    }

    pub(super) fn describe(&self) -> String {
        let mut text = String::new();
        for e in &self.ends {
            text += &format!(
                "\n  written {} read {}/{} eof {} closed {} timeout {:?} info {:?}",
                e.written,
                e.read,
                e.app.total,
                e.eof,
                e.closed,
                e.tcp.as_ref().and_then(Tcp::poll_timeout),
                e.tcp.as_ref().map(Tcp::info)
            );
        }
        text
    }
}
