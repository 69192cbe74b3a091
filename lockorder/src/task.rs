//! Locks that are held over an `.await`: the feature `tokio`.
//!
//! The contexts of a thread are not `Send`, and a key is the thread's, not the task's: what
//! is locked through them cannot be carried over an `.await` in a spawned task. Mostly that
//! is right, and the pattern is to lock, take out or put in what the task needs, unlock, and
//! only then wait. Where a lock must stay held while the task waits, a thread's order is of
//! no use: tasks move, and many share a thread. So a task has an order of its own, in the
//! same domain and the same graph:
//!
//! - [`scope`] runs a task's body with a [`TaskCtx`] at the root, which is `Send`.
//! - [`AsyncMutex`] and [`AsyncRwLock`] (tokio's, with a level) are acquired with it.
//! - [`TaskCtx::sync`] goes on to the domain's ordinary locks, in a closure that cannot
//!   await. They come after the asynchronous ones that the task holds, as the graph says.
//!
//! Why nothing can wait in a circle:
//!
//! - A task waits for an asynchronous lock with none held that the order puts at the same
//!   place or later: the contexts are borrowed from each other as a thread's are.
//! - While a scope is polled, the thread's key is not to be had, and a section that has a
//!   thread's context is a closure without `.await`: whoever holds an ordinary lock never
//!   waits for an asynchronous one.
//! - Two futures of one task cannot both have the context. A future that holds a lock and is
//!   not polled any more, while its task waits for the same lock elsewhere (in the arms of a
//!   `select!`, say), does not compile.
//!
//! Not covered: a future that somebody keeps without ever polling it again keeps its locks,
//! as a leaked guard does; and one `scope` beside another in the same task (`join!` of two
//! scopes) counts as two tasks, which the order covers only as long as both are polled.
//!
//! - **Define:** a `TaskCtx<'t, L>` says of a task what `LockCtx` says of a thread.
//! - **Enforce:** [`scope`] makes the only ones at the root, one per poll-tree and domain,
//!   by making the thread's slot the task's for the time of each poll.
//! - **Consume:** as in the rest of the crate: an acquisition of `M` asks for
//!   `L: LockBefore<M>`.

use core::fmt;
use core::future::{Future, poll_fn};
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::pin::pin;
use core::task::Poll;

use crate::{Domain, Level, LockBefore, LockCtx, Place};

/// The right of a task to acquire whatever comes after `L`. Zero-sized, `Send`.
pub struct TaskCtx<'t, L> {
    level: PhantomData<fn() -> L>,
    parent: PhantomData<&'t mut ()>,
}

impl<L> TaskCtx<'_, L> {
    #[inline]
    const fn mint() -> Self {
        TaskCtx {
            level: PhantomData,
            parent: PhantomData,
        }
    }

    /// The same context for a shorter time.
    #[inline]
    pub fn reborrow(&mut self) -> TaskCtx<'_, L> {
        TaskCtx::mint()
    }

    /// Goes on to a later level without acquiring anything.
    #[inline]
    pub fn descend<M>(&mut self) -> TaskCtx<'_, M>
    where
        L: LockBefore<M>,
    {
        TaskCtx::mint()
    }
}

impl<L: Place> TaskCtx<'_, L> {
    /// Runs `f` with a thread's context of the place `L`, for the domain's ordinary locks.
    ///
    /// `None`, without running `f`, if the thread's key is out: that cannot be while this
    /// task is polled on the thread, only where the context was handed to another thread.
    #[inline]
    pub fn sync<R>(&mut self, f: impl FnOnce(&mut LockCtx<'_, L>) -> R) -> Option<R> {
        section::<L::Domain, L, R>(f)
    }
}

fn section<D: Domain, L, R>(f: impl FnOnce(&mut LockCtx<'_, L>) -> R) -> Option<R> {
    struct Leave<D: Domain> {
        was_task: bool,
        domain: PhantomData<fn() -> D>,
    }
    impl<D: Domain> Drop for Leave<D> {
        fn drop(&mut self) {
            D::__slot(|slot| slot.leave_section(self.was_task));
        }
    }

    let _leave = Leave::<D> {
        was_task: D::__slot(|slot| slot.enter_section())?,
        domain: PhantomData,
    };
    Some(f(&mut LockCtx::mint()))
}

impl<L: Place> fmt::Debug for TaskCtx<'_, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TaskCtx<{}>", L::NAME)
    }
}

/// A task was polled where its domain's key was out: under somebody's key on this thread, or
/// inside another scope of the domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyTaken;

impl fmt::Display for KeyTaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the thread's key of this lock domain is out")
    }
}

impl core::error::Error for KeyTaken {}

/// Runs `f` as a task of the domain `D`.
///
/// # Errors
///
/// [`KeyTaken`] if the future is polled on a thread whose key of `D` is out. `f`'s future is
/// dropped then, and with it every lock that it holds.
///
/// ```
/// # mod levels { lockorder::lock_order! {
/// #     pub domain App; level Session, Table; App => Session => Table; } }
/// use levels::{App, Session, Table};
/// use lockorder::Mutex;
/// use lockorder::task::{AsyncMutex, scope};
///
/// static SESSION: AsyncMutex<Session, u32> = AsyncMutex::const_new(0);
/// static TABLE: Mutex<Table, Vec<u32>> = Mutex::new(Vec::new());
///
/// # async fn answer() -> u32 { 7 }
/// # let runtime = tokio::runtime::Builder::new_multi_thread().build()?;
/// # runtime.block_on(async {
/// let task = tokio::spawn(scope::<App, _>(async |ctx| {
///     let (mut session, mut ctx) = SESSION.lock(ctx).await;
///     // Held over an await, on whatever thread the task goes on.
///     *session += answer().await;
///     // The ordinary locks, which cannot be.
///     ctx.sync(|ctx| TABLE.with(ctx, |table, _| table.push(*session)));
///     *session
/// }));
/// assert_eq!(task.await.expect("the task did not panic"), Ok(7));
/// # });
/// # Ok::<(), std::io::Error>(())
/// ```
pub async fn scope<D: Domain, R>(
    f: impl AsyncFnOnce(&mut TaskCtx<'_, D>) -> R,
) -> Result<R, KeyTaken> {
    struct Leave<D: Domain>(PhantomData<fn() -> D>);
    impl<D: Domain> Drop for Leave<D> {
        fn drop(&mut self) {
            D::__slot(|slot| slot.release());
        }
    }

    let mut body = pin!(async move {
        let mut root = TaskCtx::mint();
        f(&mut root).await
    });
    poll_fn(|cx| {
        if !D::__slot(|slot| slot.enter_task()) {
            return Poll::Ready(Err(KeyTaken));
        }
        let _leave = Leave::<D>(PhantomData);
        body.as_mut().poll(cx).map(Ok)
    })
    .await
}

/// tokio's mutex, of level `L`: fair, and may be held over an `.await`.
pub struct AsyncMutex<L, T: ?Sized> {
    level: PhantomData<fn() -> L>,
    inner: tokio::sync::Mutex<T>,
}

impl<L, T> AsyncMutex<L, T> {
    /// A free mutex.
    pub fn new(value: T) -> Self {
        AsyncMutex {
            level: PhantomData,
            inner: tokio::sync::Mutex::new(value),
        }
    }

    /// A free mutex, in a constant expression.
    pub const fn const_new(value: T) -> Self {
        AsyncMutex {
            level: PhantomData,
            inner: tokio::sync::Mutex::const_new(value),
        }
    }

    /// The value.
    pub fn into_inner(self) -> T {
        self.inner.into_inner()
    }
}

impl<L: Level, T: ?Sized> AsyncMutex<L, T> {
    /// Acquires the lock. To cancel is to drop the future, which gives the place in the
    /// queue away.
    pub async fn lock<'k, P>(
        &'k self,
        ctx: &'k mut TaskCtx<'_, P>,
    ) -> (AsyncMutexGuard<'k, L, T>, TaskCtx<'k, L>)
    where
        P: LockBefore<L>,
    {
        let inner = self.inner.lock().await;
        let guard = AsyncMutexGuard {
            inner,
            level: PhantomData,
        };
        (guard, ctx.descend())
    }

    /// Acquires the lock if it is free now.
    pub fn try_lock<'k, P>(
        &'k self,
        ctx: &'k mut TaskCtx<'_, P>,
    ) -> Option<(AsyncMutexGuard<'k, L, T>, TaskCtx<'k, L>)>
    where
        P: LockBefore<L>,
    {
        let guard = AsyncMutexGuard {
            inner: self.inner.try_lock().ok()?,
            level: PhantomData,
        };
        Some((guard, ctx.descend()))
    }

    /// The value. The exclusive borrow proves that nobody holds the lock.
    pub fn get_mut(&mut self) -> &mut T {
        self.inner.get_mut()
    }
}

impl<L: Level, T: ?Sized> fmt::Debug for AsyncMutex<L, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncMutex")
            .field("level", &L::NAME)
            .finish_non_exhaustive()
    }
}

/// A held [`AsyncMutex`]. `Send` if the value is.
#[must_use = "the lock is released when its guard is dropped"]
pub struct AsyncMutexGuard<'k, L, T: ?Sized> {
    inner: tokio::sync::MutexGuard<'k, T>,
    level: PhantomData<fn() -> L>,
}

impl<L, T: ?Sized> Deref for AsyncMutexGuard<'_, L, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<L, T: ?Sized> DerefMut for AsyncMutexGuard<'_, L, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

/// tokio's reader-writer lock, of level `L`: fair, and may be held over an `.await`.
pub struct AsyncRwLock<L, T: ?Sized> {
    level: PhantomData<fn() -> L>,
    inner: tokio::sync::RwLock<T>,
}

impl<L, T> AsyncRwLock<L, T> {
    /// A free lock.
    pub fn new(value: T) -> Self {
        AsyncRwLock {
            level: PhantomData,
            inner: tokio::sync::RwLock::new(value),
        }
    }

    /// A free lock, in a constant expression.
    pub const fn const_new(value: T) -> Self {
        AsyncRwLock {
            level: PhantomData,
            inner: tokio::sync::RwLock::const_new(value),
        }
    }

    /// The value.
    pub fn into_inner(self) -> T {
        self.inner.into_inner()
    }
}

impl<L: Level, T: ?Sized> AsyncRwLock<L, T> {
    /// Acquires the lock shared.
    pub async fn read<'k, P>(
        &'k self,
        ctx: &'k mut TaskCtx<'_, P>,
    ) -> (AsyncReadGuard<'k, L, T>, TaskCtx<'k, L>)
    where
        P: LockBefore<L>,
    {
        let inner = self.inner.read().await;
        let guard = AsyncReadGuard {
            inner,
            level: PhantomData,
        };
        (guard, ctx.descend())
    }

    /// Acquires the lock exclusively.
    pub async fn write<'k, P>(
        &'k self,
        ctx: &'k mut TaskCtx<'_, P>,
    ) -> (AsyncWriteGuard<'k, L, T>, TaskCtx<'k, L>)
    where
        P: LockBefore<L>,
    {
        let inner = self.inner.write().await;
        let guard = AsyncWriteGuard {
            inner,
            level: PhantomData,
        };
        (guard, ctx.descend())
    }

    /// The value. The exclusive borrow proves that nobody holds the lock.
    pub fn get_mut(&mut self) -> &mut T {
        self.inner.get_mut()
    }
}

impl<L: Level, T: ?Sized> fmt::Debug for AsyncRwLock<L, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncRwLock")
            .field("level", &L::NAME)
            .finish_non_exhaustive()
    }
}

/// An [`AsyncRwLock`] held shared.
#[must_use = "the lock is released when its guard is dropped"]
pub struct AsyncReadGuard<'k, L, T: ?Sized> {
    inner: tokio::sync::RwLockReadGuard<'k, T>,
    level: PhantomData<fn() -> L>,
}

impl<L, T: ?Sized> Deref for AsyncReadGuard<'_, L, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.inner
    }
}

/// An [`AsyncRwLock`] held exclusively.
#[must_use = "the lock is released when its guard is dropped"]
pub struct AsyncWriteGuard<'k, L, T: ?Sized> {
    inner: tokio::sync::RwLockWriteGuard<'k, T>,
    level: PhantomData<fn() -> L>,
}

impl<'k, L, T: ?Sized> AsyncWriteGuard<'k, L, T> {
    /// Turns the exclusive hold into a shared one, without a moment in which the lock is
    /// free.
    pub fn downgrade(guard: Self) -> AsyncReadGuard<'k, L, T> {
        AsyncReadGuard {
            inner: guard.inner.downgrade(),
            level: PhantomData,
        }
    }
}

impl<L, T: ?Sized> Deref for AsyncWriteGuard<'_, L, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<L, T: ?Sized> DerefMut for AsyncWriteGuard<'_, L, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}
