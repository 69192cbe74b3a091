//! More attacks on the promise by tasks: each is a row of `docs/LOCKORDER-ATTACKS.md`.
#![cfg(feature = "tokio")]
// What a destructor or a waker has seen is not under the locks that are attacked.
#![allow(clippy::disallowed_types)]

mod common;
#[path = "common/task.rs"]
mod task_common;

use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex as Plain};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use lockorder::task::{AsyncMutex, KeyTaken, scope};
use lockorder::{Key, Leaf, Mutex};

use common::panic_in;
use task_common::{FOREIGN, in_second_scope, runtime};

mod levels {
    lockorder::lock_order! {
        pub(crate) domain Dom;
        level A, B, C;
        Dom => A => B => C;
    }
}
use levels::{A, B, C, Dom};

mod other {
    lockorder::lock_order! { pub(crate) domain Other; level X; Other => X; }
}
use other::Other;

/// Polls once.
fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Polls once; the future must stay pending.
fn begin<F: Future>(future: Pin<&mut F>) {
    begin_with(future, Waker::noop());
}

/// Polls once with `waker`; the future must stay pending.
fn begin_with<F: Future>(future: Pin<&mut F>, waker: &Waker) {
    assert!(future.poll(&mut Context::from_waker(waker)).is_pending());
}

/// Two scopes' contexts of one level and one lifetime, swapped: each stays its scope's.
#[test]
fn contexts_that_are_swapped() {
    static XA: AsyncMutex<A, ()> = AsyncMutex::const_new(());
    let tried = in_second_scope::<Dom, _>(async |first, second| {
        let (mut one, mut two) = (first.reborrow(), second.reborrow());
        std::mem::swap(&mut one, &mut two);
        let tried = (
            XA.try_lock(&mut one).is_some(),
            XA.try_lock(&mut two).is_some(),
        );
        let section = two.sync(|_| ());
        (tried, section)
    });
    assert_eq!(tried, ((true, false), None));
}

/// The message of a refused acquisition has the place of the acquisition.
#[test]
fn a_foreign_acquisition_names_its_place() {
    static XA: AsyncMutex<A, ()> = AsyncMutex::const_new(());
    let line = line!() + 2;
    let message = panic_in(|| {
        in_second_scope::<Dom, _>(async |first, _| drop(XA.lock(first).await));
    });
    assert!(message.contains(FOREIGN), "{message}");
    let place = format!("attacks_scopes.rs:{line}:");
    assert!(message.contains(&place), "{message}");
}

/// The refusal is caught in the body, which goes on: the lock is free, its queue is empty.
#[test]
fn a_refusal_that_is_caught() {
    static XA: AsyncMutex<A, u32> = AsyncMutex::const_new(0);
    let result = runtime().block_on(scope::<Dom, _>(async |ctx| {
        let refused = thread::scope(|s| {
            s.spawn(|| {
                let mut wait = Box::pin(XA.lock(ctx));
                catch_unwind(AssertUnwindSafe(|| poll_once(wait.as_mut()).is_ready())).is_err()
            })
            .join()
        });
        assert!(refused.expect("the panic was caught"));
        let (mut n, _) = XA.lock(ctx).await;
        *n += 1;
        *n
    }));
    assert_eq!(result, Ok(1));
    assert!(Key::<Dom>::take().is_some());
}

/// A scope that holds a lock is polled on in the closure of a leaf, and in a section.
#[test]
fn a_scope_in_a_leaf_and_in_a_section() {
    static LEAF: Leaf<Dom, u32> = Leaf::new(0);
    static XA: AsyncMutex<A, ()> = AsyncMutex::const_new(());
    static SB: Mutex<B, ()> = Mutex::new(());
    let holder = || {
        Box::pin(scope::<Dom, ()>(async |ctx| {
            let (_a, _) = XA.lock(ctx).await;
            pending().await
        }))
    };
    let mut task = holder();
    begin(task.as_mut());
    let polled = LEAF.with(|_| poll_once(task.as_mut()));
    assert_eq!(polled, Ok(Poll::Ready(Err(KeyTaken))));
    // It has released what it held.
    let mut task = holder();
    begin(task.as_mut());
    let polled = runtime().block_on(scope::<Dom, _>(async |ctx| {
        ctx.sync(|ctx| SB.with(ctx, |_, _| poll_once(task.as_mut())))
    }));
    assert_eq!(polled, Ok(Some(Poll::Ready(Err(KeyTaken)))));
    let free = runtime().block_on(scope::<Dom, _>(async |ctx| XA.try_lock(ctx).is_some()));
    assert_eq!(free, Ok(true));
}

/// A waker of its own, that runs where the lock is released, and would like to lock.
#[test]
fn a_waker_that_locks() {
    struct Locks {
        woken: AtomicUsize,
        got: Plain<Vec<bool>>,
    }
    impl Wake for Locks {
        fn wake(self: Arc<Self>) {
            self.woken.fetch_add(1, Ordering::SeqCst);
            let got = Key::<Dom>::take().is_some();
            self.got.lock().expect("no panic under it").push(got);
        }
    }
    static XB: AsyncMutex<B, ()> = AsyncMutex::const_new(());
    let locks = Arc::new(Locks {
        woken: AtomicUsize::new(0),
        got: Plain::new(Vec::new()),
    });
    let mut holder = Box::pin(scope::<Dom, _>(async |ctx| {
        let (_b, _) = XB.lock(ctx).await;
        tokio::task::yield_now().await;
    }));
    begin(holder.as_mut());
    let mut waits = Box::pin(scope::<Dom, _>(async |ctx| drop(XB.lock(ctx).await)));
    begin_with(waits.as_mut(), &Waker::from(locks.clone()));
    // The holder ends, in its poll, and the waker runs there.
    assert_eq!(poll_once(holder.as_mut()), Poll::Ready(Ok(())));
    assert_eq!(locks.woken.load(Ordering::SeqCst), 1);
    assert_eq!(*locks.got.lock().unwrap(), [false]);
    assert_eq!(poll_once(waits.as_mut()), Poll::Ready(Ok(())));
}

/// Tells in its destructor whether the thread's key could be had.
struct Probe<'a>(&'a Plain<Vec<bool>>);

impl Drop for Probe<'_> {
    fn drop(&mut self) {
        let taken = Key::<Dom>::take().is_some();
        self.0.lock().expect("no panic under it").push(taken);
    }
}

/// A scope that holds a lock is sent to another thread and dropped there: under that thread's
/// lock, in its section, and in its leaf.
#[test]
fn a_scope_dropped_on_another_thread() {
    static XB: AsyncMutex<B, ()> = AsyncMutex::const_new(());
    static SC: Mutex<C, ()> = Mutex::new(());
    static LEAF: Leaf<Dom, u32> = Leaf::new(0);
    let seen = Plain::new(Vec::new());
    for place in 0..4 {
        let mut task = Box::pin(scope::<Dom, ()>(async |ctx| {
            let _probe = Probe(&seen);
            let (_b, _) = XB.lock(ctx).await;
            pending().await
        }));
        begin(task.as_mut());
        thread::scope(|s| {
            s.spawn(|| match place {
                0 => drop(task),
                1 => Key::<Dom>::run(|key| SC.with(&mut key.ctx(), |_, _| drop(task))),
                2 => LEAF.with(|_| drop(task)).expect("not in a leaf"),
                _ => {
                    let done = runtime().block_on(scope::<Dom, _>(async |ctx| {
                        let dropped = ctx.sync(|ctx| SC.with(ctx, |_, _| drop(task)));
                        // The section's own scope is as it was.
                        let (_b, _) = XB.lock(ctx).await;
                        dropped
                    }));
                    assert_eq!(done, Ok(Some(())));
                }
            });
        });
    }
    assert_eq!(*seen.lock().unwrap(), [false; 4]);
    assert!(Key::<Dom>::take().is_some());
}

/// A guard ends on another thread; its scope goes on.
#[test]
fn a_guard_dropped_on_another_thread() {
    static XA: AsyncMutex<A, u32> = AsyncMutex::const_new(0);
    let result = runtime().block_on(scope::<Dom, _>(async |ctx| {
        let (mut guard, _) = XA.lock(ctx).await;
        thread::scope(|s| {
            s.spawn(move || {
                *guard += 1;
                assert!(
                    Key::<Dom>::take().is_some(),
                    "this thread has an order of its own"
                );
                drop(guard);
            });
        });
        *XA.lock(ctx).await.0
    }));
    assert_eq!(result, Ok(1));
}

/// An arm of `select!` holds a lock when it is cancelled, and the scope takes the same lock again.
#[test]
fn a_cancelled_arm_that_holds() {
    static XA: AsyncMutex<A, u32> = AsyncMutex::const_new(0);
    let result = runtime().block_on(scope::<Dom, _>(async |ctx| {
        for _ in 0..3 {
            tokio::select! {
                biased;
                () = async {
                    let (mut n, mut ctx) = XA.lock(ctx).await;
                    *n += 1;
                    ctx.sync(|_| ()).expect("its own section");
                    pending::<()>().await;
                } => unreachable!(),
                () = tokio::task::yield_now() => (),
            }
        }
        *XA.lock(ctx).await.0
    }));
    assert_eq!(result, Ok(3));
}

/// Two futures that share what one guard protects: they wait for no lock.
#[test]
fn futures_that_share_a_guard() {
    static XA: AsyncMutex<A, (u32, u32)> = AsyncMutex::const_new((0, 0));
    let result = runtime().block_on(scope::<Dom, _>(async |ctx| {
        let (mut guard, _) = XA.lock(ctx).await;
        let (one, other) = &mut *guard;
        let work = async |n: &mut u32| {
            tokio::task::yield_now().await;
            *n += 1;
        };
        tokio::join!(work(one), work(other));
        *guard
    }));
    assert_eq!(result, Ok((1, 1)));
}

/// A scope is polled in the loan of a key, and taken on where the key is out again.
#[test]
fn a_scope_in_a_loan() {
    static XA: AsyncMutex<A, u32> = AsyncMutex::const_new(0);
    let mut task = Box::pin(scope::<Dom, _>(async |ctx| {
        let (_a, _) = XA.lock(ctx).await;
        tokio::task::yield_now().await;
    }));
    let mut key = Key::<Dom>::take().expect("the key is free");
    key.lend(|| begin(task.as_mut()));
    assert!(Key::<Dom>::take().is_none(), "the key came back");
    assert_eq!(poll_once(task.as_mut()), Poll::Ready(Err(KeyTaken)));
    let whole = key.lend(|| runtime().block_on(scope::<Dom, _>(async |ctx| *XA.lock(ctx).await.0)));
    assert_eq!(whole, Ok(0));
}

/// A wait goes with its scope to another thread, and ends there.
#[test]
fn a_wait_that_goes_with_its_scope() {
    static XA: AsyncMutex<A, u32> = AsyncMutex::const_new(0);
    let mut holder = Box::pin(scope::<Dom, ()>(async |ctx| {
        let (mut a, _) = XA.lock(ctx).await;
        *a += 1;
        pending().await
    }));
    begin(holder.as_mut());
    let mut waits = Box::pin(scope::<Dom, _>(async |ctx| *XA.lock(ctx).await.0));
    begin(waits.as_mut());
    let ended = thread::scope(|s| {
        let waits = s.spawn(|| runtime().block_on(waits));
        drop(holder);
        waits.join().expect("no panic")
    });
    assert_eq!(ended, Ok(1));
}

/// A poll that hands its runtime thread over to other tasks while it blocks.
#[test]
fn a_scope_that_blocks_in_place() {
    static XA: AsyncMutex<A, u32> = AsyncMutex::const_new(0);
    static SB: Mutex<B, u32> = Mutex::new(0);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                tokio::spawn(scope::<Dom, _>(async |ctx| {
                    let (mut a, mut ctx) = XA.lock(ctx).await;
                    let done = tokio::task::block_in_place(|| {
                        ctx.sync(|ctx| SB.with(ctx, |n, _| *n += 1))
                    });
                    tokio::task::yield_now().await;
                    *a += 1;
                    done.is_some()
                }))
            })
            .collect();
        for task in tasks {
            assert_eq!(task.await.expect("no panic"), Ok(true));
        }
        let counted = scope::<Dom, _>(async |ctx| *XA.lock(ctx).await.0).await;
        assert_eq!(counted, Ok(8));
    });
    assert_eq!(Key::<Dom>::run(|key| SB.with(&mut key.ctx(), |n, _| *n)), 8);
}

/// Scopes of two domains, one in the other, in both orders: each has a slot of its own.
#[test]
fn scopes_of_two_domains() {
    static XA: AsyncMutex<A, ()> = AsyncMutex::const_new(());
    static XX: AsyncMutex<other::X, ()> = AsyncMutex::const_new(());
    let one = scope::<Dom, _>(async |dom| {
        scope::<Other, _>(async |other| {
            let (_a, _) = XA.lock(dom).await;
            drop(XX.lock(other).await);
            (Key::<Dom>::take().is_some(), Key::<Other>::take().is_some())
        })
        .await
    });
    assert_eq!(runtime().block_on(one), Ok(Ok((false, false))));
    let mut waits = pin!(scope::<Other, _>(async |other| {
        let (_x, _) = XX.lock(other).await;
        pending::<()>().await;
    }));
    begin(waits.as_mut());
    assert!(Key::<Other>::take().is_some(), "between its polls");
}

/// A scope that is asked for again after it has ended, and one that panicked.
#[test]
fn a_scope_polled_after_its_end() {
    let mut task = Box::pin(scope::<Dom, _>(async |_| ()));
    assert_eq!(poll_once(task.as_mut()), Poll::Ready(Ok(())));
    let again = catch_unwind(AssertUnwindSafe(|| poll_once(task.as_mut()).is_ready()));
    assert!(again.is_err());
    let mut task = Box::pin(scope::<Dom, ()>(async |_| panic!("as planned")));
    for _ in 0..2 {
        let unwound = catch_unwind(AssertUnwindSafe(|| poll_once(task.as_mut()).is_ready()));
        assert!(unwound.is_err());
    }
    drop(task);
    assert!(Key::<Dom>::take().is_some());
}

/// A poll of one scope from within another one's waker, which runs in the first one's poll.
#[test]
fn a_scope_polled_by_a_waker() {
    type Task = Pin<Box<dyn Future<Output = Result<(), KeyTaken>> + Send>>;
    struct Polls(Plain<Option<Task>>, Plain<Vec<bool>>);
    impl Wake for Polls {
        fn wake(self: Arc<Self>) {
            let Some(mut task) = self.0.lock().expect("no panic under it").take() else {
                return;
            };
            let refused = poll_once(task.as_mut()) == Poll::Ready(Err(KeyTaken));
            self.1.lock().expect("no panic under it").push(refused);
        }
    }
    static XA: AsyncMutex<A, ()> = AsyncMutex::const_new(());
    static XB: AsyncMutex<B, ()> = AsyncMutex::const_new(());
    let polled: Task = Box::pin(scope::<Dom, _>(async |ctx| drop(XB.lock(ctx).await)));
    let polls = Arc::new(Polls(Plain::new(Some(polled)), Plain::new(Vec::new())));
    let mut holder = Box::pin(scope::<Dom, _>(async |ctx| {
        let (_a, _) = XA.lock(ctx).await;
        tokio::task::yield_now().await;
    }));
    begin(holder.as_mut());
    let mut waits = Box::pin(scope::<Dom, _>(async |ctx| drop(XA.lock(ctx).await)));
    begin_with(waits.as_mut(), &Waker::from(polls.clone()));
    assert_eq!(poll_once(holder.as_mut()), Poll::Ready(Ok(())));
    assert_eq!(*polls.1.lock().unwrap(), [true]);
    assert_eq!(poll_once(waits.as_mut()), Poll::Ready(Ok(())));
}

/// A scope that is never polled has nothing, and its body's captures are dropped like any value.
#[test]
fn a_scope_that_is_never_polled() {
    let seen = Plain::new(Vec::new());
    let probe = Probe(&seen);
    let task = scope::<Dom, _>(async move |_| {
        let _probe = &probe;
    });
    drop(task);
    assert_eq!(*seen.lock().unwrap(), [true], "no scope is there yet");
}
