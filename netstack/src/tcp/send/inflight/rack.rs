//! The detection of losses from acknowledgments: by count (RFC 5681, RFC 6675) and by time (RACK, RFC 8985
//! section 6).

use core::time::Duration;

use super::news::is_sent_after;
use super::{Inflight, Mode, PathView, Progress};
use crate::base::Instant;
use crate::tcp::context::Context;
use crate::tcp::event::{Event, LossRule, Recovery};
use crate::tcp::send::record::Fate;
use crate::tcp::seq::SeqNum;

/// Least reordering window among segments that left together: their order says nothing about time.
const BURST_WINDOW: Duration = Duration::from_micros(100);

impl Inflight {
    /// Detects losses, and begins a recovery if there are any.
    pub(super) fn detect(
        &mut self,
        path: &PathView,
        progress: &mut Progress,
        cx: &mut Context<'_>,
    ) {
        let before = (self.mode(), self.lost());
        if self.sack {
            self.detect_by_count(path.mss, cx);
            if path.rack {
                self.detect_by_time(path, cx);
            }
            let has_lost_data = || self.busy.as_ref().is_some_and(|busy| busy.has_lost_data());
            if self.mode() == Mode::Open && has_lost_data() {
                // Losses that were found before the last recovery ended, of bytes that it did not cover.
                self.enter(Mode::Recovery, Recovery::Fast, true, cx);
            }
        } else {
            self.detect_by_duplicates(path.mss, cx);
        }
        progress.lost = match self.mode() {
            // A path MTU probe at most, which says nothing about congestion.
            Mode::Open => 0,
            _ => self.lost().saturating_sub(before.1),
        };
        progress.entered_recovery = before.0 == Mode::Open && self.mode() == Mode::Recovery;
    }

    /// Detects what was overtaken by enough segments: IsLost of RFC 6675 section 4.
    fn detect_by_count(&mut self, mss: u32, cx: &mut Context<'_>) {
        let segments = self.outstanding() / mss.max(1);
        let thresh = self.reorder.dup_thresh(segments);
        let Some(busy) = &self.busy else { return };
        if !self.reorder.counts() || busy.sacked == 0 {
            return;
        }
        let mut edge = self.counted_edge(u32::from(thresh), mss);
        if busy.mode == Mode::Open && busy.dup_acks >= u16::from(thresh) {
            edge = edge.max(busy.first_segment_end(self.una, mss));
        }
        let from = busy.counted_edge;
        if !edge.after(from) {
            return;
        }
        self.lose_between(from, edge, LossRule::Sacked, cx);
        self.busy().counted_edge = edge;
    }

    /// Returns the start of the highest SACKed range that has, with those above it, enough segments or
    /// ranges to make what is below lost; SND.UNA if there is none.
    fn counted_edge(&self, thresh: u32, mss: u32) -> SeqNum {
        let Some(busy) = &self.busy else {
            return self.una;
        };
        let bytes_needed = thresh.saturating_sub(1).saturating_mul(mss);
        let (mut ranges, mut bytes) = (0u32, 0u32);
        let top = busy.records.index_of(busy.fack.back(1));
        for index in (0..=top).rev() {
            let Some(record) = busy.records.get(index) else {
                continue;
            };
            if record.fate != Fate::Sacked {
                continue;
            }
            let start = busy.records.start_of(index);
            ranges += 1;
            bytes = bytes.saturating_add(record.end - start);
            if ranges >= thresh || bytes > bytes_needed {
                return start;
            }
        }
        self.una
    }

    /// Makes what is in flight for the first time in `from..to` lost.
    fn lose_between(&mut self, from: SeqNum, to: SeqNum, rule: LossRule, cx: &mut Context<'_>) {
        let busy = self.busy();
        busy.records.split(to);
        let mut index = busy.records.index_of(from);
        while let Some(&record) = self.busy().records.get(index) {
            if record.end.after(to) {
                break;
            }
            if record.fate == Fate::InFlight && !record.resent {
                index = self.lose(index, rule, cx);
            }
            index += 1;
        }
    }

    /// Detects what was overtaken, and whose reordering window is over (RACK_detect_loss).
    fn detect_by_time(&mut self, path: &PathView, cx: &mut Context<'_>) {
        let segments = self.outstanding() / path.mss.max(1);
        let thresh = u32::from(self.reorder.dup_thresh(segments));
        let una = self.una;
        let busy = self.busy();
        busy.reorder_at = Instant::FAR_FUTURE;
        let Some(newest) = busy.newest else { return };
        if busy.sacked == 0 && busy.resent_to == una {
            // What is acknowledged in order overtakes nothing.
            return;
        }
        let (rtt, resent_to) = (busy.newest_rtt, busy.resent_to);
        let eager = busy.mode != Mode::Open || busy.sacked >= thresh.saturating_mul(path.mss);
        let window = self.reorder.window(eager, path.min_rtt, path.srtt);
        let mut index = 0;
        let mut last = Instant::ZERO;
        while let Some(&record) = self.busy().records.get(index) {
            if record.fate == Fate::InFlight {
                if is_sent_after(newest, (record.serial, record.end)) {
                    let window = match record.serial == newest.0 {
                        true => window.max(BURST_WINDOW),
                        false => window,
                    };
                    let due = record.sent_at + rtt + window;
                    if due <= cx.now() {
                        index = self.lose(index, LossRule::Overtaken, cx);
                    } else {
                        last = last.max(due);
                    }
                } else if self.busy().records.start_of(index).at_or_after(resent_to) {
                    break;
                }
            }
            index += 1;
        }
        if last != Instant::ZERO {
            self.busy().reorder_at = last;
        }
    }

    /// Detects the loss of the first segment by duplicate ACKs of a peer without SACK.
    fn detect_by_duplicates(&mut self, mss: u32, cx: &mut Context<'_>) {
        let outstanding = self.outstanding();
        let thresh = self.reorder.dup_thresh(outstanding / mss.max(1));
        // RFC 6582 section 4: these are not duplicates that an earlier recovery caused.
        let fresh = self.una.after(self.recover);
        let una = self.una;
        let busy = self.busy();
        if busy.mode != Mode::Open || busy.dup_acks < u16::from(thresh) || !fresh {
            return;
        }
        let arrived = u32::from(busy.dup_acks).saturating_mul(mss);
        busy.dup_bytes = arrived.min(outstanding.saturating_sub(mss));
        let end = busy.first_segment_end(una, mss);
        busy.records.split(end);
        self.lose(0, LossRule::DuplicateAcks, cx);
    }

    /// Makes record number `index` lost, and begins a recovery if there is none, unless it is a path MTU probe alone. Returns the number of
    /// the record that it is part of then.
    pub(super) fn lose(&mut self, index: usize, rule: LossRule, cx: &mut Context<'_>) -> usize {
        if self.is_lone_probe(index) {
            return self.lose_probe(index, cx);
        }
        self.note_probe_loss(index, rule);
        if self.mode() == Mode::Open {
            self.enter(Mode::Recovery, Recovery::Fast, true, cx);
        }
        let busy = self.busy();
        let seq = busy.records.start_of(index);
        let Some(&record) = busy.records.get(index) else {
            return index;
        };
        let lost = self.rate.on_lost(record.end - seq, &record);
        let busy = self.busy();
        if rule != LossRule::PathMtu {
            busy.note_lost(lost);
        }
        let again = record.resent && matches!(rule, LossRule::Sacked | LossRule::Overtaken);
        let rule = if again {
            LossRule::RetransmissionLost
        } else {
            rule
        };
        let len = record.end - seq;
        cx.emit(|| Event::SegmentLost { seq, len, rule });
        busy.set_lost(index)
    }

    /// Returns the time at which [`on_reorder_timer`](Self::on_reorder_timer) must be called, if any.
    pub(crate) fn reorder_deadline(&self) -> Option<Instant> {
        let busy = self.busy.as_ref()?;
        (busy.reorder_at != Instant::FAR_FUTURE).then_some(busy.reorder_at)
    }

    /// Handles the end of the reordering window.
    pub(crate) fn on_reorder_timer(&mut self, path: &PathView, cx: &mut Context<'_>) -> Progress {
        let mut progress = Progress::default();
        if self.busy.is_some() && self.sack {
            self.detect(path, &mut progress, cx);
        }
        progress
    }
}
