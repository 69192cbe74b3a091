//! Spinning raw locks.
#![cfg(feature = "spin")]

use std::thread;

use lockorder::{
    HeldUpgradable, HeldWrite, Key, LockSet, Mutex, RawSpin, RawSpinRw, RwLock, RwLockWriteGuard,
};

mod levels {
    lockorder::lock_order! { pub(crate) domain Dom; level A, B; Dom => A => B; }
}
use levels::{A, B, Dom};

static COUNT: Mutex<A, u64, RawSpin> = Mutex::new(0);
static LAST: RwLock<B, u64, RawSpinRw> = RwLock::new(0);

#[test]
fn spinning_locks_exclude() {
    assert_eq!(size_of::<Mutex<A, u8, RawSpin>>(), 2);
    thread::scope(|s| {
        for _ in 0..3 {
            s.spawn(|| {
                let mut key = Key::<Dom>::take().unwrap();
                for _ in 0..1_000 {
                    COUNT.with(&mut key.ctx(), |count, ctx| {
                        *count += 1;
                        let (mut last, _) = LAST.write(ctx);
                        *last = *count;
                        let last = RwLockWriteGuard::downgrade(last);
                        assert_eq!(*last, *count);
                    });
                }
            });
        }
    });
    let mut key = Key::<Dom>::take().unwrap();
    assert_eq!(COUNT.with(&mut key.ctx(), |n, _| *n), 3_000);
    assert_eq!(LAST.with_read(&mut key.ctx(), |n, _| *n), 3_000);
    assert!(!LAST.is_locked() && !COUNT.is_locked());
}

#[test]
fn raw_locks_of_one_level_can_differ_in_a_set() {
    let spinning = Mutex::<A, _, RawSpin>::new(1);
    let parking = Mutex::<A, _, parking_lot::RawMutex>::new(2);
    let mut key = Key::<Dom>::take().unwrap();
    let set = LockSet::try_new((&parking, &spinning)).unwrap();
    assert_eq!(set.with(&mut key.ctx(), |(p, s), _| *p * 10 + *s), 21);
    assert!(!spinning.is_locked());
}

#[test]
fn a_spinning_lock_is_upgraded() {
    let table = RwLock::<B, _, RawSpinRw>::new(1);
    let mut key = Key::<Dom>::take().unwrap();
    let held = table.hold_upgradable(key.ctx());
    let mut held = HeldUpgradable::upgrade(held);
    *held += 1;
    let held = HeldWrite::downgrade(held);
    assert_eq!(*held, 2);
    drop(held);
    let held = table.hold_upgradable(key.ctx());
    let held = HeldUpgradable::try_upgrade(held).unwrap();
    drop(held);
}
