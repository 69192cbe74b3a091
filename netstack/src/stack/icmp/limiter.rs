//! The shared rate limit of ICMP errors (RFC 1812 section 4.3.2.8, RFC 4443 section 2.4 (f)).

use lockorder::{LockBefore, LockCtx, Mutex};

use super::super::levels;
use crate::base::{Instant, Rng};
use crate::icmp::limiter::IcmpLimiter;

/// One token bucket for the errors of all workers.
pub(crate) struct ErrorLimiter(Mutex<levels::IcmpLimiter, IcmpLimiter>);

impl ErrorLimiter {
    pub(crate) fn new(limiter: IcmpLimiter) -> Self {
        Self(Mutex::new(limiter))
    }

    /// Runs `f` on the bucket.
    pub(crate) fn with<L, R>(
        &self,
        ctx: &mut LockCtx<'_, L>,
        f: impl FnOnce(&mut IcmpLimiter) -> R,
    ) -> R
    where
        L: LockBefore<levels::IcmpLimiter>,
    {
        self.0.with(ctx, |limiter, _| f(limiter))
    }

    /// Takes a token; false if there is none.
    pub(crate) fn allow<L>(&self, ctx: &mut LockCtx<'_, L>, now: Instant, rng: &mut Rng) -> bool
    where
        L: LockBefore<levels::IcmpLimiter>,
    {
        self.0.with(ctx, |limiter, _| limiter.allow(now, rng))
    }
}
