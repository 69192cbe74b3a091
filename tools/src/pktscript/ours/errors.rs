//! Errors of sockets by the names that scripts use.

use std::io;

use crate::pktscript::host::Returned;

/// Returns the name of an error.
pub(super) fn name(error: &io::Error) -> Option<&'static str> {
    Some(match error.kind() {
        io::ErrorKind::WouldBlock => "EAGAIN",
        io::ErrorKind::ConnectionRefused => "ECONNREFUSED",
        io::ErrorKind::ConnectionReset => "ECONNRESET",
        io::ErrorKind::ConnectionAborted => "ECONNABORTED",
        io::ErrorKind::TimedOut => "ETIMEDOUT",
        io::ErrorKind::HostUnreachable => "EHOSTUNREACH",
        io::ErrorKind::NetworkUnreachable => "ENETUNREACH",
        io::ErrorKind::BrokenPipe => "EPIPE",
        io::ErrorKind::NotConnected => "ENOTCONN",
        io::ErrorKind::AddrInUse => "EADDRINUSE",
        io::ErrorKind::AddrNotAvailable => "EADDRNOTAVAIL",
        io::ErrorKind::InvalidInput => "EINVAL",
        io::ErrorKind::OutOfMemory => "ENOMEM",
        io::ErrorKind::PermissionDenied => "EACCES",
        _ => return None,
    })
}

/// Returns an error as the result of a call.
pub(super) fn returned(error: &io::Error) -> Returned {
    match name(error) {
        Some(name) => Returned::Error(name),
        None => Returned::Unsupported(format!("an error of kind {:?}", error.kind())),
    }
}

/// Returns the result of a call that returns 0.
pub(super) fn done(result: io::Result<()>) -> Returned {
    match result {
        Ok(()) => Returned::Value(0, Vec::new()),
        Err(error) => returned(&error),
    }
}
