//! Locks that remember a panic, alone and in sets.

use std::panic::{AssertUnwindSafe, catch_unwind};

use lockorder::{Key, LockSet, Mutex, OwnedSet, Poisonable, RwLock};

mod levels {
    lockorder::lock_order! { pub(crate) domain Dom; level Level; Dom => Level; }
}
use levels::{Dom, Level};

type P<T> = Poisonable<Mutex<Level, T>>;
type PRw<T> = Poisonable<RwLock<Level, T>>;

fn unwinds(f: impl FnOnce(&mut Key<Dom>)) {
    assert!(catch_unwind(AssertUnwindSafe(|| Key::<Dom>::with(f))).is_err());
}

fn key() -> Key<Dom> {
    Key::take().expect("the thread's key is free")
}

#[test]
fn a_panic_under_the_lock_is_seen_until_it_is_cleared() {
    let lock = P::new(Mutex::new(1));
    unwinds(|key| {
        lock.with(&mut key.ctx(), |n, _| {
            *n.unwrap() = 2;
            panic!("as planned");
        });
    });
    assert!(lock.is_poisoned());
    let mut key = key();
    let seen = lock.with(&mut key.ctx(), |n, _| {
        n.map_err(|p| *p.into_inner()).map(|n| *n)
    });
    assert_eq!(seen, Err(2));
    {
        let mut root = key.ctx();
        let (guard, _) = lock.lock(&mut root);
        assert_eq!(*guard.unwrap_err().into_inner(), 2);
    }
    lock.clear_poison();
    assert_eq!(lock.with(&mut key.ctx(), |n, _| *n.unwrap()), 2);
    assert_eq!(lock.into_inner().unwrap().into_inner(), 2);
}

#[test]
fn a_panic_elsewhere_does_not_poison() {
    let lock = P::new(Mutex::new(1));
    unwinds(|key| {
        lock.with(&mut key.ctx(), |_, _| ());
        panic!("as planned");
    });
    assert!(!lock.is_poisoned());

    /// Locks while the thread unwinds already.
    struct LocksOnDrop<'a>(&'a P<i32>);
    impl Drop for LocksOnDrop<'_> {
        fn drop(&mut self) {
            let _ = Key::<Dom>::with(|key| self.0.with(&mut key.ctx(), |n, _| *n.unwrap() += 1));
        }
    }
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        let _last = LocksOnDrop(&lock);
        panic!("as planned");
    }));
    assert!(unwound.is_err());
    assert!(!lock.is_poisoned());
    assert_eq!(lock.with(&mut key().ctx(), |n, _| *n.unwrap()), 2);
}

#[test]
fn reading_does_not_poison_but_sees_it() {
    let lock = PRw::new(RwLock::new(1));
    unwinds(|key| lock.with_read(&mut key.ctx(), |_, _| panic!("as planned")));
    assert!(!lock.is_poisoned());
    unwinds(|key| lock.with(&mut key.ctx(), |_, _| panic!("as planned")));
    assert!(lock.with_read(&mut key().ctx(), |n, _| n.is_err()));
}

#[test]
fn members_of_sets() {
    let (a, b) = (P::new(Mutex::new(1)), PRw::new(RwLock::new(2)));
    let plain = Mutex::<Level, _>::new(3);
    unwinds(|key| {
        let set = LockSet::try_new((&b, &plain, &a)).unwrap();
        set.with(&mut key.ctx(), |(b, _, a), _| {
            assert!(a.is_ok() && b.is_ok());
            panic!("as planned");
        });
    });
    assert!(a.is_poisoned() && b.is_poisoned());
    let mut key = key();
    b.clear_poison();
    let set = LockSet::try_new((&a, &b)).unwrap();
    let seen = set.with(&mut key.ctx(), |(a, b), _| (a.is_ok(), b.is_ok()));
    assert_eq!(seen, (false, true));
    let owned = OwnedSet::new([a, P::new(Mutex::new(5))]);
    let seen = owned.with(&mut key.ctx(), |all, _| all.map(|one| one.is_ok()));
    assert_eq!(seen, [false, true]);
    assert!(LockSet::try_new((&b, &b)).is_err());
}
