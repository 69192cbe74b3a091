// ordered-locks 0.2.

use ordered_locks::*;
use std::sync::Barrier;
static BOTH: Barrier = Barrier::new(2);

/// Runs: `L2` under `L1`.
mod right_order {
    fn main() {
        let (a, b) = (Mutex::<L1, u64>::new(0), Mutex::<L2, u64>::new(0));
        let mut token = CleanLockToken;
        let mut guard = a.lock(token.token());
        let (_, held) = guard.token_split();
        let _b = b.lock(held);
    }
}

/// Refused, E0277: `L1` under `L2`.
mod wrong_order {
    fn main() {
        let (a, b) = (Mutex::<L1, u64>::new(0), Mutex::<L2, u64>::new(0));
        let mut token = CleanLockToken;
        let mut guard = b.lock(token.token());
        let (_, held) = guard.token_split();
        let _a = a.lock(held);
    }
}

/// Stands still: a cycle by levels of one's own.
mod cycle {
    struct X;
    struct Y;
    impl Level for X {}
    impl Level for Y {}
    impl Lower<X> for Y {}
    impl Lower<Y> for X {}
    impl Lower<X> for L0 {}
    impl Lower<Y> for L0 {}
    fn main() {
        let (x, y) = (Mutex::<X, u64>::new(0), Mutex::<Y, u64>::new(0));
        std::thread::scope(|s| {
            s.spawn(|| {
                let mut token = CleanLockToken;
                let mut guard = x.lock(token.token());
                BOTH.wait();
                let (_, held) = guard.token_split();
                drop(y.lock(held));
            });
            s.spawn(|| {
                let mut token = CleanLockToken;
                let mut guard = y.lock(token.token());
                BOTH.wait();
                let (_, held) = guard.token_split();
                drop(x.lock(held));
            });
        });
    }
}

/// Runs: the order changed elsewhere, so that `L1` is acquired under `L5`.
mod order_changed_elsewhere {
    struct X;
    impl Level for X {}
    impl Lower<X> for L5 {}
    impl Lower<L1> for X {}
    fn main() {
        let (a, x) = (Mutex::<L1, u64>::new(0), Mutex::<X, u64>::new(0));
        let e = Mutex::<L5, u64>::new(0);
        let mut token = CleanLockToken;
        let mut guard = e.lock(token.token());
        let (_, held) = guard.token_split();
        let mut guard = x.lock(held);
        let (_, held) = guard.token_split();
        let _a = a.lock(held);
    }
}

/// Stands still: a second token, and the same lock.
mod second_root {
    fn main() {
        let a = Mutex::<L1, u64>::new(0);
        let (mut token, mut second) = (CleanLockToken, CleanLockToken);
        let _guard = a.lock(token.token());
        let _again = a.lock(second.token());
    }
}

/// Refused, E0597: a guard outlives its token.
mod guard_outlives_its_scope {
    fn main() {
        let a = Mutex::<L1, u64>::new(0);
        let guard = {
            let mut token = CleanLockToken;
            a.lock(token.token())
        };
        drop(guard);
    }
}

/// Refused, E0277: two locks of one level.
mod two_of_one_level {
    fn main() {
        let (a, b) = (Mutex::<L1, u64>::new(0), Mutex::<L1, u64>::new(0));
        let mut token = CleanLockToken;
        let mut guard = a.lock(token.token());
        let (_, held) = guard.token_split();
        let _b = b.lock(held);
    }
}

/// Refused, E0277: an attempt out of order, as a wait.
mod attempt_out_of_order {
    fn main() {
        let (a, b) = (Mutex::<L1, u64>::new(0), Mutex::<L2, u64>::new(0));
        let mut token = CleanLockToken;
        let mut guard = b.lock(token.token());
        let (_, held) = guard.token_split();
        let _a = a.try_lock(held);
    }
}
