//! What a connection tells its owner: readiness, errors, numbers.

use core::time::Duration;

use super::segment::SegmentOut;
use crate::base::DropReason;

bitflags::bitflags! {
    /// What changed for the application or for the owner of the connection.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
    pub struct Readiness: u16 {
        /// There is something new to read: bytes, the end of the stream, or an error.
        const READABLE = 1;
        /// Room for sending again, after `send` took less than it was offered; or an error.
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

/// What one received segment led to.
#[derive(Clone, Debug, Default)]
pub struct SegmentOutcome {
    /// What changed.
    pub readiness: Readiness,
    /// Why the segment (or its text) was discarded, if it was.
    pub drop: Option<DropReason>,
    /// A reply that does not come from the connection's own state (a reset for a bad ACK during the
    /// handshake). Send it as it is.
    pub rst: Option<SegmentOut>,
}

impl SegmentOutcome {
    /// A segment that changed no more than this.
    pub(super) fn of(readiness: Readiness) -> Self {
        Self {
            readiness,
            ..Self::default()
        }
    }

    /// A segment that was discarded without any effect on the application.
    pub(super) fn dropped(reason: DropReason) -> Self {
        Self {
            drop: Some(reason),
            ..Self::default()
        }
    }
}

/// Why a destination cannot be reached, as ICMP reports it (RFC 1122 section 3.2.2.1, RFC 4443
/// section 3.1).
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
    /// Will pass, perhaps: net or host unreachable, time exceeded, source route failed.
    Soft(Unreachable),
    /// Will not pass: protocol or port unreachable, administratively prohibited.
    Hard(Unreachable),
}

/// How a connection ended, other than by two FINs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, thiserror::Error)]
pub enum TcpError {
    /// The peer answered our SYN with a reset.
    #[error("connection refused")]
    Refused,
    /// The peer reset the connection.
    #[error("connection reset by peer")]
    Reset,
    /// Nothing came back for all retransmissions or probes.
    #[error("connection timed out")]
    TimedOut,
    /// The network said that the peer cannot be reached.
    #[error("destination unreachable: {0:?}")]
    Unreachable(Unreachable),
    /// Our side aborted the connection.
    #[error("connection aborted")]
    Aborted,
}

/// Where a connection stands in the state diagram of RFC 9293 section 3.3.2. LISTEN is not a
/// connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum State {
    /// SYN sent, nothing heard.
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

/// What a connection had to send again, counted from its beginning.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Losses {
    /// Segments retransmitted (wire segments, as cut at the MSS).
    pub retransmits: u32,
    /// Retransmission timeouts.
    pub timeouts: u32,
}

/// Numbers of one connection, for people and tools.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TcpInfo {
    /// State.
    pub state: State,
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
    /// Bytes of that which the peer reported received out of order.
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
    /// Retransmission timeouts.
    pub timeouts: u32,
    /// Fast recoveries.
    pub recoveries: u32,
    /// Recoveries and timeouts that turned out to be needless, and were taken back.
    pub undone: u32,
    /// Bytes received out of order that wait for a gap to close.
    pub out_of_order: u32,
}
