//! The MTU of the link, and the shared cache of path MTUs, which it bounds.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};

use lockorder::{LockBefore, LockCtx, RwLock};

use super::super::levels;
use crate::base::Instant;
use crate::base::limits::MIN_MTU_V4;
use crate::ip::pmtu::{Path, PathEntry, PathMtu};

/// Path MTUs of all destinations. Costs no lock until something is known of one of them.
pub(crate) struct PathCache {
    link_mtu: AtomicU16,
    cache: RwLock<levels::PathMtu, PathMtu>,
    /// True once a router reported a smaller MTU, or a probe found one.
    is_used: AtomicBool,
}

impl PathCache {
    /// Creates an empty cache on a link of that MTU.
    pub(crate) fn new(link_mtu: u16, cache: PathMtu) -> Self {
        Self {
            link_mtu: AtomicU16::new(link_mtu),
            cache: RwLock::new(cache),
            is_used: AtomicBool::new(false),
        }
    }

    /// Returns what is known of paths.
    pub(crate) fn export<L>(&self, ctx: &mut LockCtx<'_, L>, now: Instant) -> Vec<PathEntry>
    where
        L: LockBefore<levels::PathMtu>,
    {
        self.cache.with_read(ctx, |cache, _| cache.export(now))
    }

    /// Takes over what another stack knew of paths.
    pub(crate) fn import<L>(&self, ctx: &mut LockCtx<'_, L>, entries: &[PathEntry])
    where
        L: LockBefore<levels::PathMtu>,
    {
        self.cache.with_write(ctx, |cache, _| cache.import(entries));
        self.is_used.store(!entries.is_empty(), Ordering::Release);
    }

    /// Returns the MTU of the link as it is now.
    pub(crate) fn link_mtu(&self) -> u16 {
        self.link_mtu.load(Ordering::Relaxed)
    }

    /// Takes up another MTU of the link. What routers reported stays known, for the time when the link carries more
    /// than that again.
    pub(crate) fn set_link_mtu(&self, mtu: u16) {
        self.link_mtu.store(mtu.max(MIN_MTU_V4), Ordering::Relaxed);
    }

    /// Returns what is known of the path to `remote`.
    pub(crate) fn get<L>(&self, ctx: &mut LockCtx<'_, L>, remote: IpAddr, now: Instant) -> Path
    where
        L: LockBefore<levels::PathMtu>,
    {
        if !self.is_used.load(Ordering::Acquire) {
            return Path::unknown(self.link_mtu());
        }
        self.cache
            .with_read(ctx, |cache, _| cache.path(remote, self.link_mtu(), now))
    }

    /// Takes in a router's report that a packet of `packet_len` bytes to `remote` was too big.
    /// Returns the new path MTU if the report lowers it believably (RFC 5927 section 7.2).
    pub(crate) fn on_packet_too_big<L>(
        &self,
        ctx: &mut LockCtx<'_, L>,
        remote: IpAddr,
        mtu: u32,
        packet_len: u32,
        now: Instant,
    ) -> Option<u16>
    where
        L: LockBefore<levels::PathMtu>,
    {
        self.is_used.store(true, Ordering::Release);
        self.cache.with_write(ctx, |cache, _| {
            cache.on_packet_too_big(remote, mtu, packet_len, self.link_mtu(), now)
        })
    }

    /// Takes in what packets of different sizes have shown of the path to `remote`: it carries `mtu` bytes, and may
    /// carry `ceiling`, if that is known.
    pub(crate) fn on_search<L>(
        &self,
        ctx: &mut LockCtx<'_, L>,
        remote: IpAddr,
        (mtu, ceiling): (u16, Option<u16>),
        now: Instant,
    ) where
        L: LockBefore<levels::PathMtu>,
    {
        self.is_used.store(true, Ordering::Release);
        self.cache.with_write(ctx, |cache, _| {
            cache.on_search(remote, mtu, ceiling, self.link_mtu(), now);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;
    use crate::ip::key::HashKey;
    use crate::stack::foreign::locked;

    #[test]
    fn a_report_lowers_the_mtu_of_its_path_only() {
        let secret = HashKey::random(&mut Rng::from_seed([5; 32]));
        let paths = PathCache::new(1500, PathMtu::new(16, None, secret));
        let far = IpAddr::from([192, 0, 2, 1]);
        let near = IpAddr::from([192, 0, 2, 2]);
        let now = Instant::from_millis(1);
        locked(|key| {
            let ctx = &mut key.ctx();
            assert_eq!(paths.get(ctx, far, now).mtu, 1500);
            let lowered = paths.on_packet_too_big(ctx, far, 1280, 1500, now);
            assert_eq!(lowered, Some(1280));
            assert_eq!(paths.get(ctx, far, now).mtu, 1280);
            assert_eq!(paths.get(ctx, near, now).mtu, 1500);
            // The link bounds what was reported, and does not make it forgotten.
            for (link, to_far, to_near) in [(1_000, 1_000, 1_000), (9_000, 1_280, 9_000)] {
                paths.set_link_mtu(link);
                assert_eq!(paths.get(ctx, far, now).mtu, to_far);
                assert_eq!(paths.get(ctx, near, now).mtu, to_near);
            }
        });
    }
}
