//! The changes that a program makes in the memberships of a socket, with the rules of RFC 3678 as Linux has them.
//!
//! | call of RFC 3678 | | before | after |
//! |---|---|---|---|
//! | `MCAST_JOIN_GROUP` | [`Change::Join`] | none | EXCLUDE {} |
//! | `MCAST_BLOCK_SOURCE`, `MCAST_UNBLOCK_SOURCE` | [`Change::Block`], [`Change::Unblock`] | EXCLUDE (A) | EXCLUDE (A + s), EXCLUDE (A - s) |
//! | `MCAST_JOIN_SOURCE_GROUP` | [`Change::JoinSource`] | none, INCLUDE (A), EXCLUDE {} | INCLUDE (A + s) |
//! | `MCAST_LEAVE_SOURCE_GROUP` | [`Change::LeaveSource`] | INCLUDE (A) | INCLUDE (A - s), which is none without a source |
//! | `MCAST_LEAVE_GROUP` | [`Change::Leave`] | any | none |

use core::net::IpAddr;

use super::filter::{FilterMode, SourceFilter};

/// A change of one membership.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// To receive what every source sends.
    Join,
    /// To receive nothing any more.
    Leave,
    /// To receive what this source sends, too, and from no others.
    JoinSource(IpAddr),
    /// To receive no more what this source sends, one of those that were joined.
    LeaveSource(IpAddr),
    /// To receive what every source sends but this one and those that were blocked before.
    Block(IpAddr),
    /// To receive again what this source sends, which was blocked.
    Unblock(IpAddr),
}

/// The reason why a membership cannot be changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum GroupError {
    /// The address is not a multicast address.
    #[error("{0} is not a multicast address: give one of 224.0.0.0/4 or ff00::/8")]
    NotMulticast(IpAddr),
    /// The group has the reserved scope 0, to which no packet may be sent (RFC 4291 section 2.7).
    #[error(
        "{0} has the reserved scope 0: give a group of scope 1 (this host), 2 (the link) or above"
    )]
    ReservedScope(IpAddr),
    /// The member has joined the group already.
    #[error("the socket is a member of {0} already")]
    Member(IpAddr),
    /// There is no such membership.
    #[error("the socket is no member of {0}")]
    NotMember(IpAddr),
    /// No datagram comes from this source: it is no address of one host, or of another family.
    #[error("{0} sends nothing to this group: give the address of one host, of the group's family")]
    NotSource(IpAddr),
    /// The sources of the membership mean the opposite.
    #[error(
        "the socket chose sources of {0} in the other mode: join and leave sources, or block and unblock them"
    )]
    OtherMode(IpAddr),
    /// The source is listed already.
    #[error("the source {0} was given before")]
    Listed(IpAddr),
    /// The source is not listed.
    #[error("the source {0} was not given before")]
    NotListed(IpAddr),
    /// The limits of groups are reached.
    #[error("too many groups: leave one first")]
    TooMany,
    /// The limits of sources are reached.
    #[error("too many sources: remove one first")]
    TooManySources,
}

impl Change {
    /// Returns the filter of a membership of `group` after this change, INCLUDE {} if it ends; `before` is that before,
    /// `None` without a membership.
    ///
    /// # Errors
    /// A [`GroupError`].
    pub fn apply(
        self,
        group: IpAddr,
        before: Option<&SourceFilter>,
    ) -> Result<SourceFilter, GroupError> {
        match (self, before) {
            (Self::Leave, None) => Err(GroupError::NotMember(group)),
            (Self::Leave, Some(_)) => Ok(SourceFilter::nothing()),
            (Self::Join, Some(_)) => Err(GroupError::Member(group)),
            (Self::Join, None) => Ok(SourceFilter::everything()),
            (Self::JoinSource(source), before) => {
                let nothing = SourceFilter::nothing();
                let before = before.unwrap_or(&nothing);
                listed(group, source, before, FilterMode::Include, true)
            }
            (Self::LeaveSource(_) | Self::Block(_) | Self::Unblock(_), None) => {
                Err(GroupError::NotMember(group))
            }
            (Self::LeaveSource(source), Some(before)) => {
                listed(group, source, before, FilterMode::Include, false)
            }
            (Self::Block(source), Some(before)) => {
                listed(group, source, before, FilterMode::Exclude, true)
            }
            (Self::Unblock(source), Some(before)) => {
                listed(group, source, before, FilterMode::Exclude, false)
            }
        }
    }
}

/// Adds a source to a filter of that mode, or removes it. A filter without sources may change its mode, as on Linux.
fn listed(
    group: IpAddr,
    source: IpAddr,
    before: &SourceFilter,
    mode: FilterMode,
    adds: bool,
) -> Result<SourceFilter, GroupError> {
    if !is_source(group, source) {
        return Err(GroupError::NotSource(source));
    }
    let mut after = before.clone();
    if before.mode() != mode {
        if !before.sources().is_empty() {
            return Err(GroupError::OtherMode(group));
        }
        after = SourceFilter::new(mode, []);
    }
    match adds {
        true if !after.insert(source) => Err(GroupError::Listed(source)),
        false if !after.remove(source) => Err(GroupError::NotListed(source)),
        _ => Ok(after),
    }
}

/// Returns `true` if datagrams to `group` can come from `source`.
fn is_source(group: IpAddr, source: IpAddr) -> bool {
    let is_broadcast = matches!(source, IpAddr::V4(v4) if v4.is_broadcast());
    let is_unicast = !source.is_multicast() && !source.is_unspecified() && !is_broadcast;
    is_unicast && source.is_ipv4() == group.is_ipv4()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect(text)
    }

    #[test]
    fn sources_are_joined_or_blocked_and_never_both() {
        use FilterMode::{Exclude, Include};
        let group = ip("239.0.0.1");
        let [a, b] = ["192.0.2.1", "192.0.2.2"].map(ip);
        let of = |mode, sources: &[IpAddr]| SourceFilter::new(mode, sources.iter().copied());
        let none = None;
        let (all, nothing) = (SourceFilter::everything(), SourceFilter::nothing());
        let (in_a, ex_a) = (of(Include, &[a]), of(Exclude, &[a]));
        let cases = [
            (none, Change::JoinSource(a), Ok(in_a.clone())),
            (Some(&all), Change::JoinSource(a), Ok(in_a.clone())),
            (Some(&in_a), Change::JoinSource(b), Ok(of(Include, &[a, b]))),
            (
                Some(&in_a),
                Change::JoinSource(a),
                Err(GroupError::Listed(a)),
            ),
            (
                Some(&ex_a),
                Change::JoinSource(b),
                Err(GroupError::OtherMode(group)),
            ),
            (
                none,
                Change::LeaveSource(a),
                Err(GroupError::NotMember(group)),
            ),
            (
                Some(&in_a),
                Change::LeaveSource(b),
                Err(GroupError::NotListed(b)),
            ),
            (Some(&in_a), Change::LeaveSource(a), Ok(nothing.clone())),
            (none, Change::Block(a), Err(GroupError::NotMember(group))),
            (Some(&all), Change::Block(a), Ok(ex_a.clone())),
            (Some(&ex_a), Change::Block(a), Err(GroupError::Listed(a))),
            (
                Some(&in_a),
                Change::Block(b),
                Err(GroupError::OtherMode(group)),
            ),
            (Some(&ex_a), Change::Unblock(a), Ok(all.clone())),
            (
                Some(&all),
                Change::Unblock(a),
                Err(GroupError::NotListed(a)),
            ),
            (Some(&in_a), Change::Leave, Ok(nothing.clone())),
            (none, Change::Leave, Err(GroupError::NotMember(group))),
            (Some(&in_a), Change::Join, Err(GroupError::Member(group))),
        ];
        for (before, change, after) in cases {
            assert_eq!(change.apply(group, before), after, "{before:?} {change:?}");
        }
    }

    #[test]
    fn a_source_is_one_host_of_the_family() {
        for (group, source, is) in [
            ("239.0.0.1", "192.0.2.1", true),
            ("239.0.0.1", "239.0.0.2", false),
            ("239.0.0.1", "0.0.0.0", false),
            ("239.0.0.1", "255.255.255.255", false),
            ("239.0.0.1", "2001:db8::1", false),
            ("ff05::1", "2001:db8::1", true),
            ("ff05::1", "::", false),
            ("ff05::1", "192.0.2.1", false),
        ] {
            let joined = Change::JoinSource(ip(source)).apply(ip(group), None);
            assert_eq!(joined.is_ok(), is, "{group} {source}");
        }
    }
}
