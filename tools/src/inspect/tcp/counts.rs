//! The marks of special segments, and their counts.

use serde::Serialize;

use crate::inspect::rtt::RoundTrips;

/// How a segment relates to those before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// Sent again after duplicate acknowledgments.
    FastRetransmission,
    /// Sent again although it had been acknowledged.
    SpuriousRetransmission,
    /// Sent again.
    Retransmission,
    /// Sent in order, arrived later than its successor.
    OutOfOrder,
    /// A segment before it was not captured.
    LostSegment,
    /// Acknowledges the same as before, with the same window.
    DuplicateAck,
    /// Acknowledges what was not captured.
    AckedUnseen,
    /// Offers no window.
    ZeroWindow,
    /// One byte beyond a window of zero.
    ZeroWindowProbe,
    /// The answer to that.
    ZeroWindowProbeAck,
    /// Asks whether the peer is there.
    KeepAlive,
    /// The answer to that.
    KeepAliveAck,
    /// Offers another window.
    WindowUpdate,
    /// Fills the peer's window.
    WindowFull,
}

impl Mark {
    /// Returns its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::FastRetransmission => "fast retransmission",
            Self::SpuriousRetransmission => "spurious retransmission",
            Self::Retransmission => "retransmission",
            Self::OutOfOrder => "out of order",
            Self::LostSegment => "previous segment not captured",
            Self::DuplicateAck => "duplicate ACK",
            Self::AckedUnseen => "acknowledges what was not captured",
            Self::ZeroWindow => "zero window",
            Self::ZeroWindowProbe => "zero window probe",
            Self::ZeroWindowProbeAck => "answer to a zero window probe",
            Self::KeepAlive => "keep-alive",
            Self::KeepAliveAck => "answer to a keep-alive",
            Self::WindowUpdate => "window update",
            Self::WindowFull => "window full",
        }
    }
}

/// Counts of one direction of a connection.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Counts {
    /// Bytes of payload.
    pub payload_bytes: u64,
    /// Segments with payload.
    pub data_segments: u64,
    /// Segments sent again, for whatever reason.
    pub retransmissions: u64,
    /// Those after duplicate acknowledgments.
    pub fast_retransmissions: u64,
    /// Those that had been acknowledged.
    pub spurious_retransmissions: u64,
    /// Bytes of payload sent again.
    pub retransmitted_bytes: u64,
    /// Segments out of order.
    pub out_of_order: u64,
    /// Duplicate acknowledgments.
    pub duplicate_acks: u64,
    /// Segments that offer no window.
    pub zero_windows: u64,
    /// Probes of a window of zero.
    pub zero_window_probes: u64,
    /// Segments that fill the peer's window.
    pub window_fulls: u64,
    /// Keep-alive probes.
    pub keep_alives: u64,
    /// Places where segments were not captured.
    pub lost_segments: u64,
    /// Bytes that were never captured.
    pub missing_bytes: u64,
    /// Acknowledgments of what was not captured.
    pub acked_unseen: u64,
    /// SYNs.
    pub syns: u64,
    /// FINs.
    pub fins: u64,
    /// Resets.
    pub resets: u64,
    /// Smallest and largest window, in bytes, outside of the handshake.
    pub window_min: Option<u64>,
    /// See `window_min`.
    pub window_max: u64,
    /// Most bytes in flight.
    pub flight_max: u64,
    /// Maximum segment size of its SYN.
    pub mss: Option<u16>,
    /// Window scale of its SYN.
    pub window_scale: Option<u8>,
    /// SACK permitted in its SYN.
    pub sack_permitted: bool,
    /// Time stamps in its SYN or later.
    pub timestamps: bool,
    /// Selective acknowledgments.
    pub sacks: u64,
    /// Round-trip times from its data to the peer's acknowledgment.
    pub round_trips: RoundTrips,
}

/// The marks of one segment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Marks(pub(super) Vec<Mark>);

impl Marks {
    /// Returns the marks.
    pub fn all(&self) -> &[Mark] {
        &self.0
    }

    pub(super) fn has(&self, mark: Mark) -> bool {
        self.0.contains(&mark)
    }

    /// Returns true if the segment was sent before.
    pub fn is_retransmission(&self) -> bool {
        self.has(Mark::Retransmission)
            || self.has(Mark::FastRetransmission)
            || self.has(Mark::SpuriousRetransmission)
    }
}
