//! Lock order, checked by the compiler.
//!
//! A domain declares its lock levels and the order in which they may be acquired. Every lock
//! has a level, every acquisition takes a context whose type says which level the thread has
//! acquired last, and an acquisition out of order does not compile:
//!
//! ```text
//! error[E0277]: lock level `Ip` may not be acquired while holding `Device`
//! ```
//!
//! # What is promised
//!
//! Within a domain, no lock-order cycle compiles, and in safe code no thread waits for a lock
//! while it holds one that the declared order puts at the same place or later, as long as nothing
//! is leaked (a leaked guard is a lock held for ever; the closure forms leave nothing to leak).
//! The same holds of the scopes of tasks (feature `tokio`), as long as each of them is polled.
//!
//! Several locks of one level are acquired together ([`set`]) or in the order of their ranks
//! ([`ranked`]); attempts that do not wait may come out of order ([`Mutex::try_lock_unordered`]);
//! a [`Condvar`] is waited on with nothing else held. Code that no context reaches has [`Leaf`],
//! [`Deferred`] and the module [`lockdep`], whose locks are checked when they are acquired, in debug
//! builds, and are not part of the promise.
//!
//! # What is not
//!
//! Other ways to wait are not covered: channels, joins, `block_on`, a second process. Nor are two
//! domains of which a thread holds locks at the same time, in one order here and in the other
//! there, which debug builds report. A function that takes `&mut Key<D>` cannot be called while
//! the thread holds a lock of `D`, and so sending, joining and waiting can be made impossible under
//! a lock.
//!
//! # In use
//!
//! ```
//! use lockorder::{Key, LockCtx, Mutex, RwLock};
//!
//! /// The lock levels of the stack.
//! pub mod levels {
//!     lockorder::lock_order! {
//!         /// All locks of the stack; as a level, the root: nothing is held.
//!         pub domain Stack;
//!
//!         /// Configuration edits, the set of listeners.
//!         level Control;
//!         /// One TCP connection and its wakers.
//!         level Conn;
//!         /// The tuple → connection table.
//!         level Demux;
//!         /// Addresses and routes.
//!         level Routes;
//!
//!         Stack => Control => Conn => Demux;
//!         Stack => Conn;
//!         Conn => Routes;
//!     }
//! }
//! use levels::Stack;
//!
//! struct Connection {
//!     state: Mutex<levels::Conn, u32>,
//! }
//!
//! struct Shared {
//!     demux: RwLock<levels::Demux, Vec<u16>>,
//!     routes: RwLock<levels::Routes, Vec<u32>>,
//! }
//!
//! // A function that says what may be held when it is called: nothing later than `Conn`.
//! fn mtu(shared: &Shared, ctx: &mut LockCtx<'_, levels::Conn>) -> u32 {
//!     shared.routes.with_read(ctx, |routes, _| routes.first().copied().unwrap_or(1280))
//! }
//!
//! // A function that calls out takes the key: it cannot be called under any lock of the domain.
//! fn wake(key: &mut Key<Stack>, waker: impl FnOnce()) {
//!     key.lend(waker);
//! }
//!
//! let shared = Shared { demux: RwLock::new(vec![80]), routes: RwLock::new(vec![1500]) };
//! let conn = Connection { state: Mutex::new(0) };
//!
//! let mut key = Key::<Stack>::take().expect("the thread's key is free");
//!
//! // The closure form: the lock is held for the closure's time.
//! conn.state.with(&mut key.ctx(), |state, ctx| {
//!     *state = mtu(&shared, ctx);
//!     shared.demux.with_write(ctx, |ports, _| ports.push(443));
//! });
//!
//! // The guard form: both the guard and its context borrow the context before.
//! {
//!     let mut root = key.ctx();
//!     let (mut state, mut ctx) = conn.state.lock(&mut root);
//!     let (ports, _) = shared.demux.read(&mut ctx);
//!     *state += u32::from(ports[1]);
//! }
//!
//! // Nothing is held: the key is whole, and code that takes the key itself can run.
//! wake(&mut key, || {
//!     Key::<Stack>::with(|key| assert_eq!(conn.state.with(&mut key.ctx(), |s, _| *s), 1943));
//! });
//! ```
//!
//! # Waiting while a lock is held
//!
//! Over an `.await`: a key, a context and a guard are not `Send`, so a task that may move
//! between threads cannot keep one while it waits. Mostly it need not: lock, take out what is
//! needed, unlock, wait, lock again, and look at what has changed in between.
//!
//! ```
//! # mod levels { lockorder::lock_order! { pub domain App; level Table; App => Table; } }
//! # use lockorder::{Key, Mutex};
//! # use levels::{App, Table};
//! # async fn ask(_: u32) -> u32 { 1 }
//! # fn spawn(_: impl Future<Output = Option<()>> + Send) {}
//! static TABLE: Mutex<Table, Vec<u32>> = Mutex::new(Vec::new());
//!
//! spawn(async {
//!     let asked = Key::<App>::with(|key| TABLE.with(&mut key.ctx(), |table, _| table.pop()))??;
//!     let answer = ask(asked).await;
//!     Key::<App>::with(|key| TABLE.with(&mut key.ctx(), |table, _| table.push(answer)))
//! });
//! ```
//!
//! For a lock that must stay held while a task waits, the feature `tokio` has locks and contexts,
//! in the same graph.
//!
//! A guard that is leaked (`mem::forget`, a reference cycle) ends its borrow of the context but not
//! its hold of the lock; with debug assertions [`Key::ctx`] notices, and panics instead of letting
//! the thread wait for itself.
//!
//! # Features
//!
//! | feature | default | |
//! |---|---|---|
//! | `std` | yes | [`Key::take`] and all that follows from it, [`Poisonable`]; without it keys come from [`Key::assume`], which is unsafe |
//! | `parking_lot` | yes | `parking_lot`'s raw locks as the default ones |
//! | `alloc` | with `std` | sets of slices, vectors, `Arc`s and `Box`es |
//! | `spin` | no | spinning raw locks, the default ones without `parking_lot`; raw locks of `lock_api` 0.4 |
//! | `lockdep` | no | the checks of debug builds in release builds, too: module [`lockdep`] |
//! | `track` | no | module `track`: waiting and holding, timed per level |
//! | `serde` | no | reports of `track` can be serialised |
//! | `tokio` | no | module `task`: locks that are held over an `.await` |
#![cfg_attr(not(feature = "std"), no_std)]
#![cfg_attr(docsrs, feature(doc_cfg))]
// The levels' traits and the guards rest on `unsafe`; each has its contract and its proof beside it.
#![allow(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;

#[cfg(feature = "alloc")]
mod arc_guard;
mod by_value;
#[cfg(all(feature = "std", any(debug_assertions, feature = "lockdep")))]
mod check;
#[cfg(feature = "spin")]
mod compat;
#[cfg(feature = "std")]
mod condvar;
mod ctx;
#[cfg(feature = "std")]
mod deferred;
mod expansion;
pub mod graph;
#[cfg(all(
    feature = "std",
    any(debug_assertions, feature = "lockdep", feature = "track")
))]
mod held;
mod hold;
mod key;
#[cfg(feature = "std")]
mod leaf;
pub mod lockdep;
mod mapped;
mod mutex;
#[cfg(not(any(feature = "parking_lot", feature = "spin")))]
mod no_default;
mod order;
#[cfg(feature = "std")]
mod poison;
pub mod ranked;
mod rwlock;
pub mod set;
#[cfg(feature = "std")]
mod slot;
#[cfg(feature = "tokio")]
pub mod task;
#[cfg(feature = "track")]
pub mod track;
mod try_ctx;

#[cfg(feature = "alloc")]
pub use arc_guard::{ArcGuard, ArcMutexGuard, ArcReadGuard, ArcWriteGuard};
pub use by_value::{HeldMutex, HeldRead, HeldUpgradable, HeldWrite};
#[cfg(feature = "spin")]
pub use compat::{Compat, RawSpin, RawSpinRw};
#[cfg(feature = "std")]
pub use condvar::{Condvar, Root, WaitResult};
pub use ctx::{Context, LockCtx};
#[cfg(feature = "std")]
pub use deferred::Deferred;
pub use key::Key;
#[cfg(feature = "std")]
pub use leaf::{InLeaf, Leaf};
pub use mapped::{MappedMutexGuard, MappedRwLockReadGuard, MappedRwLockWriteGuard};
pub use mutex::{Mutex, MutexGuard};
pub use order::{Domain, DomainAfter, Level, LockAfter, LockBefore, Place};
#[cfg(feature = "std")]
pub use poison::{PoisonGuard, Poisonable, Poisoned};
pub use ranked::{Ascending, OutOfRank, Rank, Ranked};
pub use rwlock::{RwLock, RwLockReadGuard, RwLockWriteGuard};
pub use set::{DuplicateLock, LockSet, OwnedSet, Read, RetrySet};
pub use try_ctx::{AnyContext, TryCtx};

/// The raw lock of a [`Mutex`] that names none.
#[cfg(feature = "parking_lot")]
pub type DefaultRawMutex = parking_lot::RawMutex;

/// The raw lock of a [`RwLock`] that names none.
#[cfg(feature = "parking_lot")]
pub type DefaultRawRwLock = parking_lot::RawRwLock;

/// The raw lock of a [`Mutex`] that names none.
#[cfg(all(not(feature = "parking_lot"), feature = "spin"))]
pub type DefaultRawMutex = RawSpin;

/// The raw lock of a [`RwLock`] that names none.
#[cfg(all(not(feature = "parking_lot"), feature = "spin"))]
pub type DefaultRawRwLock = RawSpinRw;

#[cfg(not(any(feature = "parking_lot", feature = "spin")))]
pub use no_default::{DefaultRawMutex, DefaultRawRwLock};

#[doc = include_str!("../PORTING.md")]
pub mod porting {}

/// The examples of the README.
#[cfg(all(doctest, feature = "parking_lot"))]
#[doc = include_str!("../README.md")]
pub struct Readme;

/// The names that the macros' expansions use. Not part of the interface.
#[doc(hidden)]
pub mod __private {
    // By this crate's path: `extern crate other as core` would give `::core` another meaning.
    pub use core::ops::FnOnce;
    pub use core::{column, concat, file, line, module_path};
    #[cfg(feature = "std")]
    pub use std::thread_local;

    #[cfg(feature = "std")]
    pub use crate::slot::Slot;
    #[cfg(feature = "track")]
    pub use crate::track::{DomainStats, LevelStats};
    pub use lockorder_macros::lock_order_impl;
}
