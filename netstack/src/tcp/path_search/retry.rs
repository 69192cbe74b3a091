//! The way back to the size before a suspicion, where no probe can leave.
//!
//! A path that loses one packet in ten makes itself suspicious now and then. Then segments are small, the congestion window
//! is small, too, and has no room for a probe and what must follow it; and without SACK there are no probes at all. So after a while
//! all segments have the former size again. The first one that arrives shows that nothing was wrong with it. The first
//! timeout before that ends the try, and the pause until the next one is twice as long.

use core::time::Duration;

use super::CEILING_AGE;
use crate::base::Instant;
use crate::tcp::context::Context;
use crate::tcp::event::MssChange;
use crate::tcp::send::inflight::Mode;
use crate::tcp::seq::SeqNum;
use crate::tcp::tcb::Tcb;

/// Time between a suspicion and the first try: probes that can leave have left by then.
pub(super) const FIRST_PAUSE: Duration = Duration::from_secs(2);

/// A try.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retry {
    /// An acknowledgment from here on is one of a larger segment.
    until: SeqNum,
    /// Size, and own limit, to return to.
    smaller: (u16, u16),
}

impl Tcb {
    /// Judges the present try by an acknowledgment that advances, or begins one. `is_full`: it covers a full-sized segment
    /// that was sent once.
    #[inline]
    pub(super) fn retry_on_ack(&mut self, is_full: bool, cx: &mut Context<'_>) {
        let Some(search) = &mut self.search else {
            return;
        };
        let una = self.flight.una();
        if let Some(retry) = &mut search.retry {
            let is_past = una.at_or_after(retry.until);
            // Where short writes go on, it would compare as if it were ahead one day.
            retry.until = retry.until.max(una);
            if is_full && is_past {
                search.retry = None;
                search.retry_at = Instant::FAR_FUTURE;
                search.retry_after = FIRST_PAUSE;
                search.likely = 0;
                search.has_news = true;
            }
        } else if cx.now() >= search.retry_at {
            self.begin_retry(cx);
        }
    }

    /// Makes segments as long as before the suspicion, if a probe could not.
    #[cold]
    fn begin_retry(&mut self, cx: &mut Context<'_>) {
        let is_possible = self.flight.mode() == Mode::Open
            && !self.flight.has_mtu_probe()
            && !self.can_probe_mtu();
        let until = self.flight.nxt() + self.payload_mss();
        let mss = self.agreed.mss;
        let Some(search) = &mut self.search else {
            return;
        };
        let size = search.likely;
        if size <= mss || size > search.highest(self.agreed.max_mss, cx.now()) {
            // A probe or a router has said more meanwhile.
            search.retry_at = Instant::FAR_FUTURE;
            return;
        }
        if !is_possible {
            return;
        }
        search.retry = Some(Retry {
            until,
            smaller: (mss, search.limit),
        });
        search.limit = u16::MAX;
        self.raise_mss(size, MssChange::Retry, cx);
    }

    /// Ends the present try, since the head timed out. Returns false if there is none.
    pub(super) fn end_retry(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(search) = &mut self.search else {
            return false;
        };
        let Some(retry) = search.retry.take() else {
            return false;
        };
        let (mss, limit) = retry.smaller;
        // A router may have said less meanwhile.
        let mss = mss.min(self.agreed.mss);
        search.limit = limit;
        search.retry_after = (search.retry_after * 2).min(CEILING_AGE);
        search.retry_at = cx.now() + search.retry_after;
        self.agreed.in_flight_mss = mss;
        self.set_mss(mss, MssChange::BlackHole, cx);
        true
    }
}
