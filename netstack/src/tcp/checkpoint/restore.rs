//! The way back: from plain data, of which nothing is believed, to a connection.

use std::collections::VecDeque;
use std::sync::Arc;

use packet::Buffers;
use packet::buf::{Account, Memory};

use super::{KEPT, Receiving, RestoreError, Sending, TcpCheckpoint, pieces};
use crate::base::congestion::Start;
use crate::base::{Instant, TcpConfig};
use crate::tcp::block::Block;
use crate::tcp::output::delayed_ack::DelayedAck;
use crate::tcp::phase::Phase;
use crate::tcp::recv::assembler::Assembler;
use crate::tcp::recv::dsack::Duplicates;
use crate::tcp::recv::ring::Ring;
use crate::tcp::recv::window::RecvWindow;
use crate::tcp::reply_limit::ReplyLimit;
use crate::tcp::send::inflight::Inflight;
use crate::tcp::send::queue::SendQueue;
use crate::tcp::seq::SeqNum;
use crate::tcp::sockopt::seed;
use crate::tcp::tcb::{Flags, Tcb, secs};
use crate::tcp::timers::Timers;
use crate::tcp::{Stage, Tcp};

/// Most bytes that a connection may hold in one direction.
const MOST_BYTES: usize = 1 << 30;

fn need(is_so: bool, what: &'static str) -> Result<(), RestoreError> {
    is_so.then_some(()).ok_or(RestoreError::Invalid(what))
}

impl Tcp {
    /// Makes a connection of a checkpoint, with its bytes in `buffers` and the limits of `cfg`, which are raised where less than
    /// they allow was promised to the peer. `now` is of the clock of the checkpoint. The first turn comes at once, as for a
    /// new connection.
    ///
    /// # Errors
    /// The checkpoint is none of a connection, or there is no memory.
    pub fn restore(
        checkpoint: &TcpCheckpoint,
        cfg: &Arc<TcpConfig>,
        buffers: &Buffers,
        now: Instant,
    ) -> Result<Self, RestoreError> {
        let flags = checkpoint.checked_flags()?;
        checkpoint.check_sending(flags)?;
        let window = checkpoint.check_receiving(flags, cfg, now)?;
        let tcb = checkpoint.tcb(flags, window, cfg, buffers, now)?;
        let mut tcp = Self {
            stage: Stage::Open(Block::boxed(tcb)),
        };
        tcp.checked(|_| ());
        Ok(tcp)
    }
}

impl TcpCheckpoint {
    /// Returns the marks, if the phase agrees with them.
    fn checked_flags(&self) -> Result<Flags, RestoreError> {
        let flags = Flags::from_bits(self.flags).ok_or(RestoreError::Invalid("marks"))?;
        need(KEPT.contains(flags), "marks")?;
        let has = |flag| flags.contains(flag);
        let phase = self.phase;
        need(phase != Phase::Closed, "state")?;
        need(has(Flags::FIN_QUEUED) != phase.may_queue(), "FIN")?;
        need(
            has(Flags::FIN_RECEIVED) != phase.may_receive(),
            "peer's FIN",
        )?;
        let may_reset = phase.may_transmit() || phase == Phase::FinWait2;
        let reset = !has(Flags::RST_QUEUED) || (has(Flags::RECV_CLOSED) && may_reset);
        need(reset, "reset")?;
        Ok(flags)
    }

    fn check_sending(&self, flags: Flags) -> Result<(), RestoreError> {
        let Sending {
            una,
            nxt,
            window,
            bytes,
            ..
        } = &self.sending;
        need(self.agreed.is_valid(), "options")?;
        need(window.is_valid(), "send window")?;
        need(bytes.len() <= MOST_BYTES, "unsent bytes")?;
        if !self.phase.may_transmit() {
            return need(bytes.is_empty() && una == nxt, "unsent bytes");
        }
        let fin = u32::from(flags.contains(Flags::FIN_QUEUED));
        let most = bytes.len() as u32 + fin;
        let in_flight = *nxt - *una;
        need(in_flight <= most, "sequence numbers")?;
        let probed = !flags.contains(Flags::PROBE_SENT) || (in_flight == 0 && most > 0);
        need(probed, "window probe")
    }

    /// Returns the receive window, if everything received fits into it.
    fn check_receiving(
        &self,
        flags: Flags,
        cfg: &TcpConfig,
        now: Instant,
    ) -> Result<RecvWindow, RestoreError> {
        let Receiving {
            window,
            unread,
            ranges,
            fin_at,
            ..
        } = &self.receiving;
        let fin = u32::from(flags.contains(Flags::FIN_RECEIVED));
        let scale = self.agreed.recv_scale;
        let window = window.restored(cfg.recv_buffer_max, scale, fin, now);
        let window = window.ok_or(RestoreError::Invalid("receive window"))?;
        need(unread.len() <= MOST_BYTES, "unread bytes")?;
        let is_kept = unread.is_empty() || !flags.contains(Flags::RECV_CLOSED);
        need(is_kept, "unread bytes")?;
        let (nxt, edge) = (window.nxt, window.edge());
        let may_come = self.phase.may_receive() || (ranges.is_empty() && fin_at.is_none());
        need(may_come, "out-of-order bytes")?;
        let ahead = |at: SeqNum| at.after(nxt) && at.at_or_before(edge);
        need(fin_at.is_none_or(ahead), "peer's FIN")?;
        let last = fin_at.unwrap_or(edge);
        let fits = ranges.iter().all(|(start, bytes)| {
            let end = *start + bytes.len() as u32;
            let is_long = !bytes.is_empty() && bytes.len() <= MOST_BYTES;
            is_long && ahead(*start) && ahead(end) && end.at_or_before(last) && end.after(*start)
        });
        need(fits, "out-of-order bytes")?;
        Ok(window)
    }

    /// Returns the limits of the connection: those of the configuration, and what the peer was promised.
    fn limits(&self, window: &RecvWindow, cfg: &Arc<TcpConfig>) -> Arc<TcpConfig> {
        let Receiving { unread, ranges, .. } = &self.receiving;
        let held = unread.len().max(window.capacity() as usize);
        if held <= cfg.recv_buffer_max && ranges.len() <= cfg.max_reassembly_ranges {
            return Arc::clone(cfg);
        }
        Arc::new(TcpConfig {
            recv_buffer_max: cfg.recv_buffer_max.max(held),
            max_reassembly_ranges: cfg.max_reassembly_ranges.max(ranges.len()),
            ..(**cfg).clone()
        })
    }

    fn tcb(
        &self,
        flags: Flags,
        window: RecvWindow,
        cfg: &Arc<TcpConfig>,
        buffers: &Buffers,
        now: Instant,
    ) -> Result<Tcb, RestoreError> {
        let Sending {
            una,
            nxt,
            window: peer,
            small_end,
            bytes,
        } = &self.sending;
        let (una, nxt) = (*una, *nxt);
        let settings = self.settings.restored(cfg);
        let is_same = settings.algorithm.name() == self.settings.algorithm();
        let algorithm = (settings.algorithm, is_same);
        let start = Start {
            mss: u32::from(self.agreed.mss),
            srtt: self.rtt.srtt(),
            seed: seed(una, self.ts_offset),
            ..Start::default()
        }
        .tolerating(cfg.bbr_loss_percent);
        let account = Account::default();
        let memory = buffers.charging(&account);
        let mut tcb = Tcb {
            settings,
            agreed: self.agreed,
            phase: self.phase,
            flags,
            error: None,
            soft_error: None,
            queue: SendQueue::new(if self.phase.may_transmit() {
                una
            } else {
                una.back(1)
            }),
            flight: Inflight::restored((una, nxt), self.agreed.sack, self.reorder.restored(), now),
            peer: *peer,
            cc: self.cc.restored(algorithm, start, una, (cfg.pacing, now)),
            ecn: self.ecn.restored(),
            rtt: self.rtt.restored(now),
            backoff: self.backoff.restored(),
            retries: self.retries,
            small_end: if small_end.within(una, nxt + 1) {
                *small_end
            } else {
                una
            },
            last_sent: self.last_sent.min(now),
            turn_flight: nxt - una,
            ring: Ring::default(),
            assembler: None,
            window,
            fin_at: self.receiving.fin_at,
            ack: DelayedAck::default(),
            reply_limit: ReplyLimit::default(),
            duplicates: Duplicates::default(),
            last_ack_sent: self.receiving.last_ack_sent,
            last_heard: self.last_heard.min(now),
            keepalives: self.keepalives,
            ts_offset: self.ts_offset,
            ts_recent: self.ts_recent,
            ts_recent_at_secs: self.ts_recent_at_secs.min(secs(now)),
            episode_at: Instant::ZERO,
            resent_at: Instant::ZERO,
            timers: Timers::default(),
            deliver_to: self.deliver_to.min(una + bytes.len() as u32).max(una),
            stats: self.stats.clone(),
            segments: self.segments,
            send_times: self.send_times.wake(),
            account: account.clone(),
            awake_since: Instant::FAR_FUTURE,
            wants_path_metrics: false,
            hinted_ssthresh: self.hinted_ssthresh,
            search: None,
            proven_mss: self.proven_mss,
            least_mss: self.least_mss,
            cfg: self.limits(&window, cfg),
        };
        self.fill(&mut tcb, memory)?;
        tcb.cc.fit(tcb.payload_mss());
        self.arm(&mut tcb, now);
        Ok(tcb)
    }

    /// Puts the bytes into their queues.
    fn fill(&self, tcb: &mut Tcb, memory: Memory<'_>) -> Result<(), RestoreError> {
        for piece in pieces(&self.sending.bytes) {
            let appended = tcb.queue.append(piece, memory);
            appended.map_err(|_| RestoreError::OutOfMemory)?;
        }
        let mut unread = VecDeque::new();
        for piece in pieces(&self.receiving.unread) {
            unread.push_back(memory.hold(piece).map_err(|_| RestoreError::OutOfMemory)?);
        }
        tcb.ring.extend(unread);
        let mut board = Assembler::new(tcb.ts_recent, tcb.window.nxt);
        for (start, bytes) in &self.receiving.ranges {
            let mut at = *start;
            for piece in pieces(bytes) {
                let kept = board.insert(at, &piece, tcb.assembler_limits(), memory);
                // Not new, or too much: the ranges are none of an out-of-order queue.
                need(kept == piece.len(), "out-of-order bytes")?;
                at += piece.len() as u32;
            }
        }
        if !board.is_empty() {
            tcb.assembler = Some(Box::new(board));
        }
        Ok(())
    }

    /// Arms the timers: those of the network begin anew, those of the application go on.
    fn arm(&self, tcb: &mut Tcb, now: Instant) {
        tcb.arm_keepalive(now);
        tcb.keepalives = self.keepalives;
        let ends_at = match self.phase {
            Phase::TimeWait => now + tcb.cfg.time_wait,
            Phase::FinWait2 if tcb.flags.contains(Flags::RECV_CLOSED) => now + tcb.cfg.fin_wait_2,
            _ => tcb.timers.life,
        };
        tcb.timers.life = self.life.min(ends_at).max(now.min(ends_at));
        tcb.timers.user = self.user.max(now);
        if self.receiving.ack_owed {
            tcb.ack.set_due();
        }
        if tcb.flight.outstanding() > 0 {
            tcb.timers.retransmit = now + tcb.rto();
            tcb.arm_loss_timer(true, now);
        }
    }
}
