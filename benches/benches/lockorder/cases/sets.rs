//! Several locks of one level at once.

use std::hint::black_box;

use happylock::ThreadKey;
use happylock::collection::{OwnedLockCollection, RefLockCollection, RetryingLockCollection};
use lockorder::{Key, LockSet, Mutex, OwnedSet, RetrySet};

use super::ours::levels::{A, Stack};
use super::{Case, PL12, PL13, SETS, STD, case};

/// The cases of one size.
macro_rules! of_size {
    ($cases:ident, $place:literal, $size:literal) => {
        let group = SETS[$place];
        $cases.extend([
            case(group, PL13, PL13, by_hand::<$size>),
            case(group, PL12, PL12, by_hand_012::<$size>),
            case(group, STD, STD, by_hand_std::<$size>),
            case(group, "**lockorder** `OwnedSet`", PL13, owned::<$size>),
            case(group, "**lockorder** `LockSet`", PL13, sorted::<$size>),
            case(group, "**lockorder** `RetrySet`", PL13, retrying::<$size>),
            case(
                group,
                "HappyLock `OwnedLockCollection`",
                PL12,
                happylock_owned::<$size>,
            ),
            case(
                group,
                "HappyLock `RefLockCollection`",
                PL12,
                happylock_ref::<$size>,
            ),
            case(
                group,
                "HappyLock `RetryingLockCollection`",
                PL12,
                happylock_retry::<$size>,
            ),
            case(
                group,
                "surelock `LockSet` of a slice",
                STD,
                surelock_set::<$size>,
            ),
            case(
                group,
                "**lockorder** `LockSet`, made each time",
                PL13,
                sorted_anew::<$size>,
            ),
            case(
                group,
                "HappyLock `RefLockCollection`, made each time",
                PL12,
                happylock_anew::<$size>,
            ),
        ]);
    };
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    of_size!(cases, 0, 2);
    of_size!(cases, 1, 4);
    of_size!(cases, 2, 16);
    cases
}

/// Returns references to the locks in reverse order.
fn reversed<T, const N: usize>(locks: &[T; N]) -> [&T; N] {
    let mut named = locks.each_ref();
    named.reverse();
    named
}

#[inline]
fn add(all: impl IntoIterator<Item = impl std::ops::DerefMut<Target = u64>>) {
    for mut value in all {
        *value += 1;
    }
}

/// Acquires the locks one by one, by index, into an array of guards.
fn by_hand<const N: usize>(rounds: u64) {
    let locks = [const { parking_lot::Mutex::new(0u64) }; N];
    for _ in 0..rounds {
        let locks = black_box(&locks);
        let mut guards: [_; N] = std::array::from_fn(|index| locks[index].lock());
        for value in &mut guards {
            **value += 1;
        }
    }
}

fn by_hand_012<const N: usize>(rounds: u64) {
    let locks = [const { parking_lot_012::Mutex::new(0u64) }; N];
    for _ in 0..rounds {
        let locks = black_box(&locks);
        let mut guards: [_; N] = std::array::from_fn(|index| locks[index].lock());
        for value in &mut guards {
            **value += 1;
        }
    }
}

fn by_hand_std<const N: usize>(rounds: u64) {
    let locks = [const { std::sync::Mutex::new(0u64) }; N];
    for _ in 0..rounds {
        let locks = black_box(&locks);
        let mut guards: [_; N] = std::array::from_fn(|index| locks[index].lock().unwrap());
        for value in &mut guards {
            **value += 1;
        }
    }
}

fn owned<const N: usize>(rounds: u64) {
    let mut key = Key::<Stack>::take().unwrap();
    let set = OwnedSet::new([const { Mutex::<A, u64>::new(0) }; N]);
    let mut root = key.ctx();
    for _ in 0..rounds {
        black_box(&set).with(&mut root, |all, _| add(all));
    }
}

fn sorted<const N: usize>(rounds: u64) {
    let mut key = Key::<Stack>::take().unwrap();
    let locks = [const { Mutex::<A, u64>::new(0) }; N];
    let set = LockSet::try_new(reversed(&locks)).unwrap();
    let mut root = key.ctx();
    for _ in 0..rounds {
        black_box(&set).with(&mut root, |all, _| add(all));
    }
}

fn sorted_anew<const N: usize>(rounds: u64) {
    let mut key = Key::<Stack>::take().unwrap();
    let locks = [const { Mutex::<A, u64>::new(0) }; N];
    let named = reversed(&locks);
    let mut root = key.ctx();
    for _ in 0..rounds {
        let set = LockSet::try_new(black_box(named)).unwrap();
        set.with(&mut root, |all, _| add(all));
    }
}

fn retrying<const N: usize>(rounds: u64) {
    let mut key = Key::<Stack>::take().unwrap();
    let locks = [const { Mutex::<A, u64>::new(0) }; N];
    let set = RetrySet::try_new(reversed(&locks)).unwrap();
    let mut root = key.ctx();
    for _ in 0..rounds {
        black_box(&set).with(&mut root, |all, _| add(all));
    }
}

fn happylock_owned<const N: usize>(rounds: u64) {
    let mut key = ThreadKey::get().unwrap();
    let set = OwnedLockCollection::new([const { happylock::Mutex::new(0u64) }; N]);
    for _ in 0..rounds {
        black_box(&set).scoped_lock(&mut key, add);
    }
}

fn happylock_ref<const N: usize>(rounds: u64) {
    let mut key = ThreadKey::get().unwrap();
    let locks = [const { happylock::Mutex::new(0u64) }; N];
    let named = reversed(&locks);
    let set = RefLockCollection::try_new(&named).unwrap();
    for _ in 0..rounds {
        black_box(&set).scoped_lock(&mut key, add);
    }
}

fn happylock_anew<const N: usize>(rounds: u64) {
    let mut key = ThreadKey::get().unwrap();
    let locks = [const { happylock::Mutex::new(0u64) }; N];
    let named = reversed(&locks);
    for _ in 0..rounds {
        let set = RefLockCollection::try_new(black_box(&named)).unwrap();
        set.scoped_lock(&mut key, add);
    }
}

fn happylock_retry<const N: usize>(rounds: u64) {
    let mut key = ThreadKey::get().unwrap();
    let locks = [const { happylock::Mutex::new(0u64) }; N];
    let set = RetryingLockCollection::try_new(reversed(&locks)).unwrap();
    for _ in 0..rounds {
        black_box(&set).scoped_lock(&mut key, add);
    }
}

fn surelock_set<const N: usize>(rounds: u64) {
    let locks: [surelock::mutex::Mutex<u64>; N] =
        std::array::from_fn(|_| surelock::mutex::Mutex::new(0));
    let set = surelock::set::LockSet::new(&locks[..]);
    let mut handle = surelock::key_handle::KeyHandle::claim();
    for _ in 0..rounds {
        handle.scope(|key| add(key.lock(black_box(&set)).0));
    }
}
