//! Acquisitions that take a context by value.
//!
//! - **Define:** a held lock of these types carries its context: while it lives, the thread holds
//!   its lock, what the parent `P` stands for, and whatever later level borrows the held lock.
//! - **Enforce:** `hold` consumes the parent context for the lifetime `'k`; the context of the
//!   lock's level is only to be had as a borrow of the held lock, and a held lock is never a
//!   member of a set.
//! - **Consume:** what releases the lock for a time and acquires it again, or waits for other
//!   readers to leave, takes `&mut` of the held lock or the lock itself: nothing of its level or
//!   later is held then. A [`Condvar`](crate::Condvar) asks for `P` to be the root as well.

mod mutex;
mod rwlock;

pub use mutex::HeldMutex;
pub use rwlock::{HeldRead, HeldUpgradable, HeldWrite};
