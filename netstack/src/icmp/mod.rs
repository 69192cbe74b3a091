//! ICMP and ICMPv6 of a host (RFC 792, RFC 1122 section 3.2.2, RFC 4443).
//!
//! Pure: it parses, decides and builds; the stack counts and sends.
//!
//! | module | content |
//! |---|---|
//! | [`inbound`] | received messages: echo requests, echo replies, and errors about sent packets |
//! | [`error`] | the permission to send an error about a packet, and the error |
//! | [`limiter`] | the rate limit of errors |

pub mod error;
pub mod inbound;
pub mod limiter;
#[cfg(test)]
mod noise;
#[cfg(test)]
mod testing;

pub use inbound::{ErrorKind, Inbound, TransportError};
pub use limiter::IcmpLimiter;
