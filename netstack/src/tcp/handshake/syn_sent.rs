//! SYN-SENT (RFC 9293 section 3.10.7.3): our SYN is out, and nothing is known of the peer.

use std::sync::Arc;

use packet::tcp::TcpFlags;

use super::{Opening, SynReceived, closed, transmit_if};
use crate::base::{DropReason, Instant, TcpConfig};
use crate::tcp::conn::Conn;
use crate::tcp::outcome::{Events, Outcome, TcpError};
use crate::tcp::segment::{Segment, SegmentOut, reset_for};
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
    pub(in crate::tcp) fn on_segment(self, seg: &Segment, now: Instant) -> (Stage, Outcome) {
        let iss = self.opening.iss;
        let acked = seg.has(TcpFlags::ACK);
        // First: the ACK bit. Only our SYN can be acknowledged.
        if acked && seg.ack != iss + 1 {
            let outcome = Outcome {
                rst: reset_for(seg),
                ..Outcome::dropped(DropReason::TcpBadAck)
            };
            return (Stage::SynSent(self), outcome);
        }
        // Second: the RST bit.
        if seg.has(TcpFlags::RST) {
            if acked {
                return closed(TcpError::Refused, None);
            }
            let outcome = Outcome::dropped(DropReason::TcpNotAcceptable);
            return (Stage::SynSent(self), outcome);
        }
        // Fourth: the SYN bit.
        if !seg.has(TcpFlags::SYN) {
            let outcome = Outcome::dropped(DropReason::TcpNotAcceptable);
            return (Stage::SynSent(self), outcome);
        }
        if acked {
            let done = self.opening.establish(seg.seq, &seg.options, seg, now);
            let mut conn = Conn::new(done, now);
            conn.ack.on_urgent();
            let outcome = Outcome {
                events: Events::ESTABLISHED | Events::WRITABLE | Events::TRANSMIT,
                ..Outcome::default()
            };
            return (Stage::Open(conn), outcome);
        }
        // A simultaneous open: our SYN goes out again, as a SYN-ACK.
        let mut opening = self.opening;
        opening.syn_due = true;
        let received = SynReceived::simultaneous(opening, seg);
        let outcome = Outcome {
            events: Events::TRANSMIT,
            ..Outcome::default()
        };
        (Stage::SynReceived(received), outcome)
    }

    pub(in crate::tcp) fn on_timeout(mut self, now: Instant) -> (Stage, Events) {
        match self.opening.on_timeout(now) {
            Ok(()) => {
                let events = transmit_if(self.opening.syn_due);
                (Stage::SynSent(self), events)
            }
            Err(error) => {
                let (stage, outcome) = closed(error, None);
                (stage, outcome.events)
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
