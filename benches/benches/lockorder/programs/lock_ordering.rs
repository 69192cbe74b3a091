// lock_ordering 0.2.

use lock_ordering::{
    LockLevel, LockedAt, MutualExclusion, Unlocked, impl_transitive_lock_order,
    lock::MutexLockLevel, relation::LockAfter,
};
use std::sync::{Barrier, Mutex, MutexGuard};
macro_rules! levels {
    ($($level:ident)*) => {$(
        pub struct $level;
        impl LockLevel for $level {
            type Method = MutualExclusion;
        }
        impl MutexLockLevel for $level {
            type Mutex = Mutex<u64>;
        }
    )*};
}
levels!(A B C D);
impl LockAfter<Unlocked> for A {}
macro_rules! chain {
    () => {
        impl LockAfter<A> for B {}
        impl LockAfter<B> for C {}
        impl_transitive_lock_order!(A => B);
        impl_transitive_lock_order!(B => C);
    };
}
static LA: Mutex<u64> = Mutex::new(0);
static LB: Mutex<u64> = Mutex::new(0);
static LC: Mutex<u64> = Mutex::new(0);

/// Runs: `C` under `A`.
mod right_order {
    chain!();
    fn main() {
        let mut root = LockedAt::new();
        let (mut held, _a) = root.with_lock::<A>(&LA).unwrap();
        let _c = held.lock::<C>(&LC).unwrap();
    }
}

/// Refused, E0277: `A` under `B`.
mod wrong_order {
    chain!();
    fn main() {
        let mut root = LockedAt::new();
        let (mut held, _b) = root.with_lock::<B>(&LB).unwrap();
        let _a = held.lock::<A>(&LA).unwrap();
    }
}

/// Refused, E0119: a cycle, by macro.
mod cycle_by_macro {
    chain!();
    impl LockAfter<C> for A {}
    impl_transitive_lock_order!(C => A);
    fn main() {}
}

/// Stands still: a cycle, written pair by pair.
mod cycle_by_hand {
    impl LockAfter<A> for B {}
    impl LockAfter<B> for A {}
    impl LockAfter<Unlocked> for B {}
    fn main() {
        let both = Barrier::new(2);
        std::thread::scope(|s| {
            s.spawn(|| {
                let mut root = LockedAt::new();
                let (mut held, _a) = root.with_lock::<A>(&LA).unwrap();
                both.wait();
                drop(held.lock::<B>(&LB));
            });
            s.spawn(|| {
                let mut root = LockedAt::new();
                let (mut held, _b) = root.with_lock::<B>(&LB).unwrap();
                both.wait();
                drop(held.lock::<A>(&LA));
            });
        });
    }
}

/// Refused, E0119: a diamond, by macro.
mod diamond_by_macro {
    chain!();
    impl LockAfter<A> for D {}
    impl_transitive_lock_order!(A => D);
    impl LockAfter<D> for C {}
    impl_transitive_lock_order!(D => C);
    fn main() {}
}

/// Runs: the order changed elsewhere, so that another `A` is acquired under `C`.
mod order_changed_elsewhere {
    chain!();
    mod elsewhere {
        pub struct X;
        impl lock_ordering::relation::LockAfter<super::C> for X {}
        impl lock_ordering::relation::LockAfter<X> for super::A {}
        impl lock_ordering::LockLevel for X {
            type Method = lock_ordering::MutualExclusion;
        }
        impl lock_ordering::lock::MutexLockLevel for X {
            type Mutex = std::sync::Mutex<u64>;
        }
    }
    fn main() {
        let (x, another) = (Mutex::new(0), Mutex::new(0));
        let mut root = LockedAt::new();
        let (mut held, _a) = root.with_lock::<A>(&LA).unwrap();
        let (mut held, _c) = held.with_lock::<C>(&LC).unwrap();
        let (mut held, _x) = held.with_lock::<elsewhere::X>(&x).unwrap();
        let _another = held.lock::<A>(&another).unwrap();
    }
}

/// Stands still: a second root, and the same lock.
mod second_root {
    chain!();
    fn main() {
        let mut root = LockedAt::new();
        let _a = root.lock::<A>(&LA).unwrap();
        let mut second = LockedAt::new();
        let _again = second.lock::<A>(&LA);
    }
}

/// Refused, E0515: a guard outlives its scope.
mod guard_outlives_its_scope {
    fn get(lock: &Mutex<u64>) -> MutexGuard<'_, u64> {
        let mut root = LockedAt::new();
        root.lock::<A>(lock).unwrap()
    }
    fn main() {
        drop(get(&LA));
    }
}

/// Refused, E0277: two locks of one level.
mod two_of_one_level {
    chain!();
    fn main() {
        let mut root = LockedAt::new();
        let (mut held, _a) = root.with_lock::<A>(&LA).unwrap();
        let _b = held.lock::<A>(&LB).unwrap();
    }
}

/// Runs: one lock as `A` here and as `B` there.
mod a_lock_of_two_levels {
    chain!();
    fn main() {
        let mut root = LockedAt::new();
        drop(root.lock::<A>(&LB).unwrap());
        let (mut held, _a) = root.with_lock::<A>(&LA).unwrap();
        let _b = held.lock::<B>(&LB).unwrap();
    }
}

/// Refused, E0599: there are no attempts.
mod attempt {
    fn main() {
        let mut root = LockedAt::new();
        let _ = root.try_lock::<A>(&LA);
    }
}
