//! Paths that seem to drop full-sized segments silently (RFC 4821 section 7.7).

use core::time::Duration;

use super::PathSearch;
use crate::base::MtuProbing;
use crate::tcp::context::Context;
use crate::tcp::event::MssChange;
use crate::tcp::send::inflight::Progress;
use crate::tcp::settings::MIN_SEGMENT;
use crate::tcp::tcb::Tcb;

/// Timeouts in a row of a full-sized segment that make a path suspicious.
const SUSPICIOUS_TIMEOUTS: u8 = 2;

/// The same if a segment of that size has arrived before: then a path that loses much is likelier than one that has changed.
const PROVEN_TIMEOUTS: u8 = 4;

/// Longest first timeout after which a third one, seven times as late, comes within three seconds.
const SHORT_TIMEOUT: Duration = Duration::from_millis(400);

/// Longest first timeout after which a second one, three times as late, does.
const MEDIUM_TIMEOUT: Duration = Duration::from_millis(900);

/// Timeouts in a row before segments become smaller than half of the base size: hardly any path carries so little, and an
/// outage that is over by then should not leave the smallest segments behind.
const TIMEOUTS_BEFORE_TINY: u8 = 6;

impl Tcb {
    /// Handles a timeout of the first segment in flight, the `retries`th in a row: makes segments smaller if the path
    /// seems to drop large ones silently (RFC 4821 section 7.7).
    #[cold]
    pub(in crate::tcp) fn suspect_black_hole(&mut self, cx: &mut Context<'_>) {
        if self.cfg.mtu_probing == MtuProbing::Off || self.peer.wnd == 0 {
            return;
        }
        if self.end_retry(cx) {
            return;
        }
        let mss = self.agreed.mss;
        let options = u32::from(mss).saturating_sub(self.payload_mss());
        let head = (self.flight.head_len() + options).min(mss.into()) as u16;
        let base = self.cfg.mtu_probe_base;
        let smaller = self.smaller_segment(head);
        if smaller >= head || (head < mss && head <= base / 2) {
            return;
        }
        // Others of that size arrive: this one is unlucky.
        let payload = u32::from(head) - options;
        let is_unlucky = self.flight.has_sacked_run(payload);
        let is_slow = self.first_timeout() > MEDIUM_TIMEOUT && self.proven_mss < head;
        let enough = if self.proven_mss < head {
            SUSPICIOUS_TIMEOUTS
        } else {
            PROVEN_TIMEOUTS
        };
        let retries = self.retries;
        let search = self.search.get_or_insert_with(|| PathSearch::new(mss));
        search.timeouts = if is_unlucky {
            0
        } else {
            search.timeouts.saturating_add(1)
        };
        let is_suspicious = search.before.is_some() || is_slow;
        if is_unlucky
            || (!is_suspicious && search.timeouts < enough)
            || (smaller < base / 2 && retries < TIMEOUTS_BEFORE_TINY)
        {
            return;
        }
        if search.before.is_none() {
            search.before = Some((mss, search.limit));
            search.likely = mss;
        }
        search.limit = smaller;
        self.agreed.in_flight_mss = smaller;
        self.set_mss(smaller, MssChange::BlackHole, cx);
    }

    /// Returns the next size below that of `head`: the base size, or half of it, whichever can be tried soon enough, and
    /// then halves down to the floor.
    fn smaller_segment(&self, head: u16) -> u16 {
        let is_slow = self.first_timeout() > SHORT_TIMEOUT;
        let mut size = self.cfg.mtu_probe_base;
        if is_slow && !self.is_black_hole() {
            size /= 2;
        }
        while size >= head && size > 0 {
            size /= 2;
        }
        size.max(self.cfg.min_mss)
            .max(MIN_SEGMENT)
            .max(self.least_mss)
    }

    /// Returns true if segments became smaller for a suspicion, and nothing has arrived since.
    fn is_black_hole(&self) -> bool {
        let search = self.search.as_ref();
        search.is_some_and(|search| search.before.is_some())
    }

    /// Returns the timeout before any back-off of the present series.
    fn first_timeout(&self) -> Duration {
        self.rto() / (1 << self.retries.saturating_sub(1).min(16))
    }

    /// Takes what an acknowledgment says about the size of segments.
    #[inline]
    pub(in crate::tcp) fn search_on_ack(&mut self, progress: &Progress, cx: &mut Context<'_>) {
        let is_full = progress.acked >= self.payload_mss() && progress.newest_rtt.is_some();
        if is_full && self.proven_mss < self.agreed.mss {
            self.proven_mss = self.agreed.mss;
        }
        if let Some(search) = &mut self.search
            && progress.acked > 0
        {
            search.timeouts = 0;
            // Smaller segments arrive where larger ones did not. If those did before, loss may be the cause: nobody is told.
            if let Some((before, _)) = search.before.take() {
                search.has_news |= self.proven_mss < before;
                search.retry_at = cx.now() + search.retry_after;
            }
            self.retry_on_ack(is_full, cx);
        }
        if let Some(fate) = progress.mtu_probe {
            self.on_probe_fate(fate, cx);
        }
    }

    /// Returns to the size that segments had before a suspicion: the timeouts were spurious.
    pub(in crate::tcp) fn clear_suspicion(&mut self, cx: &mut Context<'_>) {
        let Some(search) = &mut self.search else {
            return;
        };
        search.timeouts = 0;
        if let Some((mss, limit)) = search.before.take()
            && mss > self.agreed.mss
        {
            search.limit = limit;
            self.raise_mss(mss, MssChange::Spurious, cx);
        }
    }
}
