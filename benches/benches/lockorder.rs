//! Locks, uncontended, beside their peers: time and instructions of one acquisition and
//! release.
//!
//! ```sh
//! cargo bench -p benches --bench lockorder
//! LOCKORDER_INSTRUCTIONS=1 cargo bench -p benches --bench lockorder
//! ```
//!
//! The second form needs valgrind, and counts: each case runs in a process of its own under
//! `callgrind`, once with few rounds and once with more, and what the added rounds cost,
//! divided by their number, is the answer. It is the same at every run of one binary.
//!
//! Each peer is used as its documentation says for a thread that locks again and again: keys
//! and contexts are had once, collections are made once unless the case says otherwise.
// The raw locks are what is compared with, and the clock is what measures.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::unwrap_used
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::Criterion;
use happylock::collection::{OwnedLockCollection, RefLockCollection, RetryingLockCollection};
use lock_ordering::lock::MutexLockLevel;
use lock_ordering::relation::LockAfter;
use lock_ordering::{LockLevel, LockedAt, MutualExclusion, Unlocked};
use lockorder::{Ascending, HeldMutex, Key, Leaf, LockSet, OwnedSet, Ranked, RetrySet, lockdep};

mod levels {
    lockorder::lock_order! {
        pub(crate) domain Stack;
        level A, B, C;
        Stack => A => B => C;
    }
}
use levels::{A, B, C, Stack};

/// The same three levels for `lock_ordering`.
mod peer_levels {
    pub(crate) struct A;
    pub(crate) struct B;
    pub(crate) struct C;
}

macro_rules! peer_level {
    ($($level:ident after $before:ty;)*) => {$(
        impl LockAfter<$before> for peer_levels::$level {}
        impl LockLevel for peer_levels::$level {
            type Method = MutualExclusion;
        }
        impl MutexLockLevel for peer_levels::$level {
            type Mutex = parking_lot_012::Mutex<u64>;
        }
    )*};
}
peer_level! {
    A after Unlocked;
    B after peer_levels::A;
    C after peer_levels::B;
}

/// A group, a peer, and that many rounds of it.
type Case = (&'static str, &'static str, fn(u64));

const CASES: &[Case] = &[
    ("one lock", "std", |rounds| {
        let lock = std::sync::Mutex::new(0u64);
        for _ in 0..rounds {
            *black_box(&lock).lock().unwrap() += 1;
        }
    }),
    ("one lock", "parking_lot", |rounds| {
        let lock = parking_lot::Mutex::new(0u64);
        for _ in 0..rounds {
            *black_box(&lock).lock() += 1;
        }
    }),
    ("one lock", "parking_lot 0.12", |rounds| {
        let lock = parking_lot_012::Mutex::new(0u64);
        for _ in 0..rounds {
            *black_box(&lock).lock() += 1;
        }
    }),
    ("one lock", "happylock", |rounds| {
        let mut key = happylock::ThreadKey::get().unwrap();
        let lock = happylock::Mutex::new(0u64);
        for _ in 0..rounds {
            black_box(&lock).scoped_lock(&mut key, |value| *value += 1);
        }
    }),
    ("one lock", "happylock guard", |rounds| {
        let mut key = happylock::ThreadKey::get().unwrap();
        let lock = happylock::Mutex::new(0u64);
        for _ in 0..rounds {
            let mut value = black_box(&lock).lock(key);
            *value += 1;
            key = happylock::Mutex::unlock(value);
        }
    }),
    ("one lock", "lock_ordering", |rounds| {
        let lock = parking_lot_012::Mutex::new(0u64);
        let mut root = LockedAt::new();
        for _ in 0..rounds {
            let lock = black_box(&lock);
            let Ok(mut value) = root.lock::<peer_levels::A>(lock);
            *value += 1;
        }
    }),
    ("one lock", "lockorder guard", |rounds| {
        let mut key = Key::<Stack>::take().unwrap();
        let lock = lockorder::Mutex::<A, u64>::new(0);
        let mut root = key.ctx();
        for _ in 0..rounds {
            let (mut value, _) = black_box(&lock).lock(&mut root);
            *value += 1;
        }
    }),
    ("one lock", "lockorder closure", |rounds| {
        let mut key = Key::<Stack>::take().unwrap();
        let lock = lockorder::Mutex::<A, u64>::new(0);
        let mut root = key.ctx();
        for _ in 0..rounds {
            black_box(&lock).with(&mut root, |value, _| *value += 1);
        }
    }),
    ("one lock", "lockorder held", |rounds| {
        let mut key = Key::<Stack>::take().unwrap();
        let lock = lockorder::Mutex::<A, u64>::new(0);
        let mut ctx = key.ctx();
        for _ in 0..rounds {
            let mut value = black_box(&lock).hold(ctx);
            *value += 1;
            ctx = HeldMutex::release(value);
        }
    }),
    ("one lock", "lockorder lockdep", |rounds| {
        let lock = lockdep::Mutex::<A, u64>::new(0);
        for _ in 0..rounds {
            *black_box(&lock).lock() += 1;
        }
    }),
    ("one lock", "lockorder leaf", |rounds| {
        let lock = Leaf::<Stack, u64>::new(0);
        for _ in 0..rounds {
            black_box(&lock).with(|value| *value += 1).unwrap();
        }
    }),
    ("one lock", "parking_lot try", |rounds| {
        let lock = parking_lot::Mutex::new(0u64);
        for _ in 0..rounds {
            *black_box(&lock).try_lock().unwrap() += 1;
        }
    }),
    ("one lock", "lockorder try, any order", |rounds| {
        let mut key = Key::<Stack>::take().unwrap();
        let lock = lockorder::Mutex::<A, u64>::new(0);
        let mut root = key.ctx();
        for _ in 0..rounds {
            let (mut value, _) = black_box(&lock).try_lock_unordered(&mut root).unwrap();
            *value += 1;
        }
    }),
    ("two ranked", "parking_lot, by hand", |rounds| {
        let locks = [const { parking_lot::Mutex::new(0u64) }; 2];
        for _ in 0..rounds {
            let [a, b] = black_box(&locks);
            let (a, mut b) = (a.lock(), b.lock());
            *b += *a;
        }
    }),
    ("two ranked", "lockorder", |rounds| {
        let mut key = Key::<Stack>::take().unwrap();
        let locks = [1u32, 2].map(|rank| Ranked::new(rank, lockorder::Mutex::<A, u64>::new(0)));
        let mut root = key.ctx();
        for _ in 0..rounds {
            let [a, b] = black_box(&locks);
            let mut chain = Ascending::new(&mut root);
            let (a, mut b) = (chain.lock(a).unwrap(), chain.lock(b).unwrap());
            *b += *a;
        }
    }),
    ("key, then one lock", "happylock", |rounds| {
        let lock = happylock::Mutex::new(0u64);
        for _ in 0..rounds {
            let key = happylock::ThreadKey::get().unwrap();
            *black_box(&lock).lock(key) += 1;
        }
    }),
    ("key, then one lock", "lockorder", |rounds| {
        let lock = lockorder::Mutex::<A, u64>::new(0);
        for _ in 0..rounds {
            let mut key = Key::<Stack>::take().unwrap();
            black_box(&lock).with(&mut key.ctx(), |value, _| *value += 1);
        }
    }),
    ("shared", "std", |rounds| {
        let lock = std::sync::RwLock::new(0u64);
        for _ in 0..rounds {
            black_box(*black_box(&lock).read().unwrap());
        }
    }),
    ("shared", "parking_lot", |rounds| {
        let lock = parking_lot::RwLock::new(0u64);
        for _ in 0..rounds {
            black_box(*black_box(&lock).read());
        }
    }),
    ("shared", "happylock", |rounds| {
        let mut key = happylock::ThreadKey::get().unwrap();
        let lock = happylock::RwLock::new(0u64);
        for _ in 0..rounds {
            black_box(&lock).scoped_read(&mut key, |value| black_box(*value));
        }
    }),
    ("shared", "lockorder", |rounds| {
        let mut key = Key::<Stack>::take().unwrap();
        let lock = lockorder::RwLock::<A, u64>::new(0);
        let mut root = key.ctx();
        for _ in 0..rounds {
            black_box(&lock).with_read(&mut root, |value, _| black_box(*value));
        }
    }),
    ("three levels", "std", |rounds| {
        let locks = [const { std::sync::Mutex::new(0u64) }; 3];
        for _ in 0..rounds {
            let [a, b, c] = black_box(&locks);
            let a = a.lock().unwrap();
            let b = b.lock().unwrap();
            *c.lock().unwrap() += *a + *b;
        }
    }),
    ("three levels", "parking_lot", |rounds| {
        let locks = [const { parking_lot::Mutex::new(0u64) }; 3];
        for _ in 0..rounds {
            let [a, b, c] = black_box(&locks);
            let a = a.lock();
            let b = b.lock();
            *c.lock() += *a + *b;
        }
    }),
    ("three levels", "parking_lot 0.12", |rounds| {
        let locks = [const { parking_lot_012::Mutex::new(0u64) }; 3];
        for _ in 0..rounds {
            let [a, b, c] = black_box(&locks);
            let a = a.lock();
            let b = b.lock();
            *c.lock() += *a + *b;
        }
    }),
    ("three levels", "happylock, all at once", |rounds| {
        let mut key = happylock::ThreadKey::get().unwrap();
        let locks = [const { happylock::Mutex::new(0u64) }; 3];
        let set = OwnedLockCollection::new(locks);
        for _ in 0..rounds {
            black_box(&set).scoped_lock(&mut key, |[a, b, c]| *c += *a + *b);
        }
    }),
    ("three levels", "happylock, by position", |rounds| {
        let mut key = happylock::ThreadKey::get().unwrap();
        let [a, b, c] = [const { happylock::Mutex::new(0u64) }; 3];
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
    }),
    ("three levels", "lock_ordering", |rounds| {
        let locks = [const { parking_lot_012::Mutex::new(0u64) }; 3];
        let mut root = LockedAt::new();
        for _ in 0..rounds {
            let [a, b, c] = black_box(&locks);
            let Ok((mut held, a)) = root.with_lock::<peer_levels::A>(a);
            let Ok((mut held, b)) = held.with_lock::<peer_levels::B>(b);
            let Ok(mut c) = held.lock::<peer_levels::C>(c);
            *c += *a + *b;
        }
    }),
    ("three levels", "lockorder guards", |rounds| {
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
    ("three levels", "lockorder closures", |rounds| {
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
    ("set of 2", "parking_lot, by hand", set_by_hand::<2>),
    ("set of 2", "happylock ref", set_happylock_ref::<2>),
    ("set of 2", "happylock owned", set_happylock_owned::<2>),
    ("set of 2", "happylock retrying", set_happylock_retry::<2>),
    ("set of 2", "lockorder sorted", set_sorted::<2>),
    ("set of 2", "lockorder owned", set_owned::<2>),
    ("set of 2", "lockorder retrying", set_retrying::<2>),
    (
        "set of 2, made anew",
        "happylock ref",
        set_happylock_anew::<2>,
    ),
    ("set of 2, made anew", "lockorder sorted", set_anew::<2>),
    ("set of 4", "parking_lot, by hand", set_by_hand::<4>),
    ("set of 4", "happylock ref", set_happylock_ref::<4>),
    ("set of 4", "happylock owned", set_happylock_owned::<4>),
    ("set of 4", "happylock retrying", set_happylock_retry::<4>),
    ("set of 4", "lockorder sorted", set_sorted::<4>),
    ("set of 4", "lockorder owned", set_owned::<4>),
    ("set of 4", "lockorder retrying", set_retrying::<4>),
    (
        "set of 4, made anew",
        "happylock ref",
        set_happylock_anew::<4>,
    ),
    ("set of 4, made anew", "lockorder sorted", set_anew::<4>),
    ("set of 16", "parking_lot, by hand", set_by_hand::<16>),
    ("set of 16", "happylock ref", set_happylock_ref::<16>),
    ("set of 16", "happylock owned", set_happylock_owned::<16>),
    ("set of 16", "happylock retrying", set_happylock_retry::<16>),
    ("set of 16", "lockorder sorted", set_sorted::<16>),
    ("set of 16", "lockorder owned", set_owned::<16>),
    ("set of 16", "lockorder retrying", set_retrying::<16>),
    (
        "set of 16, made anew",
        "happylock ref",
        set_happylock_anew::<16>,
    ),
    ("set of 16, made anew", "lockorder sorted", set_anew::<16>),
];

type Nested = (
    lockorder::Mutex<A, u64>,
    lockorder::Mutex<B, u64>,
    lockorder::Mutex<C, u64>,
);

fn nested() -> Nested {
    (0.into(), 0.into(), 0.into())
}

/// Locks that do not lie in the order in which they are named.
fn reversed<T, const N: usize>(locks: &[T; N]) -> [&T; N] {
    let mut named = locks.each_ref();
    named.reverse();
    named
}

fn add(all: impl IntoIterator<Item = impl std::ops::DerefMut<Target = u64>>) {
    all.into_iter().for_each(|mut value| *value += 1);
}

fn set_by_hand<const N: usize>(rounds: u64) {
    let locks = [const { parking_lot::Mutex::new(0u64) }; N];
    for _ in 0..rounds {
        add(black_box(&locks).each_ref().map(|lock| lock.lock()));
    }
}

fn set_happylock_ref<const N: usize>(rounds: u64) {
    let mut key = happylock::ThreadKey::get().unwrap();
    let locks = [const { happylock::Mutex::new(0u64) }; N];
    let named = reversed(&locks);
    let set = RefLockCollection::try_new(&named).unwrap();
    for _ in 0..rounds {
        black_box(&set).scoped_lock(&mut key, add);
    }
}

fn set_happylock_anew<const N: usize>(rounds: u64) {
    let mut key = happylock::ThreadKey::get().unwrap();
    let locks = [const { happylock::Mutex::new(0u64) }; N];
    let named = reversed(&locks);
    for _ in 0..rounds {
        let set = RefLockCollection::try_new(black_box(&named)).unwrap();
        set.scoped_lock(&mut key, add);
    }
}

fn set_happylock_owned<const N: usize>(rounds: u64) {
    let mut key = happylock::ThreadKey::get().unwrap();
    let set = OwnedLockCollection::new([const { happylock::Mutex::new(0u64) }; N]);
    for _ in 0..rounds {
        black_box(&set).scoped_lock(&mut key, add);
    }
}

fn set_happylock_retry<const N: usize>(rounds: u64) {
    let mut key = happylock::ThreadKey::get().unwrap();
    let locks = [const { happylock::Mutex::new(0u64) }; N];
    let set = RetryingLockCollection::try_new(reversed(&locks)).unwrap();
    for _ in 0..rounds {
        black_box(&set).scoped_lock(&mut key, add);
    }
}

fn set_sorted<const N: usize>(rounds: u64) {
    let mut key = Key::<Stack>::take().unwrap();
    let locks = [const { lockorder::Mutex::<A, u64>::new(0) }; N];
    let set = LockSet::try_new(reversed(&locks)).unwrap();
    let mut root = key.ctx();
    for _ in 0..rounds {
        black_box(&set).with(&mut root, |all, _| add(all));
    }
}

fn set_anew<const N: usize>(rounds: u64) {
    let mut key = Key::<Stack>::take().unwrap();
    let locks = [const { lockorder::Mutex::<A, u64>::new(0) }; N];
    let named = reversed(&locks);
    let mut root = key.ctx();
    for _ in 0..rounds {
        let set = LockSet::try_new(black_box(named)).unwrap();
        set.with(&mut root, |all, _| add(all));
    }
}

fn set_owned<const N: usize>(rounds: u64) {
    let mut key = Key::<Stack>::take().unwrap();
    let set = OwnedSet::new([const { lockorder::Mutex::<A, u64>::new(0) }; N]);
    let mut root = key.ctx();
    for _ in 0..rounds {
        black_box(&set).with(&mut root, |all, _| add(all));
    }
}

fn set_retrying<const N: usize>(rounds: u64) {
    let mut key = Key::<Stack>::take().unwrap();
    let locks = [const { lockorder::Mutex::<A, u64>::new(0) }; N];
    let set = RetrySet::try_new(reversed(&locks)).unwrap();
    let mut root = key.ctx();
    for _ in 0..rounds {
        black_box(&set).with(&mut root, |all, _| add(all));
    }
}

/// The case and its rounds, for the process that runs under valgrind.
const CASE: &str = "LOCKORDER_INSTRUCTIONS_CASE";

/// Returns the instructions that a process executes for that many rounds of a case.
fn count(case: usize, rounds: u64) -> u64 {
    let output = std::process::Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe().unwrap())
        .env(CASE, format!("{case} {rounds}"))
        .output()
        .expect("valgrind is there");
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    let collected = words
        .lines()
        .find_map(|line| line.split("Collected : ").nth(1));
    collected
        .and_then(|number| number.trim().parse().ok())
        .unwrap_or_else(|| panic!("no count in: {words}"))
}

fn instructions() {
    println!("{:24} {:24} {:>12}", "", "", "instructions");
    for (index, (group, name, _)) in CASES.iter().enumerate() {
        let (few, many) = (1_000, 3_000);
        let added = count(index, many) - count(index, few);
        #[allow(clippy::cast_precision_loss)]
        let each = added as f64 / (many - few) as f64;
        println!("{group:24} {name:24} {each:12.1}");
    }
}

fn main() {
    if let Ok(case) = std::env::var(CASE) {
        let (case, rounds) = case.split_once(' ').unwrap();
        let (_, _, run) = CASES[case.parse::<usize>().unwrap()];
        run(rounds.parse().unwrap());
    } else if std::env::var_os("LOCKORDER_INSTRUCTIONS").is_some() {
        instructions();
    } else {
        let mut criterion = Criterion::default()
            .sample_size(20)
            .warm_up_time(Duration::from_millis(200))
            .measurement_time(Duration::from_millis(600))
            .configure_from_args();
        for (group, name, run) in CASES {
            let mut group = criterion.benchmark_group(*group);
            group.bench_function(*name, |b| {
                b.iter_custom(|rounds| {
                    let begin = Instant::now();
                    run(rounds);
                    begin.elapsed()
                });
            });
        }
        criterion.final_summary();
    }
}
