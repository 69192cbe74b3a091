//! The rate limit of replies to segments that are not acceptable, challenge ACKs included (RFC 5961 section 7).

use crate::base::Instant;

/// Replies within a second.
pub(super) const REPLIES_PER_SECOND: u8 = 8;

/// Unit of the limit's clock, in milliseconds.
const UNIT_MILLIS: u64 = 10;

/// The replies of one connection or handshake. Each counts its own, so that the limit reveals nothing about others
/// (CVE-2016-5696).
///
/// It is packed, so that a handshake that is half open has room for one byte more.
#[repr(Rust, packed)]
#[derive(Clone, Copy, Debug, Default)]
#[cfg_attr(feature = "checkpoint", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct ReplyLimit {
    /// The beginning of the second in which `count` replies were sent, in units, modulo 2^16.
    since: u16,
    count: u8,
}

impl ReplyLimit {
    /// Returns true if one more reply may be sent, and counts it.
    pub(super) fn permit(&mut self, now: Instant) -> bool {
        const SECOND: u16 = (1_000 / UNIT_MILLIS) as u16;
        let units = (now.as_millis() / UNIT_MILLIS) as u16;
        if self.count == 0 || units.wrapping_sub(self.since) >= SECOND {
            self.since = units;
            self.count = 0;
        }
        let permitted = self.count < REPLIES_PER_SECOND;
        self.count += u8::from(permitted);
        permitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_limited_per_second() {
        let mut limit = ReplyLimit::default();
        let granted = (0..2_000u64)
            .filter(|i| limit.permit(Instant::from_millis(*i)))
            .count();
        assert_eq!(granted, 2 * usize::from(REPLIES_PER_SECOND));
    }
}
