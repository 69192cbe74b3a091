//! The sizes of probes, and what their fates say (RFC 4821 sections 7.3 and 7.6). When one leaves is in
//! `output::mtu_probe`.

use core::time::Duration;

use crate::base::Instant;
use crate::tcp::context::Context;
use crate::tcp::event::MssChange;
use crate::tcp::send::inflight::ProbeFate;
use crate::tcp::seq::SeqNum;
use crate::tcp::tcb::Tcb;

/// Ranges below this many bytes are not worth a probe (`tcp_probe_threshold` of Linux).
const CONVERGED_BYTES: u16 = 8;

/// Longest wait after a lost probe: losses by congestion are as rare at windows of a thousand segments (RFC 9438 section
/// 4.2), and a search loses few probes.
const MAX_HEADWAY: Duration = Duration::from_secs(10);

/// Times the headway after a probe whose loss only a timeout showed (RFC 4821 section 7.6.3).
const TIMEOUT_HEADWAYS: u32 = 5;

/// Probes of one size that are lost together with other segments before that counts as an answer.
const MAX_INCONCLUSIVE: u8 = 3;

impl Tcb {
    /// Returns the size of the next probe, if one is due (RFC 4821 section 7.3).
    pub(in crate::tcp) fn mtu_probe_size(&mut self, now: Instant) -> Option<u16> {
        let search = self.search.as_mut()?;
        let mss = self.agreed.mss;
        let most = self.agreed.max_mss.min(search.limits.link_mss);
        let high = search.highest(self.agreed.max_mss, now);
        if high < mss.saturating_add(CONVERGED_BYTES) || now < search.next_at {
            return None;
        }
        Some(if search.likely > mss && search.likely <= high {
            search.likely
        } else if high == most {
            high
        } else {
            mss + (high - mss).div_ceil(2)
        })
    }

    /// Notes that a probe of that size leaves.
    pub(in crate::tcp) fn note_mtu_probe(&mut self, mss: u16) {
        let headway = self.headway();
        if let Some(search) = &mut self.search {
            search.probe_mss = mss;
            search.headway = headway;
        }
    }

    /// Takes the fate of the probe (RFC 4821 section 7.6).
    #[cold]
    pub(in crate::tcp) fn on_probe_fate(&mut self, fate: ProbeFate, cx: &mut Context<'_>) {
        let Some(search) = &mut self.search else {
            return;
        };
        let now = cx.now();
        match fate {
            ProbeFate::Arrived => self.on_probe_arrived(cx),
            ProbeFate::Lost => self.on_probe_lost(1, now),
            ProbeFate::TimedOut => self.on_probe_lost(TIMEOUT_HEADWAYS, now),
            ProbeFate::Inconclusive => {
                search.inconclusive += 1;
                if search.inconclusive >= MAX_INCONCLUSIVE {
                    self.on_probe_lost(1, now);
                }
            }
        }
    }

    fn on_probe_arrived(&mut self, cx: &mut Context<'_>) {
        let Some(search) = &mut self.search else {
            return;
        };
        let size = search.probe_mss;
        search.inconclusive = 0;
        search.likely = 0;
        self.proven_mss = self.proven_mss.max(size);
        if size <= self.agreed.mss {
            return;
        }
        search.has_news = true;
        if search.limit != u16::MAX {
            let is_all = size >= self.agreed.max_mss.min(search.limits.link_mss);
            search.limit = if is_all { u16::MAX } else { size };
        }
        self.raise_mss(size, MssChange::Probe, cx);
    }

    fn on_probe_lost(&mut self, headways: u32, now: Instant) {
        if let Some(search) = &mut self.search {
            search.next_at = now + search.headway * headways;
            search.likely = 0;
            search.lower_ceiling(search.probe_mss.saturating_sub(1), now);
            search.has_news = true;
        }
    }

    /// Returns the time between a lost probe and the next one: a round trip for each segment of the window (RFC 4821
    /// section 4), so that losses that cost nothing are as rare as those that do.
    fn headway(&self) -> Duration {
        let segments = self.cc.cwnd() / self.payload_mss();
        let round_trip = self.rtt.srtt().unwrap_or(self.cfg.rto_initial);
        (round_trip * segments.min(1 << 16)).min(MAX_HEADWAY)
    }

    /// Takes a router's report about the probe in flight; false if it is about something else.
    pub(in crate::tcp) fn on_probe_too_big(
        &mut self,
        seq: SeqNum,
        mss: u16,
        cx: &mut Context<'_>,
    ) -> bool {
        let is_probe = self.flight.is_mtu_probe(seq);
        let Some(search) = self.search.as_mut().filter(|_| is_probe) else {
            return false;
        };
        if mss < self.agreed.mss || mss >= search.probe_mss {
            return false;
        }
        search.lower_ceiling(mss, cx.now());
        search.likely = mss;
        self.flight.on_probe_too_big(cx);
        self.arm_loss_timer(false, cx.now());
        true
    }
}
