//! Locks that are held over an `.await`.
#![cfg(feature = "tokio")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lockorder::task::{AsyncMutex, AsyncRwLock, AsyncWriteGuard, KeyTaken, scope};
use lockorder::{Key, Mutex};

mod levels {
    lockorder::lock_order! {
        pub(crate) domain Dom;
        level Session, Cache, Table;
        Dom => Session => Cache => Table;
    }
    lockorder::lock_order! { pub(crate) domain Other; level Only; Other => Only; }
}
use levels::{Cache, Dom, Other, Session, Table};

fn runtime(threads: usize) -> tokio::runtime::Runtime {
    let mut builder = match threads {
        0 => tokio::runtime::Builder::new_current_thread(),
        n => {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            builder.worker_threads(n);
            builder
        }
    };
    builder.enable_time().build().expect("a runtime")
}

struct Shared {
    session: AsyncMutex<Session, usize>,
    cache: AsyncRwLock<Cache, usize>,
    table: Mutex<Table, usize>,
}

/// Many tasks on few threads, each holding locks over awaits, in the order; one after the
/// other gets through, and nothing is lost.
#[test]
fn tasks_hold_locks_over_awaits() {
    const TASKS: usize = 64;
    let shared = Arc::new(Shared {
        session: AsyncMutex::new(0),
        cache: AsyncRwLock::new(0),
        table: Mutex::new(0),
    });
    runtime(2).block_on(async {
        let tasks: Vec<_> = (0..TASKS)
            .map(|n| {
                let shared = shared.clone();
                tokio::spawn(scope::<Dom, _>(async move |ctx| {
                    if n % 3 == 0 {
                        let (cache, _) = shared.cache.read(ctx).await;
                        tokio::task::yield_now().await;
                        return usize::from(*cache > TASKS);
                    }
                    let (mut session, mut ctx) = shared.session.lock(ctx).await;
                    tokio::task::yield_now().await;
                    let (mut cache, mut ctx) = shared.cache.write(&mut ctx).await;
                    *session += 1;
                    *cache += 1;
                    tokio::task::yield_now().await;
                    let cache = AsyncWriteGuard::downgrade(cache);
                    ctx.sync(|ctx| shared.table.with(ctx, |table, _| *table += 1))
                        .expect("the slot is the task's");
                    usize::from(*cache > TASKS)
                }))
            })
            .collect();
        for task in tasks {
            assert_eq!(task.await.unwrap(), Ok(0));
        }
    });
    let shared = Arc::into_inner(shared).unwrap();
    let expected = TASKS - TASKS.div_ceil(3);
    assert_eq!(shared.session.into_inner(), expected);
    assert_eq!(shared.cache.into_inner(), expected);
    assert_eq!(shared.table.into_inner(), expected);
}

/// While a task of the domain is polled the thread's key is not to be had, so no ordinary
/// lock can be held over its awaits; another domain's is.
#[test]
fn the_threads_key_is_not_to_be_had_in_a_task() {
    let table = Mutex::<Table, _>::new(0);
    let result = runtime(0).block_on(scope::<Dom, _>(async |ctx| {
        assert!(Key::<Dom>::take().is_none());
        assert!(Key::<Other>::take().is_some());
        let inside = ctx.sync(|ctx| {
            assert!(Key::<Dom>::take().is_none());
            table.with(ctx, |n, _| *n + 1)
        });
        assert!(Key::<Dom>::take().is_none(), "still the task's");
        tokio::task::yield_now().await;
        inside
    }));
    assert_eq!(result, Ok(Some(1)));
    assert!(Key::<Dom>::take().is_some(), "the task is over");
}

/// A panic in a section or in the body leaves the slot as it was.
#[test]
fn panics_leave_the_slot_whole() {
    let runtime = runtime(0);
    let joined = runtime.block_on(async {
        tokio::spawn(scope::<Dom, ()>(async |ctx| {
            ctx.sync(|_| panic!("as planned"));
        }))
        .await
    });
    assert!(joined.unwrap_err().is_panic());
    assert!(Key::<Dom>::take().is_some());
}

/// A task polled under a key, or inside another scope of its domain, ends with an
/// error, and releases what it held.
#[test]
fn a_scope_where_the_key_is_out() {
    let runtime = runtime(0);
    let key = Key::<Dom>::take();
    let ran = AtomicUsize::new(0);
    let refused = runtime.block_on(scope::<Dom, _>(async |_| {
        ran.fetch_add(1, Ordering::SeqCst)
    }));
    assert_eq!(refused, Err(KeyTaken));
    drop(key);
    let nested = runtime.block_on(scope::<Dom, _>(async |_| {
        scope::<Dom, _>(async |_| ()).await
    }));
    assert_eq!(nested, Ok(Err(KeyTaken)));
    let other = runtime.block_on(scope::<Dom, _>(async |_| {
        scope::<Other, _>(async |_| ()).await
    }));
    assert_eq!(other, Ok(Ok(())));
    assert_eq!(ran.load(Ordering::SeqCst), 0);

    // Half way: the lock is free again afterwards.
    let lock = AsyncMutex::<Session, _>::new(());
    runtime.block_on(async {
        let mut task = std::pin::pin!(scope::<Dom, _>(async |ctx| {
            let (_guard, _) = lock.lock(ctx).await;
            tokio::task::yield_now().await;
        }));
        assert!(
            std::future::poll_fn(|cx| std::task::Poll::Ready(task.as_mut().poll(cx).is_pending()))
                .await
        );
        let key = Key::<Dom>::take();
        assert_eq!(task.as_mut().await, Err(KeyTaken));
        drop(key);
        let free = scope::<Dom, _>(async |ctx| lock.try_lock(ctx).is_some()).await;
        assert_eq!(free, Ok(true));
    });
}

/// A context that was handed to another thread does not get a section where that thread's
/// key is out.
#[test]
fn a_section_on_a_thread_whose_key_is_out() {
    let table = Mutex::<Table, _>::new(0);
    let result = runtime(0).block_on(scope::<Dom, _>(async |ctx| {
        std::thread::scope(|s| {
            s.spawn(|| {
                let key = Key::<Dom>::take();
                assert!(ctx.sync(|_| ()).is_none());
                drop(key);
                ctx.sync(|ctx| table.with(ctx, |n, _| *n))
            })
            .join()
            .unwrap()
        })
    }));
    assert_eq!(result, Ok(Some(0)));
}

/// Cancelling a task that waits, or that holds, gives the lock on.
#[test]
fn cancelled_tasks_hold_nothing() {
    static LOCK: AsyncMutex<Session, u32> = AsyncMutex::const_new(0);
    runtime(2).block_on(async {
        let hold = tokio::spawn(scope::<Dom, ()>(async |ctx| {
            let (_guard, _) = LOCK.lock(ctx).await;
            std::future::pending().await
        }));
        while scope::<Dom, _>(async |ctx| LOCK.try_lock(ctx).is_some()).await == Ok(true) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let wait = tokio::spawn(scope::<Dom, ()>(async |ctx| drop(LOCK.lock(ctx).await.0)));
        tokio::task::yield_now().await;
        wait.abort();
        hold.abort();
        let got = scope::<Dom, _>(async |ctx| *LOCK.lock(ctx).await.0).await;
        assert_eq!(got, Ok(0));
    });
}
