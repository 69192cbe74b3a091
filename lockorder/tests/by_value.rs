//! Acquisitions that consume a context, guards of parts, guards with an `Arc`, upgrades.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use lockorder::{
    ArcMutexGuard, HeldMutex, HeldRead, HeldUpgradable, HeldWrite, Key, LockCtx, MappedMutexGuard,
    Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard,
};

mod levels {
    lockorder::lock_order! {
        pub(crate) domain Dom;
        level A, B, C;
        Dom => A => B => C;
    }
}
use levels::{A, B, C, Dom};

fn key() -> Key<Dom> {
    Key::take().expect("the key is free")
}

struct Shared {
    a: Mutex<A, Vec<u32>>,
    b: Mutex<B, u32>,
    table: RwLock<A, Vec<Arc<Mutex<B, u32>>>>,
}

impl Shared {
    fn new() -> Self {
        Shared {
            a: Mutex::new(vec![1, 2]),
            b: Mutex::new(0),
            table: RwLock::new(vec![Arc::new(Mutex::new(7))]),
        }
    }

    fn open<'a>(&'a self, ctx: LockCtx<'a, Dom>) -> HeldMutex<'a, Dom, A, Vec<u32>> {
        self.a.hold(ctx)
    }

    fn first<'a>(&'a self, ctx: LockCtx<'a, Dom>) -> MappedMutexGuard<'a, A, u32> {
        let (guard, _) = HeldMutex::into_parts(self.a.hold(ctx));
        MutexGuard::map(guard, |all| &mut all[0])
    }

    fn found<'k>(&self, mut ctx: LockCtx<'k, Dom>) -> ArcMutexGuard<'k, B, u32> {
        let found = self.table.with_read(&mut ctx, |table, _| table[0].clone());
        found.lock_arc(ctx).0
    }
}

#[test]
fn returned_from_functions() {
    let shared = Shared::new();
    let mut key = key();
    let mut held = shared.open(key.ctx());
    held.push(3);
    {
        let (all, mut ctx) = HeldMutex::split(&mut held);
        shared.b.with(&mut ctx, |b, _| *b = all.len() as u32);
    }
    assert_eq!(format!("{held:?}"), "[1, 2, 3]");
    // The context comes back, good for as long as it was.
    let ctx = HeldMutex::release(held);
    let mut first = shared.first(ctx);
    *first += 10;
    drop(first);
    *shared.found(key.ctx()) += 1;
    let mut root = key.ctx();
    let (guard, _) = shared.a.lock(&mut root);
    assert_eq!(*guard, [11, 2, 3]);
}

/// `try` gives the context back, so that both arms of a `match` can use it.
#[test]
fn try_then_lock_in_a_match() {
    fn lock<'a>(
        lock: &'a Mutex<A, u32>,
        ctx: LockCtx<'a, Dom>,
    ) -> (HeldMutex<'a, Dom, A, u32>, bool) {
        match lock.try_hold(ctx) {
            Ok(held) => (held, true),
            Err(ctx) => (lock.hold(ctx), false),
        }
    }
    let a = Mutex::new(0);
    assert!(lock(&a, key().ctx()).1);
    thread::scope(|s| {
        let mut key = key();
        let held = a.hold(key.ctx());
        let waits = s.spawn(|| Key::<Dom>::run(|key| lock(&a, key.ctx()).1));
        let timed = s.spawn(|| {
            Key::<Dom>::run(|key| {
                let ctx = key.ctx();
                match a.try_hold_for(ctx, Duration::from_millis(1)) {
                    Ok(_) => false,
                    // And on with it, for what comes after.
                    Err(mut ctx) => Mutex::<B, _>::new(1).with(&mut ctx, |b, _| *b == 1),
                }
            })
        });
        assert!(timed.join().unwrap());
        drop(held);
        let _ = waits.join().unwrap();
    });
}

#[test]
fn unlocked_for_a_time() {
    let (a, b) = (Mutex::<A, _>::new(0), Mutex::<B, _>::new(1));
    let mut key = key();
    let mut held = b.hold(key.ctx());
    let sum = HeldMutex::unlocked(&mut held, |ctx| {
        assert!(!b.is_locked());
        // Earlier than what was released.
        a.with(ctx, |a, ctx| *a + b.with(ctx, |b, _| *b))
    });
    assert_eq!(sum, 1);
    assert!(b.is_locked());
    // By unwinding, too.
    let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        HeldMutex::unlocked(&mut held, |_| panic!("as planned"))
    }));
    assert!(unwound.is_err() && b.is_locked());
    HeldMutex::bump(&mut held);
    HeldMutex::release_fair(held);
    assert!(!b.is_locked());

    let table = RwLock::<A, _>::new(0);
    let mut read = table.hold_read(key.ctx());
    HeldRead::unlocked(&mut read, |ctx| table.with_write(ctx, |n, _| *n += 1));
    assert_eq!(*read, 1);
    let mut write = table.hold_write(HeldRead::release(read));
    HeldWrite::unlocked(&mut write, |ctx| table.with_write(ctx, |n, _| *n += 1));
    *write += 1;
    assert_eq!(*HeldWrite::downgrade(write), 3);
}

/// One reader upgrades while others read and wait for later levels.
#[test]
fn upgrades() {
    let table = RwLock::<A, _>::new(0);
    let later = Mutex::<B, _>::new(0);
    thread::scope(|s| {
        for _ in 0..4 {
            s.spawn(|| {
                let mut key = key();
                for _ in 0..200 {
                    let mut held = table.hold_upgradable(key.ctx());
                    {
                        let (n, mut ctx) = HeldUpgradable::split(&mut held);
                        later.with(&mut ctx, |m, _| *m = *n);
                    }
                    let before = *held;
                    let mut held = HeldUpgradable::upgrade(held);
                    assert_eq!(*held, before, "nothing came in between");
                    *held += 1;
                    let read = HeldWrite::downgrade(held);
                    HeldRead::release(read);
                }
            });
            s.spawn(|| {
                let mut key = key();
                for _ in 0..200 {
                    table.with_read(&mut key.ctx(), |_, ctx| later.with(ctx, |m, _| *m));
                }
            });
        }
    });
    let mut key = key();
    let held = table.try_hold_upgradable(key.ctx()).unwrap();
    assert_eq!(*held, 800);
    let held = HeldUpgradable::try_upgrade(held).unwrap();
    drop(held);
    let held = table.hold_upgradable(key.ctx());
    assert_eq!(*HeldUpgradable::downgrade(held), 800);
}

#[test]
fn parts_of_values() {
    let mutex = Mutex::<A, _>::new((1, Some(2)));
    let lock = RwLock::<B, _>::new(vec![3, 4]);
    let mut key = key();
    let mut root = key.ctx();
    let (guard, mut ctx) = mutex.lock(&mut root);
    let guard = match MutexGuard::try_map(guard, |pair| pair.1.as_mut()) {
        Ok(mut second) => {
            *second += 1;
            second
        }
        Err(_) => panic!("it is there"),
    };
    {
        let (write, _) = lock.write(&mut ctx);
        let mut first = RwLockWriteGuard::map(write, |all| &mut all[0]);
        *first += *guard;
    }
    let (read, _) = lock.read(&mut ctx);
    let last = RwLockReadGuard::try_map(read, |all| all.get(9));
    let read = last.unwrap_err();
    let slice = RwLockReadGuard::map(read, |all| &all[..1]);
    assert_eq!(*slice, [6]);
    MappedMutexGuard::unlock_fair(guard);
}

/// The guard keeps its lock alive when nothing else does.
#[test]
fn arcs_in_guards() {
    let (mutex, lock) = (
        Arc::new(Mutex::<A, _>::new(String::from("a"))),
        Arc::new(RwLock::<B, _>::new(1)),
    );
    let mut key = key();
    let (mut guard, mut ctx) = Mutex::lock_arc(&mutex, key.ctx());
    assert!(mutex.is_locked());
    assert!(Arc::ptr_eq(ArcMutexGuard::owner(&guard), &mutex));
    drop(mutex);
    guard.push('b');
    *lock.write_arc(ctx.reborrow()).0 += 1;
    let (read, _) = lock.read_arc(ctx);
    drop(lock);
    assert_eq!((guard.as_str(), *read), ("ab", 2));
    drop(guard);
    drop(read);
    let taken = Arc::new(Mutex::<C, _>::new(0));
    let (held, _) = taken.lock_arc(key.ctx());
    let refused = thread::scope(|s| {
        let other = || Key::<Dom>::run(|key| taken.try_lock_arc(key.ctx()).is_err());
        s.spawn(other).join().unwrap()
    });
    assert!(refused);
    drop(held);
    assert!(taken.try_lock_arc(key.ctx()).is_ok());
}

/// Tries in `ctx`, and in the context that comes back if the lock is taken.
#[test]
fn a_try_of_a_shared_lock_in_an_arc_gives_the_context_back() {
    let lock = Arc::new(RwLock::<A, u32>::new(7));
    let mut key = Key::<Dom>::take().unwrap();
    let other = |write: bool| {
        let lock = Arc::clone(&lock);
        thread::spawn(move || {
            let mut key = Key::<Dom>::take().unwrap();
            if write {
                lock.try_write_arc(key.ctx()).is_ok()
            } else {
                lock.try_read_arc(key.ctx()).is_ok()
            }
        })
        .join()
        .unwrap()
    };
    let Ok((read, _)) = lock.try_read_arc(key.ctx()) else {
        panic!("the lock is free");
    };
    assert_eq!((*read, other(false), other(true)), (7, true, false));
    drop(read);
    let Ok((mut write, _)) = lock.try_write_arc(key.ctx()) else {
        panic!("the lock is free");
    };
    *write += 1;
    assert_eq!((other(false), other(true)), (false, false));
    drop(write);
    // The context of a try that failed acquires the lock afterwards.
    let (held, release) = (std::sync::Barrier::new(2), std::sync::Barrier::new(2));
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut key = Key::<Dom>::take().unwrap();
            let _guard = lock.write_arc(key.ctx()).0;
            held.wait();
            release.wait();
        });
        held.wait();
        let Err(ctx) = lock.try_read_arc(key.ctx()) else {
            panic!("it is taken");
        };
        release.wait();
        assert_eq!(*lock.read_arc(ctx).0, 8);
    });
}
