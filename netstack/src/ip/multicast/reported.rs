//! One group as routers are told of it: the sources that the host wants, what is still to be said of changes, and the
//! answer that a query waits for.
//!
//! Sections: RFC 9776 sections 5.1 (tables 3 and 4) and 5.2 (table 5), RFC 9777 sections 6.1 to 6.3.

use core::net::IpAddr;

use packet::membership::{Query, Record, RecordKind};

use super::filter::{FilterMode, SourceFilter};
use crate::base::Instant;

/// Most sources that are remembered of the queries about one group. An answer about more of them is about all sources
/// of the group, which includes them (RFC 9776 section 9.1 permits such a limit).
pub const MAX_SOURCES: usize = 64;
/// Most changed sources of one group that are still to be reported. With more, the report says the whole state of the
/// group instead.
const MAX_CHANGED: usize = 256;

/// One group.
#[derive(Clone, Debug)]
pub(super) struct ReportedGroup {
    pub(super) address: IpAddr,
    /// The sources that the host wants; none while it only says that it left.
    filter: SourceFilter,
    /// Reports that are still to be sent: with the group's mode and all of its sources; in an older version, that the
    /// host is a member.
    pub(super) whole_left: u8,
    /// Sources that became wanted or unwanted, and the reports that are still to be sent of each.
    changed: Vec<(IpAddr, u8)>,
    /// When a query about this group is answered; in an older version, when the next report is sent.
    pub(super) respond_at: Option<Instant>,
    /// Sources that the query asked about; none if it asked about the group.
    queried: Vec<IpAddr>,
    /// In an older version: no neighbour reported the group after this host.
    pub(super) is_last_reporter: bool,
}

impl ReportedGroup {
    /// Creates the state of a group that the host is no member of yet.
    pub(super) fn new(address: IpAddr) -> Self {
        Self {
            address,
            filter: SourceFilter::nothing(),
            whole_left: 0,
            changed: Vec::new(),
            respond_at: None,
            queried: Vec::new(),
            is_last_reporter: false,
        }
    }

    /// Returns `true` if the host wants a source.
    pub(super) fn is_member(&self) -> bool {
        !self.filter.is_nothing()
    }

    /// Returns `true` if a change is still to be reported.
    pub(super) fn has_changed(&self) -> bool {
        self.whole_left > 0 || !self.changed.is_empty()
    }

    /// Gives up what is still to be reported and answered.
    pub(super) fn forget_pending(&mut self) {
        self.whole_left = 0;
        self.changed.clear();
        self.forget_query();
    }

    fn forget_query(&mut self) {
        self.respond_at = None;
        self.queried.clear();
    }

    /// Takes in the sources that the host wants from now on. Returns those before.
    pub(super) fn set_filter(&mut self, filter: &SourceFilter) -> SourceFilter {
        let before = core::mem::replace(&mut self.filter, filter.clone());
        if !self.is_member() {
            self.forget_query();
        }
        before
    }

    /// Notes the difference to the filter `before`, to be said in so many reports (table 3), together with what is
    /// pending.
    pub(super) fn note_change(&mut self, before: &SourceFilter, reports: u8) {
        if before.mode() != self.filter.mode() {
            // Sources that changed before are in these reports, and have no more to come.
            self.whole_left = reports;
            return;
        }
        for source in before.differences(&self.filter) {
            let known = self.changed.iter().position(|(other, _)| *other == source);
            if let Some(place) = known {
                self.changed[place].1 = reports;
            } else if self.changed.len() < MAX_CHANGED {
                self.changed.push((source, reports));
            } else {
                self.whole_left = reports;
                return;
            }
        }
    }

    /// Notes that the host wants what it wants, as if it had just become a member.
    pub(super) fn note_anew(&mut self, reports: u8) {
        self.note_change(&SourceFilter::nothing(), reports);
    }

    /// Takes the records of the changes that are pending, for one report (table 4).
    pub(super) fn take_changes(&mut self, records: &mut Vec<Record>) {
        if self.whole_left > 0 {
            self.whole_left -= 1;
            records.push(self.whole(RecordKind::ToInclude, RecordKind::ToExclude));
        } else {
            for (kind, wanted) in [(RecordKind::Allow, true), (RecordKind::Block, false)] {
                let sources = self.changed.iter().map(|(source, _)| *source);
                let is_it = |source: &IpAddr| self.filter.wants(*source) == wanted;
                let sources: Vec<IpAddr> = sources.filter(is_it).collect();
                if !sources.is_empty() {
                    records.push(self.record(kind, sources));
                }
            }
        }
        self.changed.retain_mut(|(_, left)| {
            *left -= 1;
            *left > 0
        });
    }

    fn record(&self, kind: RecordKind, sources: Vec<IpAddr>) -> Record {
        Record {
            kind,
            group: self.address,
            sources,
        }
    }

    /// Returns the record of the group's mode, one of these kinds, and all of its sources.
    fn whole(&self, include: RecordKind, exclude: RecordKind) -> Record {
        let kind = match self.filter.mode() {
            FilterMode::Include => include,
            FilterMode::Exclude => exclude,
        };
        self.record(kind, self.filter.sources().to_vec())
    }

    /// Returns the record that answers a query about the group, and ends one about sources.
    pub(super) fn current_state(&mut self) -> Record {
        self.queried.clear();
        self.whole(RecordKind::IsInclude, RecordKind::IsExclude)
    }

    /// Returns the record that answers the query about this group: the sources asked about that the host wants (table
    /// 5). `None` if it wants none of them.
    pub(super) fn answer(&mut self) -> Option<Record> {
        self.respond_at = None;
        if self.queried.is_empty() {
            return Some(self.current_state());
        }
        let mut sources = core::mem::take(&mut self.queried);
        sources.retain(|source| self.filter.wants(*source));
        (!sources.is_empty()).then(|| self.record(RecordKind::IsInclude, sources))
    }

    /// Notes a query about this group or sources of it, to be answered at `at`: rules 3 to 5 of RFC 9776
    /// section 5.2.
    pub(super) fn note_query(&mut self, query: &Query<'_>, at: Instant) {
        let asks_all = query.source_count() == 0;
        match self.respond_at {
            None => {
                self.respond_at = Some(at);
                self.queried.clear();
                if !asks_all {
                    self.record_sources(query);
                }
            }
            Some(pending) => {
                if asks_all || self.queried.is_empty() {
                    self.queried.clear();
                } else {
                    self.record_sources(query);
                }
                self.respond_at = Some(pending.min(at));
            }
        }
    }

    /// Adds the sources of a query. With more than are kept, the answer is about the whole group.
    fn record_sources(&mut self, query: &Query<'_>) {
        for source in query.sources() {
            if self.queried.contains(&source) {
                continue;
            }
            if self.queried.len() >= MAX_SOURCES {
                self.queried.clear();
                return;
            }
            self.queried.push(source);
        }
    }

    /// Returns the number of sources that are remembered.
    #[cfg(test)]
    pub(super) fn queried_sources(&self) -> usize {
        self.queried.len()
    }

    /// Returns the number of changed sources that are remembered.
    #[cfg(test)]
    pub(super) fn changed_sources(&self) -> usize {
        self.changed.len()
    }
}

/// Packs records into as many reports of at most `max_bytes` as they need (RFC 9776 section 4.2.17). A record that does
/// not fit one report is divided among several; one that excludes sources is cut, because the rest would say the
/// opposite.
pub(super) fn pack(records: Vec<Record>, max_bytes: usize) -> Vec<Vec<Record>> {
    let (mut reports, mut report, mut len) = (Vec::new(), Vec::new(), 0);
    for record in records
        .into_iter()
        .flat_map(|record| fit(record, max_bytes))
    {
        if len + record.len_bytes() > max_bytes && !report.is_empty() {
            reports.push(core::mem::take(&mut report));
            len = 0;
        }
        len += record.len_bytes();
        report.push(record);
    }
    if !report.is_empty() {
        reports.push(report);
    }
    reports
}

/// Returns records that say what `record` says, as far as that is possible, and fit a report each.
fn fit(mut record: Record, max_bytes: usize) -> Vec<Record> {
    if record.len_bytes() <= max_bytes {
        return vec![record];
    }
    let sources = core::mem::take(&mut record.sources);
    let empty = record.len_bytes();
    let each = match record.group {
        IpAddr::V4(_) => 4,
        IpAddr::V6(_) => 16,
    };
    // One at least: no link has so small an MTU.
    let most = (max_bytes.saturating_sub(empty) / each).max(1);
    let is_cut = matches!(record.kind, RecordKind::IsExclude | RecordKind::ToExclude);
    let parts = if is_cut { 1 } else { usize::MAX };
    let of = |part: &[IpAddr]| Record {
        sources: part.to_vec(),
        ..record.clone()
    };
    sources.chunks(most).take(parts).map(of).collect()
}
