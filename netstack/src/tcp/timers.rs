//! The timers of a synchronised connection: six instants, each with one meaning at a time.
//!
//! `tcb` asks which timers are due and acts. A connection with all of them at [`Instant::FAR_FUTURE`]
//! has no entry in the timer wheel.

use crate::base::Instant;

/// The timers; one at [`Instant::FAR_FUTURE`] is not armed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timers {
    /// Retransmission (RFC 6298) while something is in flight; persist (RFC 9293 section 3.8.6.1)
    /// while nothing is and something waits for the window.
    pub(super) retransmit: Instant,
    /// The end of the reordering window, or the time for a tail loss probe (RFC 8985 section 8).
    pub(super) loss: Instant,
    /// The departure of the next segment, if it is paced and must wait.
    pub(super) pace: Instant,
    /// Delayed ACK.
    pub(super) delayed_ack: Instant,
    /// Keepalive while the connection is open; afterwards the end of FIN-WAIT-2 or of TIME-WAIT.
    pub(super) life: Instant,
    /// The user timeout: by then the peer must have taken what was queued when it was armed.
    pub(super) user: Instant,
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            retransmit: Instant::FAR_FUTURE,
            loss: Instant::FAR_FUTURE,
            pace: Instant::FAR_FUTURE,
            delayed_ack: Instant::FAR_FUTURE,
            life: Instant::FAR_FUTURE,
            user: Instant::FAR_FUTURE,
        }
    }
}

impl Timers {
    /// Returns the earliest timer, if any is armed.
    pub(super) fn earliest(&self) -> Option<Instant> {
        let first = self
            .retransmit
            .min(self.loss)
            .min(self.pace)
            .min(self.delayed_ack)
            .min(self.life)
            .min(self.user);
        (first != Instant::FAR_FUTURE).then_some(first)
    }
}

/// Returns true if `at` is armed and due; disarms it then.
pub(super) fn take_due(at: &mut Instant, now: Instant) -> bool {
    let due = *at != Instant::FAR_FUTURE && *at <= now;
    if due {
        *at = Instant::FAR_FUTURE;
    }
    due
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn earliest_and_due() {
        let mut timers = Timers::default();
        assert_eq!(timers.earliest(), None);
        timers.life = Instant::from_millis(9);
        timers.delayed_ack = Instant::from_millis(4);
        assert_eq!(timers.earliest(), Some(Instant::from_millis(4)));
        assert!(!take_due(&mut timers.delayed_ack, Instant::from_millis(3)));
        assert!(take_due(&mut timers.delayed_ack, Instant::from_millis(4)));
        assert_eq!(timers.earliest(), Some(Instant::from_millis(9)));
        assert!(!take_due(&mut timers.delayed_ack, Instant::FAR_FUTURE));
    }
}
