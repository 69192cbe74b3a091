//! A raw lock of loom's mutex and condition variable.

use std::sync::OnceLock;

use lock_api::{GuardNoSend, RawMutex, RawRwLock};

/// A lock that waits by loom's means. -1: exclusively held; n: by so many readers.
pub(crate) struct Raw {
    // Made at the first use: loom's types cannot be made in a constant.
    state: OnceLock<(loom::sync::Mutex<isize>, loom::sync::Condvar)>,
}

impl Raw {
    fn state(&self) -> &(loom::sync::Mutex<isize>, loom::sync::Condvar) {
        self.state
            .get_or_init(|| (loom::sync::Mutex::new(0), loom::sync::Condvar::new()))
    }

    fn change(&self, wait: bool, free: impl Fn(isize) -> bool, by: isize) -> bool {
        let (state, changed) = self.state();
        let mut held = state.lock().expect("no panic under it");
        while !free(*held) {
            if !wait {
                return false;
            }
            held = changed.wait(held).expect("no panic under it");
        }
        *held += by;
        changed.notify_all();
        true
    }

    fn held(&self) -> isize {
        *self.state().0.lock().expect("no panic under it")
    }
}

const fn raw() -> Raw {
    Raw {
        state: OnceLock::new(),
    }
}

// SAFETY: held by one at a time: `change` waits for 0 and makes it -1, under a mutex.
unsafe impl RawMutex for Raw {
    const INIT: Self = raw();
    type Guard = GuardNoSend;

    fn lock(&self) -> GuardNoSend {
        self.change(true, |held| held == 0, -1);
        GuardNoSend::new()
    }

    fn try_lock(&self) -> Option<GuardNoSend> {
        self.change(false, |held| held == 0, -1)
            .then(GuardNoSend::new)
    }

    unsafe fn unlock(&self, _: GuardNoSend) {
        self.change(true, |held| held == -1, 1);
    }

    fn is_locked(&self) -> bool {
        self.held() != 0
    }
}

// SAFETY: as for the mutex; readers add 1 while no writer is there.
unsafe impl RawRwLock for Raw {
    const INIT: Self = raw();
    type SharedGuard = GuardNoSend;
    type ExclusiveGuard = GuardNoSend;

    fn lock_shared(&self) -> GuardNoSend {
        self.change(true, |held| held >= 0, 1);
        GuardNoSend::new()
    }

    fn try_lock_shared(&self) -> Option<GuardNoSend> {
        self.change(false, |held| held >= 0, 1)
            .then(GuardNoSend::new)
    }

    unsafe fn unlock_shared(&self, _: GuardNoSend) {
        self.change(true, |held| held > 0, -1);
    }

    fn lock_exclusive(&self) -> GuardNoSend {
        RawMutex::lock(self)
    }

    fn try_lock_exclusive(&self) -> Option<GuardNoSend> {
        RawMutex::try_lock(self)
    }

    unsafe fn unlock_exclusive(&self, guard: GuardNoSend) {
        // SAFETY: the caller has the exclusive hold.
        unsafe { RawMutex::unlock(self, guard) }
    }

    fn is_locked(&self) -> bool {
        self.held() != 0
    }

    fn is_locked_exclusive(&self) -> bool {
        self.held() < 0
    }
}
