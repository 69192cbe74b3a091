//! HappyLock 0.5.

use std::hint::black_box;

use happylock::collection::OwnedLockCollection;
use happylock::{Mutex, RwLock, ThreadKey};

use super::{Case, KEY, ONE, PL12, SHARED, THREE, case};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case(ONE, "HappyLock 0.5, closure", PL12, |rounds| {
            let mut key = ThreadKey::get().unwrap();
            let lock = Mutex::new(0u64);
            for _ in 0..rounds {
                black_box(&lock).scoped_lock(&mut key, |value| *value += 1);
            }
        }),
        case(ONE, "HappyLock, guard", PL12, |rounds| {
            let mut key = ThreadKey::get().unwrap();
            let lock = Mutex::new(0u64);
            for _ in 0..rounds {
                let mut value = black_box(&lock).lock(key);
                *value += 1;
                key = Mutex::unlock(value);
            }
        }),
        case(KEY, "HappyLock", PL12, |rounds| {
            let lock = Mutex::new(0u64);
            for _ in 0..rounds {
                let key = ThreadKey::get().unwrap();
                *black_box(&lock).lock(key) += 1;
            }
        }),
        case(SHARED, "HappyLock", PL12, |rounds| {
            let mut key = ThreadKey::get().unwrap();
            let lock = RwLock::new(0u64);
            for _ in 0..rounds {
                black_box(&lock).scoped_read(&mut key, |value| black_box(*value));
            }
        }),
        case(
            THREE,
            "HappyLock, by position in an owned collection",
            PL12,
            |rounds| {
                let mut key = ThreadKey::get().unwrap();
                let [a, b, c] = [const { Mutex::new(0u64) }; 3];
                let set = OwnedLockCollection::new((a, b, c));
                let mut context = set.context();
                for _ in 0..rounds {
                    let locks = black_box(&mut context).tuple(key);
                    let (a, locks) = locks.lock_0();
                    let (b, locks) = locks.lock_1();
                    let (mut c, _) = locks.lock_2();
                    **c += **a + **b;
                    drop((c, b, a));
                    key = context.unlock().unwrap();
                }
            },
        ),
        case(THREE, "HappyLock, all at once", PL12, |rounds| {
            let mut key = ThreadKey::get().unwrap();
            let locks = [const { Mutex::new(0u64) }; 3];
            let set = OwnedLockCollection::new(locks);
            for _ in 0..rounds {
                black_box(&set).scoped_lock(&mut key, |[a, b, c]| *c += *a + *b);
            }
        }),
    ]
}
