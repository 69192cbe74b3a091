//! A checkpoint: everything that another process needs to go on with a connection, as plain data.
//!
//! * **Define.** A [`TcpCheckpoint`] is a synchronised connection at one moment: its numbers, what it agreed on, and its
//!   bytes: sent and not acknowledged, not yet sent, received and not read, received ahead of a gap.
//! * **Enforce.** [`Tcp::checkpoint`] names every field of the control block: a new one does not compile until somebody decides
//!   if it goes along. [`Tcp::restore`] believes nothing: it checks each number against its bounds and against the others.
//! * **Consume.** The peer sees a pause, and no difference in what it receives.
//!
//! Times are those of one clock, which goes on where it stopped. What was in flight counts as one flight that was sent when the
//! connection was restored: what the peer had selectively acknowledged it says again, and what was lost is found out anew. What is
//! learnt quickly is not kept: the search for the path MTU (its result is), the pace, statistics of a recovery.
//!
//! | kept | not kept |
//! |---|---|
//! | sequence numbers, windows, scales, MSS, timestamps, SACK, ECN | SACK scoreboard: it is of the peer's last acknowledgment |
//! | round trip, back-off, congestion window, threshold, the algorithm's own words | an undo that was not decided |
//! | all bytes, out-of-order ranges, FINs, a reset that waits for its turn | duplicate ACKs and D-SACKs that were due |
//! | socket options, keepalive, the user timeout, the end of FIN-WAIT-2 and TIME-WAIT | ICMP's last soft error |

mod restore;

use bytes::Bytes;
use packet::Payload;

use super::Stage;
use super::Tcp;
use super::cc::KeptController;
use super::ecn::KeptEcn;
use super::outcome::State;
use super::phase::Phase;
use super::recv::window::RecvWindow;
use super::reorder::Reordering;
use super::rto::Backoff;
use super::rtt::RttEstimator;
use super::send::window::SendWindow;
use super::send_times::RestingTimes;
use super::seq::SeqNum;
use super::settings::{Agreed, KeptSettings};
use super::stats::{SegmentStats, Stats};
use super::tcb::{Flags, Tcb};
use crate::base::Instant;

/// Marks that go along. All others stand for work that is found again.
const KEPT: Flags = Flags::FIN_QUEUED
    .union(Flags::RECV_CLOSED)
    .union(Flags::PROBE_SENT)
    .union(Flags::SENT)
    .union(Flags::FIN_RECEIVED)
    .union(Flags::UNREAD_DROPPED)
    .union(Flags::RST_QUEUED)
    .union(Flags::INTERACTIVE)
    .union(Flags::USER_TIMEOUT_DUE);

/// The reason why a connection cannot be restored.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RestoreError {
    /// A value that no connection has.
    #[error("a connection cannot be restored: its {0} cannot be")]
    Invalid(&'static str),
    /// There is no memory for its bytes.
    #[error("a connection cannot be restored: its bytes need more memory: raise memory_bytes")]
    OutOfMemory,
}

/// A synchronised connection at one moment.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "checkpoint", derive(serde::Serialize, serde::Deserialize))]
pub struct TcpCheckpoint {
    phase: Phase,
    flags: u32,
    settings: KeptSettings,
    agreed: Agreed,
    sending: Sending,
    receiving: Receiving,
    cc: KeptController,
    ecn: KeptEcn,
    rtt: RttEstimator,
    backoff: Backoff,
    retries: u8,
    keepalives: u8,
    reorder: Reordering,
    ts_offset: u32,
    ts_recent: u32,
    ts_recent_at_secs: u32,
    last_sent: Instant,
    last_heard: Instant,
    /// The timers that do not follow from the rest.
    life: Instant,
    user: Instant,
    deliver_to: SeqNum,
    stats: Stats,
    segments: SegmentStats,
    send_times: RestingTimes,
    hinted_ssthresh: u32,
    proven_mss: u16,
    least_mss: u16,
}

#[derive(Clone, Debug)]
#[cfg_attr(feature = "checkpoint", derive(serde::Serialize, serde::Deserialize))]
struct Sending {
    una: SeqNum,
    nxt: SeqNum,
    window: SendWindow,
    small_end: SeqNum,
    /// From SND.UNA on.
    bytes: Bytes,
}

#[derive(Clone, Debug)]
#[cfg_attr(feature = "checkpoint", derive(serde::Serialize, serde::Deserialize))]
struct Receiving {
    window: RecvWindow,
    /// Up to RCV.NXT.
    unread: Bytes,
    /// Bytes that arrived ahead of a gap, the least recent range first.
    ranges: Vec<(SeqNum, Bytes)>,
    fin_at: Option<SeqNum>,
    ack_owed: bool,
    last_ack_sent: SeqNum,
}

impl TcpCheckpoint {
    /// Returns the state of the connection.
    pub fn state(&self) -> State {
        self.phase.state()
    }

    /// Returns the number of bytes that were received and not read.
    pub fn unread_len(&self) -> usize {
        self.receiving.unread.len()
    }

    /// Puts bytes back that the application had read and not used: they are read again.
    pub fn put_back(&mut self, bytes: &[u8]) {
        if !bytes.is_empty()
            && Flags::from_bits_retain(self.flags) & Flags::RECV_CLOSED == Flags::empty()
        {
            let unread = &mut self.receiving.unread;
            *unread = [bytes, unread].concat().into();
        }
    }
}

impl Tcb {
    fn checkpoint(&self) -> TcpCheckpoint {
        let Tcb {
            // The restoring side has its own.
            cfg: _,
            settings,
            agreed,
            phase,
            flags,
            // An error ends the connection.
            error: _,
            soft_error: _,
            queue,
            flight,
            peer,
            cc,
            ecn,
            rtt,
            backoff,
            retries,
            small_end,
            last_sent,
            turn_flight: _,
            ring,
            assembler,
            window,
            fin_at,
            ack,
            // It limits replies within a second.
            reply_limit: _,
            duplicates: _,
            last_ack_sent,
            last_heard,
            keepalives,
            ts_offset,
            ts_recent,
            ts_recent_at_secs,
            // They judge what was sent before.
            episode_at: _,
            resent_at: _,
            timers,
            deliver_to,
            stats,
            segments,
            send_times,
            account: _,
            awake_since: _,
            // Only a connection that has sent nothing adopts some.
            wants_path_metrics: _,
            hinted_ssthresh,
            search: _,
            proven_mss,
            least_mss,
        } = self;
        TcpCheckpoint {
            phase: *phase,
            flags: (*flags & KEPT).bits(),
            settings: settings.kept(),
            agreed: *agreed,
            sending: Sending {
                una: flight.una(),
                nxt: flight.nxt(),
                window: *peer,
                small_end: *small_end,
                bytes: queue.bytes(),
            },
            receiving: Receiving {
                window: *window,
                unread: ring.bytes(),
                ranges: assembler
                    .as_ref()
                    .map_or_else(Vec::new, |board| board.bytes()),
                fin_at: *fin_at,
                ack_owed: ack.is_owed() || flags.contains(Flags::USER_TIMEOUT_DUE),
                last_ack_sent: *last_ack_sent,
            },
            cc: cc.kept(),
            ecn: ecn.kept(),
            rtt: *rtt,
            backoff: *backoff,
            retries: *retries,
            keepalives: *keepalives,
            reorder: flight.reordering(),
            ts_offset: *ts_offset,
            ts_recent: *ts_recent,
            ts_recent_at_secs: *ts_recent_at_secs,
            last_sent: *last_sent,
            last_heard: *last_heard,
            life: timers.life,
            user: timers.user,
            deliver_to: *deliver_to,
            stats: stats.clone(),
            segments: *segments,
            send_times: send_times.rest(self.last_active()),
            hinted_ssthresh: *hinted_ssthresh,
            proven_mss: *proven_mss,
            least_mss: *least_mss,
        }
    }
}

/// Checkpoints.
impl Tcp {
    /// Returns the connection as plain data; `None` if its handshake is not done, or nothing is left of it but an error.
    /// The connection stays as it is: whoever restores the checkpoint takes its place.
    pub fn checkpoint(&self) -> Option<TcpCheckpoint> {
        match &self.stage {
            Stage::Open(tcb) if tcb.phase != Phase::Closed => Some(tcb.checkpoint()),
            Stage::Resting(resting) => Some(resting.clone().wake().checkpoint()),
            _ => None,
        }
    }
}

/// Length of the pieces that restored bytes are kept in: memory comes back as they are used.
const PIECE_BYTES: usize = 32 << 10;

/// Cuts bytes into pieces, which share their memory.
fn pieces(bytes: &Bytes) -> impl Iterator<Item = Payload> {
    let starts = (0..bytes.len()).step_by(PIECE_BYTES);
    starts.map(|start| Payload::from(bytes.slice(start..bytes.len().min(start + PIECE_BYTES))))
}
