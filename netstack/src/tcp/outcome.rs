//! Results that a connection reports to its owner: readiness, errors, counters.

use core::time::Duration;

use super::ecn::EcnMode;
use super::segment::Reset;
use super::seq::SeqNum;
use crate::base::{DropReason, Instant};

bitflags::bitflags! {
    /// Changes that concern the application or the owner of the connection.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
    pub struct Readiness: u16 {
        /// There is something new to read: bytes, the end of the stream, or an error.
        const READABLE = 1;
        /// There is room again, after `send` took less than it was offered; or an error.
        const WRITABLE = 1 << 1;
        /// The handshake is done.
        const ESTABLISHED = 1 << 2;
        /// The peer sent its FIN: no more bytes than those queued will come.
        const PEER_CLOSED = 1 << 3;
        /// The connection ended in an error; [`Tcp::error`](super::Tcp::error) says which.
        const ERROR = 1 << 4;
        /// The connection is CLOSED (or in TIME-WAIT: nothing more happens for the application).
        const CLOSED = 1 << 5;
    }
}

/// The result of one received segment.
#[derive(Clone, Debug, Default)]
pub struct SegmentOutcome {
    /// Changes that the segment made.
    pub readiness: Readiness,
    /// Reason for which the segment, or its payload, was discarded.
    pub drop: Option<DropReason>,
    /// A reply that does not come from the state of the connection, such as a reset for a bad ACK
    /// during the handshake. It is sent as it is.
    pub rst: Option<Reset>,
}

impl SegmentOutcome {
    /// Creates the result of a segment that was taken.
    pub(super) fn of(readiness: Readiness) -> Self {
        Self {
            readiness,
            ..Self::default()
        }
    }

    /// Creates the result of a segment that was discarded.
    pub(super) fn dropped(reason: DropReason) -> Self {
        Self {
            drop: Some(reason),
            ..Self::default()
        }
    }
}

/// Reasons for which a destination is unreachable, as ICMP reports them (RFC 1122 section 3.2.2.1,
/// RFC 4443 section 3.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Unreachable {
    /// No route to the network.
    Network,
    /// No route to the host.
    Host,
    /// The host does not speak TCP.
    Protocol,
    /// The host has nothing on that port.
    Port,
    /// Forbidden by a filter.
    Prohibited,
    /// Anything else, time exceeded in transit included.
    Other,
}

/// An ICMP error about a connection, judged as RFC 1122 section 4.2.3.9 does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum IcmpError {
    /// A condition that may pass: net or host unreachable, time exceeded, source route failed.
    Soft(Unreachable),
    /// A condition that lasts: protocol or port unreachable, administratively prohibited (RFC 5927 section 5.1).
    Hard(Unreachable),
}

/// Errors that end a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, thiserror::Error)]
pub enum TcpError {
    /// The peer answered our SYN with a reset.
    #[error("connection refused")]
    Refused,
    /// The peer reset the connection.
    #[error("connection reset by peer")]
    Reset,
    /// No answer came to all retransmissions or probes.
    #[error("connection timed out")]
    TimedOut,
    /// The network said that the peer cannot be reached.
    #[error("destination unreachable: {0:?}")]
    Unreachable(Unreachable),
    /// Our side aborted the connection.
    #[error("connection aborted")]
    Aborted,
    /// The stack was out of memory, of which the connection held much without making progress.
    #[error("connection aborted because the stack is out of memory")]
    OutOfMemory,
    /// There were as many connections as there may be, and another peer needed the place.
    #[error(
        "connection aborted to make room for another: max_connections is reached, and its peer has many, or it was \
         idle"
    )]
    Displaced,
}

/// The states of RFC 9293 section 3.3.2, without LISTEN, which is not a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum State {
    /// SYN sent, no answer yet.
    SynSent,
    /// SYN received, our SYN not yet acknowledged.
    SynReceived,
    /// Open in both directions.
    Established,
    /// We closed; our FIN is not acknowledged.
    FinWait1,
    /// We closed and that is acknowledged; the peer may still send.
    FinWait2,
    /// The peer closed; we may still send.
    CloseWait,
    /// Both closed at once; our FIN is not acknowledged.
    Closing,
    /// The peer closed, then we did; our FIN is not acknowledged.
    LastAck,
    /// Both closed; waiting for stray segments to die.
    TimeWait,
    /// No connection.
    Closed,
}

impl State {
    /// Returns true if both sides know each other's sequence numbers (RFC 9293 section 3.3.2).
    pub fn is_synchronised(self) -> bool {
        !matches!(self, Self::SynSent | Self::SynReceived | Self::Closed)
    }
}

/// Counts of retransmissions, from the beginning of the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Losses {
    /// Segments retransmitted (wire segments, as cut at the MSS).
    pub retransmits: u32,
    /// Retransmission timeouts.
    pub timeouts: u32,
}

/// The stage of loss recovery.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub enum RecoveryStage {
    /// No loss is known.
    #[default]
    None,
    /// Fast recovery: lost bytes are sent again.
    Fast,
    /// A retransmission timeout occurred, and not everything sent before it is acknowledged.
    Timeout,
}

/// Options that both ends of a connection use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct AgreedOptions {
    /// Timestamps (RFC 7323).
    pub timestamps: bool,
    /// Selective acknowledgments (RFC 2018).
    pub sack: bool,
    /// Shift of the windows that the peer offers (RFC 7323); zero: they are not scaled.
    pub send_scale: u8,
    /// Shift of the windows that we offer.
    pub recv_scale: u8,
}

/// Counters and state of one connection, for people and tools. Those of the end stay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct TcpInfo {
    /// State.
    pub state: State,
    /// Stage of loss recovery.
    pub recovery: RecoveryStage,
    /// Least round-trip time of the last minutes; zero: not measured yet.
    pub min_rtt: Duration,
    /// Pace at which segments are sent, in bytes per second; `None`: as fast as the window allows.
    pub pacing_rate: Option<u64>,
    /// Rate at which the last bytes arrived at the peer, in bytes per second; `None`: not measured yet.
    pub delivery_rate: Option<u64>,
    /// Bytes found to be lost and not sent again yet.
    pub lost: u32,
    /// The path has reordered segments.
    pub reordering: bool,
    /// Bytes that the application wrote and that were not sent yet.
    pub unsent: u32,
    /// Bytes received in order that the application has not read.
    pub unread: u32,
    /// When a segment was last received.
    pub last_heard: Instant,
    /// When data was last sent; `Instant::ZERO`: never.
    pub last_sent: Instant,
    /// Smoothed round-trip time; zero: not measured yet.
    pub srtt: Duration,
    /// Its mean deviation.
    pub rttvar: Duration,
    /// Retransmission timeout, back-off included.
    pub rto: Duration,
    /// Congestion window, in bytes.
    pub cwnd: u32,
    /// Slow start threshold, in bytes.
    pub ssthresh: u32,
    /// Payload bytes of a full segment that we send.
    pub mss: u16,
    /// Bytes sent and not acknowledged.
    pub in_flight: u32,
    /// Sequence number of the first byte that is not acknowledged (SND.UNA).
    pub first_unacked: SeqNum,
    /// Bytes of those in flight that the peer SACKed.
    pub sacked: u32,
    /// The peer's window, in bytes.
    pub send_window: u32,
    /// The window that we offer, in bytes.
    pub recv_window: u32,
    /// Receive buffer as autotuned, in bytes.
    pub recv_buffer: u32,
    /// Payload bytes received in order.
    pub bytes_in: u64,
    /// Payload bytes acknowledged by the peer.
    pub bytes_out: u64,
    /// Segments retransmitted (wire segments, as cut at the MSS).
    pub retransmits: u32,
    /// Payload bytes of them.
    pub bytes_resent: u64,
    /// Bytes sent again that are in flight.
    pub resent_in_flight: u32,
    /// Retransmission timeouts.
    pub timeouts: u32,
    /// Series of timeouts: those without an acknowledgment between them are one.
    pub timeout_series: u32,
    /// Time between the first timeout of a series and the acknowledgment that ended it, of all series.
    pub timeout_time: Duration,
    /// Timeouts, or probes of a closed window, since the peer last acknowledged something.
    pub timeouts_in_row: u8,
    /// Keepalive probes that were not answered.
    pub keepalive_probes: u8,
    /// Fast recoveries.
    pub recoveries: u32,
    /// Spurious recoveries and timeouts, which were undone.
    pub undone: u32,
    /// Segments received, modulo 2^32, the first SYN included. All counts of segments are of those on the wire.
    pub segments_in: u32,
    /// Segments sent, modulo 2^32, the first SYN included.
    pub segments_out: u32,
    /// Segments received that had payload, modulo 2^32.
    pub data_segments_in: u32,
    /// Segments sent that had payload, modulo 2^32.
    pub data_segments_out: u32,
    /// Segments that the peer has, as far as its acknowledgments tell, modulo 2^32, the first SYN included. What one acknowledgment
    /// tells is counted in full segments, the last of them perhaps shorter.
    pub delivered: u32,
    /// Acknowledgments that reported the arrival of a duplicate (RFC 2883).
    pub duplicates_reported: u32,
    /// Acknowledgments that showed reordering: something sent once arrived after something sent later.
    pub reorderings: u32,
    /// Segments received ahead of a gap.
    pub out_of_order_segments: u32,
    /// Time for which there was something to send, or to be acknowledged.
    pub busy: Duration,
    /// Time of that for which the peer's window was the limit.
    pub recv_window_limited: Duration,
    /// Time of that for which the send buffer was the limit: the application had more to send.
    pub send_buffer_limited: Duration,
    /// Data of a SYN was taken, by this end or by the peer (RFC 7413).
    pub syn_data: bool,
    /// The options that both SYNs agreed on: timestamps, selective acknowledgments, window scaling.
    pub agreed: AgreedOptions,
    /// Language of the feedback about congestion marks.
    pub ecn: EcnMode,
    /// Packets that arrived with a congestion mark.
    pub received_ce: u32,
    /// Packets of ours that were marked, as far as the peer's feedback tells.
    pub delivered_ce: u32,
    /// Bytes of ours that arrived with ECT(0), with a mark and with ECT(1), if the peer's option tells.
    pub delivered_ect0_bytes: u32,
    /// See `delivered_ect0_bytes`.
    pub delivered_ce_bytes: u32,
    /// See `delivered_ect0_bytes`.
    pub delivered_ect1_bytes: u32,
    /// Bytes received out of order that wait for a gap to close.
    pub out_of_order: u32,
    /// Memory for packets that the connection keeps others from using, in bytes.
    pub memory: usize,
}
