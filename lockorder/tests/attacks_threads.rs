//! More attacks on the promise by threads: each is a row of `docs/LOCKORDER-ATTACKS.md`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use lockorder::{
    Ascending, Condvar, Deferred, DuplicateLock, HeldMutex, HeldUpgradable, Key, Leaf, LockSet,
    Mutex, MutexGuard, Ranked, Read, RetrySet, RwLock,
};

mod levels {
    lockorder::lock_order! {
        pub(crate) domain Dom;
        level A, B, C;
        Dom => A => B => C;
    }
}
use levels::{A, B, C, Dom};

mod other {
    lockorder::lock_order! { pub(crate) domain Other; level X; Other => X; }
}

fn key() -> Key<Dom> {
    Key::take().expect("the key is free")
}

/// A thread that runs other jobs while it holds a lock, as work-stealing pools do while they wait.
#[test]
fn a_job_that_is_run_under_a_lock() {
    static SA: Mutex<A, u32> = Mutex::new(0);
    type Job = Box<dyn FnOnce() -> Option<u32> + Send>;
    let job = || -> Job {
        Box::new(|| {
            Key::<Dom>::with(|key| {
                SA.with(&mut key.ctx(), |n, _| {
                    *n += 1;
                    *n
                })
            })
        })
    };
    let b = Mutex::<B, _>::new(vec![job()]);
    let jobs = [job(), job()];
    let stolen = b.with(&mut key().ctx(), |queue, _| {
        queue
            .drain(..)
            .chain(jobs)
            .map(|job| job())
            .collect::<Vec<_>>()
    });
    assert_eq!(stolen, [None; 3], "not under a lock");
    assert_eq!(job()(), Some(1), "but afterwards");
}

/// Threads that are started under a lock have orders of their own; the join is another way to wait.
#[test]
fn threads_started_under_a_lock() {
    let (a, b) = (Mutex::<A, _>::new(0), Mutex::<B, _>::new(0));
    let mut key = key();
    b.with(&mut key.ctx(), |_, _| {
        thread::scope(|s| {
            s.spawn(|| {
                Key::<Dom>::run(|key| {
                    a.with(&mut key.ctx(), |n, ctx| {
                        *n += 1;
                        assert!(b.try_lock(ctx).is_none(), "the other thread has it");
                    });
                });
            });
        });
    });
    assert_eq!(a.into_inner(), 1);
}

/// A guard can be looked at by other threads: a reference to it is no lock, and releases nothing.
#[test]
fn a_guard_that_threads_look_at() {
    let b = Mutex::<B, _>::new(7);
    let a = Mutex::<A, _>::new(0);
    let mut key = key();
    let mut root = key.ctx();
    let (guard, _) = b.lock(&mut root);
    thread::scope(|s| {
        for _ in 0..2 {
            s.spawn(|| {
                let seen = *guard;
                Key::<Dom>::run(|key| a.with(&mut key.ctx(), |n, _| *n += seen));
            });
        }
    });
    assert!(b.is_locked());
    drop(guard);
    assert_eq!(a.into_inner(), 14);
}

/// The lock in an `Arc` cannot be exchanged for another one while a guard has the `Arc`.
#[test]
fn a_held_arc_that_is_opened() {
    let mut row = Arc::new(Ranked::new(3u8, Mutex::<B, _>::new(1)));
    let mut key = key();
    let mut chain = Ascending::from_ctx(key.ctx());
    let guard = chain.lock_arc(&row).expect("the first one");
    assert!(Arc::get_mut(&mut row).is_none());
    let row = Arc::try_unwrap(row).expect_err("the guard has it, too");
    drop(guard);
    assert!(Arc::try_unwrap(row).is_ok());
}

/// One lock, named by different kinds of pointers.
#[test]
fn one_lock_by_several_names() {
    let twice = |first, second| DuplicateLock { first, second };
    let lock = Arc::new(Mutex::<B, _>::new(0));
    let set = LockSet::try_new((&*lock, lock.clone()));
    assert_eq!(set.err(), Some(twice(0, 1)));
    let name = &*lock;
    let set = RetrySet::try_new((Box::new(&lock), &name));
    assert_eq!(set.err(), Some(twice(0, 1)));
    let (names, more) = (RwLock::<B, _>::new(0), RwLock::<B, _>::new(0));
    let set = LockSet::try_new((Read(&names), &more, &names));
    assert_eq!(set.err(), Some(twice(0, 2)));
    let set = LockSet::try_new(vec![&names, &more, &names]);
    assert_eq!(set.err(), Some(twice(0, 2)));
}

/// Sets that overlap, named in both orders, made of one slice, sorted and retrying.
#[test]
fn overlapping_sets_of_one_slice() {
    let locks: Vec<_> = (0..5).map(|_| RwLock::<B, _>::new(0u32)).collect();
    let locks = &locks[..];
    thread::scope(|s| {
        for start in 0..3 {
            s.spawn(move || {
                let window = LockSet::new(&locks[start..start + 3]);
                for _ in 0..200 {
                    Key::<Dom>::run(|key| {
                        window.with(&mut key.ctx(), |all, _| {
                            all.into_iter().for_each(|n| *n += 1);
                        });
                    });
                }
            });
            s.spawn(move || {
                let turned = LockSet::try_new((&locks[start + 2], &locks[start]));
                let turned = turned.expect("two locks");
                let retried = RetrySet::try_new((&locks[start + 1], Read(&locks[start])));
                let retried = retried.expect("two locks");
                for _ in 0..200 {
                    Key::<Dom>::run(|key| {
                        turned.with(&mut key.ctx(), |(one, other), _| {
                            *one += 1;
                            *other += 1;
                        });
                        retried.with(&mut key.ctx(), |(one, _), _| *one += 1);
                    });
                }
            });
        }
    });
    let sum: u32 = Key::<Dom>::run(|key| {
        LockSet::new(locks).with_read(&mut key.ctx(), |all, _| all.into_iter().sum())
    });
    assert_eq!(sum, 3 * 200 * 3 + 3 * 200 * 3);
}

/// Readers of several locks, a writer, and threads that make their shared hold exclusive.
#[test]
fn upgrades_among_sets_of_readers() {
    let (x, y) = (RwLock::<B, _>::new(0u32), RwLock::<B, _>::new(0u32));
    let (x, y) = (&x, &y);
    thread::scope(|s| {
        for turned in [false, true] {
            s.spawn(move || {
                let set = LockSet::try_new(if turned { [y, x] } else { [x, y] }).expect("two");
                for _ in 0..300 {
                    Key::<Dom>::run(|key| {
                        set.with_read(&mut key.ctx(), |all, _| *all[0] + *all[1])
                    });
                }
            });
            s.spawn(move || {
                for _ in 0..300 {
                    Key::<Dom>::run(|key| {
                        let held = if turned { x } else { y }.hold_upgradable(key.ctx());
                        *HeldUpgradable::upgrade(held) += 1;
                    });
                }
            });
        }
        s.spawn(move || {
            let both = LockSet::try_new((y, x)).expect("two");
            for _ in 0..300 {
                Key::<Dom>::run(|key| {
                    both.with(&mut key.ctx(), |(y, x), _| (*y, *x) = (*y + 1, *x + 1))
                });
            }
        });
    });
    assert_eq!(
        Key::<Dom>::run(|key| x.with_read(&mut key.ctx(), |n, _| *n)),
        600
    );
}

/// Eviction against the order: attempts only, with all given back in between.
#[test]
fn attempts_against_the_order() {
    let (a, b) = (Mutex::<A, _>::new(0u32), Mutex::<B, _>::new(0u32));
    let (a, b) = (&a, &b);
    thread::scope(|s| {
        s.spawn(move || {
            for _ in 0..500 {
                Key::<Dom>::run(|key| {
                    a.with(&mut key.ctx(), |n, ctx| {
                        b.with(ctx, |m, _| (*n, *m) = (*n + 1, *m + 1))
                    })
                });
            }
        });
        s.spawn(move || {
            let mut done = 0;
            while done < 500 {
                let got = Key::<Dom>::run(|key| {
                    b.with(&mut key.ctx(), |m, ctx| {
                        let (mut n, _) = a.try_lock_unordered(ctx)?;
                        (*n, *m) = (*n + 1, *m + 1);
                        Some(())
                    })
                });
                done += u32::from(got.is_some());
                thread::yield_now();
            }
        });
    });
    let mut key = key();
    assert_eq!(a.with(&mut key.ctx(), |n, _| *n), 1000);
    assert_eq!(b.with(&mut key.ctx(), |n, _| *n), 1000);
}

/// A panic in the time without the lock: it is acquired again, then released by the unwinding.
#[test]
fn a_panic_in_the_time_without_the_lock() {
    let (a, b) = (Mutex::<A, _>::new(0), Mutex::<B, _>::new(0));
    let mut key = key();
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        let mut held = b.hold(key.ctx());
        HeldMutex::unlocked(&mut held, |ctx| {
            a.with(ctx, |_, ctx| b.with(ctx, |_, _| panic!("as planned")))
        })
    }));
    assert!(unwound.is_err());
    assert!(!a.is_locked() && !b.is_locked());
    a.with(&mut key.ctx(), |_, ctx| b.with(ctx, |_, _| ()));
}

/// A panic in the functions that a guard is given to.
#[test]
fn a_panic_in_a_map() {
    let b = Mutex::<B, _>::new((1, 2));
    let names = RwLock::<B, _>::new((1, 2));
    let mut key = key();
    for which in 0..3 {
        let unwound = catch_unwind(AssertUnwindSafe(|| {
            let mut root = key.ctx();
            match which {
                0 => drop(MutexGuard::map(b.lock(&mut root).0, |_| -> &mut u32 {
                    panic!("as planned")
                })),
                1 => drop(lockorder::RwLockReadGuard::try_map(
                    names.read(&mut root).0,
                    |_| -> Option<&u32> { panic!("as planned") },
                )),
                _ => drop(lockorder::RwLockWriteGuard::map(
                    names.write(&mut root).0,
                    |_| -> &mut u32 { panic!("as planned") },
                )),
            }
        }));
        assert!(unwound.is_err());
    }
    b.with(&mut key.ctx(), |_, _| ());
    names.with_write(&mut key.ctx(), |_, _| ());
}

/// Keys lent in loans of keys, each taken anew in there.
#[test]
fn loans_in_loans() {
    let (a, b) = (Mutex::<A, _>::new(0), Mutex::<B, _>::new(0));
    fn deeper(key: &mut Key<Dom>, depth: u32, a: &Mutex<A, u32>, b: &Mutex<B, u32>) {
        b.with(&mut key.ctx(), |n, _| *n += 1);
        if depth > 0 {
            key.lend(|| Key::<Dom>::run(|key| deeper(key, depth - 1, a, b)));
        }
        assert!(Key::<Dom>::take().is_none(), "this loan's key is back");
        a.with(&mut key.ctx(), |n, _| *n += 1);
    }
    Key::<Dom>::run(|key| deeper(key, 10, &a, &b));
    assert_eq!((a.into_inner(), b.into_inner()), (11, 11));
}

/// The condition of a wait runs under the mutex.
#[test]
fn a_condition_that_wants_more() {
    static LEAF: Leaf<Dom, u32> = Leaf::new(0);
    let queue = Mutex::<A, _>::new(0);
    let filled = Condvar::new();
    let mut key = key();
    let mut held = queue.hold(key.ctx());
    let result = filled.wait_while_for(
        &mut held,
        |_| {
            assert!(Key::<Dom>::take().is_none());
            LEAF.with(|n| *n += 1).expect("not in a leaf");
            true
        },
        Duration::from_millis(2),
    );
    assert!(result.timed_out());
    assert!(LEAF.with(|n| *n).expect("not in a leaf") >= 2);
}

/// One condition variable, waited on with mutexes of two domains.
#[test]
fn a_condition_variable_of_two_domains() {
    let one = Mutex::<A, _>::new(false);
    let two = Mutex::<other::X, _>::new(false);
    let (filled, waiting) = (Condvar::new(), AtomicUsize::new(0));
    thread::scope(|s| {
        s.spawn(|| {
            Key::<Dom>::run(|key| {
                let mut held = one.hold(key.ctx());
                waiting.fetch_add(1, Ordering::SeqCst);
                filled.wait_while(&mut held, |full| !*full);
            });
        });
        s.spawn(|| {
            Key::<other::Other>::run(|key| {
                let mut held = two.hold(key.ctx());
                waiting.fetch_add(1, Ordering::SeqCst);
                filled.wait_while(&mut held, |full| !*full);
            });
        });
        while waiting.load(Ordering::SeqCst) < 2 {
            thread::yield_now();
        }
        Key::<Dom>::run(|key| one.with(&mut key.ctx(), |full, _| *full = true));
        Key::<other::Other>::run(|key| {
            // Notified under one of the mutexes, which the waiter then waits for.
            two.with(&mut key.ctx(), |full, _| {
                *full = true;
                filled.notify_all();
            });
        });
    });
}

/// Counts its end, and does something else then.
struct Ends {
    ended: &'static AtomicUsize,
    then: fn(),
}

impl Drop for Ends {
    fn drop(&mut self) {
        self.ended.fetch_add(1, Ordering::SeqCst);
        (self.then)();
    }
}

/// A deferred destructor that defers another value, and one that drops the rest itself.
#[test]
fn deferred_destructors_that_use_the_list() {
    static ENDED: AtomicUsize = AtomicUsize::new(0);
    static GARBAGE: Deferred<Dom, Ends> = Deferred::new();
    fn put(then: fn()) {
        GARBAGE.push(Ends {
            ended: &ENDED,
            then,
        });
    }
    let mut key = key();
    put(|| put(|| ()));
    assert_eq!(GARBAGE.drop_all(&mut key), 1);
    assert!(!GARBAGE.is_empty(), "for the next time");
    assert_eq!(GARBAGE.drop_all(&mut key), 1);
    put(|| ());
    put(|| Key::<Dom>::run(|key| assert_eq!(GARBAGE.drop_all(key), 0, "all were taken out")));
    assert_eq!(GARBAGE.drop_all(&mut key), 2);
    assert_eq!(ENDED.load(Ordering::SeqCst), 4);
}

/// A list that lies under a lock drops its values there: their destructors find the key out.
#[test]
fn a_deferred_list_under_a_lock() {
    static ENDED: AtomicUsize = AtomicUsize::new(0);
    let garbage = Deferred::<Dom, Ends>::new();
    garbage.push(Ends {
        ended: &ENDED,
        then: || assert!(Key::<Dom>::take().is_none()),
    });
    let c = Mutex::<C, _>::new(Some(garbage));
    c.with(&mut key().ctx(), |garbage, _| *garbage = None);
    assert_eq!(ENDED.load(Ordering::SeqCst), 1);
}
