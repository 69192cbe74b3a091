//! Attacks on the promise by threads: each is a row of `docs/LOCKORDER-ATTACKS.md`.

mod common;

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use lockorder::{Ascending, Deferred, InLeaf, Key, Leaf, LockCtx, Mutex, Ranked, RwLock};

use common::panic_in;

mod levels {
    lockorder::lock_order! {
        pub(crate) domain Dom;
        level A, B;
        Dom => A => B;
    }
}
use levels::{A, B, Dom};

thread_local! {
    static KEY: RefCell<Option<Key<Dom>>> = const { RefCell::new(None) };
    static CTX: RefCell<Option<LockCtx<'static, Dom>>> = const { RefCell::new(None) };
}

static SA: Mutex<A, u32> = Mutex::new(0);

/// A key that lies in a thread-local: the closure of a leaf lock can reach it, and gets no context.
#[test]
fn a_stashed_key_in_a_leaf() {
    static LEAF: Leaf<Dom, u32> = Leaf::new(0);
    KEY.with(|stash| *stash.borrow_mut() = Key::take());
    let message = panic_in(|| {
        LEAF.with(|_| {
            KEY.with(|stash| {
                let mut key = stash.borrow_mut();
                SA.with(&mut key.as_mut().unwrap().ctx(), |_, _| ());
            });
        })
    });
    assert!(
        message.contains("may be acquired in the closure of its leaf lock"),
        "{message}"
    );
    // To give the stashed key back in there does not free the slot either.
    let taken = LEAF.with(|_| {
        KEY.with(|stash| stash.borrow_mut().take());
        Key::<Dom>::take().is_some()
    });
    assert_eq!(taken, Ok(false));
    assert!(Key::<Dom>::take().is_some());
}

/// A key that lies in a thread-local is lent inside the closure of a leaf lock.
#[test]
fn a_stashed_key_lent_in_a_leaf() {
    static LEAF: Leaf<Dom, u32> = Leaf::new(0);
    thread::spawn(|| {
        KEY.with(|stash| *stash.borrow_mut() = Key::take());
        let taken = LEAF.with(|_| {
            KEY.with(|stash| {
                let mut key = stash.borrow_mut();
                key.as_mut().unwrap().lend(|| Key::<Dom>::take().is_some())
            })
        });
        assert_eq!(taken, Ok(false));
        assert!(Key::<Dom>::take().is_none(), "the stashed one is out again");
    })
    .join()
    .unwrap();
}

/// A context of a leaked key, in a thread-local: a leak, so outside of the promise; checked builds
/// tell.
#[test]
#[cfg_attr(
    not(debug_assertions),
    ignore = "release builds do not check acquisitions"
)]
fn a_leaked_context_in_a_leaf() {
    static LEAF: Leaf<Dom, u32> = Leaf::new(0);
    thread::spawn(|| {
        let key: &'static mut Key<Dom> = Box::leak(Box::new(Key::take().unwrap()));
        CTX.with(|stash| *stash.borrow_mut() = Some(key.ctx()));
        let message = panic_in(|| {
            LEAF.with(|_| {
                CTX.with(|stash| {
                    SA.with(stash.borrow_mut().as_mut().unwrap(), |_, _| ());
                });
            })
        });
        assert!(
            message.contains("in the closure of a leaf lock"),
            "{message}"
        );
    })
    .join()
    .unwrap();
}

mod other {
    lockorder::lock_order! { pub(crate) domain Other; level X; Other => X; }
}

/// Another domain's lock in the closure of a leaf lock: not promised, and told in checked builds.
#[test]
#[cfg_attr(
    not(debug_assertions),
    ignore = "release builds do not check acquisitions"
)]
fn another_domain_in_a_leaf() {
    static LEAF: Leaf<Dom, u32> = Leaf::new(0);
    static SX: Mutex<other::X, u32> = Mutex::new(0);
    let message = panic_in(|| {
        LEAF.with(|_| Key::<other::Other>::run(|key| SX.with(&mut key.ctx(), |_, _| ())))
    });
    assert!(
        message.contains("in the closure of a leaf lock"),
        "{message}"
    );
    // Outside of the closure it is as ever.
    Key::<other::Other>::run(|key| SX.with(&mut key.ctx(), |_, _| ()));
}

#[test]
fn a_leaf_in_a_leaf() {
    static ONE: Leaf<Dom, u32> = Leaf::new(1);
    static OTHER: Leaf<Dom, u32> = Leaf::new(2);
    let inside = ONE.with(|_| (OTHER.with(|n| *n), ONE.with(|n| *n)));
    assert_eq!(inside, Ok((Err(InLeaf), Err(InLeaf))));
    assert_eq!(OTHER.with(|n| *n), Ok(2));
    // After a panic in the closure the leaf is free.
    assert!(catch_unwind(|| ONE.with(|_| panic!("as planned"))).is_err());
    assert_eq!(ONE.with(|n| *n), Ok(1));
    assert!(Key::<Dom>::take().is_some());
}

/// One key behind a shared cell: two contexts at once are a borrow error at run time.
#[test]
fn a_key_in_a_shared_cell() {
    let key = Rc::new(RefCell::new(Key::<Dom>::take().unwrap()));
    let other = key.clone();
    let mut borrowed = key.borrow_mut();
    let mut ctx = borrowed.ctx();
    SA.with(&mut ctx, |_, _| assert!(other.try_borrow_mut().is_err()));
}

/// Unwinding through held locks gives everything back, in the order of the scopes.
#[test]
fn unwinding_gives_everything_back() {
    let (a, b) = (Mutex::<A, _>::new(0), Mutex::<B, _>::new(0));
    let mut key = Key::<Dom>::take().unwrap();
    for guards in [false, true] {
        let unwound = catch_unwind(AssertUnwindSafe(|| {
            if guards {
                let mut root = key.ctx();
                let (_a, mut ctx) = a.lock(&mut root);
                let _b = b.lock(&mut ctx);
                panic!("as planned");
            }
            a.with(&mut key.ctx(), |_, ctx| {
                b.with(ctx, |_, _| panic!("as planned"))
            })
        }));
        assert!(unwound.is_err());
        a.with(&mut key.ctx(), |_, ctx| b.with(ctx, |_, _| ()));
    }
}

/// A destructor that runs while a lock is held finds the key out.
#[test]
fn a_destructor_under_a_lock() {
    struct Reenters;
    impl Drop for Reenters {
        fn drop(&mut self) {
            assert!(Key::<Dom>::take().is_none());
            assert_eq!(Key::<Dom>::with(|_| ()), None);
        }
    }
    let b = Mutex::<B, _>::new(Some(Reenters));
    Key::<Dom>::run(|key| b.with(&mut key.ctx(), |value, _| *value = None));
}

/// `Key::run` says where the key was wanted.
#[test]
fn a_key_wanted_under_a_key() {
    static LINE: AtomicU32 = AtomicU32::new(0);
    const WORDS: &str = "the key of lock domain `Dom` is out on this thread";
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|info| {
        // Other tests panic, too.
        let message = info.payload().downcast_ref::<String>();
        if let (Some(message), Some(at)) = (message, info.location())
            && message.starts_with(WORDS)
            && at.file().ends_with("attacks.rs")
        {
            LINE.store(at.line(), Ordering::Relaxed);
        }
    }));
    let wanted = |_: &mut Key<Dom>| Key::<Dom>::run(|_| ());
    let line = line!() - 1;
    let message = panic_in(|| Key::<Dom>::run(wanted));
    std::panic::set_hook(hook);
    assert!(message.starts_with(WORDS), "{message}");
    assert_eq!(LINE.load(Ordering::Relaxed), line);
}

/// A future on one thread that keeps a key over an await: no other task of the thread has one.
#[test]
fn a_key_kept_over_an_await_on_one_thread() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let holder = tokio::task::spawn_local(async {
            let mut key = Key::<Dom>::take().unwrap();
            let mut root = key.ctx();
            let (_a, _) = SA.lock(&mut root);
            tokio::task::yield_now().await;
        });
        tokio::task::yield_now().await;
        assert!(Key::<Dom>::take().is_none());
        holder.await.unwrap();
        assert!(Key::<Dom>::take().is_some());
    });
}

/// Ranks: equal, lower, and through a second chain while the first one's guards live.
#[test]
fn ranks_out_of_order() {
    let rows = [1u8, 2, 2, 3].map(|rank| Ranked::new(rank, RwLock::<B, _>::new(())));
    let mut key = Key::<Dom>::take().unwrap();
    let mut root = key.ctx();
    let mut chain = Ascending::new(&mut root);
    let second = chain.read(&rows[1]).unwrap();
    assert_eq!(chain.read(&rows[2]).unwrap_err().held, 2);
    assert_eq!(chain.read(&rows[1]).unwrap_err().wanted, 2);
    assert_eq!(chain.write(&rows[0]).unwrap_err().wanted, 1);
    // Released, but the chain remembers.
    drop(second);
    assert!(chain.read(&rows[0]).is_err());
    // An attempt raises the bound.
    let last = chain.try_read(&rows[3]).unwrap();
    assert!(chain.try_write(&rows[3]).is_none());
    drop(last);
    assert!(chain.read(&rows[3]).is_err());
    assert_eq!(chain.highest(), Some(3));
}

/// Deferred values are dropped with nothing held, also where the destructor panics.
#[test]
fn deferred_destructors_that_panic() {
    struct Bomb(bool);
    impl Drop for Bomb {
        fn drop(&mut self) {
            Key::<Dom>::run(|key| SA.with(&mut key.ctx(), |_, _| ()));
            assert!(!self.0, "as planned");
        }
    }
    let garbage = Deferred::<Dom, Bomb>::new();
    for bomb in [false, true, false] {
        garbage.push(Bomb(bomb));
    }
    let mut key = Key::take().unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| garbage.drop_all(&mut key))).is_err());
    assert!(garbage.is_empty());
    assert!(Key::<Dom>::take().is_none(), "the key came back");
    assert_eq!(garbage.drop_all(&mut key), 0);
}
