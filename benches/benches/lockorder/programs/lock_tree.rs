// lock_tree 0.1: the lock order of Netstack3.

use lock_tree::{
    Locked, Unlocked, impl_lock_after,
    lock::LockFor,
    relation::{LockAfter, LockBefore},
};
use std::sync::{Mutex, MutexGuard};

pub enum A {}
pub enum B {}
pub enum C {}
pub enum D {}
#[derive(Default)]
struct S {
    a: Mutex<u64>,
    b: Mutex<u64>,
    c: Mutex<u64>,
    d: Mutex<u64>,
}
macro_rules! access {
    ($level:ident $field:ident) => {
        impl LockFor<$level> for S {
            type Data = u64;
            type Guard<'l>
                = MutexGuard<'l, u64>
            where
                Self: 'l;
            fn lock(&self) -> MutexGuard<'_, u64> {
                self.$field.lock().unwrap()
            }
        }
    };
}
access!(A a);
access!(B b);
access!(C c);
access!(D d);
impl LockAfter<Unlocked> for A {}
macro_rules! chain {
    () => {
        impl_lock_after!(A => B);
        impl_lock_after!(B => C);
    };
}

/// Runs: `C` under `A`.
mod right_order {
    chain!();
    fn main() {
        let s = S::default();
        let mut root = Locked::new(&s);
        let (_a, mut held) = root.lock_and::<A>();
        let _c = held.lock::<C>();
    }
}

/// Refused, E0277: `A` under `B`.
mod wrong_order {
    chain!();
    fn main() {
        let s = S::default();
        let mut root = Locked::<&S, A>::new_locked(&s);
        let (_b, mut held) = root.lock_and::<B>();
        let _a = held.lock::<A>();
    }
}

/// Refused, E0119: a cycle, by macro.
mod cycle_by_macro {
    chain!();
    impl_lock_after!(C => A);
    fn main() {}
}

/// Runs: a cycle, written pair by pair.
mod cycle_by_hand {
    impl LockAfter<A> for B {}
    impl LockAfter<B> for A {}
    fn main() {}
}

/// Refused, E0119: a diamond, by macro.
mod diamond_by_macro {
    impl_lock_after!(A => B);
    impl_lock_after!(A => C);
    impl_lock_after!(B => D);
    impl_lock_after!(C => D);
    fn main() {}
}

/// Runs: the order changed elsewhere, so that `A` is acquired under `C`.
mod order_changed_elsewhere {
    chain!();
    mod elsewhere {
        pub enum X {}
        impl lock_tree::relation::LockAfter<super::C> for X {}
        impl lock_tree::relation::LockAfter<X> for super::A {}
    }
    impl LockFor<elsewhere::X> for S {
        type Data = u64;
        type Guard<'l>
            = MutexGuard<'l, u64>
        where
            Self: 'l;
        fn lock(&self) -> MutexGuard<'_, u64> {
            self.d.lock().unwrap()
        }
    }
    fn main() {
        let s = S::default();
        let mut root = Locked::<&S, B>::new_locked(&s);
        let (_c, mut held) = root.lock_and::<C>();
        let (_x, mut held) = held.lock_and::<elsewhere::X>();
        let _a = held.lock::<A>();
    }
}

/// Stands still: a second root, and the same lock.
mod second_root {
    chain!();
    fn main() {
        let s = S::default();
        let mut root = Locked::new(&s);
        let (_a, _held) = root.lock_and::<A>();
        let mut second = Locked::new(&s);
        let _a = second.lock::<A>();
    }
}

/// Refused, E0515: a guard outlives its scope.
mod guard_outlives_its_scope {
    fn get(s: &S) -> MutexGuard<'_, u64> {
        let mut root = Locked::new(s);
        root.lock::<A>()
    }
    fn main() {
        drop(get(&S::default()));
    }
}

/// Refused, E0277: two locks of one level.
mod two_of_one_level {
    chain!();
    fn main() {
        let (s, t) = (S::default(), S::default());
        let mut root = Locked::new(&s);
        let (_a, mut held) = root.lock_and::<A>();
        let _b = held.lock_with::<A, _>(|_| &t);
    }
}

/// Refused, E0599: there are no attempts.
mod attempt {
    fn main() {
        let s = S::default();
        let mut root = Locked::new(&s);
        let _ = root.try_lock::<A>();
    }
}
