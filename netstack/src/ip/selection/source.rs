//! The source of a packet (RFC 6724 section 5).

use core::cmp::Ordering;
use core::net::IpAddr;

use super::policy::PolicyTable;
use super::scope::scope;
use crate::ip::prefix::{Prefix, common_prefix_len};

/// Properties of an address of the host that matter to the selection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct AddressFlags {
    /// Its preferred lifetime is over (RFC 4862 section 5.5.4): it still receives, and is used as a source only if
    /// no other address will do.
    pub deprecated: bool,
    /// It is a temporary address (RFC 8981), which hides the host among others.
    pub temporary: bool,
}

/// One address of the host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// The address with its subnet.
    pub prefix: Prefix,
    /// Its properties.
    pub flags: AddressFlags,
}

/// The kind of source address that a socket prefers (RFC 5014).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SourcePreference {
    /// That of the stack.
    #[default]
    Default,
    /// A temporary address, which hides the host among others (`IPV6_PREFER_SRC_TMP`).
    Temporary,
    /// A public address, which stays (`IPV6_PREFER_SRC_PUBLIC`).
    Public,
}

/// The settings of the selection, besides the addresses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Selection {
    /// Precedences and labels.
    pub policy: PolicyTable,
    /// True if temporary addresses come before public ones (rule 7), false if after them.
    pub prefer_temporary: bool,
}

impl Default for Selection {
    /// Creates the defaults of the RFC.
    fn default() -> Self {
        Self {
            policy: PolicyTable::default(),
            prefer_temporary: true,
        }
    }
}

impl Selection {
    /// Selects the source of a packet to `dst` among `ours`, or returns `None` if none is of its family. Between equal
    /// candidates, the first one is selected. `preference` is that of the socket that sends.
    pub fn source<'a>(
        &self,
        ours: &'a [Candidate],
        dst: IpAddr,
        preference: SourcePreference,
    ) -> Option<&'a Candidate> {
        let temporary = match preference {
            SourcePreference::Default => self.prefer_temporary,
            SourcePreference::Temporary => true,
            SourcePreference::Public => false,
        };
        let mut candidates = ours
            .iter()
            .filter(|candidate| candidate.prefix.address().is_ipv4() == dst.is_ipv4());
        let first = candidates.next()?;
        Some(candidates.fold(first, |best, candidate| {
            match self.compare((candidate, best), dst, temporary) {
                Ordering::Greater => candidate,
                _ => best,
            }
        }))
    }

    /// Compares two candidates, of which the greater one is the better source of a packet to `dst`. A rule is looked
    /// at only if those before it decide nothing. `temporary` says which addresses rule 7 prefers.
    fn compare(&self, (a, b): (&Candidate, &Candidate), dst: IpAddr, temporary: bool) -> Ordering {
        let (sa, sb) = (a.prefix.address(), b.prefix.address());
        let label_matches = |source| {
            let label = self.policy.label(dst);
            label.is_some() && self.policy.label(source) == label
        };
        // Rules 1, 2, 3, 6, 7 and 8.
        (sa == dst)
            .cmp(&(sb == dst))
            .then_with(|| by_scope(scope(sa), scope(sb), scope(dst)))
            .then_with(|| b.flags.deprecated.cmp(&a.flags.deprecated))
            .then_with(|| label_matches(sa).cmp(&label_matches(sb)))
            .then_with(|| {
                let preferred = a.flags.temporary.cmp(&b.flags.temporary);
                if temporary {
                    preferred
                } else {
                    preferred.reverse()
                }
            })
            .then_with(|| matching(a, dst).cmp(&matching(b, dst)))
    }
}

/// Rule 2: the smaller scope is better if it reaches the destination, and worse if it does not.
fn by_scope(a: u8, b: u8, dst: u8) -> Ordering {
    match a.cmp(&b) {
        Ordering::Less if a < dst => Ordering::Less,
        Ordering::Less => Ordering::Greater,
        Ordering::Greater if b < dst => Ordering::Greater,
        Ordering::Greater => Ordering::Less,
        Ordering::Equal => Ordering::Equal,
    }
}

/// Returns how many leading bits a candidate shares with `dst`, up to its prefix length (section 2.2).
pub(super) fn matching(candidate: &Candidate, dst: IpAddr) -> u8 {
    common_prefix_len(candidate.prefix.address(), dst).min(candidate.prefix.len())
}
