// tracing-mutex 0.3.

use tracing_mutex::{parkinglot::tracing as parking_lot, stdsync::tracing::*};

/// Panics: the second order.
mod second_order {
    fn main() {
        let (a, b) = (Mutex::new(0), Mutex::new(0));
        {
            let _a = a.lock();
            let _b = b.lock();
        }
        let _b = b.lock();
        let _a = a.lock();
    }
}

/// Runs: one order only.
mod one_order {
    fn main() {
        let (a, b) = (Mutex::new(0), Mutex::new(0));
        let _a = a.lock();
        let _b = b.lock();
    }
}

/// Panics: an attempt out of order.
mod attempt_out_of_order {
    fn main() {
        let (a, b) = (Mutex::new(0), Mutex::new(0));
        {
            let _a = a.lock();
            let _b = b.lock();
        }
        let _b = b.lock();
        let _a = a.try_lock();
    }
}

/// Panics: an attempt out of order, with `parking_lot`.
mod attempt_out_of_order_with_parking_lot {
    fn main() {
        let (a, b) = (parking_lot::Mutex::new(0), parking_lot::Mutex::new(0));
        {
            let _a = a.lock();
            let _b = b.lock();
        }
        let _b = b.lock();
        let _a = a.try_lock();
    }
}

/// Panics: waits in order after an attempt in the other order.
mod attempt_first {
    fn main() {
        let (a, b) = (Mutex::new(0), Mutex::new(0));
        {
            let _b = b.lock();
            let _a = a.try_lock();
        }
        let _a = a.lock();
        let _b = b.lock();
    }
}

/// Runs: two locks of one kind.
mod two_of_one_level {
    fn main() {
        let locks = [Mutex::new(0), Mutex::new(0)];
        let _first = locks[0].lock();
        let _second = locks[1].lock();
    }
}

/// Runs: an upgrade and a mapped guard, with `parking_lot`.
mod guards {
    fn main() {
        let names = parking_lot::RwLock::new(0);
        let held = names.upgradable_read();
        drop(parking_lot::RwLockUpgradableReadGuard::upgrade(held));
        let pair = parking_lot::Mutex::new((1, 2));
        let first = parking_lot::MutexGuard::map(pair.lock(), |pair| &mut pair.0);
        assert_eq!(*first, 1);
    }
}

/// Runs: a wait on a condition variable while another lock is held.
mod condition_variable_under_a_lock {
    fn main() {
        let (outer, inner, filled) = (Mutex::new(0), Mutex::new(0), Condvar::new());
        let _outer = outer.lock();
        let guard = inner.lock().unwrap();
        let timeout = std::time::Duration::from_millis(5);
        drop(filled.wait_timeout(guard, timeout).unwrap());
    }
}
