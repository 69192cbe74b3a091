//! The TCP Authentication Option (TCP-AO, RFC 5925): segments that carry a code which only the holder of a key can compute.
//!
//! * **Define.** An [`AoKey`] is a master key with its parameters. A [`KeySet`] holds the keys of a socket. A [`Session`] is
//!   what one connection needs: which of the keys it sends with, the traffic keys that follow from them, and the sequence
//!   number extensions.
//! * **Enforce.** [`Session::verify`] changes nothing before the code of a segment is found right, and compares codes in
//!   constant time. A key that left the set verifies and signs nothing any more.
//! * **Consume.** The stack offers each segment of such a connection to its session before anything else sees it, and signs
//!   each one that leaves.
//!
//! | module | RFC |
//! |---|---|
//! | `algorithm` | the codes and the derivation of traffic keys (RFC 5926) |
//! | `key` | master key tuples and their sets (RFC 5925 section 3.1) |
//! | `wire` | the option in a segment, and the bytes that a code covers (sections 2.2 and 5.1) |
//! | `extension` | sequence number extensions (section 6.2) |
//! | `session` | the parameters of a connection (sections 4, 6.1, 7.4 and 7.5) |
//!
//! The module uses no locks, devices or time. Algorithms exist with the feature `tcp-ao` only: without it no key can be made.

mod algorithm;
mod extension;
mod key;
mod session;
#[cfg(all(test, feature = "tcp-ao"))]
mod tests;
#[cfg(all(test, feature = "tcp-ao"))]
mod vectors;
mod wire;

pub use algorithm::AoAlgorithm;
pub use key::{AoKey, AoKeyError, KeySet};
pub use session::{AoInfo, Ends, Fault, Session};

/// Length of the longest option that is sent, in bytes: each algorithm of RFC 5926 has codes of 96 bits.
pub const OPTION_LEN: u8 = 16;
