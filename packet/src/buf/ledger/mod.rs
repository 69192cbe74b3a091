//! The ledger: a record of who holds each slab, which checks every operation while tests run.
//!
//! A slab is `free` in its pool, `owned` by one [`SlabMut`](super::SlabMut), or `shared` by some number
//! of [`Payload`](super::Payload)s. Each operation is allowed in one state only and leads to another,
//! written as `{before} operation {after}`:
//!
//! ```text
//! {free}         Pool::take              {owned}
//! {owned}        SlabMut::as_mut_slice   {owned}
//! {owned}        SlabMut::as_slice       {owned}
//! {owned}        SlabMut::freeze         {shared 1}
//! {owned}        drop of a SlabMut       {free}
//! {shared n}     Payload::clone          {shared n + 1}
//! {shared n}     reading a Payload       {shared n}
//! {shared 1}     Payload::try_append     {shared 1}
//! {shared 1}     Payload::into_mut       {owned}
//! {shared n + 1} drop of a Payload       {shared n}, n > 0
//! {shared 1}     drop of a Payload       {free}
//! ```
//!
//! An operation in any other state is a [`Violation`]. The ledger records it, leaves the state
//! unchanged and panics, so that a test fails at the operation that broke the contract.
//! [`Pool::audit`](super::Pool::audit) reports the slabs that are still held at the end.
//!
//! The feature `ledger` compiles the ledger in. The workspace's tests enable it, and this crate's own
//! tests always have it. Without it a slab carries no extra byte, and an audit returns
//! [`Audit::Unsupported`].

/// A broken contract.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Violation {
    /// A slab was given back although it was free already.
    DoubleReturn,
    /// A slab was read, shared or written after it had been given back.
    UseAfterReturn,
    /// A slab was taken or written while another holder could read it.
    Aliased,
}

/// The state of a pool's slabs, as the ledger recorded it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Audit {
    /// The ledger is not compiled in.
    Unsupported,
    /// No contract was broken.
    Kept {
        /// Number of slabs that have a writer now.
        owned: usize,
        /// Number of slabs that have readers now. When nothing should be held any more, this and
        /// `owned` must be zero: anything else is a leak.
        shared: usize,
    },
    /// A contract was broken.
    Broken {
        /// The first violation.
        first: Violation,
        /// Number of violations.
        count: usize,
    },
}

impl Audit {
    /// Returns `true` if the ledger is compiled in, no contract was broken and no slab is held.
    pub fn is_clean(&self) -> bool {
        *self
            == Self::Kept {
                owned: 0,
                shared: 0,
            }
    }
}

#[cfg(any(test, feature = "ledger"))]
mod checked;
#[cfg(not(any(test, feature = "ledger")))]
mod disabled;

#[cfg(any(test, feature = "ledger"))]
pub(super) use checked::{Entry, Ledger};
#[cfg(not(any(test, feature = "ledger")))]
pub(super) use disabled::{Entry, Ledger};
