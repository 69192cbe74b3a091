//! SYN cookies in the locked stack: the secrets, which all workers share, and when they count.

use std::sync::atomic::{AtomicU64, Ordering};

use lockorder::{LockBefore, LockCtx, RwLock};

use super::super::levels;
use crate::base::{Instant, Rng, TcpConfig};
use crate::demux::FlowKey;
use crate::tcp::{
    COOKIE_LIFE, CookieFlow, CookieSecrets, HalfOpen, NotRecalled, Open, Segment, SegmentOut,
};

/// The SYN cookies of a stack.
pub(crate) struct Cookies {
    secrets: RwLock<levels::SynCookies, CookieSecrets>,
    /// Until when a cookie that was sent may come back, in nanoseconds. Without one under way no
    /// acknowledgment is looked at: there is nothing to guess.
    valid_until: AtomicU64,
}

impl Cookies {
    pub(crate) fn new(rng: &mut Rng) -> Self {
        Self {
            secrets: RwLock::new(CookieSecrets::new(rng)),
            valid_until: AtomicU64::new(0),
        }
    }

    /// Returns the secrets, and until when a cookie may come back.
    pub(crate) fn export<L>(&self, ctx: &mut LockCtx<'_, L>) -> (CookieSecrets, Instant)
    where
        L: LockBefore<levels::SynCookies>,
    {
        let secrets = self.secrets.with_read(ctx, |secrets, _| secrets.clone());
        let until = self.valid_until.load(Ordering::Relaxed);
        (secrets, Instant::from_nanos(until))
    }

    /// Takes over the secrets of another stack.
    pub(crate) fn import(&mut self, secrets: CookieSecrets, valid_until: Instant) {
        self.secrets = RwLock::new(secrets);
        self.valid_until = AtomicU64::new(valid_until.as_nanos());
    }

    /// Builds the SYN-ACK that answers `syn` and remembers nothing of it.
    pub(crate) fn syn_ack<L>(
        &self,
        ctx: &mut LockCtx<'_, L>,
        cfg: &TcpConfig,
        flow: &FlowKey,
        open: Open,
        syn: &Segment,
        (now, rng): (Instant, &mut Rng),
    ) -> SegmentOut
    where
        L: LockBefore<levels::SynCookies>,
    {
        let until = (now + COOKIE_LIFE).as_nanos();
        self.valid_until.fetch_max(until, Ordering::Relaxed);
        self.rotate(ctx, now, rng);
        self.secrets.with_read(ctx, |secrets, _| {
            secrets.syn_ack(cfg, &endpoints(flow), open, syn, now)
        })
    }

    /// Rebuilds the half-open connection of a cookie that `segment` acknowledges.
    ///
    /// # Errors
    /// As [`CookieSecrets::recall`].
    pub(crate) fn recall<L>(
        &self,
        ctx: &mut LockCtx<'_, L>,
        cfg: &TcpConfig,
        flow: &FlowKey,
        open: Open,
        segment: &Segment,
        (now, rng): (Instant, &mut Rng),
    ) -> Result<HalfOpen, NotRecalled>
    where
        L: LockBefore<levels::SynCookies>,
    {
        self.rotate(ctx, now, rng);
        self.secrets.with_read(ctx, |secrets, _| {
            secrets.recall(cfg, &endpoints(flow), open, segment, now)
        })
    }

    /// Returns true if a cookie may be on its way back.
    pub(crate) fn may_return(&self, now: Instant) -> bool {
        now.as_nanos() < self.valid_until.load(Ordering::Relaxed)
    }

    fn rotate<L>(&self, ctx: &mut LockCtx<'_, L>, now: Instant, rng: &mut Rng)
    where
        L: LockBefore<levels::SynCookies>,
    {
        let due = |secrets: &CookieSecrets| secrets.is_rotation_due(now);
        if self.secrets.with_read(ctx, |secrets, _| due(secrets)) {
            self.secrets
                .with_write(ctx, |secrets, _| secrets.rotate(now, rng));
        }
    }
}

fn endpoints(flow: &FlowKey) -> CookieFlow {
    CookieFlow {
        local: flow.local(),
        remote: flow.remote(),
    }
}
