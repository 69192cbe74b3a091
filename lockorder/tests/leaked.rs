//! Guards that are leaked: what `mem::forget` can do here, and what is noticed.

use std::mem::forget;

use lockorder::{Key, Mutex};

mod levels {
    lockorder::lock_order! {
        pub(crate) domain Dom;
        level Outer, Inner;
        Dom => Outer => Inner;
    }
}
use levels::{Dom, Inner, Outer};

/// A leaked guard is a lock that is held for ever: it cannot be acquired again, on this thread or
/// another. That is not a matter of order, and no order can prevent it.
#[test]
fn a_forgotten_guard_is_a_lock_held_for_ever() {
    let lock = Mutex::<Outer, _>::new(());
    std::thread::scope(|s| {
        s.spawn(|| {
            let mut key = Key::<Dom>::take().unwrap();
            forget(lock.lock(&mut key.ctx()).0);
        });
    });
    assert!(lock.is_locked());
    let mut key = Key::<Dom>::take().unwrap();
    assert!(lock.try_lock(&mut key.ctx()).is_none());
}

/// With debug assertions the thread that leaked a guard is told, at its next root context,
/// instead of hanging at the lock.
#[test]
#[cfg_attr(not(debug_assertions), ignore = "release builds do not count guards")]
fn a_forgotten_guard_is_noticed_at_the_next_root() {
    let lock = Mutex::<Outer, _>::new(());
    let relocked = std::thread::scope(|s| {
        s.spawn(|| {
            let mut key = Key::<Dom>::take().unwrap();
            forget(lock.lock(&mut key.ctx()).0);
            // The context is free again as far as the borrow checker is concerned. Without
            // the check this would wait for itself.
            lock.with(&mut key.ctx(), |(), _| ());
        })
        .join()
    });
    let message = *relocked.unwrap_err().downcast::<String>().unwrap();
    assert_eq!(
        message,
        "a guard of lock domain `Dom` was leaked: its lock is held for ever"
    );
}

/// A guard that is dropped late, or moved, is not a leaked one.
#[test]
fn guards_in_containers_are_counted_right() {
    let (outer, inner) = (Mutex::<Outer, _>::new(1), Mutex::<Inner, _>::new(2));
    let mut key = Key::<Dom>::take().unwrap();
    for _ in 0..3 {
        let mut root = key.ctx();
        let (a, mut ctx) = outer.lock(&mut root);
        let (b, _) = inner.lock(&mut ctx);
        let boxed = Box::new(a);
        drop(b);
        drop(boxed);
    }
    assert_eq!(outer.with(&mut key.ctx(), |n, _| *n), 1);
}

/// A forgotten key is not given back: the thread can lock nothing any more, and waits for
/// nothing either.
#[test]
fn a_forgotten_key_is_gone() {
    std::thread::spawn(|| {
        forget(Key::<Dom>::take());
        assert!(Key::<Dom>::take().is_none());
        assert_eq!(Key::<Dom>::with(|_| ()), None);
    })
    .join()
    .unwrap();
}
