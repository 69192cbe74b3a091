//! The host's side of IGMP or MLD on one link: when which report is sent.
//!
//! One state machine for both families: RFC 9777 is RFC 9776 for IPv6. Time and randomness are arguments.
//!
//! * A change of the sources that the host wants is reported at once, and again at random times until it was reported as
//!   often as the robustness variable says (RFC 9776 section 5.1).
//! * A query is answered after a random time (section 5.2).
//! * To a querier of an older version the host speaks that version, with one report for each group, which the
//!   report of a neighbour makes superfluous (RFC 2236 section 3, RFC 2710 section 4). Such a version knows no sources:
//!   a host that wants some of a group is a member of it.
//!
//! Peers cannot make it grow: only the host's own changes add groups, and of the sources that a query asks about
//! [`MAX_SOURCES`] for each group are kept.

use core::net::IpAddr;
use std::collections::VecDeque;

use packet::ip::IpVersion;
use packet::membership::{Query, QueryVersion, Record};

use super::compat::Compat;
use super::filter::SourceFilter;
pub use super::reported::MAX_SOURCES;
use super::reported::{ReportedGroup, pack};
use crate::base::time::Duration;
use crate::base::{Instant, Rng};

/// Most groups that were left and are still to be reported. Beyond it the oldest report is given up: the
/// router finds out by its own query.
const MAX_LEAVING: usize = 256;
/// The time between the reports of one change, at most (RFC 9776 section 8.11).
const UNSOLICITED_INTERVAL: Duration = Duration::from_secs(1);
/// The same to a querier of an older version (RFC 2236 section 8.10, RFC 2710 section 7.10).
const OLD_UNSOLICITED_INTERVAL: Duration = Duration::from_secs(10);
/// The shortest time within which a query is answered: a report never follows it at once, so that the members
/// of a group do not all answer together.
const MIN_RESPONSE: Duration = Duration::from_millis(10);

/// A message to send.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Report {
    /// A report of the newest version.
    Records(Vec<Record>),
    /// A report of an older version about one group.
    Old(QueryVersion, IpAddr),
    /// The group was left, in version two.
    Leave(IpAddr),
}

/// The host's side of IGMP or MLD on one link.
#[derive(Clone, Debug)]
pub struct Reporter {
    family: IpVersion,
    compat: Compat,
    /// The version in which the pending reports are.
    version: QueryVersion,
    groups: Vec<ReportedGroup>,
    /// When a general query is answered.
    general_at: Option<Instant>,
    /// When the changes that are pending are reported next.
    change_at: Option<Instant>,
    /// Reports that are due.
    ready: VecDeque<Report>,
}

/// Returns `true` if routers are told about members of `group` (RFC 9776 section 5, RFC 9777 section 6).
pub fn is_reported(group: IpAddr) -> bool {
    match group {
        IpAddr::V4(v4) => v4.octets() != [224, 0, 0, 1],
        IpAddr::V6(v6) => {
            let scope = v6.octets()[1] & 0xf;
            scope > 1 && v6.segments() != [0xff02, 0, 0, 0, 0, 0, 0, 1]
        }
    }
}

/// Draws a time in `(0, max]`.
fn random_within(max: Duration, rng: &mut Rng) -> Duration {
    let max = u64::try_from(max.as_micros()).unwrap_or(u64::MAX);
    let drawn = (u128::from(rng.u64()) * u128::from(max)) >> 64;
    // Below `max`, which is 64 bits wide.
    Duration::from_micros(drawn as u64 + 1)
}

impl Reporter {
    /// Creates the state of a host that is a member of no group.
    pub fn new(family: IpVersion) -> Self {
        Self {
            family,
            compat: Compat::new(family),
            version: QueryVersion::Three,
            groups: Vec::new(),
            general_at: None,
            change_at: None,
            ready: VecDeque::new(),
        }
    }

    /// Returns the version that the host speaks at `now`.
    pub fn version(&self, now: Instant) -> QueryVersion {
        self.compat.version(now)
    }

    /// Takes in that the host wants these sources of `group` from now on, INCLUDE {} if it is no member any more.
    pub fn change(&mut self, group: IpAddr, filter: &SourceFilter, now: Instant, rng: &mut Rng) {
        if !is_reported(group) || self.family != IpVersion::of_addr(group) {
            return;
        }
        self.settle(now);
        let found = self.groups.iter().position(|entry| entry.address == group);
        let at = match found {
            Some(at) => at,
            None if filter.is_nothing() => return,
            None => {
                self.groups.push(ReportedGroup::new(group));
                self.groups.len() - 1
            }
        };
        let before = self.groups[at].set_filter(filter);
        if before == *filter {
            return;
        }
        if self.version == QueryVersion::Three {
            let robustness = self.compat.robustness();
            self.groups[at].note_change(&before, robustness);
            self.change_at = Some(now);
        } else {
            self.change_old(at, &before, now, rng);
        }
        self.bound_leaving();
    }

    /// Says in an older version that the host became a member, or that it left.
    fn change_old(&mut self, at: usize, before: &SourceFilter, now: Instant, rng: &mut Rng) {
        let robustness = self.compat.robustness();
        let entry = &mut self.groups[at];
        if !entry.is_member() {
            let entry = self.groups.remove(at);
            if self.version == QueryVersion::Two && entry.is_last_reporter {
                self.ready.push_back(Report::Leave(entry.address));
            }
        } else if before.is_nothing() {
            entry.whole_left = robustness;
            entry.respond_at = Some(now);
            self.send_old_reports(now, rng);
        }
    }

    /// Reports every group again, as if it had just been joined: the host has got the link-local address without
    /// which routers ignore its reports (RFC 9777 section 5.2.14).
    pub fn report_all(&mut self, now: Instant, rng: &mut Rng) {
        self.settle(now);
        let robustness = self.compat.robustness();
        let is_newest = self.version == QueryVersion::Three;
        for entry in self.groups.iter_mut().filter(|entry| entry.is_member()) {
            if is_newest {
                entry.note_anew(robustness);
                self.change_at = Some(now);
            } else {
                entry.whole_left = robustness;
                entry.respond_at = Some(now);
            }
        }
        if !is_newest {
            self.send_old_reports(now, rng);
        }
    }

    fn bound_leaving(&mut self) {
        let leaving = self.groups.iter().filter(|entry| !entry.is_member());
        if leaving.count() > MAX_LEAVING
            && let Some(at) = self.groups.iter().position(|entry| !entry.is_member())
        {
            self.groups.remove(at);
        }
    }

    /// Changes the version if a querier of an older one came or went: then all pending reports are given up.
    fn settle(&mut self, now: Instant) {
        let version = self.compat.version(now);
        if version == self.version {
            return;
        }
        self.version = version;
        (self.general_at, self.change_at) = (None, None);
        self.groups.retain(ReportedGroup::is_member);
        self.groups
            .iter_mut()
            .for_each(ReportedGroup::forget_pending);
    }

    /// Takes in a query whose headers are [believable](super::envelope::is_believable).
    pub fn on_query(&mut self, query: &Query<'_>, now: Instant, rng: &mut Rng) {
        self.compat.on_query(query, now);
        self.settle(now);
        let max = query.max_response.max(MIN_RESPONSE);
        if self.version != QueryVersion::Three {
            self.on_query_old(query.group, max, now, rng);
            return;
        }
        if !self.groups.iter().any(ReportedGroup::is_member) {
            return;
        }
        let at = now + random_within(max, rng);
        // Rule 1 of RFC 9776 section 5.2; the others follow.
        if self.general_at.is_some_and(|general| general <= at) {
            return;
        }
        let Some(group) = query.group else {
            self.general_at = Some(at);
            return;
        };
        let is_it = |entry: &&mut ReportedGroup| entry.is_member() && entry.address == group;
        if let Some(entry) = self.groups.iter_mut().find(is_it) {
            entry.note_query(query, at);
        }
    }

    fn on_query_old(&mut self, group: Option<IpAddr>, max: Duration, now: Instant, rng: &mut Rng) {
        let asked = |entry: &&mut ReportedGroup| {
            entry.is_member() && group.is_none_or(|group| group == entry.address)
        };
        for entry in self.groups.iter_mut().filter(asked) {
            // A timer that ends sooner stays.
            if entry.respond_at.is_none_or(|running| running > now + max) {
                entry.respond_at = Some(now + random_within(max, rng));
            }
        }
    }

    /// Takes in a neighbour's report of an older version: the host need not report the group, too.
    pub fn on_old_report(&mut self, group: IpAddr, now: Instant) {
        self.settle(now);
        if self.version == QueryVersion::Three {
            return;
        }
        for entry in self
            .groups
            .iter_mut()
            .filter(|entry| entry.address == group)
        {
            entry.respond_at = None;
            entry.whole_left = 0;
            entry.is_last_reporter = false;
        }
    }

    /// Returns the number of sources that are remembered.
    #[cfg(test)]
    pub(super) fn queried_sources(&self) -> usize {
        self.groups.iter().map(ReportedGroup::queried_sources).sum()
    }

    /// Returns the number of changed sources that are still to be reported.
    #[cfg(test)]
    pub(super) fn changed_sources(&self) -> usize {
        self.groups.iter().map(ReportedGroup::changed_sources).sum()
    }

    /// Returns when something is to be sent.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if !self.ready.is_empty() {
            return Some(Instant::ZERO);
        }
        let groups = self.groups.iter().filter_map(|entry| entry.respond_at);
        groups.chain(self.general_at).chain(self.change_at).min()
    }

    /// Returns the next message to send, if one is due. A report is at most `max_bytes` long behind its header
    /// of eight bytes.
    pub fn poll_transmit(
        &mut self,
        now: Instant,
        max_bytes: usize,
        rng: &mut Rng,
    ) -> Option<Report> {
        self.settle(now);
        if self.version != QueryVersion::Three {
            self.send_old_reports(now, rng);
            return self.ready.pop_front();
        }
        let mut records = Vec::new();
        if self.change_at.is_some_and(|at| at <= now) {
            self.take_changes(&mut records);
            let is_pending = self.groups.iter().any(ReportedGroup::has_changed);
            self.change_at = is_pending.then(|| now + random_within(UNSOLICITED_INTERVAL, rng));
        }
        if self.general_at.is_some_and(|at| at <= now) {
            self.general_at = None;
            let members = self.groups.iter_mut().filter(|entry| entry.is_member());
            records.extend(members.map(ReportedGroup::current_state));
        }
        for entry in &mut self.groups {
            if entry.respond_at.is_some_and(|at| at <= now) {
                records.extend(entry.answer());
            }
        }
        let reports = pack(records, max_bytes).into_iter();
        self.ready.extend(reports.map(Report::Records));
        self.ready.pop_front()
    }

    /// Takes one report of each pending change, and forgets the groups that were left and reported often enough.
    fn take_changes(&mut self, records: &mut Vec<Record>) {
        for entry in self.groups.iter_mut().filter(|entry| entry.has_changed()) {
            entry.take_changes(records);
        }
        self.groups
            .retain(|entry| entry.is_member() || entry.has_changed());
    }

    /// Queues the reports of an older version that are due.
    fn send_old_reports(&mut self, now: Instant, rng: &mut Rng) {
        for entry in &mut self.groups {
            if entry.respond_at.is_none_or(|at| at > now) {
                continue;
            }
            entry.is_last_reporter = true;
            entry.whole_left = entry.whole_left.saturating_sub(1);
            let again = entry.whole_left > 0;
            entry.respond_at = again.then(|| now + random_within(OLD_UNSOLICITED_INTERVAL, rng));
            self.ready
                .push_back(Report::Old(self.version, entry.address));
        }
    }
}
