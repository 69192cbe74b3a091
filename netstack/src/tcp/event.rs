//! Typed events of a connection, for logs, tools and tests.
//!
//! Events are of the same kinds that qlog defines for QUIC: changes of state, loss and recovery, the
//! congestion window, flow control, discarded segments. [`Context`](super::Context) carries the
//! subscriber through a call.

use super::outcome::{State, TcpError};
use super::seq::SeqNum;
use crate::base::{DropReason, Instant};

/// Gets the events of a connection.
pub trait Subscriber {
    /// Handles one event that happened at `now`. Events come in the order in which they happen.
    fn on_event(&mut self, now: Instant, event: Event);
}

/// Keeps all events with their times.
impl Subscriber for Vec<(Instant, Event)> {
    fn on_event(&mut self, now: Instant, event: Event) {
        self.push((now, event));
    }
}

/// One thing that happened to a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Event {
    /// The connection went from one state of RFC 9293 section 3.3.2 to another. A connection begins
    /// in [`State::Closed`].
    StateChanged {
        /// The state until now.
        from: State,
        /// The state from now on.
        to: State,
    },
    /// A received segment, or its payload, was discarded.
    SegmentDropped {
        /// The reason, as it is counted.
        reason: DropReason,
    },
    /// A run of what is in flight is taken for lost and will be sent again.
    SegmentLost {
        /// Sequence number of its first byte.
        seq: SeqNum,
        /// Length in sequence space, in bytes.
        len: u32,
        /// The rule that says so.
        rule: LossRule,
    },
    /// The retransmission timer expired (RFC 6298).
    RetransmissionTimeout {
        /// Expiries in a row, this one included.
        count: u8,
    },
    /// Loss recovery begins, or a recovery of one kind becomes one of another kind.
    RecoveryEntered {
        /// The reason.
        kind: Recovery,
    },
    /// Loss recovery is over.
    RecoveryLeft,
    /// The last recovery or timeout was spurious: nothing had been lost, and the reduction of the
    /// congestion window is undone (RFC 4015).
    Undone {
        /// The evidence for it.
        evidence: Spurious,
    },
    /// Acknowledgments ceased, and the last segment or a new one was sent to provoke one (RFC 8985 section 7).
    TailLossProbe {
        /// Sequence number of its first byte.
        seq: SeqNum,
        /// Length in sequence space, in bytes.
        len: u32,
    },
    /// The congestion window or the slow start threshold changed.
    CongestionWindow {
        /// Congestion window, in bytes.
        cwnd: u32,
        /// Slow start threshold, in bytes.
        ssthresh: u32,
        /// The cause.
        reason: WindowChange,
    },
    /// The congestion control changed the rate at which it lets segments leave. Those without a rate of their own (CUBIC,
    /// NewReno) are paced by window and round trip: see [`TcpInfo::pacing_rate`](super::TcpInfo::pacing_rate).
    PacingRate {
        /// The rate, in bytes a second; `None`: as fast as the window allows.
        rate: Option<u64>,
    },
    /// The payload of a full segment that is sent has another size.
    MssChanged {
        /// The new size, in bytes, as in [`TcpInfo::mss`](super::TcpInfo::mss).
        mss: u16,
        /// The cause.
        reason: MssChange,
    },
    /// The peer says that packets of ours were marked by congestion (RFC 3168, RFC 9768).
    CongestionMarks {
        /// Packets, as far as the feedback tells: classic feedback says only that there are some.
        packets: u32,
    },
    /// The peer's window became zero.
    PeerWindowClosed,
    /// The peer's window is no longer zero.
    PeerWindowOpened {
        /// The window, in bytes.
        window: u32,
    },
    /// A zero window probe was sent (RFC 9293 section 3.8.6.1).
    PersistProbe,
    /// A keepalive probe was sent (RFC 9293 section 3.8.4).
    KeepaliveProbe {
        /// Probes since the peer was last heard, this one included.
        count: u8,
    },
    /// The connection ended with an error.
    Ended {
        /// The error that the application gets.
        error: TcpError,
    },
}

/// The evidence that makes bytes lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LossRule {
    /// Enough bytes above them were SACKed (IsLost of RFC 6675 section 4).
    Sacked,
    /// Three duplicate acknowledgments of a peer without SACK (RFC 5681 section 3.2).
    DuplicateAcks,
    /// A partial acknowledgment during a recovery without SACK (RFC 6582 section 3.2).
    PartialAck,
    /// Bytes that were sent later arrived, and the reordering window passed (RFC 8985 section 6.2).
    Overtaken,
    /// They were sent again, and then overtaken by what was sent later still.
    RetransmissionLost,
    /// The retransmission timer expired (RFC 6298 section 5.4).
    Timeout,
    /// They are in segments that are larger than the path carries (RFC 1191 section 6.5), or in a probe that is lost
    /// alone (RFC 4821 section 7.6.2).
    PathMtu,
}

/// The evidence that nothing had been lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Spurious {
    /// The first acknowledgment echoes the timestamp of an original (the Eifel detection of RFC 3522).
    Timestamp,
    /// After a timeout, what had never been sent again was acknowledged (F-RTO, RFC 5682).
    NeverResent,
    /// The peer reported each resent segment as a duplicate (RFC 3708).
    Duplicates,
}

/// A kind of loss recovery.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Recovery {
    /// Fast recovery, after a loss that acknowledgments showed.
    Fast,
    /// Slow start after a retransmission timeout.
    Timeout,
    /// Everything in flight is sent again in smaller segments; no sign of congestion.
    PathMtu,
}

/// The cause of a change of the size of segments.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MssChange {
    /// A report of a router, another MTU of the link, or what another connection found out.
    Path,
    /// Full-sized segments vanish, and nobody reports why (RFC 4821 section 7.7).
    BlackHole,
    /// They did not vanish: the timeouts were spurious.
    Spurious,
    /// A larger segment arrived, which was a probe (RFC 4821 section 7.6.1).
    Probe,
    /// The size from before a black hole was suspected is tried again, where no probe can be sent.
    Retry,
}

/// The cause of a change of the congestion window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WindowChange {
    /// Growth in slow start.
    SlowStart,
    /// Growth in congestion avoidance.
    CongestionAvoidance,
    /// A loss that acknowledgments showed.
    Loss,
    /// A retransmission timeout.
    Timeout,
    /// The end of a recovery: no burst may follow.
    Recovered,
    /// A spurious recovery or timeout was undone.
    Undone,
    /// The connection was idle (RFC 5681 section 4.1).
    Idle,
    /// Packets were marked by congestion (RFC 8511).
    Marks,
}
