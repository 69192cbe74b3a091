//! The errors of a UDP socket: those that ICMP reports about its peer, and those of requests to send.
//!
//! Sections: RFC 1122 section 4.1.3.3 (every ICMP error reaches the application).

use crate::icmp::ErrorKind;

/// An ICMP error about a peer (RFC 1122 section 4.1.3.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SocketError {
    /// No socket listens on the peer's port.
    #[error("connection refused")]
    Refused,
    /// The peer's host cannot be reached.
    #[error("host unreachable")]
    HostUnreachable,
    /// The peer's network cannot be reached.
    #[error("network unreachable")]
    NetUnreachable,
    /// A router or the peer prohibits it.
    #[error("administratively prohibited")]
    Prohibited,
    /// The datagram exceeded the path MTU.
    #[error("datagram larger than the path's MTU of {mtu} bytes")]
    TooBig {
        /// The path MTU, in bytes.
        mtu: u16,
    },
    /// A router or the peer did not understand a header field.
    #[error("parameter problem")]
    Protocol,
    /// There were as many flows as there may be, and another peer needed the place: no ICMP error.
    #[error(
        "this flow made room for another: there are as many as there may be, and its peer has many"
    )]
    Displaced,
    /// The flow was idle for longer than its listener allows. Not an ICMP error.
    #[error("this flow was idle for longer than its listener allows")]
    Idle,
}

/// The reason why a datagram cannot be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SendError {
    /// No destination was given, and the socket is not connected.
    #[error("no destination: connect the socket, or pass one")]
    NotConnected,
    /// The destination is of another address family than the socket.
    #[error("destination is of another address family than the socket: use a socket of its family")]
    Family,
    /// The destination port is 0.
    #[error("destination port is 0: choose a port from 1 to 65535")]
    PortZero,
    /// The payload exceeds the largest datagram.
    #[error("{len} bytes do not fit in a datagram: send at most {max}")]
    TooLong {
        /// Length of the payload, in bytes.
        len: usize,
        /// Largest payload, in bytes.
        max: usize,
    },
}

impl From<ErrorKind> for SocketError {
    /// Converts an ICMP error for the sender of a datagram.
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::PortUnreachable => Self::Refused,
            ErrorKind::HostUnreachable | ErrorKind::TimeExceeded => Self::HostUnreachable,
            ErrorKind::NetUnreachable => Self::NetUnreachable,
            ErrorKind::AdminProhibited => Self::Prohibited,
            ErrorKind::PacketTooBig { mtu } => Self::TooBig {
                mtu: u16::try_from(mtu).unwrap_or(u16::MAX),
            },
            ErrorKind::ProtocolUnreachable
            | ErrorKind::ParameterProblem
            | ErrorKind::Unknown { .. } => Self::Protocol,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_reported() {
        let cases = [
            (ErrorKind::PortUnreachable, SocketError::Refused),
            (ErrorKind::TimeExceeded, SocketError::HostUnreachable),
            (ErrorKind::NetUnreachable, SocketError::NetUnreachable),
            (ErrorKind::AdminProhibited, SocketError::Prohibited),
            (
                ErrorKind::PacketTooBig { mtu: 1280 },
                SocketError::TooBig { mtu: 1280 },
            ),
            (
                ErrorKind::PacketTooBig { mtu: u32::MAX },
                SocketError::TooBig { mtu: u16::MAX },
            ),
            (ErrorKind::ProtocolUnreachable, SocketError::Protocol),
            (
                ErrorKind::Unknown { kind: 99, code: 0 },
                SocketError::Protocol,
            ),
        ];
        for (kind, expected) in cases {
            assert_eq!(SocketError::from(kind), expected);
        }
    }
}
