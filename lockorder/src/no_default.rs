//! Placeholders for the default raw locks of a build without `parking_lot` and `spin`.
//!
//! A type that names no raw lock still compiles then, but its `new` does not: the compiler reports
//! the message below.

use lock_api::{GuardNoSend, RawMutex, RawRwLock, RawRwLockUpgrade};

/// A placeholder: enable the feature `parking_lot` or `spin`, or name a raw lock.
#[derive(Debug)]
pub enum DefaultRawMutex {}

/// A placeholder: enable the feature `parking_lot` or `spin`, or name a raw lock.
#[derive(Debug)]
pub enum DefaultRawRwLock {}

// SAFETY: there is no value, so no method is ever called.
unsafe impl RawMutex for DefaultRawMutex {
    const INIT: Self =
        panic!("no raw lock: enable lockorder's feature `parking_lot` or `spin`, or name one");

    type Guard = GuardNoSend;

    fn lock(&self) -> GuardNoSend {
        match *self {}
    }

    fn try_lock(&self) -> Option<GuardNoSend> {
        match *self {}
    }

    unsafe fn unlock(&self, _guard: GuardNoSend) {
        match *self {}
    }

    fn is_locked(&self) -> bool {
        match *self {}
    }
}

// SAFETY: there is no value, so no method is ever called.
unsafe impl RawRwLock for DefaultRawRwLock {
    const INIT: Self =
        panic!("no raw lock: enable lockorder's feature `parking_lot` or `spin`, or name one");

    type SharedGuard = GuardNoSend;
    type ExclusiveGuard = GuardNoSend;

    fn lock_shared(&self) -> GuardNoSend {
        match *self {}
    }

    fn try_lock_shared(&self) -> Option<GuardNoSend> {
        match *self {}
    }

    unsafe fn unlock_shared(&self, _guard: GuardNoSend) {
        match *self {}
    }

    fn lock_exclusive(&self) -> GuardNoSend {
        match *self {}
    }

    fn try_lock_exclusive(&self) -> Option<GuardNoSend> {
        match *self {}
    }

    unsafe fn unlock_exclusive(&self, _guard: GuardNoSend) {
        match *self {}
    }

    fn is_locked(&self) -> bool {
        match *self {}
    }

    fn is_locked_exclusive(&self) -> bool {
        match *self {}
    }
}

// SAFETY: there is no value, so no method is ever called.
unsafe impl RawRwLockUpgrade for DefaultRawRwLock {
    type UpgradableGuard = GuardNoSend;

    fn lock_upgradable(&self) -> GuardNoSend {
        match *self {}
    }

    fn try_lock_upgradable(&self) -> Option<GuardNoSend> {
        match *self {}
    }

    unsafe fn unlock_upgradable(&self, _guard: GuardNoSend) {
        match *self {}
    }

    unsafe fn upgrade(&self, _guard: GuardNoSend) -> GuardNoSend {
        match *self {}
    }

    unsafe fn try_upgrade(&self, _guard: GuardNoSend) -> Result<GuardNoSend, GuardNoSend> {
        match *self {}
    }
}
