//! ICMP and ICMPv6 of a host (RFC 792, RFC 1122 section 3.2.2, RFC 4443).
//!
//! Pure: it reads, decides and builds; what it says is counted, sent and believed elsewhere.
//!
//! | module | owns |
//! |---|---|
//! | [`inbound`] | messages sent to us: pings to answer, errors about what we sent |
//! | [`error`] | whether an error may be sent about a packet, and the error |
//! | [`limiter`] | how many |

pub mod error;
pub mod inbound;
pub mod limiter;
#[cfg(test)]
mod noise;
#[cfg(test)]
mod testing;

pub use inbound::{EchoPolicy, ErrorKind, Inbound, TransportError};
pub use limiter::IcmpLimiter;
