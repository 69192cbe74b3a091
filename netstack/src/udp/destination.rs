//! The destination of a datagram that is to be sent.

use core::net::SocketAddr;

use super::error::SendError;

/// Largest payload of a datagram over IPv4, in bytes: 65,535 less both headers.
pub const MAX_PAYLOAD_V4: usize = 65_507;
/// Largest payload of a datagram over IPv6, in bytes: 65,535 less the UDP header.
pub const MAX_PAYLOAD_V6: usize = 65_527;

/// Checks that a datagram of `len` bytes of payload may be sent from `source`, and returns its destination.
///
/// # Errors
/// A [`SendError`] if it may not: there is no destination, it is of another family or has no port, or the datagram
/// is too long.
pub fn check_destination(
    source: SocketAddr,
    to: Option<SocketAddr>,
    len: usize,
) -> Result<SocketAddr, SendError> {
    let to = to.ok_or(SendError::NotConnected)?;
    let max = match (source, to) {
        (SocketAddr::V4(_), SocketAddr::V4(_)) => MAX_PAYLOAD_V4,
        // An IPv4 address in IPv6 form is no destination of an IPv6 packet.
        (SocketAddr::V6(_), SocketAddr::V6(to)) if to.ip().to_ipv4_mapped().is_none() => {
            MAX_PAYLOAD_V6
        }
        _ => return Err(SendError::Family),
    };
    if to.port() == 0 {
        return Err(SendError::PortZero);
    }
    if len > max {
        return Err(SendError::TooLong { len, max });
    }
    Ok(to)
}
