//! TCP connections as pure state machines (RFC 9293).
//!
//! A [`Tcp`] is one connection. It knows no address, no port, no clock and no device: time, randomness
//! and segments are arguments. So the same code runs on the machine's clock and on virtual time.
//!
//! ```text
//!   connect ──> SynSent ──────────────> Tcb (phase: ESTABLISHED … CLOSED)
//!                  │  SYN                ^
//!                  v                     │
//!   accept ──> SynReceived ──────────────┘
//! ```
//!
//! Before both sequence spaces are agreed on, a state is a type that is consumed by the segment that
//! ends it (`handshake`); afterwards it is a row of one table (`phase`). Segments may be
//! super-segments of up to 64 KiB in both directions; everything counts bytes.
//!
//! # The five entries
//!
//! 1. [`on_segment`](Tcp::on_segment) takes a received [`Segment`].
//! 2. [`on_timeout`](Tcp::on_timeout) handles the timers that are due.
//! 3. [`poll_transmit`](Tcp::poll_transmit) returns the next segment to send.
//! 4. Reading: [`recv_chunk`](Tcp::recv_chunk) and [`recv_consume`](Tcp::recv_consume), or
//!    [`recv_pop`](Tcp::recv_pop).
//! 5. Writing: [`send`](Tcp::send), [`send_payload`](Tcp::send_payload), [`close`](Tcp::close),
//!    [`close_recv`](Tcp::close_recv) and [`abort`](Tcp::abort).
//!
//! Entries that need the time take a [`Context`]: an [`Instant`](crate::base::Instant), and perhaps a
//! [`Subscriber`], which gets every [`Event`] of the call.
//!
//! # The driver's contract
//!
//! The owner of a connection drives it in turns:
//!
//! * A new connection has a SYN or SYN-ACK to send: its first turn comes at once.
//! * After any entry but `poll_transmit`, the connection may have something to send and its timer may
//!   have changed. At the end of the turn, call `poll_transmit` until it returns `None`, then
//!   [`poll_timeout`](Tcp::poll_timeout), and call `on_timeout` at that time. One turn may take many
//!   segments; they are acknowledged together.
//! * `on_segment` and `on_timeout` return the [`Readiness`] that concerns the application. A reset in
//!   [`SegmentOutcome::rst`] is sent as it is.
//! * A connection that is idle gives memory back if its owner calls [`rest`](Tcp::rest) at the time that
//!   [`rest_at`](Tcp::rest_at) returns. That is no duty.
//! * After reading, [`wants_transmit`](Tcp::wants_transmit) says if a turn is worth the effort: only
//!   some reads make a window update due.
//! * [`is_gone`](Tcp::is_gone) says that the connection needs no more turns. Segments that still come
//!   for it are segments for the port. In TIME-WAIT, [`time_wait_reuse`](Tcp::time_wait_reuse) says
//!   the same of a new SYN.
//!
//! # Errors, as the application sees them
//!
//! They are as on Linux: when a reset comes, bytes that had been received in order stay readable; then
//! the error shows once, then the end of the stream. Bytes that were not acknowledged are dropped, and
//! nothing more can be written.
//!
//! # Where to look
//!
//! | Subject | Module |
//! |---|---|
//! | segments that are out of window, challenge ACKs, PAWS | `input::acceptable` |
//! | acknowledgments, round-trip samples, spurious timeouts | `input::ack` |
//! | payload and the out-of-order queue | `input::data`, `recv::assembler` |
//! | fast retransmit, limited transmit, SACK recovery | `send::inflight`, `reorder` |
//! | congestion control | `cc` |
//! | explicit congestion notification | `ecn` |
//! | the Nagle algorithm, silly windows, zero window probes | `output::select` |
//! | delayed ACKs | `output::delayed_ack` |
//! | the rate limit of challenge ACKs | `reply_limit` |
//! | retransmission, persist and keepalive timers, the end of TIME-WAIT | `timeout` |
//! | reading and writing | `stream` |
//! | closing, aborting, failing | `ending` |
//! | TIME-WAIT, and its reuse by a new connection | `time_wait`, `reuse` |
//! | an idle connection gives its memory back | `rest` |
//! | a connection goes on in another process | `checkpoint` |
//! | what a connection gives up when memory is short | `memory` |
//! | ICMP errors, path MTU | `icmp_error` |
//! | the search for the path MTU where nobody reports it | `path_search`, `send::inflight::mtu_probe` |
//! | what is remembered of a path for the next connection | `metrics` |
//! | the time for which it had something to send, and what held it back | `send_times` |
//! | data with a SYN, and its cookies (TCP Fast Open) | `handshake::early`, `fast_opened`, `fast_open_cache` |

mod block;
mod cc;
mod checkpoint;
mod concat;
mod context;
mod ecn;
mod ending;
mod event;
mod fast_open_cache;
mod handshake;
mod icmp_error;
mod info;
mod input;
mod invariants;
mod isn;
mod memory;
mod metrics;
mod outcome;
mod output;
mod path_search;
mod phase;
mod recv;
mod reorder;
mod reply_limit;
mod rest;
mod reuse;
mod rto;
mod rtt;
mod segment;
mod send;
mod send_times;
mod seq;
mod settings;
mod socket;
mod sockopt;
mod stats;
mod stream;
mod tcb;
mod time_wait;
mod timeout;
mod timers;
mod user_timeout;

#[cfg(test)]
mod tests;

pub use crate::base::congestion;
pub use crate::base::congestion::Algorithm;
pub(crate) use block::BLOCK_BYTES;
pub use cc::UnknownAlgorithm;
pub use checkpoint::{RestoreError, TcpCheckpoint};
pub use context::Context;
pub use ecn::EcnMode;
pub use event::{Event, LossRule, MssChange, Recovery, Spurious, Subscriber, WindowChange};
pub use fast_open_cache::FastOpenCache;
pub use handshake::{
    Answer, COOKIE_LIFE, CookieCheck, CookieFlow, CookieSecrets, FAST_OPEN_KEY_LIFE, FastAccept,
    FastConnect, FastOpenNews, FastOpenPlace, FastOpenQueue, FastOpenSecrets, HalfOpen,
    NotRecalled, Step,
};
pub use isn::IsnGenerator;
pub use metrics::{MetricsCache, PathMetrics};
pub use outcome::{
    AgreedOptions, IcmpError, Losses, Readiness, RecoveryStage, SegmentOutcome, State, TcpError,
    TcpInfo, Unreachable,
};
pub use path_search::{PathLimits, PathNews};
pub use reuse::Reuse;
pub use segment::{Ports, Reset, Segment, SegmentOut, reset_for};
pub use seq::SeqNum;
pub use socket::{Open, Tcp};
pub use time_wait::{TimeWait, TimeWaitStep};

use block::Block;
use handshake::{FastOpened, SynReceived, SynSent};
use rest::Resting;

/// The stage of a connection: a state of the handshake by value, then its control block.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "most connections rest, and a box for that would cost each of them an allocation"
)]
enum Stage {
    SynSent(SynSent),
    SynReceived(SynReceived),
    Open(Box<Block>),
    /// Open for the application, by a SYN with data; ours is not acknowledged.
    FastOpened(Box<FastOpened>),
    /// Open, and nothing happens.
    Resting(Resting),
    /// Ended before it was open.
    Closed {
        error: Option<TcpError>,
        reset: Option<Box<SegmentOut>>,
    },
}

impl Stage {
    fn closed(error: Option<TcpError>, reset: Option<SegmentOut>) -> Self {
        Self::Closed {
            error,
            reset: reset.map(Box::new),
        }
    }
}
