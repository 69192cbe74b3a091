//! What a UDP socket reports: errors about its peer, and requests that cannot be met.
//!
//! Sections: RFC 1122 section 4.1.3.3 (every ICMP error reaches the application).

use crate::icmp::ErrorKind;

/// What an ICMP error told us about a peer (RFC 1122 section 4.1.3.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SocketError {
    /// Nobody listens on the peer's port.
    #[error("connection refused")]
    Refused,
    /// The peer's host cannot be reached.
    #[error("host unreachable")]
    HostUnreachable,
    /// The peer's network cannot be reached.
    #[error("network unreachable")]
    NetUnreachable,
    /// Something on the way forbids it.
    #[error("administratively prohibited")]
    Prohibited,
    /// The datagram was larger than the path carries.
    #[error("datagram larger than the path's MTU of {mtu} bytes")]
    TooBig {
        /// The path MTU, in bytes.
        mtu: u16,
    },
    /// A header field that somebody on the way did not understand.
    #[error("parameter problem")]
    Protocol,
}

/// Why a datagram cannot be sent as asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SendError {
    /// No destination given and the socket is not connected.
    #[error("no destination: connect the socket or name one")]
    NotConnected,
    /// The destination's family is not the socket's.
    #[error("destination is of another address family than the socket")]
    Family,
    /// Port 0 cannot be sent to.
    #[error("destination port is 0")]
    PortZero,
    /// Longer than a datagram can be.
    #[error("{len} bytes do not fit in a datagram: at most {max}")]
    TooLong {
        /// Bytes asked for.
        len: usize,
        /// Most that fit.
        max: usize,
    },
}

impl From<ErrorKind> for SocketError {
    /// What an ICMP error means to the sender of a datagram.
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
