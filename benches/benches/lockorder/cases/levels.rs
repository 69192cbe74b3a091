//! Levels as types: lock_ordering, lock_tree (of Netstack3), surelock, ordered-locks.

use std::hint::black_box;

use super::{Case, ONE, PL12, PL13, STD, THREE, case};

/// `lock_ordering`, over `std` and over `parking_lot`.
macro_rules! lock_ordering_levels {
    ($module:ident: $mutex:ty) => {
        mod $module {
            use lock_ordering::lock::MutexLockLevel;
            use lock_ordering::relation::LockAfter;
            use lock_ordering::{LockLevel, MutualExclusion, Unlocked};

            pub(super) struct A;
            pub(super) struct B;
            pub(super) struct C;
            lock_ordering_levels! { @ $mutex: A after Unlocked; B after A; C after B; }
        }
    };
    (@ $mutex:ty: $($level:ident after $before:ty;)*) => {$(
        impl LockAfter<$before> for $level {}
        impl LockLevel for $level {
            type Method = MutualExclusion;
        }
        impl MutexLockLevel for $level {
            type Mutex = $mutex;
        }
    )*};
}
lock_ordering_levels! { over_std: std::sync::Mutex<u64> }
lock_ordering_levels! { over_parking_lot: parking_lot_012::Mutex<u64> }

/// `lock_tree`: access to the locks of a state.
mod tree {
    use lock_tree::lock::LockFor;
    use lock_tree::relation::LockAfter;
    use lock_tree::{Unlocked, impl_lock_after};
    use parking_lot::{Mutex, MutexGuard};

    pub(super) enum A {}
    pub(super) enum B {}
    pub(super) enum C {}
    impl LockAfter<Unlocked> for A {}
    impl_lock_after!(A => B);
    impl_lock_after!(B => C);

    #[derive(Default)]
    pub(super) struct State {
        a: Mutex<u64>,
        b: Mutex<u64>,
        c: Mutex<u64>,
    }

    macro_rules! access {
        ($level:ident, $field:ident) => {
            impl LockFor<$level> for State {
                type Data = u64;
                type Guard<'l>
                    = MutexGuard<'l, u64>
                where
                    Self: 'l;
                fn lock(&self) -> Self::Guard<'_> {
                    self.$field.lock()
                }
            }
        };
    }
    access!(A, a);
    access!(B, b);
    access!(C, c);
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = one_lock();
    cases.extend(three_levels());
    cases
}

fn one_lock() -> Vec<Case> {
    vec![
        case(ONE, "lock_ordering 0.2", PL12, |rounds| {
            let lock = parking_lot_012::Mutex::new(0u64);
            let mut root = lock_ordering::LockedAt::new();
            for _ in 0..rounds {
                let Ok(mut value) = root.lock::<over_parking_lot::A>(black_box(&lock));
                *value += 1;
            }
        }),
        case(ONE, "lock_ordering", STD, |rounds| {
            let lock = std::sync::Mutex::new(0u64);
            let mut root = lock_ordering::LockedAt::new();
            for _ in 0..rounds {
                *root.lock::<over_std::A>(black_box(&lock)).unwrap() += 1;
            }
        }),
        case(ONE, "lock_tree 0.1", PL13, |rounds| {
            let state = tree::State::default();
            let mut root = lock_tree::Locked::new(black_box(&state));
            for _ in 0..rounds {
                *black_box(&mut root).lock::<tree::A>() += 1;
            }
        }),
        case(ONE, "surelock 0.1", STD, |rounds| {
            let lock: surelock::mutex::Mutex<u64> = surelock::mutex::Mutex::new(0);
            let mut handle = surelock::key_handle::KeyHandle::claim();
            for _ in 0..rounds {
                handle.scope(|key| *key.lock(black_box(&lock)).0 += 1);
            }
        }),
        case(ONE, "ordered-locks 0.2", STD, |rounds| {
            let lock = ordered_locks::Mutex::<ordered_locks::L1, u64>::new(0);
            let mut token = ordered_locks::CleanLockToken;
            for _ in 0..rounds {
                *black_box(&lock).lock(token.token()) += 1;
            }
        }),
    ]
}

fn three_levels() -> Vec<Case> {
    vec![
        case(THREE, "lock_ordering", PL12, |rounds| {
            use over_parking_lot::{A, B, C};
            let locks = [const { parking_lot_012::Mutex::new(0u64) }; 3];
            let mut root = lock_ordering::LockedAt::new();
            for _ in 0..rounds {
                let [a, b, c] = black_box(&locks);
                let Ok((mut held, a)) = root.with_lock::<A>(a);
                let Ok((mut held, b)) = held.with_lock::<B>(b);
                let Ok(mut c) = held.lock::<C>(c);
                *c += *a + *b;
            }
        }),
        case(THREE, "lock_ordering", STD, |rounds| {
            use over_std::{A, B, C};
            let locks = [const { std::sync::Mutex::new(0u64) }; 3];
            let mut root = lock_ordering::LockedAt::new();
            for _ in 0..rounds {
                let [a, b, c] = black_box(&locks);
                let (mut held, a) = root.with_lock::<A>(a).unwrap();
                let (mut held, b) = held.with_lock::<B>(b).unwrap();
                *held.lock::<C>(c).unwrap() += *a + *b;
            }
        }),
        case(THREE, "lock_tree", PL13, |rounds| {
            let state = tree::State::default();
            let mut root = lock_tree::Locked::new(black_box(&state));
            for _ in 0..rounds {
                let root = black_box(&mut root);
                let (a, mut held) = root.lock_and::<tree::A>();
                let (b, mut held) = held.lock_and::<tree::B>();
                *held.lock::<tree::C>() += *a + *b;
            }
        }),
        case(THREE, "surelock", STD, |rounds| {
            use surelock::{level::Level, mutex::Mutex};
            let locks: (Mutex<u64>, Mutex<u64, Level<1>>, Mutex<u64, Level<2>>) =
                (Mutex::new(0), Mutex::new(0), Mutex::new(0));
            let mut handle = surelock::key_handle::KeyHandle::claim();
            for _ in 0..rounds {
                let (a, b, c) = black_box(&locks);
                handle.scope(|key| {
                    let (a, key) = key.lock(a);
                    let (b, key) = key.lock(b);
                    let (mut c, _) = key.lock(c);
                    *c += *a + *b;
                });
            }
        }),
        case(THREE, "ordered-locks", STD, |rounds| {
            use ordered_locks::{L1, L2, L3, Mutex};
            let locks = (
                Mutex::<L1, u64>::new(0),
                Mutex::<L2, u64>::new(0),
                Mutex::<L3, u64>::new(0),
            );
            let mut token = ordered_locks::CleanLockToken;
            for _ in 0..rounds {
                let (a, b, c) = black_box(&locks);
                let mut a = a.lock(token.token());
                let (a, held) = a.token_split();
                let mut b = b.lock(held);
                let (b, held) = b.token_split();
                *c.lock(held) += *a + *b;
            }
        }),
    ]
}
