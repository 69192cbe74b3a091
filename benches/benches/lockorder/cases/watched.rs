//! tracing-mutex 0.3: the order is watched while the program runs.

use std::hint::black_box;

use super::{Case, ONE, PL12, STD, THREE, case};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case(ONE, "tracing-mutex 0.3", STD, |rounds| {
            let lock = tracing_mutex::stdsync::tracing::Mutex::new(0u64);
            for _ in 0..rounds {
                *black_box(&lock).lock().unwrap() += 1;
            }
        }),
        case(ONE, "tracing-mutex", PL12, |rounds| {
            let lock = tracing_mutex::parkinglot::tracing::Mutex::new(0u64);
            for _ in 0..rounds {
                *black_box(&lock).lock() += 1;
            }
        }),
        case(ONE, "tracing-mutex, off in release builds", STD, |rounds| {
            let lock = tracing_mutex::stdsync::Mutex::new(0u64);
            for _ in 0..rounds {
                *black_box(&lock).lock().unwrap() += 1;
            }
        }),
        case(THREE, "tracing-mutex", STD, |rounds| {
            let locks = [const { tracing_mutex::stdsync::tracing::Mutex::new(0u64) }; 3];
            for _ in 0..rounds {
                let [a, b, c] = black_box(&locks);
                let a = a.lock().unwrap();
                let b = b.lock().unwrap();
                *c.lock().unwrap() += *a + *b;
            }
        }),
        case(THREE, "tracing-mutex", PL12, |rounds| {
            let locks = [const { tracing_mutex::parkinglot::tracing::Mutex::new(0u64) }; 3];
            for _ in 0..rounds {
                let [a, b, c] = black_box(&locks);
                let a = a.lock();
                let b = b.lock();
                *c.lock() += *a + *b;
            }
        }),
        case(
            THREE,
            "tracing-mutex, off in release builds",
            STD,
            |rounds| {
                let locks = [const { tracing_mutex::stdsync::Mutex::new(0u64) }; 3];
                for _ in 0..rounds {
                    let [a, b, c] = black_box(&locks);
                    let a = a.lock().unwrap();
                    let b = b.lock().unwrap();
                    *c.lock().unwrap() += *a + *b;
                }
            },
        ),
    ]
}
