//! A cache of Fast Open at the peers (RFC 7413 sections 4.1.3 and 4.1.3.1): their cookies, and where it failed.
//!
//! * **Define.** An entry is a cookie, the peer's MSS, or a time before which Fast Open is not tried.
//! * **Enforce.** There is a bound on the entries: the oldest one makes room. A failure takes the cookie away.
//! * **Consume.** A path that drops SYNs with data or the option costs one timeout in [`DISABLED`], not one for each
//!   connection.

use core::hash::BuildHasher;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::collections::HashMap;

use packet::tcp::FastOpen;

use super::handshake::{FastConnect, FastOpenNews};
use super::settings::DEFAULT_MSS;
use crate::base::Instant;

/// Most entries.
const CAPACITY: usize = 1_024;

/// Time for which Fast Open is not tried after it failed.
const DISABLED: Duration = Duration::from_secs(15 * 60);

/// Length of the options that a SYN may have, which a peer that knows our MSS only does not subtract.
const MAX_OPTIONS: u16 = 40;

/// Our address, and the peer's address and port.
type Path = (IpAddr, SocketAddr);

#[derive(Clone, Copy, Debug)]
struct Entry {
    cookie: Option<FastOpen>,
    mss: u16,
    disabled_until: Instant,
    noted_at: Instant,
}

/// The cookies of a bounded number of peers, hashed by `S`.
#[derive(Debug)]
pub struct FastOpenCache<S> {
    entries: HashMap<Path, Entry, S>,
}

impl<S: BuildHasher> FastOpenCache<S> {
    /// Creates an empty cache. `hasher` has a key that peers cannot know.
    pub fn new(hasher: S) -> Self {
        Self {
            entries: HashMap::with_hasher(hasher),
        }
    }

    /// Returns what the SYN of a connection may have. `mss`: the largest segment of the path.
    pub fn connect(&self, path: Path, mss: u16, now: Instant) -> FastConnect {
        let entry = self.entries.get(&path);
        if entry.is_some_and(|entry| entry.disabled_until > now) {
            return FastConnect {
                option: None,
                room: 0,
            };
        }
        match entry.and_then(|entry| Some((entry.cookie?, entry.mss))) {
            Some((cookie, peer_mss)) => FastConnect {
                option: Some(cookie),
                room: mss.min(peer_mss).saturating_sub(MAX_OPTIONS),
            },
            None => FastConnect {
                option: Some(FastOpen::REQUEST),
                room: 0,
            },
        }
    }

    /// Notes what a SYN-ACK said.
    pub fn note(&mut self, path: Path, news: FastOpenNews, now: Instant) {
        let known = self.entries.get(&path).copied();
        let known_cookie = known.and_then(|entry| entry.cookie);
        let (cookie, mss) = match news {
            FastOpenNews::Cookie { cookie, mss } => (Some(cookie), mss),
            FastOpenNews::Accepted { mss } => (known_cookie, mss),
            FastOpenNews::Refused => (None, 0),
        };
        if known.is_none() && self.entries.len() >= CAPACITY {
            let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.noted_at);
            if let Some(oldest) = oldest.map(|(path, _)| *path) {
                self.entries.remove(&oldest);
            }
        }
        let entry = Entry {
            cookie,
            mss: if mss == 0 { DEFAULT_MSS } else { mss },
            disabled_until: match news {
                FastOpenNews::Refused => now + DISABLED,
                _ => Instant::ZERO,
            },
            noted_at: now,
        };
        self.entries.insert(path, entry);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::hash_map::RandomState;

    use super::*;

    fn path(n: u16) -> Path {
        (
            [10, 0, 0, 1].into(),
            SocketAddr::from(([192, 0, 2, 1], 1_000 + n)),
        )
    }

    fn cache() -> FastOpenCache<RandomState> {
        FastOpenCache::new(RandomState::new())
    }

    #[test]
    fn rfc7413_4_1_3_a_cookie_is_kept_with_the_mss() {
        let (mut cache, now) = (cache(), Instant::from_millis(9));
        let request = cache.connect(path(0), 1_460, now);
        assert_eq!((request.option, request.room), (Some(FastOpen::REQUEST), 0));
        let cookie = FastOpen::new(&[1; 8]).expect("valid");
        cache.note(path(0), FastOpenNews::Cookie { cookie, mss: 1_000 }, now);
        let known = cache.connect(path(0), 1_460, now);
        assert_eq!((known.option, known.room), (Some(cookie), 960));
        assert_eq!(cache.connect(path(0), 500, now).room, 460);
        cache.note(path(0), FastOpenNews::Accepted { mss: 0 }, now);
        assert_eq!(cache.connect(path(0), 1_460, now).room, 496, "536 less 40");
        // Another port is another service.
        let other = cache.connect(path(1), 1_460, now);
        assert_eq!(other.option, Some(FastOpen::REQUEST));
    }

    #[test]
    fn rfc7413_4_1_3_1_what_failed_is_not_tried_for_a_while() {
        let (mut cache, now) = (cache(), Instant::from_millis(9));
        let cookie = FastOpen::new(&[1; 8]).expect("valid");
        cache.note(path(0), FastOpenNews::Cookie { cookie, mss: 1_000 }, now);
        cache.note(path(0), FastOpenNews::Refused, now);
        assert_eq!(cache.connect(path(0), 1_460, now).option, None);
        let later = now + DISABLED;
        let again = cache.connect(path(0), 1_460, later).option;
        assert_eq!(again, Some(FastOpen::REQUEST), "the cookie is forgotten");
    }

    #[test]
    fn the_oldest_entry_makes_room() {
        let mut cache = cache();
        let cookie = FastOpen::new(&[1; 8]).expect("valid");
        for n in 0..=CAPACITY as u16 {
            let now = Instant::from_millis(u64::from(n) + 1);
            cache.note(path(n), FastOpenNews::Cookie { cookie, mss: 1_000 }, now);
        }
        assert_eq!(cache.entries.len(), CAPACITY);
        let now = Instant::from_millis(5_000);
        let has = |n| cache.connect(path(n), 1_460, now).option == Some(cookie);
        assert!(!has(0) && has(1) && has(CAPACITY as u16));
    }
}
