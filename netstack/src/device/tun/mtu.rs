//! The MTU of a TUN interface, which an administrator may change while the device is open.
//!
//! The kernel announces each change of a link. All queues share one subscription, and whichever is read first reads it,
//! at most every [`PERIOD`]: a queue that was idle finds the change before it sends anything.

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::time::Duration;

use super::link::LinkNews;
use crate::base::Instant;

/// Time between two looks for news.
const PERIOD: Duration = Duration::from_millis(100);

/// The MTU of an interface, shared by its queues.
#[derive(Debug)]
pub(super) struct InterfaceMtu {
    mtu: AtomicU16,
    news: OnceLock<LinkNews>,
    /// When to look for news again, in nanoseconds.
    next_look: AtomicU64,
}

impl InterfaceMtu {
    /// Creates an MTU that does not change.
    pub(super) fn new(mtu: u16) -> Self {
        Self {
            mtu: AtomicU16::new(mtu),
            news: OnceLock::new(),
            next_look: AtomicU64::new(0),
        }
    }

    /// Returns the MTU, in bytes.
    pub(super) fn get(&self) -> u16 {
        self.mtu.load(Ordering::Relaxed)
    }

    /// Follows the interface of that name in the calling thread's network namespace from now on.
    ///
    /// # Errors
    /// Netlink is not available: the MTU does not change then.
    pub(super) fn follow(&self, name: &str) -> io::Result<()> {
        let (news, mtu) = LinkNews::subscribe(name)?;
        self.mtu.store(mtu, Ordering::Relaxed);
        let _ = self.news.set(news);
        Ok(())
    }

    /// Takes up what the kernel has announced, if it is time to look.
    #[inline]
    pub(super) fn look(&self, now: Instant) {
        let due = self.next_look.load(Ordering::Relaxed);
        if now.as_nanos() >= due {
            self.read_news(now, due);
        }
    }

    #[cold]
    fn read_news(&self, now: Instant, due: u64) {
        let next = (now + PERIOD).as_nanos();
        let next_look = &self.next_look;
        // One queue looks at a time: two would take up the news in any order.
        let is_mine = next_look.compare_exchange(due, next, Ordering::Acquire, Ordering::Relaxed);
        if is_mine.is_err() {
            return;
        }
        if let Some(mtu) = self.news.get().and_then(LinkNews::latest_mtu) {
            self.mtu.store(mtu, Ordering::Relaxed);
        }
    }
}
