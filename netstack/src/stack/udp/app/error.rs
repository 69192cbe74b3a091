//! The errors of an application's calls.

use std::io;

use crate::udp::SocketError;

/// Returns the I/O error for what a socket has to report.
pub(super) fn io_error(error: SocketError) -> io::Error {
    let kind = match error {
        SocketError::Refused => io::ErrorKind::ConnectionRefused,
        SocketError::HostUnreachable => io::ErrorKind::HostUnreachable,
        SocketError::NetUnreachable => io::ErrorKind::NetworkUnreachable,
        SocketError::Prohibited => io::ErrorKind::PermissionDenied,
        SocketError::TooBig { .. } => io::ErrorKind::InvalidInput,
        SocketError::Protocol => io::ErrorKind::Other,
        SocketError::Displaced => io::ErrorKind::ConnectionAborted,
        SocketError::Idle => io::ErrorKind::TimedOut,
    };
    io::Error::new(kind, error)
}

/// Returns the error for arguments that cannot be.
pub(super) fn invalid(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}
