//! A page cache: buckets, pages, eviction, pins that are given up in `Drop`, and threads that wait
//! for a free frame.
//!
//! ```sh
//! cargo run --release -p lockorder --example page_cache
//! ```
//!
//! - A lookup locks a bucket, and a load fills the page under it: `Bucket => Page`.
//! - Eviction comes from the other side. It has the page and needs its bucket, which comes before
//!   the page, so it may only try.
//! - A pin ends in a destructor, which can run under any lock: the page goes onto a list behind a
//!   leaf lock.
//! - A thread that finds no frame waits on a condition variable, with nothing but the frames held.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use lockorder::{Condvar, HeldMutex, Key, Leaf, Mutex, RwLock};

mod levels {
    lockorder::lock_order! {
        pub(crate) domain Cache;
        /// Page numbers to pages.
        level Bucket;
        /// The bytes of one page.
        level Page;
        /// The number of free frames.
        level Frames;
        Cache => Bucket => Page;
        Cache => Frames;
    }
}

const BUCKETS: usize = 4;
const PAGE_BYTES: usize = 64;

struct Page {
    number: u32,
    /// Goes up under the bucket's lock only.
    pins: AtomicU32,
    bytes: RwLock<levels::Page, Vec<u8>>,
}

struct Cache {
    buckets: [Mutex<levels::Bucket, HashMap<u32, Arc<Page>>>; BUCKETS],
    frames: Mutex<levels::Frames, usize>,
    /// Notified when a page is unpinned or a frame is free.
    changed: Condvar,
    /// Pages whose last pin was given up: what may be evicted.
    idle: Leaf<levels::Cache, Vec<Arc<Page>>>,
    loads: AtomicUsize,
    evictions: AtomicUsize,
}

/// A page that is not evicted as long as this lives.
struct Pinned<'c> {
    cache: &'c Cache,
    page: Arc<Page>,
}

impl Drop for Pinned<'_> {
    fn drop(&mut self) {
        if self.page.pins.fetch_sub(1, Ordering::AcqRel) == 1 {
            let page = self.page.clone();
            // It is not in the closure of a leaf, so this is never refused.
            let listed = self.cache.idle.with(|idle| idle.push(page));
            debug_assert!(listed.is_ok());
            self.cache.changed.notify_one();
        }
    }
}

impl Cache {
    fn new(frames: usize) -> Self {
        Cache {
            buckets: std::array::from_fn(|_| Mutex::default()),
            frames: Mutex::new(frames),
            changed: Condvar::new(),
            idle: Leaf::new(Vec::new()),
            loads: AtomicUsize::new(0),
            evictions: AtomicUsize::new(0),
        }
    }

    fn bucket(&self, number: u32) -> &Mutex<levels::Bucket, HashMap<u32, Arc<Page>>> {
        &self.buckets[number as usize % BUCKETS]
    }

    fn pin(&self, page: &Arc<Page>) -> Pinned<'_> {
        page.pins.fetch_add(1, Ordering::AcqRel);
        Pinned {
            cache: self,
            page: page.clone(),
        }
    }

    /// Pins a page, and loads it first if it is not in the cache.
    fn get(&self, key: &mut Key<levels::Cache>, number: u32) -> Pinned<'_> {
        let found = self.bucket(number).with(&mut key.ctx(), |pages, _| {
            pages.get(&number).map(|page| self.pin(page))
        });
        if let Some(pinned) = found {
            return pinned;
        }
        self.take_frame(key);
        let (pinned, loaded) = self.bucket(number).with(&mut key.ctx(), |pages, ctx| {
            match pages.entry(number) {
                // Another thread was faster.
                Entry::Occupied(entry) => (self.pin(entry.get()), false),
                Entry::Vacant(entry) => {
                    let page = Arc::new(Page {
                        number,
                        pins: AtomicU32::new(0),
                        bytes: RwLock::new(Vec::new()),
                    });
                    let first = number.to_be_bytes()[3];
                    page.bytes
                        .with_write(ctx, |bytes, _| bytes.resize(PAGE_BYTES, first));
                    (self.pin(entry.insert(page)), true)
                }
            }
        });
        if loaded {
            self.loads.fetch_add(1, Ordering::Relaxed);
        } else {
            self.give_frame(key);
        }
        pinned
    }

    fn take_frame(&self, key: &mut Key<levels::Cache>) {
        loop {
            let mut frames = self.frames.hold(key.ctx());
            if *frames > 0 {
                *frames -= 1;
                return;
            }
            drop(frames);
            if !self.evict(key) {
                let mut frames = self.frames.hold(key.ctx());
                // An unpinned page does not change the number: look again after a while.
                let wait = Duration::from_millis(1);
                self.changed
                    .wait_while_for(&mut frames, |frames| *frames == 0, wait);
                HeldMutex::release(frames);
            }
        }
    }

    fn give_frame(&self, key: &mut Key<levels::Cache>) {
        self.frames.with(&mut key.ctx(), |frames, _| *frames += 1);
        self.changed.notify_one();
    }

    /// Evicts one page. False if there is none to evict now.
    fn evict(&self, key: &mut Key<levels::Cache>) -> bool {
        while let Ok(Some(page)) = self.idle.with(Vec::pop) {
            let mut again = None;
            let evicted = page.bytes.with_write(&mut key.ctx(), |bytes, ctx| {
                let Some((mut pages, _)) = self.bucket(page.number).try_lock_unordered(ctx) else {
                    again = Some(page.clone());
                    return false;
                };
                // Pinned again, or evicted already: then it is not this list entry's to evict.
                let here = pages
                    .get(&page.number)
                    .is_some_and(|p| Arc::ptr_eq(p, &page));
                if !here || page.pins.load(Ordering::Acquire) > 0 {
                    return false;
                }
                bytes.clear();
                pages.remove(&page.number);
                true
            });
            if evicted {
                self.evictions.fetch_add(1, Ordering::Relaxed);
                self.give_frame(key);
                return true;
            }
            if let Some(page) = again {
                return self.idle.with(|idle| idle.push(page)).is_err();
            }
        }
        false
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    const THREADS: u32 = 4;
    const GETS: u32 = 20_000;
    const FRAMES: usize = 8;
    let cache = Cache::new(FRAMES);
    std::thread::scope(|s| {
        for thread in 0..THREADS {
            let cache = &cache;
            s.spawn(move || {
                Key::run(|key| {
                    let mut state = thread + 1;
                    for _ in 0..GETS {
                        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                        let number = state >> 27;
                        let pinned = cache.get(key, number);
                        let right = pinned.page.bytes.with_read(&mut key.ctx(), |bytes, _| {
                            bytes.len() == PAGE_BYTES && u32::from(bytes[0]) == number
                        });
                        assert!(right, "page {number} was evicted while it was pinned");
                    }
                });
            });
        }
    });
    let (loads, evictions) = (cache.loads.into_inner(), cache.evictions.into_inner());
    let free = cache.frames.into_inner();
    println!(
        "{} lookups, {loads} loads, {evictions} evictions, {free} frames free",
        THREADS * GETS
    );
    if loads - evictions + free != FRAMES {
        return Err("frames were lost".into());
    }
    Ok(())
}
