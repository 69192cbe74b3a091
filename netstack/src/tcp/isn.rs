//! Initial sequence numbers and timestamp offsets that no outsider can predict (RFC 9293 section 3.4.1, RFC 7323
//! section 7.1).
//!
//! * **Define.** An [`IsnGenerator`] is a pair of secrets.
//! * **Enforce.** The secrets come from the given generator once and are private.
//! * **Consume.** Two connections of the same addresses and ports get numbers that advance with
//!   time, so an old segment is not taken for a new one; connections of other ports get unrelated
//!   numbers.

use core::hash::{Hash, Hasher};
use core::net::SocketAddr;

use siphasher::sip::SipHasher13;

use super::seq::SeqNum;
use crate::base::{Instant, Rng};

/// Keyed generator; one per stack, shared by all connections.
#[derive(Clone)]
#[cfg_attr(feature = "checkpoint", derive(serde::Serialize, serde::Deserialize))]
pub struct IsnGenerator {
    isn_key: [u8; 16],
    timestamp_key: [u8; 16],
}

impl core::fmt::Debug for IsnGenerator {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("IsnGenerator")
    }
}

impl IsnGenerator {
    /// Creates a generator with fresh secrets.
    pub fn new(rng: &mut Rng) -> Self {
        let mut generator = Self {
            isn_key: [0; 16],
            timestamp_key: [0; 16],
        };
        rng.fill(&mut generator.isn_key);
        rng.fill(&mut generator.timestamp_key);
        generator
    }

    /// Returns the initial sequence number of a connection opened `now`: a clock that ticks every 4
    /// µs plus a keyed hash of both endpoints.
    pub fn isn(&self, now: Instant, local: SocketAddr, remote: SocketAddr) -> SeqNum {
        let mut hasher = SipHasher13::new_with_key(&self.isn_key);
        (local, remote).hash(&mut hasher);
        let clock = (now.as_nanos() / 4_000) as u32;
        SeqNum(clock.wrapping_add(hasher.finish() as u32))
    }

    /// Returns the offset of the millisecond clock in the timestamps of a connection. It hides the uptime, and
    /// tells nobody that two connections are of one host. The connections that follow one another on the same
    /// ports have the same one, so that timestamps order them in TIME-WAIT (RFC 6191).
    pub fn ts_offset(&self, local: SocketAddr, remote: SocketAddr) -> u32 {
        let mut hasher = SipHasher13::new_with_key(&self.timestamp_key);
        (local, remote).hash(&mut hasher);
        hasher.finish() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advances_with_time_and_differs_by_port() {
        let isns = IsnGenerator::new(&mut Rng::from_u64(1));
        let local: SocketAddr = "10.0.0.1:80".parse().expect("addr");
        let remote: SocketAddr = "10.0.0.2:4000".parse().expect("addr");
        let other: SocketAddr = "10.0.0.2:4001".parse().expect("addr");
        let first = isns.isn(Instant::ZERO, local, remote);
        let later = isns.isn(Instant::from_millis(1), local, remote);
        assert_eq!(later - first, 250);
        assert_ne!(first, isns.isn(Instant::ZERO, local, other));
        assert_eq!(isns.ts_offset(local, remote), isns.ts_offset(local, remote));
        assert_ne!(isns.ts_offset(local, remote), isns.ts_offset(local, other));
        let secret = IsnGenerator::new(&mut Rng::from_u64(2));
        assert_ne!(first, secret.isn(Instant::ZERO, local, remote));
    }
}
