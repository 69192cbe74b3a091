//! `lockorder`.

use std::hint::black_box;

use lockorder::{Ascending, HeldMutex, Key, Leaf, Mutex, Ranked, RwLock, lockdep};

use super::{ATTEMPT, Case, KEY, ONE, PL13, RANKED, SHARED, THREE, case};

pub(super) mod levels {
    lockorder::lock_order! {
        pub(in crate::cases) domain Stack;
        level A, B, C;
        Stack => A => B => C;
    }
}
use levels::{A, B, C, Stack};

type Nested = (Mutex<A, u64>, Mutex<B, u64>, Mutex<C, u64>);

fn nested() -> Nested {
    (0.into(), 0.into(), 0.into())
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        case(ONE, "**lockorder**, guard", PL13, |rounds| {
            let mut key = Key::<Stack>::take().unwrap();
            let lock = Mutex::<A, u64>::new(0);
            let mut root = key.ctx();
            for _ in 0..rounds {
                let (mut value, _) = black_box(&lock).lock(&mut root);
                *value += 1;
            }
        }),
        case(ONE, "**lockorder**, closure", PL13, |rounds| {
            let mut key = Key::<Stack>::take().unwrap();
            let lock = Mutex::<A, u64>::new(0);
            let mut root = key.ctx();
            for _ in 0..rounds {
                black_box(&lock).with(&mut root, |value, _| *value += 1);
            }
        }),
        case(ONE, "**lockorder**, `hold`", PL13, |rounds| {
            let mut key = Key::<Stack>::take().unwrap();
            let lock = Mutex::<A, u64>::new(0);
            let mut ctx = key.ctx();
            for _ in 0..rounds {
                let mut value = black_box(&lock).hold(ctx);
                *value += 1;
                ctx = HeldMutex::release(value);
            }
        }),
        case(ONE, "**lockorder**, `lockdep`", PL13, |rounds| {
            let lock = lockdep::Mutex::<A, u64>::new(0);
            for _ in 0..rounds {
                *black_box(&lock).lock() += 1;
            }
        }),
        case(ONE, "**lockorder**, `Leaf`", PL13, |rounds| {
            let lock = Leaf::<Stack, u64>::new(0);
            for _ in 0..rounds {
                black_box(&lock).with(|value| *value += 1).unwrap();
            }
        }),
        case(ATTEMPT, "**lockorder**, in any order", PL13, |rounds| {
            let mut key = Key::<Stack>::take().unwrap();
            let lock = Mutex::<A, u64>::new(0);
            let mut root = key.ctx();
            for _ in 0..rounds {
                let (mut value, _) = black_box(&lock).try_lock_unordered(&mut root).unwrap();
                *value += 1;
            }
        }),
        case(KEY, "**lockorder**", PL13, |rounds| {
            let lock = Mutex::<A, u64>::new(0);
            for _ in 0..rounds {
                let mut key = Key::<Stack>::take().unwrap();
                black_box(&lock).with(&mut key.ctx(), |value, _| *value += 1);
            }
        }),
        case(SHARED, "**lockorder**", PL13, |rounds| {
            let mut key = Key::<Stack>::take().unwrap();
            let lock = RwLock::<A, u64>::new(0);
            let mut root = key.ctx();
            for _ in 0..rounds {
                black_box(&lock).with_read(&mut root, |value, _| black_box(*value));
            }
        }),
        case(THREE, "**lockorder**, guards", PL13, |rounds| {
            let mut key = Key::<Stack>::take().unwrap();
            let locks = nested();
            let mut root = key.ctx();
            for _ in 0..rounds {
                let (a, b, c) = black_box(&locks);
                let (a, mut held) = a.lock(&mut root);
                let (b, mut held) = b.lock(&mut held);
                let (mut c, _) = c.lock(&mut held);
                *c += *a + *b;
            }
        }),
        case(THREE, "**lockorder**, closures", PL13, |rounds| {
            let mut key = Key::<Stack>::take().unwrap();
            let locks = nested();
            let mut root = key.ctx();
            for _ in 0..rounds {
                let (a, b, c) = black_box(&locks);
                a.with(&mut root, |a, held| {
                    b.with(held, |b, held| c.with(held, |c, _| *c += *a + *b));
                });
            }
        }),
        case(RANKED, "**lockorder**, by rank", PL13, |rounds| {
            let mut key = Key::<Stack>::take().unwrap();
            let locks = [1u32, 2].map(|rank| Ranked::new(rank, Mutex::<A, u64>::new(0)));
            let mut root = key.ctx();
            for _ in 0..rounds {
                let [a, b] = black_box(&locks);
                let mut chain = Ascending::new(&mut root);
                let (a, mut b) = (chain.lock(a).unwrap(), chain.lock(b).unwrap());
                *b += *a;
            }
        }),
    ]
}
