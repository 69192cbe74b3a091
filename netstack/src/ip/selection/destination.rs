//! The order in which the addresses of a peer are tried (RFC 6724 section 6).

use core::cmp::Ordering;
use core::net::{IpAddr, SocketAddr};

use super::scope::scope;
use super::source::{Candidate, Selection, matching};

/// A destination, with the source that packets to it would have.
struct Ranked<'a> {
    to: SocketAddr,
    source: Option<&'a Candidate>,
}

impl Selection {
    /// Sorts `destinations`, best first. `source` gives the source of packets to an address, and `None` if there is no
    /// route or no source. Equal destinations stay in their order.
    pub fn sort<'a>(
        &self,
        destinations: &mut [SocketAddr],
        source: impl Fn(IpAddr) -> Option<&'a Candidate>,
    ) {
        let mut sorted: Vec<Ranked<'_>> = Vec::with_capacity(destinations.len());
        for &to in destinations.iter() {
            let ranked = Ranked {
                to,
                source: source(to.ip()),
            };
            // Insertion, since rule 9 compares addresses of one family only and so gives no total order. Each goes
            // behind the last one that it is not better than.
            let place = sorted
                .iter()
                .rposition(|other| self.compare_destinations(&ranked, other) != Ordering::Greater);
            sorted.insert(place.map_or(0, |place| place + 1), ranked);
        }
        for (place, ranked) in destinations.iter_mut().zip(sorted) {
            *place = ranked.to;
        }
    }

    /// Compares two destinations, of which the greater one is the better.
    fn compare_destinations(&self, a: &Ranked<'_>, b: &Ranked<'_>) -> Ordering {
        let (da, db) = (a.to.ip(), b.to.ip());
        // Rule 1.
        let (Some(sa), Some(sb)) = (a.source, b.source) else {
            return a.source.is_some().cmp(&b.source.is_some());
        };
        let scope_matches = |dst, source: &Candidate| scope(dst) == scope(source.prefix.address());
        let label_matches = |dst, source: &Candidate| {
            let label = self.policy.label(dst);
            label.is_some() && self.policy.label(source.prefix.address()) == label
        };
        // Rules 2, 3, 5, 6, 8 and 9.
        scope_matches(da, sa)
            .cmp(&scope_matches(db, sb))
            .then_with(|| sb.flags.deprecated.cmp(&sa.flags.deprecated))
            .then_with(|| label_matches(da, sa).cmp(&label_matches(db, sb)))
            .then_with(|| self.policy.precedence(da).cmp(&self.policy.precedence(db)))
            .then_with(|| scope(db).cmp(&scope(da)))
            .then_with(|| {
                if da.is_ipv4() != db.is_ipv4() {
                    return Ordering::Equal;
                }
                matching(sa, da).cmp(&matching(sb, db))
            })
    }
}
