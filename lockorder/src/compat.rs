//! An adapter from raw locks of `lock_api` 0.4 to those of 0.5.

use lock_api::{
    GuardNoSend, RawMutex, RawRwLock, RawRwLockDowngrade, RawRwLockUpgrade,
    RawRwLockUpgradeDowngrade,
};

/// A raw lock of `lock_api` 0.4 with the interface of 0.5.
///
/// - **Define:** every acquisition of the inner lock is accounted for by one guard token.
/// - **Enforce:** the inner lock is private; each method is the inner method of its name.
/// - **Consume:** the contract of `unlock` is the same in both generations: to hold the
///   lock, which the token shows.
#[derive(Debug)]
pub struct Compat<R>(R);

/// A spinning mutex, 1 byte, for `Mutex<L, T, RawSpin>`; needs neither `std` nor an
/// operating system.
pub type RawSpin = Compat<spin::Mutex<()>>;

/// A spinning reader-writer lock, for `RwLock<L, T, RawSpinRw>`.
pub type RawSpinRw = Compat<spin::RwLock<()>>;

// SAFETY: the inner lock provides mutual exclusion with acquire and release semantics, by
// 0.4's contract, and its methods are called as that contract asks.
unsafe impl<R: lock_api_04::RawMutex> RawMutex for Compat<R> {
    const INIT: Self = Compat(R::INIT);

    type Guard = GuardNoSend;

    #[inline]
    fn lock(&self) -> GuardNoSend {
        self.0.lock();
        GuardNoSend::new()
    }

    #[inline]
    fn try_lock(&self) -> Option<GuardNoSend> {
        self.0.try_lock().then(GuardNoSend::new)
    }

    #[inline]
    unsafe fn unlock(&self, _guard: GuardNoSend) {
        // SAFETY: the caller holds the lock, says this method's own contract.
        unsafe { self.0.unlock() }
    }

    #[inline]
    fn is_locked(&self) -> bool {
        self.0.is_locked()
    }
}

// SAFETY: as for the mutex.
unsafe impl<R: lock_api_04::RawRwLock> RawRwLock for Compat<R> {
    const INIT: Self = Compat(R::INIT);

    type SharedGuard = GuardNoSend;
    type ExclusiveGuard = GuardNoSend;

    #[inline]
    fn lock_shared(&self) -> GuardNoSend {
        self.0.lock_shared();
        GuardNoSend::new()
    }

    #[inline]
    fn try_lock_shared(&self) -> Option<GuardNoSend> {
        self.0.try_lock_shared().then(GuardNoSend::new)
    }

    #[inline]
    unsafe fn unlock_shared(&self, _guard: GuardNoSend) {
        // SAFETY: the caller has a shared hold, says this method's own contract.
        unsafe { self.0.unlock_shared() }
    }

    #[inline]
    fn lock_exclusive(&self) -> GuardNoSend {
        self.0.lock_exclusive();
        GuardNoSend::new()
    }

    #[inline]
    fn try_lock_exclusive(&self) -> Option<GuardNoSend> {
        self.0.try_lock_exclusive().then(GuardNoSend::new)
    }

    #[inline]
    unsafe fn unlock_exclusive(&self, _guard: GuardNoSend) {
        // SAFETY: the caller has the exclusive hold, says this method's own contract.
        unsafe { self.0.unlock_exclusive() }
    }

    #[inline]
    fn is_locked(&self) -> bool {
        self.0.is_locked()
    }

    #[inline]
    fn is_locked_exclusive(&self) -> bool {
        self.0.is_locked_exclusive()
    }
}

// SAFETY: as for the mutex.
unsafe impl<R: lock_api_04::RawRwLockDowngrade> RawRwLockDowngrade for Compat<R> {
    #[inline]
    unsafe fn downgrade(&self, guard: GuardNoSend) -> GuardNoSend {
        // SAFETY: the caller has the exclusive hold, says this method's own contract.
        unsafe { self.0.downgrade() };
        guard
    }
}

// SAFETY: as for the mutex; an upgradable hold is counted by the inner lock.
unsafe impl<R: lock_api_04::RawRwLockUpgrade> RawRwLockUpgrade for Compat<R> {
    type UpgradableGuard = GuardNoSend;

    #[inline]
    fn lock_upgradable(&self) -> GuardNoSend {
        self.0.lock_upgradable();
        GuardNoSend::new()
    }

    #[inline]
    fn try_lock_upgradable(&self) -> Option<GuardNoSend> {
        self.0.try_lock_upgradable().then(GuardNoSend::new)
    }

    #[inline]
    unsafe fn unlock_upgradable(&self, _guard: GuardNoSend) {
        // SAFETY: the caller has the upgradable hold, says this method's own contract.
        unsafe { self.0.unlock_upgradable() }
    }

    #[inline]
    unsafe fn upgrade(&self, guard: GuardNoSend) -> GuardNoSend {
        // SAFETY: the caller has the upgradable hold, says this method's own contract.
        unsafe { self.0.upgrade() };
        guard
    }

    #[inline]
    unsafe fn try_upgrade(&self, guard: GuardNoSend) -> Result<GuardNoSend, GuardNoSend> {
        // SAFETY: the caller has the upgradable hold, says this method's own contract.
        if unsafe { self.0.try_upgrade() } {
            Ok(guard)
        } else {
            Err(guard)
        }
    }
}

// SAFETY: as for the mutex.
unsafe impl<R: lock_api_04::RawRwLockUpgradeDowngrade> RawRwLockUpgradeDowngrade for Compat<R> {
    #[inline]
    unsafe fn downgrade_upgradable(&self, guard: GuardNoSend) -> GuardNoSend {
        // SAFETY: the caller has the upgradable hold, says this method's own contract.
        unsafe { self.0.downgrade_upgradable() };
        guard
    }

    #[inline]
    unsafe fn downgrade_to_upgradable(&self, guard: GuardNoSend) -> GuardNoSend {
        // SAFETY: the caller has the exclusive hold, says this method's own contract.
        unsafe { self.0.downgrade_to_upgradable() };
        guard
    }
}
