// surelock 0.1.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use surelock::{key::*, key_handle::KeyHandle, level::*, mutex::Mutex, set::LockSet};
static BOTH: Barrier = Barrier::new(2);

/// Runs: level 1 under level 0.
mod right_order {
    fn main() {
        let (a, b) = (
            Mutex::<u64, Level<0>>::new(0),
            Mutex::<u64, Level<1>>::new(0),
        );
        KeyHandle::claim().scope(|key| {
            let (_a, key) = key.lock(&a);
            let (_b, _) = key.lock(&b);
        });
    }
}

/// Refused, E0277: level 0 under level 1.
mod wrong_order {
    fn main() {
        let (a, b) = (
            Mutex::<u64, Level<0>>::new(0),
            Mutex::<u64, Level<1>>::new(0),
        );
        KeyHandle::claim().scope(|key| {
            let (_b, key) = key.lock(&b);
            let (_a, _) = key.lock(&a);
        });
    }
}

/// Runs: the sixteenth level.
mod sixteenth_level {
    fn main() {
        let _ = Mutex::<u64, Level<15>>::new(0);
    }
}

/// Refused, E0277: the seventeenth level.
mod seventeenth_level {
    fn main() {
        let _ = Mutex::<u64, Level<16>>::new(0);
    }
}

/// Stands still: a cycle by a level of one's own.
mod cycle {
    struct X;
    impl IsLevel for X {}
    impl LockAfter<Bottom> for X {}
    impl LockAfter<Level<0>> for X {}
    impl LockAfter<X> for Level<0> {}
    fn main() {
        let (a, x) = (Mutex::<u64, Level<0>>::new(0), Mutex::<u64, X>::new(0));
        std::thread::scope(|s| {
            s.spawn(|| {
                KeyHandle::claim().scope(|key| {
                    let (_a, key) = key.lock(&a);
                    BOTH.wait();
                    let _x = key.lock(&x);
                })
            });
            s.spawn(|| {
                KeyHandle::claim().scope(|key| {
                    let (_x, key) = key.lock(&x);
                    BOTH.wait();
                    let _a = key.lock(&a);
                })
            });
        });
    }
}

/// Runs: the order changed elsewhere, so that level 0 is acquired under level 1.
mod order_changed_elsewhere {
    struct X;
    impl IsLevel for X {}
    impl LockAfter<Bottom> for X {}
    impl LockAfter<Level<1>> for X {}
    impl LockAfter<X> for Level<0> {}
    fn main() {
        let (a, b) = (
            Mutex::<u64, Level<0>>::new(0),
            Mutex::<u64, Level<1>>::new(0),
        );
        let x = Mutex::<u64, X>::new(0);
        KeyHandle::claim().scope(|key| {
            let (_b, key) = key.lock(&b);
            let (_x, key) = key.lock(&x);
            let (_a, _) = key.lock(&a);
        });
    }
}

/// Runs: a thread's second handle is not to be had.
mod second_root {
    fn main() {
        let _handle = KeyHandle::claim();
        assert!(KeyHandle::try_claim().is_none());
    }
}

/// Stands still: a guard outlives its scope, and the scope is entered again.
mod guard_outlives_its_scope {
    fn main() {
        let lock: Mutex<u64> = Mutex::new(0);
        let mut handle = KeyHandle::claim();
        let guard = handle.scope(|key| key.lock(&lock).0);
        let again = handle.scope(|key| key.lock(&lock).0);
        drop((guard, again));
    }
}

/// Stands still: the same with two threads and two levels, in both orders.
mod guard_outlives_its_scope_and_the_order {
    fn main() {
        let (a, b) = (
            Mutex::<u64, Level<0>>::new(0),
            Mutex::<u64, Level<1>>::new(0),
        );
        std::thread::scope(|s| {
            s.spawn(|| {
                let mut handle = KeyHandle::claim();
                let _b = handle.scope(|key| key.lock(&b).0);
                BOTH.wait();
                let _a = handle.scope(|key| key.lock(&a).0);
            });
            s.spawn(|| {
                KeyHandle::claim().scope(|key| {
                    let (_a, key) = key.lock(&a);
                    BOTH.wait();
                    let _b = key.lock(&b);
                })
            });
        });
    }
}

/// Runs: a set of two; the same lock twice is an error value.
mod two_of_one_level {
    fn main() {
        let (a, b) = (Mutex::<u64>::new(1), Mutex::<u64>::new(2));
        let set = LockSet::new((&b, &a));
        let sum = KeyHandle::claim().scope(|key| {
            let ((b, a), _) = key.lock(&set);
            *a + *b
        });
        assert_eq!(sum, 3);
        assert!(LockSet::try_new((&a, &a)).is_none());
    }
}

/// Stands still: a set of two levels, sorted by creation, beside a thread that takes the two in
/// order.
mod two_levels_in_a_set {
    fn main() {
        // The lock of the later level is made first, so a set takes it first.
        let b = Mutex::<u64, Level<1>>::new(0);
        let a = Mutex::<u64, Level<0>>::new(0);
        std::thread::scope(|s| {
            s.spawn(|| {
                let set = LockSet::new((&a, &b));
                let mut handle = KeyHandle::claim();
                loop {
                    handle.scope(|key| *key.lock(&set).0.0 += 1);
                    HEARD.fetch_add(1, Relaxed);
                }
            });
            s.spawn(|| {
                let mut handle = KeyHandle::claim();
                loop {
                    handle.scope(|key| {
                        let (_a, key) = key.lock(&a);
                        let (_b, _) = key.lock(&b);
                    });
                    HEARD.fetch_add(1, Relaxed);
                }
            });
            // Given up if nothing has moved for three seconds, and if that has not happened in two minutes.
            let mut quiet = 0;
            for _ in 0..120 {
                let before = HEARD.load(Relaxed);
                std::thread::sleep(std::time::Duration::from_secs(1));
                quiet = if HEARD.load(Relaxed) == before {
                    quiet + 1
                } else {
                    0
                };
                if quiet == 3 {
                    std::process::exit(3);
                }
            }
            std::process::exit(0);
        });
    }
    static HEARD: AtomicU64 = AtomicU64::new(0);
}

/// Refused, E0271: a set of three levels.
mod three_levels_in_a_set {
    fn main() {
        let a = Mutex::<u64, Level<0>>::new(0);
        let b = Mutex::<u64, Level<1>>::new(0);
        let c = Mutex::<u64, Level<2>>::new(0);
        let _ = LockSet::new((&a, &b, &c));
    }
}

/// Refused, E0599: there are no attempts.
mod attempt {
    fn main() {
        let a: Mutex<u64> = Mutex::new(0);
        KeyHandle::claim().scope(|key| {
            let _ = key.try_lock(&a);
        });
    }
}
