//! The locks and keys, used as meant.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;

use lockorder::{Domain, Key, LockCtx, Mutex, RwLock, RwLockWriteGuard};

mod levels {
    lockorder::lock_order! {
        /// The domain under test.
        pub(crate) domain Dom;
        /// The outer one.
        level Outer;
        level Inner, Leaf;
        Dom => Outer => Inner => Leaf;
        {Dom, Outer} => Leaf;
    }
}
mod other {
    lockorder::lock_order! { pub(crate) domain Other; level Only; Other => Only; }
}
use levels::{Dom, Inner, Leaf, Outer};

#[test]
fn sizes_are_those_of_the_raw_locks() {
    assert_eq!(size_of::<Mutex<Outer, ()>>(), 1);
    assert_eq!(size_of::<Mutex<Outer, [u8; 7]>>(), 8);
    assert_eq!(
        size_of::<RwLock<Outer, u64>>(),
        size_of::<parking_lot_size::RwLockU64>()
    );
    assert_eq!(size_of::<Key<Dom>>(), 0);
    assert_eq!(size_of::<LockCtx<'_, Dom>>(), 0);
}

mod parking_lot_size {
    pub(crate) type RwLockU64 = lock_api::RwLock<parking_lot::RawRwLock, u64>;
}

#[test]
fn the_graph_is_data() {
    let graph = Dom::graph();
    let names: Vec<_> = graph.levels().iter().map(|l| (l.name, l.rank)).collect();
    assert_eq!(names, [("Dom", 0), ("Outer", 1), ("Inner", 2), ("Leaf", 3)]);
    assert_eq!(graph.levels()[1].doc, "The outer one.");
    assert_eq!(graph.edges().len(), 5);
    let at = |name| graph.index_of(name).unwrap();
    assert!(graph.may_follow(at("Outer"), at("Leaf")));
    assert!(!graph.may_follow(at("Leaf"), at("Outer")));
    assert!(!graph.may_follow(at("Leaf"), at("Leaf")));
    let dot = graph.to_dot().to_string();
    assert!(dot.contains("n0 [label=\"Dom\""), "{dot}");
    assert!(dot.contains("n2 -> n3;"), "{dot}");
}

#[test]
fn one_key_per_thread_and_domain() {
    let key = Key::<Dom>::take().unwrap();
    assert!(Key::<Dom>::take().is_none());
    assert!(Key::<other::Other>::take().is_some(), "another domain");
    std::thread::spawn(|| assert!(Key::<Dom>::take().is_some()))
        .join()
        .unwrap();
    drop(key);
    assert!(Key::<Dom>::take().is_some());
}

#[test]
fn with_gives_the_key_back_even_by_unwinding() {
    let unwound = catch_unwind(|| Key::<Dom>::with(|_| panic!("as planned")));
    assert!(unwound.is_err());
    assert_eq!(Key::<Dom>::with(|_| Key::<Dom>::with(|_| ())), Some(None));
}

#[test]
fn closures_and_guards() {
    let outer = Mutex::<Outer, _>::new(1);
    let inner = RwLock::<Inner, _>::new(2);
    let leaf = Mutex::<Leaf, _>::new(3);
    let mut key = Key::<Dom>::take().unwrap();
    let sum = outer.with(&mut key.ctx(), |a, ctx| {
        *a += 10;
        inner.with_write(ctx, |b, ctx| {
            *b += 10;
            leaf.with(ctx, |c, _| *a + *b + *c)
        })
    });
    assert_eq!(sum, 26);

    let mut root = key.ctx();
    let (a, mut ctx) = outer.lock(&mut root);
    let (mut b, mut ctx) = inner.write(&mut ctx);
    *b += 1;
    let b = RwLockWriteGuard::downgrade(b);
    let (c, _) = leaf.lock(&mut ctx);
    assert_eq!((*a, *b, *c), (11, 13, 3));
    drop((a, b, c));
    // The parent can be used again.
    assert_eq!(leaf.with(&mut root, |c, _| *c), 3);
    let mut outer = outer;
    *outer.get_mut() += 1;
    assert_eq!(outer.into_inner(), 12);
}

#[test]
fn a_held_lock_refuses_the_try_forms() {
    let lock = Mutex::<Outer, _>::new(());
    let shared = RwLock::<Outer, _>::new(());
    let mut key = Key::<Dom>::take().unwrap();
    let mut root = key.ctx();
    assert!(lock.try_lock(&mut root).is_some());
    lock.with(&mut root, |(), _| {
        std::thread::scope(|s| {
            s.spawn(|| {
                let mut key = Key::<Dom>::take().unwrap();
                let mut root = key.ctx();
                assert!(lock.is_locked());
                assert!(lock.try_lock(&mut root).is_none());
                assert!(lock.try_with(&mut root, |(), _| ()).is_none());
                assert!(
                    lock.try_lock_for(&mut root, std::time::Duration::from_millis(1))
                        .is_none()
                );
            });
        });
    });
    shared.with_read(&mut root, |(), _| {
        std::thread::scope(|s| {
            s.spawn(|| {
                let mut key = Key::<Dom>::take().unwrap();
                let mut root = key.ctx();
                assert!(shared.try_read(&mut root).is_some());
                assert!(shared.try_write(&mut root).is_none());
            });
        });
    });
}

#[test]
fn a_guard_is_released_by_unwinding() {
    let lock = Mutex::<Outer, _>::new(0);
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        Key::<Dom>::with(|key| {
            lock.with(&mut key.ctx(), |n, _| {
                *n = 1;
                panic!("as planned")
            })
        })
    }));
    assert!(unwound.is_err());
    assert!(!lock.is_locked());
    let seen = Key::<Dom>::with(|key| lock.with(&mut key.ctx(), |n, _| *n));
    assert_eq!(seen, Some(1));
}

#[test]
fn descend_gives_up_what_lies_between() {
    fn leaf_only(leaf: &Mutex<Leaf, i32>, ctx: &mut LockCtx<'_, Inner>) -> i32 {
        leaf.with(ctx, |n, _| *n)
    }
    let leaf = Mutex::new(7);
    let mut key = Key::<Dom>::take().unwrap();
    assert_eq!(leaf_only(&leaf, &mut key.ctx().descend()), 7);
}

#[test]
fn a_lent_key_can_be_taken_and_comes_back() {
    let lock = Mutex::<Outer, _>::new(0);
    let mut key = Key::<Dom>::take().unwrap();
    let result = key.lend(|| {
        let mut inner = Key::<Dom>::take().unwrap();
        lock.with(&mut inner.ctx(), |n, _| *n += 1);
        // And once more.
        inner.lend(|| Key::<Dom>::with(|key| lock.with(&mut key.ctx(), |n, _| *n += 1)));
        "done"
    });
    assert_eq!(result, "done");
    assert!(Key::<Dom>::take().is_none(), "the key is whole again");
    assert_eq!(lock.with(&mut key.ctx(), |n, _| *n), 2);
}

#[test]
fn a_lent_key_comes_back_by_unwinding() {
    let mut key = Key::<Dom>::take().unwrap();
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        key.lend(|| {
            let _inner = Key::<Dom>::take().unwrap();
            panic!("as planned");
        })
    }));
    assert!(unwound.is_err());
    assert!(Key::<Dom>::take().is_none());
    drop(key);
    assert!(Key::<Dom>::take().is_some());
}

thread_local! {
    static STASH: RefCell<Option<Key<Dom>>> = const { RefCell::new(None) };
}

#[test]
fn a_key_works_in_thread_local_destructors() {
    struct TakesAtExit;
    impl Drop for TakesAtExit {
        fn drop(&mut self) {
            let taken = Key::<Dom>::take();
            assert!(taken.is_some());
        }
    }
    thread_local! {
        static LATE: TakesAtExit = const { TakesAtExit };
    }
    std::thread::spawn(|| {
        LATE.with(|_| ());
        drop(Key::<Dom>::take());
    })
    .join()
    .unwrap();
    // A key that lies in a thread-local is dropped with it.
    std::thread::spawn(|| STASH.with(|stash| *stash.borrow_mut() = Key::take()))
        .join()
        .unwrap();
}

// Each way takes the key first.
#[allow(clippy::unwrap_used)]
/// The ways to keep a key past the end of a `lend`. Each runs in a process of its own,
/// which must not survive it.
fn escape(how: &str) {
    let mut key = Key::<Dom>::take().unwrap();
    match how {
        "return" => drop(key.lend(Key::<Dom>::take)),
        "stash" => key.lend(|| STASH.with(|stash| *stash.borrow_mut() = Key::take())),
        "forget" => key.lend(|| std::mem::forget(Key::<Dom>::take())),
        "unwind" => {
            let _ = catch_unwind(AssertUnwindSafe(|| {
                key.lend(|| {
                    STASH.with(|stash| *stash.borrow_mut() = Key::take());
                    panic!("as planned");
                })
            }));
        }
        _ => unreachable!(),
    }
    println!("survived");
}

#[test]
fn a_key_that_outlives_its_lend_aborts() {
    const HOW: &str = "LOCKORDER_TEST_ESCAPE";
    if let Ok(how) = std::env::var(HOW) {
        return escape(&how);
    }
    for how in ["return", "stash", "forget", "unwind"] {
        let output = Command::new(std::env::current_exe().unwrap())
            .args([
                "a_key_that_outlives_its_lend_aborts",
                "--exact",
                "--nocapture",
            ])
            .env(HOW, how)
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{how}: {stderr}");
        assert!(stderr.contains("still alive after it"), "{how}: {stderr}");
        let stdout = String::from_utf8_lossy(&output.stdout);
        assert!(!stdout.contains("survived"), "{how}");
    }
}

#[test]
fn debug_output_does_not_lock() {
    let lock = Mutex::<Outer, _>::new(1);
    assert_eq!(
        format!("{lock:?}"),
        "Mutex { level: \"Outer\", locked: false, .. }"
    );
}
