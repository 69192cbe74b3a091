// HappyLock 0.5.

use happylock::{collection::*, *};

/// Refused, E0382: a lock while another one is held.
mod wait_while_holding {
    fn main() {
        let (a, b) = (Mutex::new(0), Mutex::new(0));
        let key = ThreadKey::get().unwrap();
        let _a = a.lock(key);
        let _b = b.lock(key);
    }
}

/// Refused, E0499: the same with closures.
mod wait_in_a_closure {
    fn main() {
        let (a, b) = (Mutex::new(0), Mutex::new(0));
        let mut key = ThreadKey::get().unwrap();
        a.scoped_lock(&mut key, |_| b.scoped_lock(&mut key, |_| ()));
    }
}

/// Runs: the locks of one owned collection, one after the other, by position.
mod by_position {
    fn main() {
        let set = OwnedLockCollection::new((Mutex::new(1), Mutex::new(2)));
        let key = ThreadKey::get().unwrap();
        let mut context = set.context();
        let locks = context.tuple(key);
        let (a, locks) = locks.lock_0();
        let (b, _) = locks.lock_1();
        assert_eq!(**a + **b, 3);
    }
}

/// Refused, E0599: against the positions.
mod against_the_positions {
    fn main() {
        let set = OwnedLockCollection::new((Mutex::new(1), Mutex::new(2)));
        let key = ThreadKey::get().unwrap();
        let mut context = set.context();
        let (_b, locks) = context.tuple(key).lock_1();
        let (_a, _) = locks.lock_0();
    }
}

/// Runs: a thread's second key is not to be had.
mod second_root {
    fn main() {
        let _key = ThreadKey::get().unwrap();
        assert!(ThreadKey::get().is_none());
    }
}

/// Runs: a guard outlives the scope of its key, which it owns.
mod guard_outlives_its_scope {
    static LOCK: Mutex<u64> = Mutex::new(0);
    fn main() {
        let guard = {
            let key = ThreadKey::get().unwrap();
            LOCK.lock(key)
        };
        assert!(ThreadKey::get().is_none());
        drop(guard);
        assert!(ThreadKey::get().is_some());
    }
}

/// Runs: the reference outlives the closure, twice at once.
mod reference_outlives_the_closure {
    fn main() {
        let lock = Mutex::new(0u64);
        let mut key = ThreadKey::get().unwrap();
        let one = lock.scoped_lock(&mut key, |value| value);
        let other = lock.scoped_lock(&mut key, |value| value);
        *one += 1;
        *other += 1;
        assert!(std::ptr::eq(one, other));
    }
}

/// Runs: the same lock twice in a set is an error value.
mod twice_in_a_set {
    fn main() {
        let lock = Mutex::new(0u64);
        assert!(RefLockCollection::try_new(&(&lock, &lock)).is_none());
    }
}

/// Runs: a set of two.
mod two_of_one_level {
    fn main() {
        let locks = (&Mutex::new(1u64), &RwLock::new(2u64));
        let set = RefLockCollection::try_new(&locks).unwrap();
        let guard = set.lock(ThreadKey::get().unwrap());
        assert_eq!(*guard.0 + *guard.1, 3);
    }
}
