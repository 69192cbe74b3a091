//! Without `std`: keys by the unsafe constructor, spinning locks by default, sets without an
//! allocator.
//!
//! ```sh
//! cargo test -p lockorder --no-default-features --features spin --test no_std
//! ```
#![cfg(all(not(feature = "std"), feature = "spin"))]
// The constructor whose contract the caller keeps is what is tested.
#![allow(unsafe_code)]

use lockorder::{
    Ascending, DuplicateLock, HeldMutex, Key, LockCtx, LockSet, Mutex, OwnedSet, Ranked, RetrySet,
    RwLock,
};

mod levels {
    lockorder::lock_order! {
        pub(crate) domain Kernel;
        level Queue, Pool;
        Kernel => Queue => Pool;
    }
}
use levels::{Kernel, Pool, Queue};

static QUEUE: Mutex<Queue, u32> = Mutex::new(1);
static POOL: RwLock<Pool, u32> = RwLock::new(2);

fn turn(ctx: &mut LockCtx<'_, Kernel>) -> u32 {
    QUEUE.with(ctx, |queue, ctx| {
        *queue += POOL.with_read(ctx, |pool, _| *pool);
        *queue
    })
}

#[test]
fn keys_that_the_caller_vouches_for() {
    // SAFETY: this test's thread makes this one key of the domain, and no other.
    let mut key = unsafe { Key::<Kernel>::assume() };
    assert_eq!(turn(&mut key.ctx()), 3);
    drop(key);
    // SAFETY: the first one is gone.
    let mut key = unsafe { Key::<Kernel>::assume() };
    assert_eq!(turn(&mut key.ctx()), 5);
}

#[test]
fn sets_without_an_allocator() {
    // SAFETY: this test's thread makes this one key of the domain, and no other.
    let mut key = unsafe { Key::<Kernel>::assume() };
    let locks = [const { Mutex::<Queue, u32>::new(1) }; 3];
    let sum = LockSet::new(&locks).with(&mut key.ctx(), |all, _| all.map(|n| *n));
    assert_eq!(sum, [1, 1, 1]);
    let set = LockSet::try_new((&locks[2], &locks[0])).unwrap();
    set.with(&mut key.ctx(), |(c, a), _| *c += *a);
    let refused = RetrySet::try_new([&locks[1], &locks[1]]).unwrap_err();
    assert_eq!(
        refused,
        DuplicateLock {
            first: 0,
            second: 1
        }
    );
    let owned = OwnedSet::new(locks);
    assert_eq!(owned.with(&mut key.ctx(), |[_, _, c], _| *c), 2);
}

#[test]
fn the_forms_without_an_allocator() {
    // SAFETY: this test's thread makes this one key of the domain, and no other.
    let mut key = unsafe { Key::<Kernel>::assume() };
    let queue = Mutex::<Queue, u32>::new(1);
    let mut held = queue.hold(key.ctx());
    *held += 1;
    let mut ctx = HeldMutex::release(held);
    let pool = RwLock::<Pool, u32>::new(0);
    pool.with_write(&mut ctx, |free, ctx| {
        let (queue, _) = queue.try_lock_unordered(ctx).unwrap();
        *free = *queue;
    });
    let ranked = [1u8, 2].map(|rank| Ranked::new(rank, Mutex::<Queue, u32>::new(0)));
    let mut chain = Ascending::new(&mut ctx);
    let second = chain.lock(&ranked[1]).unwrap();
    assert!(chain.lock(&ranked[0]).is_err());
    drop(second);
    assert_eq!(pool.into_inner(), 2);
}
