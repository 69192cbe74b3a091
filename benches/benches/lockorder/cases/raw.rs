//! The locks that the libraries are built on.

use std::hint::black_box;

use super::{ATTEMPT, Case, KEY, ONE, PL12, PL13, RANKED, SHARED, STD, THREE, case};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case(ONE, STD, STD, |rounds| {
            let lock = std::sync::Mutex::new(0u64);
            for _ in 0..rounds {
                *black_box(&lock).lock().unwrap() += 1;
            }
        }),
        case(ONE, PL13, PL13, one_parking_lot),
        case(ONE, PL12, PL12, one_parking_lot_012),
        case(ATTEMPT, PL13, PL13, |rounds| {
            let lock = parking_lot::Mutex::new(0u64);
            for _ in 0..rounds {
                *black_box(&lock).try_lock().unwrap() += 1;
            }
        }),
        case(KEY, PL13, PL13, one_parking_lot),
        case(KEY, PL12, PL12, one_parking_lot_012),
        case(SHARED, STD, STD, |rounds| {
            let lock = std::sync::RwLock::new(0u64);
            for _ in 0..rounds {
                black_box(*black_box(&lock).read().unwrap());
            }
        }),
        case(SHARED, PL13, PL13, |rounds| {
            let lock = parking_lot::RwLock::new(0u64);
            for _ in 0..rounds {
                black_box(*black_box(&lock).read());
            }
        }),
        case(SHARED, PL12, PL12, |rounds| {
            let lock = parking_lot_012::RwLock::new(0u64);
            for _ in 0..rounds {
                black_box(*black_box(&lock).read());
            }
        }),
        case(THREE, STD, STD, |rounds| {
            let locks = [const { std::sync::Mutex::new(0u64) }; 3];
            for _ in 0..rounds {
                let [a, b, c] = black_box(&locks);
                let a = a.lock().unwrap();
                let b = b.lock().unwrap();
                *c.lock().unwrap() += *a + *b;
            }
        }),
        case(THREE, PL13, PL13, |rounds| {
            let locks = [const { parking_lot::Mutex::new(0u64) }; 3];
            for _ in 0..rounds {
                let [a, b, c] = black_box(&locks);
                let a = a.lock();
                let b = b.lock();
                *c.lock() += *a + *b;
            }
        }),
        case(THREE, PL12, PL12, |rounds| {
            let locks = [const { parking_lot_012::Mutex::new(0u64) }; 3];
            for _ in 0..rounds {
                let [a, b, c] = black_box(&locks);
                let a = a.lock();
                let b = b.lock();
                *c.lock() += *a + *b;
            }
        }),
        case(RANKED, PL13, PL13, |rounds| {
            let locks = [const { parking_lot::Mutex::new(0u64) }; 2];
            for _ in 0..rounds {
                let [a, b] = black_box(&locks);
                let (a, mut b) = (a.lock(), b.lock());
                *b += *a;
            }
        }),
    ]
}

fn one_parking_lot(rounds: u64) {
    let lock = parking_lot::Mutex::new(0u64);
    for _ in 0..rounds {
        *black_box(&lock).lock() += 1;
    }
}

fn one_parking_lot_012(rounds: u64) {
    let lock = parking_lot_012::Mutex::new(0u64);
    for _ in 0..rounds {
        *black_box(&lock).lock() += 1;
    }
}
