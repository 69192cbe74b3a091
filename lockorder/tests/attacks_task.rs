//! Attacks on the promise by tasks: each is a row of `docs/LOCKORDER-ATTACKS.md`.
#![cfg(feature = "tokio")]
// What a destructor has seen is not under the locks that are attacked.
#![allow(clippy::disallowed_types)]

mod common;
#[path = "common/task.rs"]
mod task_common;

use std::future::{pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex as Plain, mpsc};
use std::task::Poll;
use std::thread;
use std::time::Duration;

use lockorder::task::{AsyncMutex, AsyncRwLock, KeyTaken, TaskCtx, scope};
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

/// Polls once; the future must stay pending.
async fn begin<F: Future>(mut future: Pin<&mut F>) {
    let waits = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_pending())).await;
    assert!(waits);
}

/// Two scopes on one thread, `A` by the first one's context under `B` by the second's, while a
/// third thread takes them in order: a deadlock by lock waits alone.
#[test]
fn a_context_lent_into_another_scope_does_not_wait() {
    static XA: AsyncMutex<A, ()> = AsyncMutex::const_new(());
    static XB: AsyncMutex<B, ()> = AsyncMutex::const_new(());
    let (acquired, is_acquired) = mpsc::channel();
    let message = thread::scope(|s| {
        let in_order = s.spawn(move || {
            runtime().block_on(scope::<Dom, _>(async |ctx| {
                let (_a, mut ctx) = XA.lock(ctx).await;
                acquired.send(()).expect("the test waits");
                tokio::time::sleep(Duration::from_millis(50)).await;
                drop(XB.lock(&mut ctx).await);
            }))
        });
        is_acquired.recv().expect("acquired");
        let message = panic_in(|| {
            in_second_scope::<Dom, _>(async |first, second| {
                let (_b, _) = XB.lock(second).await;
                drop(XA.lock(first).await);
            });
        });
        assert_eq!(in_order.join().expect("no panic"), Ok(()));
        message
    });
    assert!(message.contains(FOREIGN), "{message}");
}

#[test]
fn a_context_lent_into_another_scope_does_not_try_or_read() {
    static XA: AsyncMutex<A, ()> = AsyncMutex::const_new(());
    static RA: AsyncRwLock<A, ()> = AsyncRwLock::const_new(());
    let tried = in_second_scope::<Dom, _>(async |first, second| {
        let own = XA.try_lock(second).is_some();
        (own, XA.try_lock(first).is_some())
    });
    assert_eq!(tried, (true, false));
    for write in [false, true] {
        let message = panic_in(|| {
            in_second_scope::<Dom, _>(async |first, _| {
                if write {
                    drop(RA.write(first).await);
                } else {
                    drop(RA.read(first).await);
                }
            })
        });
        assert!(message.contains(FOREIGN), "{message}");
    }
}

/// An ordinary lock of an earlier level under an asynchronous one, by the lent context's section.
#[test]
fn a_context_lent_into_another_scope_gives_no_section() {
    static XC: AsyncMutex<C, ()> = AsyncMutex::const_new(());
    static SA: Mutex<A, u32> = Mutex::new(0);
    let section = in_second_scope::<Dom, _>(async |first, second| {
        let (_c, _) = XC.lock(second).await;
        first.sync(|ctx| SA.with(ctx, |n, _| *n += 1))
    });
    assert_eq!(section, None);
}

#[test]
fn a_context_on_another_thread_does_not_wait() {
    static XA: AsyncMutex<A, ()> = AsyncMutex::const_new(());
    static SB: Mutex<B, ()> = Mutex::new(());
    // Under an ordinary lock, and with nothing held.
    for under_a_lock in [true, false] {
        let message = runtime().block_on(scope::<Dom, _>(async |ctx| {
            thread::scope(|s| {
                s.spawn(|| {
                    panic_in(|| {
                        let mut wait = || drop(runtime().block_on(XA.lock(ctx)));
                        if under_a_lock {
                            Key::<Dom>::run(|key| SB.with(&mut key.ctx(), |(), _| wait()));
                        } else {
                            wait();
                        }
                    })
                })
                .join()
                .expect("the panic was caught")
            })
        }));
        let message = message.expect("the key is free");
        assert!(message.contains(FOREIGN), "{message}");
        assert!(Key::<Dom>::take().is_some());
    }
}

/// A future that began to wait in its own scope, and is polled on by another.
#[test]
fn a_wait_that_moves_to_another_scope() {
    static XA: AsyncMutex<A, ()> = AsyncMutex::const_new(());
    let message = panic_in(|| {
        runtime().block_on(async {
            let mut holder = pin!(scope::<Dom, ()>(async |ctx| {
                let (_a, _) = XA.lock(ctx).await;
                pending().await
            }));
            begin(holder.as_mut()).await;
            let moved = scope::<Dom, _>(async |first| {
                let mut wait = Box::pin(XA.lock(first));
                begin(wait.as_mut()).await;
                thread::scope(|s| {
                    let second = scope::<Dom, _>(async |_| drop(wait.await));
                    s.spawn(|| runtime().block_on(second)).join()
                })
            });
            match moved.await.expect("the key is free") {
                Ok(_) => (),
                Err(payload) => std::panic::resume_unwind(payload),
            }
        });
    });
    assert!(message.contains(FOREIGN), "{message}");
}

/// Tells in its destructor whether the thread's key could be had.
struct Probe<'a>(&'a Plain<Vec<bool>>);

impl Drop for Probe<'_> {
    fn drop(&mut self) {
        let taken = Key::<Dom>::take().is_some();
        self.0.lock().expect("no panic under it").push(taken);
    }
}

/// A destructor in the body finds the key out, however the body ends.
#[test]
fn destructors_are_in_the_scope_however_it_ends() {
    static XB: AsyncMutex<B, ()> = AsyncMutex::const_new(());
    let seen = Plain::new(Vec::new());
    let body = async |ctx: &mut TaskCtx<'_, Dom>, how: &str| {
        let (_b, _) = XB.lock(ctx).await;
        let _probe = Probe(&seen);
        match how {
            "ends" => tokio::time::sleep(Duration::from_millis(1)).await,
            "panics" => panic!("as planned"),
            _ => pending().await,
        }
    };
    let runtime = runtime();
    runtime.block_on(async {
        assert_eq!(
            scope::<Dom, _>(async |ctx| body(ctx, "ends").await).await,
            Ok(())
        );
        // Cancelled by a time-out, by `select!`, and by a drop.
        let limit = Duration::from_millis(5);
        let cut = tokio::time::timeout(limit, scope::<Dom, _>(async |ctx| body(ctx, "").await));
        assert!(cut.await.is_err());
        tokio::select! {
            _ = scope::<Dom, _>(async |ctx| body(ctx, "").await) => unreachable!(),
            () = tokio::time::sleep(limit) => (),
        }
        let mut dropped = Box::pin(scope::<Dom, _>(async |ctx| body(ctx, "").await));
        begin(dropped.as_mut()).await;
        drop(dropped);
        // Polled under a key: ends with an error, in that poll.
        let mut refused = Box::pin(scope::<Dom, _>(async |ctx| body(ctx, "").await));
        begin(refused.as_mut()).await;
        let key = Key::<Dom>::take().expect("no scope is polled now");
        assert_eq!(refused.as_mut().await, Err(KeyTaken));
        assert_eq!(
            seen.lock().unwrap().len(),
            5,
            "dropped before the scope itself is"
        );
        drop((key, refused));
        // Dropped inside another scope's poll, and under a key.
        let mut inner = Box::pin(scope::<Dom, _>(async |ctx| body(ctx, "").await));
        begin(inner.as_mut()).await;
        assert_eq!(scope::<Dom, _>(async |_| drop(inner)).await, Ok(()));
        let mut inner = Box::pin(scope::<Dom, _>(async |ctx| body(ctx, "").await));
        begin(inner.as_mut()).await;
        Key::<Dom>::run(|_| drop(inner));
    });
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(scope::<Dom, _>(async |ctx| body(ctx, "panics").await))
    }));
    assert!(unwound.is_err());
    assert_eq!(*seen.lock().unwrap(), [false; 8]);
    assert!(
        Key::<Dom>::take().is_some(),
        "and the slot is free afterwards"
    );
}

/// Tasks that are aborted, and those that a runtime drops when it is shut down.
#[test]
fn destructors_of_aborted_tasks() {
    static SEEN: Plain<Vec<bool>> = Plain::new(Vec::new());
    static XB: AsyncMutex<B, ()> = AsyncMutex::const_new(());
    static BEGUN: AtomicUsize = AtomicUsize::new(0);
    async fn hold() -> Result<(), KeyTaken> {
        scope::<Dom, ()>(async |ctx| {
            let _probe = Probe(&SEEN);
            BEGUN.fetch_add(1, Ordering::SeqCst);
            let (_b, _) = XB.lock(ctx).await;
            pending().await
        })
        .await
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    runtime.block_on(async {
        let task = tokio::spawn(hold());
        tokio::spawn(hold());
        while BEGUN.load(Ordering::SeqCst) < 2 || XB_is_free(&XB).await {
            tokio::task::yield_now().await;
        }
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
    });
    drop(runtime);
    assert_eq!(*SEEN.lock().unwrap(), [false, false]);
}

#[allow(non_snake_case)]
async fn XB_is_free(lock: &AsyncMutex<B, ()>) -> bool {
    scope::<Dom, _>(async |ctx| lock.try_lock(ctx).is_some()).await == Ok(true)
}

/// In a destructor of a cancelled scope its own context is as good as ever.
#[test]
fn a_cancelled_scope_can_use_its_context() {
    struct GivesBack<'a, 'c>(&'a Mutex<C, u32>, &'a mut TaskCtx<'c, Dom>);
    impl Drop for GivesBack<'_, '_> {
        fn drop(&mut self) {
            let done = self.1.sync(|ctx| self.0.with(ctx, |n, _| *n += 1));
            assert_eq!(done, Some(()));
        }
    }
    let slots = Mutex::new(0);
    runtime().block_on(async {
        let mut task = Box::pin(scope::<Dom, ()>(async |ctx| {
            let _slot = GivesBack(&slots, ctx);
            pending().await
        }));
        begin(task.as_mut()).await;
    });
    assert_eq!(slots.into_inner(), 1);
}

/// A leaked scope keeps its lock, as a leaked guard does, and nothing else.
#[test]
fn a_leaked_scope() {
    static XA: AsyncMutex<A, ()> = AsyncMutex::const_new(());
    runtime().block_on(async {
        let mut task = Box::pin(scope::<Dom, ()>(async |ctx| {
            let (_a, _) = XA.lock(ctx).await;
            pending().await
        }));
        begin(task.as_mut()).await;
        std::mem::forget(task);
        let got = scope::<Dom, _>(async |ctx| XA.try_lock(ctx).is_some()).await;
        assert_eq!(got, Ok(false));
    });
    assert!(Key::<Dom>::take().is_some());
}

/// A scope goes from thread to thread between its polls; its contexts go with it.
#[test]
fn a_scope_moves_between_threads() {
    static XA: AsyncMutex<A, u32> = AsyncMutex::const_new(0);
    static XB: AsyncMutex<B, u32> = AsyncMutex::const_new(0);
    let mut task = Box::pin(scope::<Dom, _>(async |ctx| {
        let (mut a, mut ctx) = XA.lock(ctx).await;
        tokio::task::yield_now().await;
        let (mut b, mut ctx) = XB.lock(&mut ctx).await;
        tokio::task::yield_now().await;
        *a += 1;
        *b += 1;
        ctx.sync(|_| ()).is_some()
    }));
    let mut ended = None;
    while ended.is_none() {
        ended = thread::scope(|s| {
            s.spawn(|| {
                let poll = poll_fn(|cx| match task.as_mut().poll(cx) {
                    Poll::Ready(result) => Poll::Ready(Some(result)),
                    Poll::Pending => Poll::Ready(None),
                });
                let polled = runtime().block_on(poll);
                assert!(Key::<Dom>::take().is_some(), "the thread is free again");
                polled
            })
            .join()
            .unwrap()
        });
    }
    assert_eq!(ended, Some(Ok(true)));
}

/// `select!` gives a lock's place in the queue away; the scope goes on.
#[test]
fn select_in_a_scope() {
    static XA: AsyncMutex<A, ()> = AsyncMutex::const_new(());
    runtime().block_on(async {
        let mut holder = Box::pin(scope::<Dom, ()>(async |ctx| {
            let (_a, _) = XA.lock(ctx).await;
            pending().await
        }));
        begin(holder.as_mut()).await;
        let result = scope::<Dom, _>(async |ctx| {
            tokio::select! {
                _ = XA.lock(ctx) => unreachable!("it is held"),
                () = tokio::task::yield_now() => (),
            }
            drop(holder);
            XA.try_lock(ctx).is_some()
        });
        assert_eq!(result.await, Ok(true));
    });
}

/// Not covered, and said so: two scopes in one task, of which one is not polled any more.
#[test]
fn a_scope_that_is_not_polled_keeps_its_lock() {
    static XA: AsyncMutex<A, ()> = AsyncMutex::const_new(());
    runtime().block_on(async {
        let (finish, finished) = tokio::sync::oneshot::channel();
        let mut first = Box::pin(scope::<Dom, _>(async |ctx| {
            let (_a, _) = XA.lock(ctx).await;
            finished.await
        }));
        begin(first.as_mut()).await;
        finish.send(()).expect("it waits");
        let second = scope::<Dom, _>(async |ctx| drop(XA.lock(ctx).await));
        let waited = tokio::time::timeout(Duration::from_millis(100), second).await;
        assert!(waited.is_err(), "the first scope is not polled");
        assert_eq!(first.await, Ok(Ok(())));
    });
}

/// Not covered, and said so: a poll that lends a guard to a thread and waits for that thread.
#[test]
fn a_guard_lent_to_a_thread_is_the_scopes() {
    static XC: AsyncMutex<C, u32> = AsyncMutex::const_new(0);
    static SA: Mutex<A, u32> = Mutex::new(0);
    let result = runtime().block_on(scope::<Dom, _>(async |ctx| {
        let (mut guard, _) = XC.lock(ctx).await;
        thread::scope(|s| {
            s.spawn(|| {
                *guard += 1;
                // The poll waits for this thread by a join, whatever the thread waits for.
                Key::<Dom>::run(|key| SA.with(&mut key.ctx(), |n, _| *n += 1));
            });
        });
        *guard
    }));
    assert_eq!(result, Ok(1));
}

/// A leaf lock's closure can capture a task's context, which gives nothing there.
#[test]
fn a_tasks_context_in_a_leaf() {
    static LEAF: Leaf<Dom, u32> = Leaf::new(0);
    static XA: AsyncMutex<A, ()> = AsyncMutex::const_new(());
    let result = runtime().block_on(scope::<Dom, _>(async |ctx| {
        LEAF.with(|n| {
            *n += 1;
            (ctx.sync(|_| ()).is_some(), XA.try_lock(ctx).is_some())
        })
    }));
    assert_eq!(result, Ok(Ok((false, false))));
    let message = panic_in(|| {
        runtime().block_on(scope::<Dom, _>(async |ctx| {
            LEAF.with(|_| drop(runtime_free_block_on(XA.lock(ctx))))
        }))
    });
    assert!(message.contains(FOREIGN), "{message}");
    assert_eq!(LEAF.with(|n| *n), Ok(1));
}

/// Polls once, which is enough for what is refused.
fn runtime_free_block_on<F: Future>(future: F) -> Option<F::Output> {
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    match pin!(future).poll(&mut cx) {
        Poll::Ready(result) => Some(result),
        Poll::Pending => None,
    }
}
