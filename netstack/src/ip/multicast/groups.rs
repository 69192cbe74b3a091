//! The members of multicast groups, on the host's one interface, each with the sources that it wants.
//!
//! * **Define.** A group has an entry exactly as long as it has a member, and no member twice; no member wants nothing.
//! * **Enforce.** [`Groups::change`] alone changes the entries.
//! * **Consume.** The host receives for a group from [`Effect::First`] to [`Effect::Last`], and
//!   [`Groups::filter`] is what routers are told of.

use core::net::IpAddr;

use super::change::{Change, GroupError};
use super::filter::SourceFilter;

/// Limits of the memory that groups take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GroupLimits {
    /// Most groups, of both families together.
    pub groups: usize,
    /// Most memberships: each member counts once for each of its groups.
    pub memberships: usize,
    /// Most sources of one membership: 64 at least (RFC 9776 section 2), which is Linux's `mld_max_msf`.
    pub sources_each: usize,
    /// Most sources of all memberships together.
    pub sources: usize,
}

impl Default for GroupLimits {
    fn default() -> Self {
        Self {
            groups: 256,
            memberships: 4_096,
            sources_each: 64,
            sources: 4_096,
        }
    }
}

/// The effect of a change on the group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// The group had no member before.
    First,
    /// The group had members before, and has.
    Another,
    /// The group has no member any more.
    Last,
}

/// The groups of an interface, each with its members.
///
/// ```
/// use netstack::ip::multicast::change::Change;
/// use netstack::ip::multicast::groups::{Effect, GroupLimits, Groups};
///
/// let mut groups = Groups::new(GroupLimits::default());
/// let (group, source) = ("239.1.2.3".parse()?, "192.0.2.1".parse()?);
/// assert_eq!(groups.change(group, "a", Change::Join), Ok(Effect::First));
/// assert_eq!(groups.change(group, "b", Change::JoinSource(source)), Ok(Effect::Another));
/// assert_eq!(groups.change(group, "a", Change::Leave), Ok(Effect::Another));
/// assert_eq!(groups.filter(group).sources(), [source]);
/// assert_eq!(groups.change(group, "b", Change::LeaveSource(source)), Ok(Effect::Last));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Groups<T> {
    /// Sorted by group.
    entries: Vec<(IpAddr, Vec<(T, SourceFilter)>)>,
    memberships: usize,
    sources: usize,
    limits: GroupLimits,
}

impl<T: PartialEq> Groups<T> {
    /// Creates an interface without groups.
    pub fn new(limits: GroupLimits) -> Self {
        Self {
            entries: Vec::new(),
            memberships: 0,
            sources: 0,
            limits,
        }
    }

    fn find(&self, group: IpAddr) -> Result<usize, usize> {
        self.entries
            .binary_search_by(|(other, _)| other.cmp(&group))
    }

    /// Changes the membership of `member` in `group`.
    ///
    /// # Errors
    /// A [`GroupError`]; nothing is changed then.
    pub fn change(
        &mut self,
        group: IpAddr,
        member: T,
        change: Change,
    ) -> Result<Effect, GroupError> {
        check_group(group)?;
        let found = self.find(group);
        let members = found.map_or(&[][..], |at| &self.entries[at].1);
        let place = members.iter().position(|(other, _)| *other == member);
        let before = place.map(|place| &members[place].1);
        let after = change.apply(group, before)?;
        let sources = before.map_or(0, |before| before.sources().len());
        let sources = self.sources - sources + after.sources().len();
        if sources > self.sources
            && (sources > self.limits.sources || after.sources().len() > self.limits.sources_each)
        {
            return Err(GroupError::TooManySources);
        }
        let effect = match (found, place) {
            (Ok(at), Some(place)) => self.replace(at, place, after),
            _ if self.memberships >= self.limits.memberships => return Err(GroupError::TooMany),
            (Ok(at), None) => {
                self.memberships += 1;
                self.entries[at].1.push((member, after));
                Effect::Another
            }
            (Err(_), _) if self.entries.len() >= self.limits.groups => {
                return Err(GroupError::TooMany);
            }
            (Err(at), _) => {
                self.memberships += 1;
                self.entries.insert(at, (group, vec![(member, after)]));
                Effect::First
            }
        };
        self.sources = sources;
        Ok(effect)
    }

    /// Gives a membership another filter; one that wants nothing ends it.
    fn replace(&mut self, at: usize, place: usize, after: SourceFilter) -> Effect {
        let members = &mut self.entries[at].1;
        if !after.is_nothing() {
            members[place].1 = after;
            return Effect::Another;
        }
        members.swap_remove(place);
        self.memberships -= 1;
        if !members.is_empty() {
            return Effect::Another;
        }
        self.entries.remove(at);
        Effect::Last
    }

    /// Returns the groups that `member` is a member of.
    pub fn joined(&self, member: &T) -> Vec<IpAddr> {
        let has = |members: &[(T, SourceFilter)]| members.iter().any(|(other, _)| other == member);
        let joined = self.entries.iter().filter(|(_, members)| has(members));
        joined.map(|(group, _)| *group).collect()
    }

    /// Returns the members of `group`, each with the sources that it wants.
    pub fn members(&self, group: IpAddr) -> &[(T, SourceFilter)] {
        self.find(group).map_or(&[], |at| &self.entries[at].1)
    }

    /// Returns the sources that one of the members of `group` wants.
    pub fn filter(&self, group: IpAddr) -> SourceFilter {
        let filters = self.members(group).iter().map(|(_, filter)| filter);
        SourceFilter::merge(filters)
    }

    /// Returns the groups, in order.
    pub fn groups(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.entries.iter().map(|(group, _)| *group)
    }

    /// Returns the number of memberships.
    pub fn memberships(&self) -> usize {
        self.memberships
    }
}

/// Checks that packets can have this destination.
fn check_group(group: IpAddr) -> Result<(), GroupError> {
    if !group.is_multicast() {
        return Err(GroupError::NotMulticast(group));
    }
    if matches!(group, IpAddr::V6(v6) if v6.octets()[1] & 0xf == 0) {
        return Err(GroupError::ReservedScope(group));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect(text)
    }

    #[test]
    fn a_group_lasts_from_its_first_member_to_its_last() {
        let mut groups = Groups::new(GroupLimits::default());
        let (a, b) = (ip("239.0.0.1"), ip("ff05::1"));
        assert_eq!(groups.change(a, 1, Change::Join), Ok(Effect::First));
        assert_eq!(groups.change(a, 2, Change::Join), Ok(Effect::Another));
        assert_eq!(groups.change(b, 1, Change::Join), Ok(Effect::First));
        let again = groups.change(a, 1, Change::Join);
        assert_eq!(again, Err(GroupError::Member(a)));
        let members = |groups: &Groups<i32>, group| -> Vec<i32> {
            groups.members(group).iter().map(|of| of.0).collect()
        };
        assert_eq!(members(&groups, a), [1, 2]);
        assert_eq!(members(&groups, b), [1]);
        for (group, member) in [(a, 3), (ip("239.0.0.2"), 1)] {
            let left = groups.change(group, member, Change::Leave);
            assert_eq!(left, Err(GroupError::NotMember(group)));
        }
        assert_eq!(groups.joined(&1), [a, b]);
        assert_eq!(groups.change(a, 1, Change::Leave), Ok(Effect::Another));
        assert_eq!(groups.change(b, 1, Change::Leave), Ok(Effect::Last));
        assert_eq!(groups.groups().collect::<Vec<_>>(), [a]);
        assert_eq!(groups.change(a, 2, Change::Leave), Ok(Effect::Last));
        assert_eq!((groups.memberships(), groups.members(a).len()), (0, 0));
    }

    #[test]
    fn groups_and_memberships_are_bounded() {
        let mut groups = Groups::new(GroupLimits {
            groups: 2,
            memberships: 3,
            ..GroupLimits::default()
        });
        let all = [ip("239.0.0.1"), ip("239.0.0.2"), ip("239.0.0.3")];
        let mut join = |group, member| groups.change(group, member, Change::Join);
        assert_eq!(join(all[0], 1), Ok(Effect::First));
        assert_eq!(join(all[1], 1), Ok(Effect::First));
        assert_eq!(join(all[2], 1), Err(GroupError::TooMany));
        assert_eq!(join(all[0], 2), Ok(Effect::Another));
        assert_eq!(join(all[1], 2), Err(GroupError::TooMany));
        let unicast = ip("10.0.0.1");
        assert_eq!(join(unicast, 1), Err(GroupError::NotMulticast(unicast)));
        let reserved = ip("ff10::1");
        assert_eq!(join(reserved, 3), Err(GroupError::ReservedScope(reserved)));
        let left = groups.change(all[0], 1, Change::Leave);
        assert_eq!(left, Ok(Effect::Another));
        let joined = groups.change(all[1], 2, Change::Join);
        assert_eq!(joined, Ok(Effect::Another));
    }

    #[test]
    fn sources_are_bounded_for_each_membership_and_together() {
        let mut groups = Groups::new(GroupLimits {
            sources_each: 3,
            sources: 5,
            ..GroupLimits::default()
        });
        let group = ip("239.0.0.1");
        let source = |n| IpAddr::from([192, 0, 2, n]);
        let mut join = |member, n| groups.change(group, member, Change::JoinSource(source(n)));
        for n in 1..=3 {
            assert!(join("a", n).is_ok());
        }
        assert_eq!(join("a", 4), Err(GroupError::TooManySources));
        for n in 1..=2 {
            assert!(join("b", n).is_ok());
        }
        assert_eq!(join("b", 3), Err(GroupError::TooManySources));
        assert_eq!(join("c", 1), Err(GroupError::TooManySources));
        assert_eq!(groups.filter(group).sources(), [1, 2, 3].map(source));
        // One that goes makes room, alone or with its membership.
        let left = groups.change(group, "b", Change::LeaveSource(source(1)));
        assert_eq!(left, Ok(Effect::Another));
        let joined = groups.change(group, "c", Change::JoinSource(source(1)));
        assert_eq!(joined, Ok(Effect::Another));
        assert_eq!(
            groups.change(group, "a", Change::Leave),
            Ok(Effect::Another)
        );
        assert_eq!(groups.filter(group).sources(), [1, 2].map(source));
        for n in 2..=4 {
            assert_eq!(
                groups
                    .change(group, "b", Change::JoinSource(source(n)))
                    .is_ok(),
                n > 2
            );
        }
    }
}
