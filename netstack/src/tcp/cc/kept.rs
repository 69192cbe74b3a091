//! Congestion control as plain data, for a connection that goes on in another process.

use super::{Controller, MAX_CWND, algorithms};
use crate::base::Instant;
use crate::base::congestion::{Algorithm, Saved, Start, Window};
use crate::tcp::seq::SeqNum;

/// Congestion control as plain data.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "checkpoint", derive(serde::Serialize, serde::Deserialize))]
pub(in crate::tcp) struct KeptController {
    saved: [u32; 8],
    cwnd: u32,
    ssthresh: u32,
    initial: u32,
}

impl KeptController {
    /// Makes the congestion control of `algorithm` anew. The words that an algorithm saved are its own, so
    /// `is_same` says if it is the one that saved them.
    pub(in crate::tcp) fn restored(
        &self,
        (algorithm, is_same): (Algorithm, bool),
        start: Start,
        una: SeqNum,
        (pacing, now): (bool, Instant),
    ) -> Controller {
        let saved = Saved(self.saved);
        let start = Start {
            initial: self.initial.clamp(1, MAX_CWND),
            saved: (is_same && algorithms::is_credible(algorithm, &saved, now)).then_some(saved),
            ..start
        };
        let mut controller = Controller::new(algorithm, &start, una, pacing);
        controller.window = Window {
            cwnd: self.cwnd,
            ssthresh: self.ssthresh,
        };
        controller
    }
}

impl Controller {
    /// Returns the state as plain data.
    pub(in crate::tcp) fn kept(&self) -> KeptController {
        KeptController {
            saved: self.algorithm.get().save().0,
            cwnd: self.window.cwnd,
            ssthresh: self.window.ssthresh,
            initial: self.initial,
        }
    }
}
