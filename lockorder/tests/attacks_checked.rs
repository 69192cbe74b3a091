//! Attacks on the checks of debug builds, and on the order of domains: each is a row of
//! `docs/LOCKORDER-ATTACKS.md`.
#![cfg(any(debug_assertions, feature = "lockdep"))]

mod common;

use std::time::Duration;

use lockorder::graph::{Graph, check};
use lockorder::{
    Condvar, Domain, HeldMutex, HeldRead, HeldUpgradable, Key, Leaf, LockSet, Mutex, RwLock,
    lockdep,
};

use common::panic_in;

/// Each test has a domain of its own: what was in order is remembered.
macro_rules! domain {
    ($module:ident) => {
        mod $module {
            lockorder::lock_order! {
                pub(crate) domain Dom;
                level A, B, C;
                Dom => A => B => C;
            }
        }
    };
}

const B_UNDER_C: &str = "lock level `B` may not be acquired while holding `C`";

domain!(upgrade);
/// An upgrade waits for readers, who may wait for the checked lock that this thread holds.
#[test]
fn an_upgrade_under_a_later_checked_lock() {
    use upgrade::{B, C, Dom};
    let table = RwLock::<B, _>::new(0);
    let log = lockdep::Mutex::<C, _>::new(0);
    let mut key = Key::<Dom>::take().unwrap();
    let held = table.hold_upgradable(key.ctx());
    let logged = log.lock();
    let message = panic_in(|| drop(HeldUpgradable::upgrade(held)));
    assert!(message.starts_with(B_UNDER_C), "{message}");
    assert!(message.contains("attacks_checked.rs:"), "{message}");
    // Without it, the upgrade is in order.
    drop(logged);
    *HeldUpgradable::upgrade(table.hold_upgradable(key.ctx())) += 1;
}

domain!(bump);
/// A lock that is let go of for a moment is waited for again.
#[test]
fn a_bump_under_a_later_checked_lock() {
    use bump::{B, C, Dom};
    let table = Mutex::<B, _>::new(0);
    let log = lockdep::Mutex::<C, _>::new(0);
    let mut key = Key::<Dom>::take().unwrap();
    let mut held = table.hold(key.ctx());
    let logged = log.lock();
    let message = panic_in(|| HeldMutex::bump(&mut held));
    assert!(message.starts_with(B_UNDER_C), "{message}");
    drop(logged);
    HeldMutex::bump(&mut held);
}

domain!(unlocked);
/// A lock that is released for a time is not released at all if it cannot be waited for again.
#[test]
fn a_time_without_the_lock_under_a_later_checked_lock() {
    use unlocked::{B, C, Dom};
    let (table, names) = (Mutex::<B, _>::new(0), RwLock::<B, _>::new(0));
    let log = lockdep::Mutex::<C, _>::new(0);
    let mut key = Key::<Dom>::take().unwrap();
    let mut ran = false;
    let mut held = table.hold(key.ctx());
    let logged = log.lock();
    let message = panic_in(|| HeldMutex::unlocked(&mut held, |_| ran = true));
    assert!(message.starts_with(B_UNDER_C), "{message}");
    drop((logged, held));
    let mut held = names.hold_read(key.ctx());
    let logged = log.lock();
    let message = panic_in(|| HeldRead::unlocked(&mut held, |_| ran = true));
    assert!(message.starts_with(B_UNDER_C), "{message}");
    assert!(!ran, "the lock was released first");
    // A checked lock that is acquired in that time and kept.
    drop(logged);
    let message = panic_in(|| drop(HeldRead::unlocked(&mut held, |_| log.lock())));
    assert!(message.starts_with(B_UNDER_C), "{message}");
    assert!(
        log.try_lock().is_some(),
        "released before the lock is waited for"
    );
}

domain!(waits);
domain!(beside);
/// A wait on a condition variable acquires its mutex again, under a lock of another domain that
/// is elsewhere acquired under that mutex.
#[test]
fn a_wait_under_a_lock_of_another_domain() {
    let queue = Mutex::<waits::A, _>::new(0);
    let other = Mutex::<beside::A, _>::new(0);
    let filled = Condvar::new();
    let mut key = Key::<waits::Dom>::take().unwrap();
    let mut second = Key::<beside::Dom>::take().unwrap();
    let mut held = queue.hold(key.ctx());
    let message = panic_in(|| {
        other.with(&mut second.ctx(), |_, _| {
            filled.wait_for(&mut held, Duration::from_millis(1))
        })
    });
    assert!(message.contains("are held in both orders"), "{message}");
    assert!(
        filled
            .wait_for(&mut held, Duration::from_millis(1))
            .timed_out()
    );
}

domain!(leaf_of_one);
domain!(leaf_of_other);
/// Two leaf locks of two domains, one in the closure of the other, in both orders.
#[test]
fn a_leaf_in_a_leaf_of_another_domain() {
    let one = Leaf::<leaf_of_one::Dom, _>::new(1);
    let other = Leaf::<leaf_of_other::Dom, _>::new(2);
    // One way round is in order, as in an allocator or a logger, which is called in closures.
    for _ in 0..2 {
        assert_eq!(one.with(|_| other.with(|n| *n)), Ok(Ok(2)));
    }
    for _ in 0..2 {
        let message = panic_in(|| other.with(|_| one.with(|n| *n)).map(drop));
        assert!(
            message.starts_with("leaf locks of the domains `attacks_checked::leaf_of_other::Dom`"),
            "{message}"
        );
        assert!(message.contains("are held in both orders"), "{message}");
    }
    // One after the other is as ever.
    assert_eq!((one.with(|n| *n), other.with(|n| *n)), (Ok(1), Ok(2)));
}

domain!(rows);
/// More locks than the thread's list has room for, and a checked lock after them.
#[test]
fn a_checked_lock_after_forty_others() {
    use rows::{A, B, C, Dom};
    let rows: Vec<_> = (0..40).map(Mutex::<A, _>::new).collect();
    let (table, log) = (
        lockdep::Mutex::<B, _>::new(0),
        lockdep::Mutex::<C, _>::new(0),
    );
    let mut key = Key::<Dom>::take().unwrap();
    let message = panic_in(|| {
        LockSet::new(&rows[..]).with(&mut key.ctx(), |_, _| {
            let _log = log.lock();
            drop(table.lock());
        });
    });
    assert!(message.starts_with(B_UNDER_C), "{message}");
    // The list is whole again.
    LockSet::new(&rows[..]).with(&mut key.ctx(), |_, _| {
        let _table = table.lock();
        drop(log.lock());
    });
    rows[0].with(&mut key.ctx(), |_, _| drop(table.lock()));
}

domain!(attempts);
/// Attempts against the order do not wait, but what is waited for after them is compared with them.
#[test]
fn a_wait_after_an_attempt_with_checked_locks() {
    use attempts::{A, B, C};
    let (first, names) = (
        lockdep::Mutex::<A, _>::new(0),
        lockdep::RwLock::<B, _>::new(0),
    );
    let log = lockdep::Mutex::<C, _>::new(0);
    let logged = log.lock();
    let read = names.try_read().expect("it is free");
    assert!(names.try_read().is_some() && names.try_write().is_none());
    drop((logged, read));
    let written = names.try_write().expect("it is free");
    assert!(names.try_read().is_none());
    let message = panic_in(|| drop(first.lock()));
    assert!(
        message.starts_with("lock level `A` may not be acquired while holding `B`"),
        "{message}"
    );
    drop(written);
    drop(first.lock());
}

mod net {
    lockorder::lock_order! { pub(crate) domain Net; level Conn; Net => Conn; }
}
mod disk {
    lockorder::lock_order! { pub(crate) domain Disk; level File; Disk => File; }
}

fn one_way() -> &'static Graph {
    lockorder::lock_order! {
        pub(crate) domain Local;
        level X;
        Local => X;
        extern crate::net::Net => extern crate::disk::Disk;
    }
    Local::GRAPH
}

fn other_way() -> &'static Graph {
    lockorder::lock_order! {
        pub(crate) domain Local;
        level X;
        Local => X;
        extern crate::disk::Disk => extern crate::net::Net;
    }
    Local::GRAPH
}

/// Two domains whose types have one path, because each is declared in a function.
#[test]
fn domains_of_one_path_are_two() {
    assert_eq!(one_way().path(), other_way().path());
    let cycle = check(&[one_way(), other_way()]).unwrap_err();
    assert_eq!(cycle.domains().len(), 2);
    assert!(check(&[one_way(), one_way()]).is_ok());
}
