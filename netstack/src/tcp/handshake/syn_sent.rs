//! SYN-SENT (RFC 9293 section 3.10.7.3): our SYN is out, and nothing is known of the peer.

use std::sync::Arc;

use packet::tcp::TcpFlags;

use super::{Opening, SynReceived, closed, transmit_if};
use crate::base::{DropReason, Instant, TcpConfig};
use crate::tcp::outcome::{Readiness, SegmentOutcome, TcpError};
use crate::tcp::segment::{Segment, SegmentOut, reset_for};
use crate::tcp::tcb::Tcb;
use crate::tcp::{Open, Stage};

/// SYN-SENT.
#[derive(Debug)]
pub(in crate::tcp) struct SynSent {
    pub(in crate::tcp) opening: Opening,
}

impl SynSent {
    /// An active open: the SYN is due.
    pub(in crate::tcp) fn new(cfg: &Arc<TcpConfig>, open: Open, now: Instant) -> Self {
        Self {
            opening: Opening::new(cfg, open, now),
        }
    }

    /// RFC 9293 section 3.10.7.3.
    pub(in crate::tcp) fn on_segment(self, seg: &Segment, now: Instant) -> (Stage, SegmentOutcome) {
        let iss = self.opening.iss;
        let acked = seg.has(TcpFlags::ACK);
        // First: the ACK bit. Only our SYN can be acknowledged.
        if acked && seg.ack() != iss + 1 {
            let outcome = SegmentOutcome {
                rst: reset_for(seg),
                ..SegmentOutcome::dropped(DropReason::TcpBadAck)
            };
            return (Stage::SynSent(self), outcome);
        }
        // Second: the RST bit.
        if seg.has(TcpFlags::RST) {
            if acked {
                return closed(TcpError::Refused, None);
            }
            let outcome = SegmentOutcome::dropped(DropReason::TcpNotAcceptable);
            return (Stage::SynSent(self), outcome);
        }
        // Fourth: the SYN bit.
        if !seg.has(TcpFlags::SYN) {
            let outcome = SegmentOutcome::dropped(DropReason::TcpNotAcceptable);
            return (Stage::SynSent(self), outcome);
        }
        if acked {
            let done = self.opening.establish(seg.seq(), seg.options(), seg, now);
            let mut tcb = Tcb::new(done, now);
            tcb.ack.on_urgent();
            let outcome = SegmentOutcome {
                readiness: Readiness::ESTABLISHED | Readiness::WRITABLE | Readiness::TRANSMIT,
                ..SegmentOutcome::default()
            };
            return (Stage::Open(tcb), outcome);
        }
        // A simultaneous open: our SYN goes out again, as a SYN-ACK.
        let mut opening = self.opening;
        opening.syn_due = true;
        let received = SynReceived::simultaneous(opening, seg);
        let outcome = SegmentOutcome {
            readiness: Readiness::TRANSMIT,
            ..SegmentOutcome::default()
        };
        (Stage::SynReceived(received), outcome)
    }

    pub(in crate::tcp) fn on_timeout(mut self, now: Instant) -> (Stage, Readiness) {
        match self.opening.on_timeout(now) {
            Ok(()) => {
                let readiness = transmit_if(self.opening.syn_due);
                (Stage::SynSent(self), readiness)
            }
            Err(error) => {
                let (stage, outcome) = closed(error, None);
                (stage, outcome.readiness)
            }
        }
    }

    pub(in crate::tcp) fn poll_transmit(&mut self, now: Instant) -> Option<SegmentOut> {
        let opening = &mut self.opening;
        if !core::mem::take(&mut opening.syn_due) {
            return None;
        }
        Some(SegmentOut {
            seq: opening.iss,
            flags: TcpFlags::SYN,
            window: opening.window(),
            options: opening.options(now),
            mss: opening.mss,
            ..SegmentOut::default()
        })
    }
}
