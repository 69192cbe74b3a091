//! The user timeout: a connection ends if the peer does not take what was queued in time (RFC 9293 sections
//! 3.9.1.1 and 3.10.8).
//!
//! A peer that answers zero window probes keeps a connection open for as long as it likes (RFC 9293 section
//! 3.8.6.1, MUST-37), and one that takes a byte now and then keeps every other timer from expiring. Both are right
//! as far as TCP is concerned; that they hold memory is the concern of the application, which can set a user
//! timeout, or of whoever manages the host's resources (the same section). For a connection that the application
//! has let go of there is nobody else to decide, so the stack sets a limit of its own.
//!
//! The timer is armed when something is queued and remembers how far the queue reached. When it expires, the peer
//! must have acknowledged that much; then it is armed anew for what is queued by then. So a segment costs
//! nothing, and data is given up between one and two timeouts after it was queued.

use core::time::Duration;

use packet::tcp::UserTimeout;

use super::Tcp;
use super::context::Context;
use super::outcome::Readiness;
use super::tcb::{Flags, Tcb};
use crate::base::Instant;

/// The part of what is queued that the peer must take in time when the application has let go of the connection:
/// a slow path may take long for all of it.
const ORPHAN_PART: u32 = 16;

impl Tcb {
    /// Returns true if the application closed both directions: what is queued is all that is left to do.
    fn is_orphan(&self) -> bool {
        self.flags.contains(Flags::RECV_CLOSED)
            && self.flags.intersects(Flags::FIN_QUEUED | Flags::RST_QUEUED)
    }

    /// Returns how long the peer may take for how much of what is queued, if there is a limit.
    fn delivery_limit(&self) -> Option<(Duration, u32)> {
        // Bounded by the send buffer, which is at most 1 GiB.
        let queued = self.queue.len() as u32;
        let user = self.settings.user_timeout().map(|time| (time, queued));
        let orphan = self
            .is_orphan()
            .then(|| (self.cfg.orphan_timeout, queued.div_ceil(ORPHAN_PART)));
        match (user, orphan) {
            (Some(user), Some(orphan)) if user.0 > orphan.0 => Some(orphan),
            (user, orphan) => user.or(orphan),
        }
    }

    /// Arms the timer if something is queued and it is not armed.
    pub(in crate::tcp) fn arm_user_timer(&mut self, now: Instant) {
        if self.timers.user != Instant::FAR_FUTURE || self.queue.len() == 0 {
            return;
        }
        if let Some((time, bytes)) = self.delivery_limit() {
            self.deliver_to = self.flight.una() + bytes;
            self.timers.user = now + time;
        }
    }

    /// Lets the next transmission arm the timer anew: the limit changed.
    pub(in crate::tcp) fn restart_user_timer(&mut self) {
        self.timers.user = Instant::FAR_FUTURE;
    }

    /// Follows the user timeout of the peer, if it may (RFC 5482 section 3.1). The time that has passed since the timer
    /// was armed counts: options cannot postpone the end of the connection again and again.
    pub(in crate::tcp) fn on_peer_user_timeout(&mut self, remote: UserTimeout) {
        let before = self.delivery_limit();
        let rto = self.rto();
        self.settings.on_user_timeout(remote, rto);
        if self.timers.user == Instant::FAR_FUTURE {
            return;
        }
        if let (Some((before, _)), Some((after, bytes))) = (before, self.delivery_limit()) {
            let later = self.timers.user + after.saturating_sub(before);
            let sooner =
                Duration::from_nanos(later.as_nanos()).saturating_sub(before.saturating_sub(after));
            self.timers.user = Instant::ZERO + sooner;
            self.deliver_to = self.deliver_to.min(self.flight.una() + bytes);
        }
    }

    /// Handles the end of the time that the peer had.
    pub(in crate::tcp) fn on_user_timer(&mut self, cx: &mut Context<'_>) -> Readiness {
        if self.queue.len() == 0 || self.delivery_limit().is_none() {
            return Readiness::empty();
        }
        if self.flight.una().at_or_after(self.deliver_to) {
            self.arm_user_timer(cx.now());
            return Readiness::empty();
        }
        let error = self.timeout_error();
        let readiness = self.fail(error, cx);
        // The peer may be alive: it learns that nothing more will come.
        self.flags.insert(Flags::RST_DUE);
        readiness
    }
}

impl Tcp {
    /// Ends the connection if the peer does not acknowledge in `timeout` what was queued before, or never for that
    /// reason (`None`).
    pub fn set_user_timeout(&mut self, timeout: Option<Duration>) {
        if let Some(settings) = self.settings_mut() {
            settings.set_user_timeout(timeout);
        }
        if let Some(tcb) = self.tcb_mut() {
            tcb.restart_user_timer();
            tcb.tell_user_timeout();
        }
    }

    /// Returns the time that the peer has to acknowledge what is queued.
    pub fn user_timeout(&self) -> Option<Duration> {
        self.settings().and_then(|settings| settings.user_timeout())
    }
}
