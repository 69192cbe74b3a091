//! A synchronised connection: the transmission control block (TCB) that input, output and timers
//! share.
//!
//! * **Define.** A [`Tcb`] exists from the moment both sequence spaces are agreed on; its [`Phase`]
//!   says what is permitted.
//! * **Enforce.** Only a finished handshake builds one. `input` takes segments, `output` makes
//!   them, and `ending` has the end of the connection.
//! * **Consume.** `Tcp` forwards to it.
//!
//! An idle connection holds no slab: both queues give back what they do not need.

use core::time::Duration;
use std::sync::Arc;

use packet::Buffers;
use packet::buf::Account;

use super::cc::Controller;
use super::ecn::Ecn;
use super::handshake::Established;
use super::outcome::{Readiness, TcpError, Unreachable};
use super::output::delayed_ack::DelayedAck;
use super::path_search::PathSearch;
use super::phase::Phase;
use super::recv::assembler::{Assembler, Limits};
use super::recv::dsack::Duplicates;
use super::recv::ring::Ring;
use super::recv::window::RecvWindow;
use super::reply_limit::ReplyLimit;
use super::rto::{self, Backoff};
use super::rtt::RttEstimator;
use super::send::inflight::{Inflight, PathView};
use super::send::queue::SendQueue;
use super::send::window::SendWindow;
use super::send_times::SendTimes;
use super::seq::SeqNum;
use super::settings::{Agreed, Settings};
use super::sockopt::seed;
use super::stats::{SegmentStats, Stats};
use super::timers::Timers;
use crate::base::congestion::Start;
use crate::base::{Instant, TcpConfig};

bitflags::bitflags! {
    /// Pending work, and marks of past events.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub(super) struct Flags: u32 {
        /// The application closed its half: a FIN follows the queued bytes.
        const FIN_QUEUED = 1;
        /// A reset must be sent.
        const RST_DUE = 1 << 1;
        /// The application reads no more.
        const RECV_CLOSED = 1 << 2;
        /// The application waits for room in the send buffer.
        const WANT_WRITE = 1 << 3;
        /// The persist timer expired: a zero window probe must be sent.
        const PROBE_DUE = 1 << 4;
        /// A byte beyond SND.NXT was sent as a zero window probe.
        const PROBE_SENT = 1 << 5;
        /// A keepalive probe must be sent.
        const KEEPALIVE_DUE = 1 << 6;
        /// `last_sent` is valid.
        const SENT = 1 << 7;
        /// The peer's FIN is in sequence.
        const FIN_RECEIVED = 1 << 8;
        /// A recovery or timeout began, and no acknowledgment has shown yet if it was spurious.
        const UNDECIDED = 1 << 9;
        /// The application dropped bytes that it had taken but not used.
        const UNREAD_DROPPED = 1 << 10;
        /// A reset follows the queued bytes, once each of them was sent.
        const RST_QUEUED = 1 << 11;
        /// Acknowledgments ceased: a tail loss probe must be sent.
        const TAIL_PROBE_DUE = 1 << 12;
        /// The application replies to what arrives: its segments carry the acknowledgments.
        const INTERACTIVE = 1 << 13;
        /// The user timeout must be sent to the peer.
        const USER_TIMEOUT_DUE = 1 << 14;
        /// It went from ESTABLISHED or CLOSE-WAIT to CLOSED.
        const CUT_OFF = 1 << 15;
        /// A timeout was spurious, and no segment was timed since that was sent after it.
        const RTT_OUTDATED = 1 << 16;
    }
}

/// The state of one synchronised connection.
#[derive(Debug)]
pub(super) struct Tcb {
    pub(super) cfg: Arc<TcpConfig>,
    pub(super) settings: Settings,
    pub(super) agreed: Agreed,
    pub(super) phase: Phase,
    pub(super) flags: Flags,
    pub(super) error: Option<TcpError>,
    /// The last soft error that ICMP reported, to explain a timeout.
    pub(super) soft_error: Option<Unreachable>,
    // Sending.
    pub(super) queue: SendQueue,
    pub(super) flight: Inflight,
    pub(super) peer: SendWindow,
    pub(super) cc: Controller,
    pub(super) ecn: Ecn,
    pub(super) rtt: RttEstimator,
    pub(super) backoff: Backoff,
    /// Expiries of the retransmission or persist timer since the last progress.
    pub(super) retries: u8,
    /// End of the last segment that was not full (Minshall's variant of the Nagle algorithm).
    pub(super) small_end: SeqNum,
    pub(super) last_sent: Instant,
    /// Bytes in flight when the last turn ended. A turn can take many acknowledgments before it sends
    /// anything; FlightSize is what was in flight before the first of them.
    pub(super) turn_flight: u32,
    // Receiving.
    pub(super) ring: Ring,
    pub(super) assembler: Option<Box<Assembler>>,
    pub(super) window: RecvWindow,
    /// Sequence number of the peer's FIN, if it arrived ahead of a gap.
    pub(super) fin_at: Option<SeqNum>,
    pub(super) ack: DelayedAck,
    pub(super) reply_limit: ReplyLimit,
    /// Ranges that arrived twice, to be reported once (RFC 2883).
    pub(super) duplicates: Duplicates,
    pub(super) last_ack_sent: SeqNum,
    pub(super) last_heard: Instant,
    pub(super) keepalives: u8,
    // Timestamps.
    pub(super) ts_offset: u32,
    pub(super) ts_recent: u32,
    pub(super) ts_recent_at_secs: u32,
    /// Beginning of the last recovery, or of the last series of timeouts.
    pub(super) episode_at: Instant,
    /// Beginning of the last recovery or timeout.
    pub(super) resent_at: Instant,
    //
    pub(super) timers: Timers,
    /// Acknowledgment that is due when the user timeout expires.
    pub(super) deliver_to: SeqNum,
    pub(super) stats: Stats,
    pub(super) segments: SegmentStats,
    pub(super) send_times: SendTimes,
    /// The memory that it keeps others from using.
    pub(super) account: Account,
    /// The first turn since the connection was made, or since it rested; `Instant::FAR_FUTURE`: there was none.
    pub(super) awake_since: Instant,
    /// It has sent nothing yet, and may adopt what is known of the path.
    pub(super) wants_path_metrics: bool,
    /// The slow start threshold that was adopted from an earlier connection, in bytes; zero: none.
    pub(super) hinted_ssthresh: u32,
    /// The search for the path MTU, if there is one.
    pub(super) search: Option<Box<PathSearch>>,
    /// Largest segment of which a whole one has arrived.
    pub(super) proven_mss: u16,
    /// Segments that any path of the family carries.
    pub(super) least_mss: u16,
}

/// Returns the initial congestion window (RFC 6928; one segment if a SYN was lost, RFC 5681).
fn initial_window(cfg: &TcpConfig, mss: u32, lossy: bool) -> u32 {
    if lossy {
        return mss;
    }
    (cfg.initial_window_segments * mss).min((2 * mss).max(14_600))
}

impl Tcb {
    /// Creates the connection from a finished handshake.
    pub(super) fn new(done: Established, now: Instant) -> Self {
        let Established {
            cfg,
            settings,
            agreed,
            una,
            rcv_nxt,
            offered,
            peer_window,
            peer_seq,
            ts_offset,
            ts_recent,
            ecn,
            rtt: measured,
            lossy,
            ..
        } = done;
        let mut rtt = RttEstimator::default();
        let mut backoff = Backoff::default();
        match measured {
            Some(measured) => {
                rtt.sample(measured);
                rtt.sample_least(measured, now);
            }
            // RFC 6298 section 5.7: after a lost SYN the first timeout is at least 3 s (here 4 s).
            None if lossy => {
                backoff.grow();
                backoff.grow();
            }
            None => {}
        }
        let unscaled_max = u32::from(u16::MAX) << agreed.recv_scale;
        let capacity_max = u32::try_from(cfg.recv_buffer_max)
            .unwrap_or(u32::MAX)
            .min(unscaled_max);
        let capacity = u32::try_from(cfg.recv_buffer_initial)
            .unwrap_or(u32::MAX)
            .min(capacity_max);
        let initial = initial_window(&cfg, u32::from(agreed.mss), lossy);
        let mut tcb = Self {
            settings,
            agreed,
            phase: Phase::Established,
            flags: Flags::default(),
            error: None,
            soft_error: None,
            queue: SendQueue::new(una),
            flight: Inflight::new(una, agreed.sack),
            peer: SendWindow::new(peer_window, peer_seq, una),
            cc: Controller::new(
                settings.algorithm,
                &Start::new(
                    u32::from(agreed.mss),
                    initial,
                    measured,
                    seed(una, ts_offset),
                )
                .tolerating(cfg.bbr_loss_percent),
                una,
                cfg.pacing,
            ),
            ecn,
            rtt,
            backoff,
            retries: 0,
            small_end: una,
            last_sent: now,
            turn_flight: 0,
            ring: Ring::default(),
            assembler: None,
            window: RecvWindow::new(
                rcv_nxt,
                offered,
                capacity,
                capacity_max,
                agreed.recv_scale,
                now,
            ),
            fin_at: None,
            ack: DelayedAck::default(),
            reply_limit: ReplyLimit::default(),
            duplicates: Duplicates::default(),
            last_ack_sent: rcv_nxt,
            last_heard: now,
            keepalives: 0,
            ts_offset,
            ts_recent,
            ts_recent_at_secs: secs(now),
            episode_at: Instant::ZERO,
            resent_at: Instant::ZERO,
            timers: Timers::default(),
            deliver_to: una,
            stats: Stats::default(),
            segments: SegmentStats::default(),
            send_times: SendTimes::default(),
            account: Account::default(),
            awake_since: Instant::FAR_FUTURE,
            wants_path_metrics: true,
            hinted_ssthresh: 0,
            search: PathSearch::always(&cfg, agreed.mss),
            proven_mss: 0,
            least_mss: 0,
            cfg,
        };
        tcb.arm_keepalive(now);
        tcb.tell_user_timeout();
        tcb
    }

    /// Returns when the connection sent or heard something last.
    pub(super) fn last_active(&self) -> Instant {
        self.last_heard.max(self.last_sent)
    }

    /// Returns the retransmission timeout, back-off included.
    pub(super) fn rto(&self) -> Duration {
        rto::timeout(&self.rtt, self.backoff, &self.cfg)
    }

    /// Returns the payload size of a full segment with the usual options (effective send MSS).
    pub(super) fn payload_mss(&self) -> u32 {
        let timestamps = if self.agreed.timestamps { 12 } else { 0 };
        let options = timestamps + u32::from(self.settings.authentication_len);
        u32::from(self.agreed.mss).saturating_sub(options).max(1)
    }

    /// Returns the measurements that loss detection goes by.
    pub(super) fn path_view(&self) -> PathView {
        PathView {
            mss: self.payload_mss(),
            min_rtt: self.rtt.least(),
            srtt: self.rtt.srtt(),
            rack: self.cfg.rack_tlp,
        }
    }

    /// Returns our timestamp clock (TSval).
    pub(super) fn ts_now(&self, now: Instant) -> u32 {
        (now.as_millis() as u32).wrapping_add(self.ts_offset)
    }

    /// Returns the number of bytes that wait for their first transmission, without our FIN.
    pub(super) fn unsent(&self) -> u32 {
        self.queue.end().since(self.flight.nxt())
    }

    /// Returns true if our FIN was sent.
    pub(super) fn fin_sent(&self) -> bool {
        self.flight.nxt().after(self.queue.end())
    }

    /// Returns true if bytes or our FIN wait for their first transmission.
    pub(super) fn has_unsent(&self) -> bool {
        self.unsent() > 0 || (self.flags.contains(Flags::FIN_QUEUED) && !self.fin_sent())
    }

    /// Notes that `left..right` arrived twice, to report it if both sides agreed on SACK.
    pub(super) fn note_duplicate(&mut self, left: SeqNum, right: SeqNum) {
        if self.agreed.sack {
            self.duplicates.note(left, right);
        }
    }

    /// Returns the limits of the out-of-order queue.
    pub(super) fn assembler_limits(&self) -> Limits {
        Limits {
            ranges: self.cfg.max_reassembly_ranges,
            // A payload of 16 KiB may keep a slab of 64.
            pinned: 4 * self.window.capacity() as usize + (256 << 10),
        }
    }

    /// Moves what it holds out of slabs that it does not fill; returns how many bytes were copied.
    pub(super) fn compact(&mut self, buffers: &Buffers) -> usize {
        let memory = buffers.charging(&self.account);
        let out_of_order = self.assembler.as_mut().map(|board| board.compact(memory));
        self.ring.compact(memory) + self.queue.compact(memory) + out_of_order.unwrap_or(0)
    }

    /// Returns true if the application may queue more.
    pub(super) fn may_queue(&self) -> bool {
        self.phase.may_queue() && !self.flags.contains(Flags::RST_QUEUED)
    }

    /// Returns the room in the send buffer, in bytes.
    pub(super) fn send_room(&self) -> usize {
        if self.may_queue() {
            self.send_buffer_bytes().saturating_sub(self.queue.len())
        } else {
            0
        }
    }

    /// Returns the size of the send buffer, in bytes: twice the congestion window, so that what is written while a window
    /// is acknowledged is there for the next one. On a path of less than a millisecond a fixed size is many windows.
    pub(super) fn send_buffer_bytes(&self) -> usize {
        let least = self.cfg.least_send_buffer();
        match self.rtt.least() {
            Some(rtt) if rtt >= LONG_PATH => {
                let two_windows = self.cc.cwnd().saturating_mul(2) as usize;
                two_windows.min(self.cfg.send_buffer).max(least)
            }
            _ => least,
        }
    }

    /// Returns WRITABLE if the application waits for room and there is enough of it.
    pub(super) fn writable(&mut self) -> Readiness {
        let wanted = self.flags.contains(Flags::WANT_WRITE);
        if wanted && self.send_room() >= self.send_buffer_bytes() / 4 {
            self.flags.remove(Flags::WANT_WRITE);
            Readiness::WRITABLE
        } else {
            Readiness::empty()
        }
    }

    /// Starts or stops the keepalive timer, except in phases that this timer ends.
    pub(super) fn arm_keepalive(&mut self, now: Instant) {
        let closing = matches!(self.phase, Phase::TimeWait | Phase::Closed)
            || (self.phase == Phase::FinWait2 && self.flags.contains(Flags::RECV_CLOSED));
        if closing {
            return;
        }
        self.timers.life = match self.settings.keepalive() {
            Some(idle) => self.last_heard.max(now) + idle,
            None => Instant::FAR_FUTURE,
        };
        self.keepalives = 0;
    }

    /// Lets the next segment tell the peer the user timeout, if the peer is told.
    pub(super) fn tell_user_timeout(&mut self) {
        if self.settings.user_timeout_option().is_some() && self.phase.may_queue() {
            self.flags.insert(Flags::USER_TIMEOUT_DUE);
            self.ack.set_due();
        }
    }

    /// Returns the number of retransmissions before giving up: fewer when the application is gone.
    pub(super) fn max_retries(&self) -> u8 {
        if self.flags.contains(Flags::RECV_CLOSED) {
            self.cfg.data_retries.min(ORPHAN_RETRIES)
        } else {
            self.cfg.data_retries
        }
    }

    /// Returns the error for a peer that no longer answers.
    pub(super) fn timeout_error(&self) -> TcpError {
        self.soft_error
            .map_or(TcpError::TimedOut, TcpError::Unreachable)
    }
}

/// Least round-trip time of a path on which the send buffer grows with the congestion window.
const LONG_PATH: Duration = Duration::from_millis(1);

/// Returns a time in whole seconds. It overflows after 136 years.
pub(super) fn secs(now: Instant) -> u32 {
    (now.as_millis() / 1_000) as u32
}

/// Maximum number of retransmissions and probes once the application is gone.
pub(super) const ORPHAN_RETRIES: u8 = 8;
