//! A segment arrives at a synchronised connection (RFC 9293 section 3.10.7.4): is it acceptable,
//! what does it acknowledge, what text does it carry, does it end the stream. In that order, one
//! module each.

pub(super) mod acceptable;
pub(super) mod ack;
pub(super) mod data;
pub(super) mod fin;

use packet::Buffers;

use super::conn::{Conn, Flags};
use super::outcome::{Events, Outcome};
use super::phase::Phase;
use super::segment::{Segment, reset_for};
use crate::base::{DropReason, Instant};

impl Conn {
    /// Takes one segment.
    pub(super) fn on_segment(&mut self, seg: Segment, now: Instant, buffers: &Buffers) -> Outcome {
        if self.phase == Phase::Closed {
            return Outcome {
                rst: reset_for(&seg),
                ..Outcome::dropped(DropReason::TcpNoListener)
            };
        }
        let mut outcome = match acceptable::check(self, &seg, now) {
            acceptable::Verdict::Process => self.process(seg, now, buffers),
            acceptable::Verdict::Discard(reason) => Outcome::dropped(reason),
            acceptable::Verdict::Reset(error) => Outcome {
                events: self.fail(error),
                ..Outcome::default()
            },
            acceptable::Verdict::ResetSilently => {
                let events = self.on_reset_while_closing(now);
                Outcome {
                    events,
                    ..Outcome::default()
                }
            }
        };
        if self.ack.is_due() || self.flags.contains(Flags::RST_DUE) || self.has_unsent() {
            outcome.events |= Events::TRANSMIT;
        }
        outcome
    }

    fn process(&mut self, seg: Segment, now: Instant, buffers: &Buffers) -> Outcome {
        self.last_heard = now;
        if self.keepalives > 0 {
            self.arm_keepalive(now);
        }
        let mut outcome = Outcome::default();
        match ack::process(self, &seg, now) {
            Ok(events) => outcome.events |= events,
            Err(reason) => {
                outcome.drop = Some(reason);
                return outcome;
            }
        }
        if self.phase == Phase::Closed {
            return outcome;
        }
        let fin = fin::position(&seg);
        let (events, drop) = data::process(self, seg, now, buffers);
        outcome.events |= events;
        outcome.drop = drop;
        if self.phase == Phase::Closed {
            return outcome;
        }
        outcome.events |= fin::process(self, fin, now);
        outcome
    }
}
