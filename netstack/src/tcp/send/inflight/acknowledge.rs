//! The judging of an acknowledgment: bytes that arrived, bytes that are lost, and the samples that it gives.

use core::time::Duration;

use super::news::News;
use super::{Inflight, Mode, ProbeFate};
use crate::base::Instant;
use crate::base::congestion::RateSample;
use crate::tcp::context::Context;
use crate::tcp::seq::SeqNum;

/// An acceptable acknowledgment, and what is known of the path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ack<'a> {
    pub(crate) ack: SeqNum,
    /// The SACK option.
    pub(crate) blocks: &'a [(u32, u32)],
    /// It is a duplicate ACK in the sense of RFC 5681 section 2, but that something need be outstanding.
    pub(crate) bare: bool,
    /// Time that the timestamp of this acknowledgment echoes, in milliseconds.
    pub(crate) echoed_millis: Option<u64>,
    pub(crate) path: PathView,
}

/// The measurements of the path that loss detection goes by.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PathView {
    /// Payload of a full segment, in bytes.
    pub(crate) mss: u32,
    pub(crate) min_rtt: Option<Duration>,
    pub(crate) srtt: Option<Duration>,
    /// Times are evidence (RFC 8985).
    pub(crate) rack: bool,
}

/// The news in an acknowledgment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    /// Bytes newly acknowledged, cumulatively.
    pub(crate) acked: u32,
    /// Bytes that arrived since the last acknowledgment: acknowledged or SACKed for the first time.
    pub(crate) delivered: u32,
    /// The same, with an estimate from duplicate ACKs of a peer without SACK.
    pub(crate) arrived: u32,
    /// Bytes that were found to be lost.
    pub(crate) lost: u32,
    /// A round-trip measurement.
    pub(crate) rtt: Option<Duration>,
    /// A round-trip measurement of what is SACKed.
    pub(crate) rtt_sacked: Option<Duration>,
    /// A round-trip measurement is due: an echoed timestamp may serve, if there is no other.
    pub(crate) rtt_due: bool,
    /// The round trip of the segment that was sent last of those that arrived and were sent once.
    pub(crate) newest_rtt: Option<Duration>,
    /// Time at which the first of the acknowledged bytes was sent again, if it was.
    pub(crate) head_resent_at: Option<Instant>,
    /// A loss was found: the congestion window must be reduced.
    pub(crate) entered_recovery: bool,
    /// The recovery is over: everything sent before it is acknowledged.
    pub(crate) left_recovery: bool,
    /// The last timeout was spurious, by what arrived (RFC 5682).
    pub(crate) spurious_timeout: bool,
    /// Each retransmission of the last recovery was needless (RFC 3708).
    pub(crate) all_duplicates: bool,
    /// The peer reported that something arrived twice (RFC 2883).
    pub(crate) is_duplicate_reported: bool,
    /// Something that was sent once arrived after what was sent later.
    pub(crate) is_reordered: bool,
    /// A tail loss probe repaired a loss, which counts as a sign of congestion (RFC 8985 section 7.4.2).
    pub(crate) probe_repaired: bool,
    /// A sample of the delivery rate.
    pub(crate) rate: Option<RateSample>,
    /// The fate of a path MTU probe.
    pub(crate) mtu_probe: Option<ProbeFate>,
}

impl Inflight {
    /// Returns true if an acknowledgment tells nothing new: everything was acknowledged before, and no duplicate is
    /// reported. So it is with each segment of a peer that only sends.
    pub(crate) fn is_settled(&self, ack: SeqNum, blocks: &[(u32, u32)]) -> bool {
        ack == self.una && self.una == self.nxt && self.busy.is_none() && blocks.is_empty()
    }

    /// Takes an acceptable acknowledgment.
    pub(crate) fn on_ack(&mut self, input: &Ack<'_>, cx: &mut Context<'_>) -> Progress {
        let mut progress = Progress::default();
        let mut news = News::new(input, self.sacked_timed_end(), cx.now());
        let old_una = self.una;
        let outstanding = self.outstanding() > 0;
        let dup_bytes = self.dup_bytes();
        let probe_duplicated = self.sack && self.on_dsack(input, &mut progress);
        self.acknowledge(input.ack, &mut news);
        progress.acked = self.una - old_una;
        let sacked = self.sack && self.on_sack(input, &mut news);
        progress.delivered = news.bytes;
        progress.is_reordered = news.is_reordered;
        progress.head_resent_at = news.head_resent_at;
        self.take_news(&news, &mut progress);
        self.judge_mtu_probe();
        progress.mtu_probe = self.take_probe_fate();
        progress.probe_repaired = self.judge_probe(input, probe_duplicated, progress.acked > 0);

        if progress.acked > 0 {
            self.on_advance(progress.acked, input.path.mss, cx);
        } else if outstanding && if self.sack { sacked } else { input.bare } {
            self.on_duplicate(input.path.mss);
        }
        self.judge_timeout(&news, input.bare, &mut progress);
        if self.mode() != Mode::Open && self.una.at_or_after(self.recover) {
            progress.all_duplicates |= self.undo.is_needless();
            self.reorder.on_recovered();
            self.reopen(cx);
            progress.left_recovery = true;
        }
        if self.una == self.nxt {
            self.busy = None;
        } else if self.busy.is_some() && !progress.spurious_timeout {
            self.detect(&input.path, &mut progress, cx);
        }
        progress.mtu_probe = progress.mtu_probe.or_else(|| self.take_probe_fate());
        progress.arrived = if self.sack {
            news.bytes
        } else {
            (progress.acked + self.dup_bytes()).saturating_sub(dup_bytes)
        };
        progress
    }

    /// Returns how many bytes arrived according to duplicate ACKs of a peer without SACK.
    pub(super) fn dup_bytes(&self) -> u32 {
        self.busy.as_ref().map_or(0, |busy| busy.dup_bytes)
    }

    /// Takes the cumulative acknowledgment.
    fn acknowledge(&mut self, ack: SeqNum, news: &mut News) {
        if !ack.after(self.una) || !ack.at_or_before(self.nxt) {
            return;
        }
        match &mut self.busy {
            None => news.take(&self.solo, self.una, ack, self.una, true),
            Some(busy) => busy.acknowledge(ack, news),
        }
        self.una = ack;
    }

    /// Returns the sequence number above which a SACK gives a round-trip sample.
    fn sacked_timed_end(&self) -> SeqNum {
        self.busy.as_ref().map_or(self.una, |busy| busy.timed_end)
    }

    /// Takes the samples that the news give.
    fn take_news(&mut self, news: &News, progress: &mut Progress) {
        if news.bytes == 0 {
            return;
        }
        self.probe.on_delivered();
        if news.is_reordered {
            self.reorder.on_reordered();
        }
        if progress.acked > 0 && self.una.at_or_after(self.timed_end) {
            progress.rtt = news.oldest_acked.map(|at| news.now.saturating_since(at));
            progress.rtt_due = true;
        }
        // While there is a gap, acknowledgments that advance are those of late segments: the others tell
        // what the path is like.
        if let Some(at) = news.timed_sacked {
            progress.rtt_sacked = Some(news.now.saturating_since(at));
            let nxt = self.nxt;
            self.busy().timed_end = nxt;
        }
        progress.newest_rtt = news.newest_clean.map(|at| news.now.saturating_since(at));
        let newest = news.newest.as_ref();
        progress.rate = self.rate.on_delivered(news.bytes, newest, news.now);
        if let (Some(newest), Some(busy)) = (newest, &mut self.busy) {
            busy.on_newest(newest, news.now);
        }
    }

    /// Notes that the round trip was measured: the next sample is due when what is sent from now on is
    /// acknowledged.
    pub(crate) fn on_timed(&mut self) {
        self.timed_end = self.nxt;
    }

    /// Lets the marks of earlier recoveries follow SND.UNA, before they are so far behind that they
    /// compare as if they were ahead.
    pub(super) fn forget_old(&mut self) {
        self.recover = self.recover.max(self.una.back(1));
        self.timed_end = self.timed_end.max(self.una.back(1));
        self.reorder.on_progress(self.una);
        // Duplicates of what was sent again can be reported for a while.
        self.undo.forget_old(self.una);
    }
}
