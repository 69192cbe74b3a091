//! The members of multicast groups, on the host's one interface.
//!
//! * **Define.** A group has an entry exactly as long as it has a member, and no member twice.
//! * **Enforce.** [`Groups::join`] and [`Groups::leave`] alone change the entries.
//! * **Consume.** [`Joined::First`] and [`Left::Last`] are the only changes that routers are told of.

use core::net::IpAddr;

/// Limits of the memory that groups take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GroupLimits {
    /// Most groups, of both families together.
    pub groups: usize,
    /// Most memberships: each member counts once for each of its groups.
    pub memberships: usize,
}

impl Default for GroupLimits {
    fn default() -> Self {
        Self {
            groups: 256,
            memberships: 4_096,
        }
    }
}

/// The effect of a join.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Joined {
    /// The group had no member before.
    First,
    /// The group had members before.
    Another,
}

/// The effect of a leave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Left {
    /// The group has no member any more.
    Last,
    /// The group has other members.
    Others,
}

/// The reason why a group cannot be joined.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum JoinError {
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
    /// The limits are reached.
    #[error("too many groups: leave one first")]
    TooMany,
}

/// The groups of an interface, each with its members.
///
/// ```
/// use netstack::ip::multicast::groups::{GroupLimits, Groups, Joined, Left};
///
/// let mut groups = Groups::new(GroupLimits::default());
/// let group = "239.1.2.3".parse()?;
/// assert_eq!(groups.join(group, "a"), Ok(Joined::First));
/// assert_eq!(groups.join(group, "b"), Ok(Joined::Another));
/// assert_eq!(groups.leave(group, &"a"), Some(Left::Others));
/// assert_eq!(groups.leave(group, &"b"), Some(Left::Last));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Groups<T> {
    /// Sorted by group.
    entries: Vec<(IpAddr, Vec<T>)>,
    memberships: usize,
    limits: GroupLimits,
}

impl<T: PartialEq> Groups<T> {
    /// Creates an interface without groups.
    pub fn new(limits: GroupLimits) -> Self {
        Self {
            entries: Vec::new(),
            memberships: 0,
            limits,
        }
    }

    fn find(&self, group: IpAddr) -> Result<usize, usize> {
        self.entries
            .binary_search_by(|(other, _)| other.cmp(&group))
    }

    /// Makes `member` a member of `group`.
    ///
    /// # Errors
    /// A [`JoinError`]; nothing is changed then.
    pub fn join(&mut self, group: IpAddr, member: T) -> Result<Joined, JoinError> {
        if !group.is_multicast() {
            return Err(JoinError::NotMulticast(group));
        }
        if matches!(group, IpAddr::V6(v6) if v6.octets()[1] & 0xf == 0) {
            return Err(JoinError::ReservedScope(group));
        }
        let found = self.find(group);
        if let Ok(at) = found
            && self.entries[at].1.contains(&member)
        {
            return Err(JoinError::Member(group));
        }
        if self.memberships >= self.limits.memberships
            || found.is_err() && self.entries.len() >= self.limits.groups
        {
            return Err(JoinError::TooMany);
        }
        self.memberships += 1;
        match found {
            Ok(at) => {
                self.entries[at].1.push(member);
                Ok(Joined::Another)
            }
            Err(at) => {
                self.entries.insert(at, (group, vec![member]));
                Ok(Joined::First)
            }
        }
    }

    /// Ends a membership. Returns `None` if there was none.
    pub fn leave(&mut self, group: IpAddr, member: &T) -> Option<Left> {
        let at = self.find(group).ok()?;
        let members = &mut self.entries[at].1;
        let place = members.iter().position(|other| other == member)?;
        members.swap_remove(place);
        self.memberships -= 1;
        if !members.is_empty() {
            return Some(Left::Others);
        }
        self.entries.remove(at);
        Some(Left::Last)
    }

    /// Ends all memberships of `member`. Returns the groups that have no member any more.
    pub fn leave_all(&mut self, member: &T) -> Vec<IpAddr> {
        let joined: Vec<IpAddr> = self
            .entries
            .iter()
            .filter(|(_, members)| members.contains(member))
            .map(|(group, _)| *group)
            .collect();
        let mut ended = joined;
        ended.retain(|group| self.leave(*group, member) == Some(Left::Last));
        ended
    }

    /// Returns the members of `group`.
    pub fn members(&self, group: IpAddr) -> &[T] {
        self.find(group).map_or(&[], |at| &self.entries[at].1)
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
        assert_eq!(groups.join(a, 1), Ok(Joined::First));
        assert_eq!(groups.join(a, 2), Ok(Joined::Another));
        assert_eq!(groups.join(b, 1), Ok(Joined::First));
        assert_eq!(groups.join(a, 1), Err(JoinError::Member(a)));
        assert_eq!(
            (groups.members(a), groups.members(b)),
            (&[1, 2][..], &[1][..])
        );
        assert_eq!(groups.leave(a, &3), None);
        assert_eq!(groups.leave(ip("239.0.0.2"), &1), None);
        assert_eq!(groups.leave_all(&1), [b]);
        assert_eq!(groups.groups().collect::<Vec<_>>(), [a]);
        assert_eq!(groups.leave(a, &2), Some(Left::Last));
        assert_eq!((groups.memberships(), groups.members(a)), (0, &[][..]));
    }

    #[test]
    fn groups_and_memberships_are_bounded() {
        let mut groups = Groups::new(GroupLimits {
            groups: 2,
            memberships: 3,
        });
        let all = [ip("239.0.0.1"), ip("239.0.0.2"), ip("239.0.0.3")];
        assert_eq!(groups.join(all[0], 1), Ok(Joined::First));
        assert_eq!(groups.join(all[1], 1), Ok(Joined::First));
        assert_eq!(groups.join(all[2], 1), Err(JoinError::TooMany));
        assert_eq!(groups.join(all[0], 2), Ok(Joined::Another));
        assert_eq!(groups.join(all[1], 2), Err(JoinError::TooMany));
        assert_eq!(groups.leave(all[0], &1), Some(Left::Others));
        assert_eq!(groups.join(all[1], 2), Ok(Joined::Another));
        assert_eq!(
            groups.join(ip("10.0.0.1"), 1),
            Err(JoinError::NotMulticast(ip("10.0.0.1")))
        );
        assert_eq!(
            groups.join(ip("ff10::1"), 3),
            Err(JoinError::ReservedScope(ip("ff10::1")))
        );
    }
}
