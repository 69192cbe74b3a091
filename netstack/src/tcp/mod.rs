//! One TCP connection: pure state machines (RFC 9293).
//!
//! [`Tcp`] knows no address, no port, no clock and no device. It is driven by five entries:
//! [`on_segment`](Tcp::on_segment), [`on_timeout`](Tcp::on_timeout),
//! [`poll_transmit`](Tcp::poll_transmit), reading and writing; and it is the same code on the
//! machine's clock and on virtual time.
//!
//! ```text
//!   connect ──> SynSent ──────────────> Tcb (phase: ESTABLISHED … CLOSED)
//!                  │  SYN                ^
//!                  v                     │
//!   accept ──> SynReceived ──────────────┘
//! ```
//!
//! Before both sequence spaces are agreed upon, a state is a type that is consumed by the segment
//! that ends it ([`handshake`]); afterwards it is a row of one table ([`phase`]).
//!
//! Segments may be super-segments of up to 64 KiB in both directions. Everything counts bytes.
//!
//! # Errors, as the application sees them
//!
//! As programs expect it from Linux: when a reset comes, bytes that had been received in order stay
//! readable; then the error shows once, then the end of the stream. Bytes that were not
//! acknowledged are dropped, and nothing more can be written.

mod cc;
mod context;
mod event;
mod handshake;
mod info;
mod input;
mod invariants;
mod isn;
mod outcome;
mod output;
mod phase;
mod recv;
mod reorder;
mod reuse;
mod rto;
mod rtt;
mod segment;
mod send;
mod seq;
mod settings;
mod socket;
mod sockopt;
mod tcb;
mod timeout;
mod timers;

#[cfg(test)]
mod tests;

pub use cc::Algorithm;
pub use context::Context;
pub use event::{Event, LossRule, Recovery, Subscriber, WindowChange};
pub use isn::IsnGenerator;
pub use outcome::{
    IcmpError, Losses, Readiness, SegmentOutcome, State, TcpError, TcpInfo, Unreachable,
};
pub use reuse::Reuse;
pub use segment::{Ports, Segment, SegmentOut, reset_for};
pub use seq::SeqNum;
pub use socket::{Open, Tcp};

use handshake::{SynReceived, SynSent};
use tcb::Tcb;

/// Where a connection stands: the handshake's states by value, then `Tcb`.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every connection is open; a box would cost each of them an allocation"
)]
enum Stage {
    SynSent(SynSent),
    SynReceived(SynReceived),
    Open(Tcb),
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
