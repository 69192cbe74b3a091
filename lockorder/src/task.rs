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
//! Why scopes cannot wait for each other in a circle, as long as each is polled:
//!
//! - A scope waits for an asynchronous lock with none held that the order puts at the same
//!   place or later: the contexts are borrowed from each other as a thread's are, and a context
//!   acquires only while its own scope is polled. That is checked at each poll, because a context
//!   is `Send` and can be lent to a thread that polls another scope.
//! - While a scope is polled, the thread's key is not to be had, and a section that has a
//!   thread's context is a closure without `.await`: a thread that holds an ordinary lock never
//!   waits for an asynchronous one. A scope that is cancelled is dropped in the same state, so
//!   that the destructors in its body are in the place that they have when it ends by itself.
//! - Two futures of one scope cannot both have the context. A future of a scope that holds a lock
//!   and is not polled any more, while the same scope waits for the same lock elsewhere (in the
//!   arms of a `select!`, say), does not compile.
//!
//! # Not covered
//!
//! - A scope that is kept and not polled again keeps its locks, as a leaked guard does. Two scopes
//!   in one task count as two tasks: if one is polled only until the other ends (a scope borrowed
//!   by `select!`, whose other arm runs a second scope), and the other waits for its lock, both
//!   stand still. Give the whole task one scope.
//! - A poll that waits for a thread (`std::thread::scope` in a body) and has lent it a guard: the
//!   guard is held by the scope, and the scope waits by a join, not for a lock.
//!
//! # How it is kept
//!
//! - **Define:** a `TaskCtx<'t, L>` says of a scope what `LockCtx` says of a thread.
//! - **Enforce:** [`scope`] makes the only ones at the root, and makes the thread's slot its own
//!   for the time of each poll and of its drop. The slot says which scope it is; a context carries
//!   the identity of its scope, and refuses to acquire where the slot does not name it.
//! - **Consume:** as in the rest of the crate: an acquisition of `M` asks for
//!   `L: LockBefore<M>`.

mod locks;

use core::fmt;
use core::future::{Future, poll_fn};
use core::marker::PhantomData;
use core::pin::pin;
use core::task::Poll;

pub use locks::{AsyncMutex, AsyncMutexGuard, AsyncReadGuard, AsyncRwLock, AsyncWriteGuard};

use crate::{Domain, LockBefore, LockCtx, Place};

/// A place in the caller's code, for messages.
type At = &'static core::panic::Location<'static>;

/// A scope's identity: the address of a value that lies in its future, which does not move while
/// it is pinned, and which every context of the scope borrows.
struct Token(#[allow(dead_code)] u8);

impl Token {
    fn id(&self) -> usize {
        core::ptr::from_ref(self).addr()
    }
}

/// The right of a task to acquire whatever comes after `L`. One word, `Send`.
pub struct TaskCtx<'t, L> {
    level: PhantomData<fn() -> L>,
    parent: PhantomData<&'t mut ()>,
    scope: &'t Token,
}

impl<L> TaskCtx<'_, L> {
    /// Returns the context of another level, in the same scope.
    #[inline]
    fn child<M>(&self) -> TaskCtx<'_, M> {
        TaskCtx {
            level: PhantomData,
            parent: PhantomData,
            scope: self.scope,
        }
    }

    /// Returns the same context for a shorter time.
    #[inline]
    pub fn reborrow(&mut self) -> TaskCtx<'_, L> {
        self.child()
    }

    /// Goes on to a later level without acquiring anything.
    #[inline]
    pub fn descend<M>(&mut self) -> TaskCtx<'_, M>
    where
        L: LockBefore<M>,
    {
        self.child()
    }
}

impl<L: Place> TaskCtx<'_, L> {
    /// Runs `f` with a thread's context of the place `L`, for the domain's ordinary locks.
    ///
    /// Returns `None`, without running `f`, where the context was lent to a thread whose key is
    /// out, or that polls another scope of the domain.
    #[inline]
    pub fn sync<R>(&mut self, f: impl FnOnce(&mut LockCtx<'_, L>) -> R) -> Option<R> {
        section::<L::Domain, L, R>(self.scope.id(), f)
    }

    /// Returns whether the context's own scope is being polled on this thread.
    fn is_polled(&self) -> bool {
        L::Domain::__slot(|slot| slot.polls(self.scope.id()))
    }
}

/// Waits for `acquire` in polls of the context's own scope. `at` is where the caller acquires.
///
/// # Panics
///
/// In any other poll.
async fn wait<L: Place, F: Future>(ctx: &TaskCtx<'_, L>, at: At, acquire: F) -> F::Output {
    let mut acquire = pin!(acquire);
    poll_fn(|cx| {
        if !ctx.is_polled() {
            foreign(<L::Domain as Place>::NAME, at);
        }
        acquire.as_mut().poll(cx)
    })
    .await
}

#[cold]
#[inline(never)]
fn foreign(domain: &str, at: At) -> ! {
    panic!(
        "a context of lock domain `{domain}` was used outside of its scope, at {at}: acquire in the body of the scope that the context comes from, not in another scope, under a key, or on another thread"
    );
}

fn section<D: Domain, L, R>(scope: usize, f: impl FnOnce(&mut LockCtx<'_, L>) -> R) -> Option<R> {
    struct Leave<D: Domain> {
        before: u8,
        domain: PhantomData<fn() -> D>,
    }
    impl<D: Domain> Drop for Leave<D> {
        fn drop(&mut self) {
            D::__slot(|slot| slot.leave_section(self.before));
        }
    }

    let _leave = Leave::<D> {
        before: D::__slot(|slot| slot.enter_section(scope))?,
        domain: PhantomData,
    };
    Some(f(&mut LockCtx::mint()))
}

impl<L: Place> fmt::Debug for TaskCtx<'_, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TaskCtx<{}>", L::NAME)
    }
}

/// A scope was polled where its domain's key was out: under a key on this thread, or inside
/// another scope of the domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyTaken;

impl fmt::Display for KeyTaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the thread's key of this lock domain is out")
    }
}

impl core::error::Error for KeyTaken {}

/// Makes the slot the scope's, at a moment that is a drop.
struct EnterOnDrop<'s, D: Domain>(&'s Token, PhantomData<fn() -> D>);

impl<D: Domain> Drop for EnterOnDrop<'_, D> {
    fn drop(&mut self) {
        // Where the slot is not free, its key cannot be taken by a destructor anyhow.
        D::__slot(|slot| slot.enter_scope(self.0.id()));
    }
}

/// Gives the slot back, if it is the scope's.
struct LeaveOnDrop<'s, D: Domain>(&'s Token, PhantomData<fn() -> D>);

impl<D: Domain> Drop for LeaveOnDrop<'_, D> {
    fn drop(&mut self) {
        D::__slot(|slot| slot.leave_scope(self.0.id()));
    }
}

/// Runs `f` as a task of the domain `D`.
///
/// A scope that is dropped before it has ended drops its body as if in a poll: a destructor in it
/// cannot take the thread's key, and so cannot acquire an ordinary lock under an asynchronous one.
/// [`TaskCtx::sync`] and [`Deferred`](crate::Deferred) are the ways for such destructors.
///
/// # Errors
///
/// [`KeyTaken`] if the future is polled on a thread whose key of `D` is out. `f`'s future is
/// dropped in that poll, and with it every lock that it holds.
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
    let token = Token(0);
    let token = &token;
    // Locals are dropped in the reverse order, also when this future is: the slot is made the
    // scope's, the body is dropped, the slot is given back.
    let _leave = LeaveOnDrop::<D>(token, PhantomData);
    let mut body = pin!(Some(async move {
        let mut root = TaskCtx {
            level: PhantomData,
            parent: PhantomData,
            scope: token,
        };
        f(&mut root).await
    }));
    let _enter = EnterOnDrop::<D>(token, PhantomData);
    poll_fn(|cx| {
        if !D::__slot(|slot| slot.enter_scope(token.id())) {
            body.set(None);
            return Poll::Ready(Err(KeyTaken));
        }
        let _leave = LeaveOnDrop::<D>(token, PhantomData);
        match body.as_mut().as_pin_mut() {
            Some(running) => running.poll(cx).map(Ok),
            // The body ended in an error, and `poll_fn` is not polled after that.
            None => Poll::Ready(Err(KeyTaken)),
        }
    })
    .await
}
