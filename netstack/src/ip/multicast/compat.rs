//! Routers of older versions: the version that the host speaks on its link.
//!
//! Sections: RFC 9776 section 7.2.1, RFC 9777 section 8.2.1.

use packet::ip::IpVersion;
use packet::membership::{Query, QueryVersion};

use crate::base::Instant;
use crate::base::time::Duration;

/// The robustness variable of a querier that does not say another (RFC 9776 section 8.1).
const ROBUSTNESS: u8 = 2;
/// The query interval of a querier that does not say another (RFC 9776 section 8.2).
const QUERY_INTERVAL: Duration = Duration::from_secs(125);

/// The version that a host speaks, and what it knows of the querier.
#[derive(Clone, Debug)]
pub struct Compat {
    family: IpVersion,
    /// Until when a querier of IGMPv1 counts as present.
    one_until: Instant,
    /// Until when a querier of IGMPv2, or of MLDv1, counts as present.
    two_until: Instant,
    robustness: u8,
    query_interval: Duration,
}

impl Compat {
    /// Creates the state of a link on which no query was heard.
    pub fn new(family: IpVersion) -> Self {
        Self {
            family,
            one_until: Instant::ZERO,
            two_until: Instant::ZERO,
            robustness: ROBUSTNESS,
            query_interval: QUERY_INTERVAL,
        }
    }

    /// Returns the version that the host speaks at `now`.
    pub fn version(&self, now: Instant) -> QueryVersion {
        if now < self.one_until {
            QueryVersion::One
        } else if now < self.two_until {
            QueryVersion::Two
        } else {
            QueryVersion::Three
        }
    }

    /// Returns how often a change is reported.
    pub fn robustness(&self) -> u8 {
        self.robustness
    }

    /// Takes in a query. A general query of an older version makes the host speak that version for a while; a
    /// query about one group never does.
    pub fn on_query(&mut self, query: &Query<'_>, now: Instant) {
        if query.version == QueryVersion::Three {
            self.adopt(query);
        } else if query.group.is_none() {
            let until = now + self.present_interval(query.max_response);
            match query.version {
                QueryVersion::One => self.one_until = until,
                _ => self.two_until = until,
            }
        }
    }

    /// Takes over what the querier says of itself. A robustness of one, which no querier should have, would
    /// leave changes to a single packet.
    fn adopt(&mut self, query: &Query<'_>) {
        self.robustness = match query.robustness {
            0 => ROBUSTNESS,
            robustness => robustness.max(ROBUSTNESS),
        };
        self.query_interval = match query.interval {
            Duration::ZERO => QUERY_INTERVAL,
            interval => interval,
        };
    }

    /// Returns how long a querier of an older version counts as present after a query (RFC 9776 section 8.12,
    /// RFC 9777 section 9.12). IGMP takes the default values, which is recommended, and ten times the response
    /// time; MLD takes those of the last query of the newest version.
    fn present_interval(&self, max_response: Duration) -> Duration {
        match self.family {
            IpVersion::V4 => QUERY_INTERVAL * u32::from(ROBUSTNESS) + max_response * 10,
            IpVersion::V6 => self.query_interval * u32::from(self.robustness) + max_response,
        }
    }
}
