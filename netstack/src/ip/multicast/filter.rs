//! Filters of sources: whose datagrams to a group are wanted.
//!
//! * **Define.** A [`SourceFilter`] has each of its sources once, in order, so that equal filters are equal values.
//! * **Enforce.** Its fields are private; every constructor and change keeps the order.
//! * **Consume.** The host reports the difference of two filters, and nothing if there is none.
//!
//! Sections: RFC 9776 sections 2 and 3.2, RFC 9777 sections 3 and 4.2.

use core::net::IpAddr;

/// The meaning of the sources of a filter.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FilterMode {
    /// The sources are wanted and no others.
    Include,
    /// The sources are not wanted, all others are.
    Exclude,
}

/// The sources whose datagrams to a group are wanted.
///
/// ```
/// use netstack::ip::multicast::filter::{FilterMode, SourceFilter};
///
/// let [a, b] = ["192.0.2.1", "192.0.2.2"].map(|ip| ip.parse().unwrap());
/// let mut filter = SourceFilter::everything();
/// filter.insert(a);
/// assert!(filter.wants(b) && !filter.wants(a));
/// // Another socket wants the one that the first one does not.
/// let other = SourceFilter::new(FilterMode::Include, [a]);
/// assert_eq!(SourceFilter::merge([&filter, &other]), SourceFilter::everything());
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SourceFilter {
    mode: FilterMode,
    /// Sorted, each once.
    sources: Vec<IpAddr>,
}

impl SourceFilter {
    /// Creates a filter of these sources.
    pub fn new(mode: FilterMode, sources: impl IntoIterator<Item = IpAddr>) -> Self {
        let mut sources: Vec<IpAddr> = sources.into_iter().collect();
        sources.sort_unstable();
        sources.dedup();
        Self { mode, sources }
    }

    /// Returns the filter of a host that is no member: INCLUDE {}.
    pub const fn nothing() -> Self {
        Self {
            mode: FilterMode::Include,
            sources: Vec::new(),
        }
    }

    /// Returns the filter of a member that wants every source: EXCLUDE {}.
    pub const fn everything() -> Self {
        Self {
            mode: FilterMode::Exclude,
            sources: Vec::new(),
        }
    }

    /// Returns its mode.
    pub fn mode(&self) -> FilterMode {
        self.mode
    }

    /// Returns its sources, in order.
    pub fn sources(&self) -> &[IpAddr] {
        &self.sources
    }

    /// Returns `true` if no source is wanted.
    pub fn is_nothing(&self) -> bool {
        self.mode == FilterMode::Include && self.sources.is_empty()
    }

    /// Returns `true` if it lists `source`.
    pub fn lists(&self, source: IpAddr) -> bool {
        self.sources.binary_search(&source).is_ok()
    }

    /// Returns `true` if datagrams of `source` are wanted.
    #[inline]
    pub fn wants(&self, source: IpAddr) -> bool {
        match self.mode {
            FilterMode::Include => self.lists(source),
            FilterMode::Exclude => self.sources.is_empty() || !self.lists(source),
        }
    }

    /// Adds a source to the list. Returns `false` if it was there already.
    pub fn insert(&mut self, source: IpAddr) -> bool {
        let found = self.sources.binary_search(&source);
        if let Err(at) = found {
            self.sources.insert(at, source);
        }
        found.is_err()
    }

    /// Removes a source from the list. Returns `false` if it was not there.
    pub fn remove(&mut self, source: IpAddr) -> bool {
        let found = self.sources.binary_search(&source);
        if let Ok(at) = found {
            self.sources.remove(at);
        }
        found.is_ok()
    }

    /// Returns the sources that one of two filters of the same mode lists and the other does not.
    pub fn differences<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = IpAddr> + 'a {
        let only_in = |one: &'a Self, other: &'a Self| {
            let sources = one.sources.iter().copied();
            sources.filter(|source| !other.lists(*source))
        };
        only_in(self, other).chain(only_in(other, self))
    }

    /// Returns the filter of an interface whose members have these: it wants what one of them wants.
    pub fn merge<'a>(filters: impl IntoIterator<Item = &'a Self> + Clone) -> Self {
        let of = |mode| {
            let filters = filters.clone().into_iter();
            filters.filter(move |filter| filter.mode == mode)
        };
        let mut excluding = of(FilterMode::Exclude);
        let Some(first) = excluding.next() else {
            let sources = of(FilterMode::Include).flat_map(|filter| &filter.sources);
            return Self::new(FilterMode::Include, sources.copied());
        };
        let mut merged = first.clone();
        for other in excluding.chain(of(FilterMode::Include)) {
            if merged.sources.is_empty() {
                break;
            }
            merged.sources.retain(|source| !other.wants(*source));
        }
        merged
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(mode: FilterMode, letters: &str) -> SourceFilter {
        let address = |letter| IpAddr::from([192, 0, 2, letter]);
        SourceFilter::new(mode, letters.bytes().map(address))
    }

    use FilterMode::{Exclude, Include};

    /// The examples of RFC 9776 section 3.2.
    #[test]
    fn the_state_of_an_interface_is_what_one_of_its_sockets_wants() {
        let cases: [(&[(FilterMode, &str)], _); 6] = [
            (&[], (Include, "")),
            (&[(Include, "abc"), (Include, "bcd")], (Include, "abcd")),
            (
                &[(Exclude, "abcd"), (Exclude, "bcde"), (Include, "def")],
                (Exclude, "bc"),
            ),
            (
                &[
                    (Include, "def"),
                    (Exclude, "abcd"),
                    (Exclude, "bcde"),
                    (Exclude, ""),
                ],
                (Exclude, ""),
            ),
            (&[(Exclude, "ab"), (Include, "ab")], (Exclude, "")),
            (
                &[(Include, "abc"), (Include, "bcd"), (Include, "ef")],
                (Include, "abcdef"),
            ),
        ];
        for (sockets, (mode, sources)) in cases {
            let filters: Vec<_> = sockets.iter().map(|of| filter(of.0, of.1)).collect();
            assert_eq!(SourceFilter::merge(&filters), filter(mode, sources));
        }
    }

    #[test]
    fn a_merged_filter_wants_exactly_what_one_of_its_parts_wants() {
        let mut rng = crate::base::Rng::from_u64(5);
        for _ in 0..2_000 {
            let parts: Vec<_> = (0..rng.below(5))
                .map(|_| {
                    let mode = [Include, Exclude][usize::from(rng.below(2) == 1)];
                    let letters = "abcdef".chars().filter(|_| rng.below(2) == 1);
                    filter(mode, &letters.collect::<String>())
                })
                .collect();
            let merged = SourceFilter::merge(&parts);
            for letter in b'a'..=b'g' {
                let source = IpAddr::from([192, 0, 2, letter]);
                let wanted = parts.iter().any(|part| part.wants(source));
                assert_eq!(merged.wants(source), wanted, "{parts:?}");
            }
        }
    }

    #[test]
    fn a_list_has_each_source_once_and_in_order() {
        let mut one = filter(Include, "caab");
        assert_eq!(one, filter(Include, "abc"));
        let [b, d] = [b'b', b'd'].map(|letter| IpAddr::from([192, 0, 2, letter]));
        assert!(!one.insert(b) && one.insert(d));
        assert!(one.remove(b) && !one.remove(b));
        assert_eq!(one, filter(Include, "acd"));
        let other = filter(Include, "ab");
        let differences: Vec<_> = one.differences(&other).collect();
        let expected = [b'c', b'd', b'b'].map(|letter| IpAddr::from([192, 0, 2, letter]));
        assert_eq!(differences, expected);
        assert!(SourceFilter::nothing().is_nothing() && !SourceFilter::everything().is_nothing());
    }
}
