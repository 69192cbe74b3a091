//! Models: every interleaving of a few threads, up to a bound on preemptions, by `loom`,
//! which says so when all threads wait for each other.
//!
//! ```sh
//! cargo test -p lockorder --features loom --test loom
//! ```
//!
//! The raw locks are built of loom's mutex and condition variable, the domain's slot is
//! loom's thread-local; what is modelled is this crate's own code above them.
// The raw lock, and the domain's implementation by hand, are what has to be unsafe here.
#![allow(unsafe_code)]

mod domain;
mod raw;

use lockorder::{
    Ascending, Condvar, HeldMutex, Key, Leaf, LockSet, Mutex, OwnedSet, Ranked, RetrySet, RwLock,
};
use loom::sync::Arc;
use loom::thread;

use domain::{Dom, Inner, Outer};
use raw::Raw;

type M = Mutex<Inner, usize, Raw>;

fn key() -> Key<Dom> {
    Key::take().expect("each thread has its key")
}

fn model(preemptions: usize, f: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(f);
}

fn locks<const N: usize>() -> Arc<[M; N]> {
    Arc::new(std::array::from_fn(|_| Mutex::new(0)))
}

fn values<const N: usize>(locks: &[M; N]) -> [usize; N] {
    let mut key = key();
    std::array::from_fn(|n| locks[n].with(&mut key.ctx(), |value, _| *value))
}

#[test]
fn sorted_sets_named_in_opposite_orders() {
    model(4, || {
        let all = locks::<2>();
        let other = all.clone();
        let thread = thread::spawn(move || {
            let set = LockSet::try_new((&other[1], &other[0])).unwrap();
            set.with(&mut key().ctx(), |(b, a), _| {
                *a += 1;
                *b += 1;
            });
        });
        let set = LockSet::try_new((&all[0], &all[1])).unwrap();
        set.with(&mut key().ctx(), |(a, b), _| {
            *a += 1;
            *b += 1;
        });
        thread.join().unwrap();
        assert_eq!(values(&all), [2, 2]);
    });
}

#[test]
fn three_threads_with_overlapping_sets() {
    model(3, || {
        let all = locks::<3>();
        let threads: Vec<_> = [[0, 1], [1, 2]]
            .into_iter()
            .map(|[i, j]| {
                let all = all.clone();
                thread::spawn(move || {
                    let set = LockSet::try_new([&all[i], &all[j]]).unwrap();
                    set.with(&mut key().ctx(), |both, _| both.map(|n| *n += 1));
                })
            })
            .collect();
        let set = LockSet::try_new([&all[2], &all[0]]).unwrap();
        set.with(&mut key().ctx(), |both, _| both.map(|n| *n += 1));
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(values(&all), [2, 2, 2]);
    });
}

#[test]
fn a_retrying_set_against_a_sorted_one() {
    model(3, || {
        let all = locks::<2>();
        let other = all.clone();
        let thread = thread::spawn(move || {
            let set = RetrySet::try_new((&other[1], &other[0])).unwrap();
            set.with(&mut key().ctx(), |(b, a), _| {
                *a += 1;
                *b += 1;
            });
        });
        let set = LockSet::try_new((&all[0], &all[1])).unwrap();
        set.with(&mut key().ctx(), |(a, b), _| {
            *a += 1;
            *b += 1;
        });
        thread.join().unwrap();
        assert_eq!(values(&all), [2, 2]);
    });
}

#[test]
fn two_retrying_sets_in_opposite_orders() {
    model(3, || {
        let all = locks::<2>();
        let other = all.clone();
        let thread = thread::spawn(move || {
            let set = RetrySet::try_new((&other[1], &other[0])).unwrap();
            set.with(&mut key().ctx(), |(b, _), _| *b += 1);
        });
        let set = RetrySet::try_new((&all[0], &all[1])).unwrap();
        set.with(&mut key().ctx(), |(_, b), _| *b += 1);
        thread.join().unwrap();
        assert_eq!(values(&all), [0, 2]);
    });
}

#[test]
fn shared_sets_and_a_writer() {
    model(3, || {
        let all: Arc<[RwLock<Inner, usize, Raw>; 2]> = Arc::new([RwLock::new(0), RwLock::new(0)]);
        let other = all.clone();
        let thread = thread::spawn(move || {
            let set = LockSet::try_new((&other[1], &other[0])).unwrap();
            set.with(&mut key().ctx(), |(b, a), _| {
                *a += 1;
                *b += 1;
            });
        });
        let set = LockSet::try_new((&all[0], &all[1])).unwrap();
        // Both together, whole: before the writer or after it.
        set.with_read(&mut key().ctx(), |(a, b), _| assert_eq!(*a, *b));
        thread.join().unwrap();
    });
}

#[test]
fn an_owned_set() {
    model(4, || {
        let set = Arc::new(OwnedSet::new([M::new(0), M::new(0)]));
        let other = set.clone();
        let thread = thread::spawn(move || {
            other.with(&mut key().ctx(), |all, _| all.map(|n| *n += 1));
        });
        set.with(&mut key().ctx(), |all, _| all.map(|n| *n += 1));
        thread.join().unwrap();
        let sum = set.with(&mut key().ctx(), |[a, b], _| *a + *b);
        assert_eq!(sum, 4);
    });
}

#[test]
fn levels_one_after_the_other() {
    model(4, || {
        let outer = Arc::new(Mutex::<Outer, usize, Raw>::new(0));
        let inner = locks::<1>();
        let (other_outer, other_inner) = (outer.clone(), inner.clone());
        let thread = thread::spawn(move || {
            other_outer.with(&mut key().ctx(), |a, ctx| {
                other_inner[0].with(ctx, |b, _| {
                    *a += 1;
                    *b += 1;
                });
            });
        });
        // Inner alone, and released before outer: no order between the two then.
        inner[0].with(&mut key().ctx(), |b, _| *b += 1);
        outer.with(&mut key().ctx(), |a, _| *a += 1);
        thread.join().unwrap();
        assert_eq!(values(&inner), [2]);
    });
}

/// Each thread's slot is its own, whatever the others do, and a lent key comes back.
#[test]
fn keys() {
    model(4, || {
        let locks = locks::<1>();
        let other = locks.clone();
        let thread = thread::spawn(move || {
            let mut mine = key();
            assert!(Key::<Dom>::take().is_none());
            other[0].with(&mut mine.ctx(), |n, _| *n += 1);
            mine.lend(|| {
                let mut lent = key();
                other[0].with(&mut lent.ctx(), |n, _| *n += 1);
            });
            assert!(Key::<Dom>::take().is_none());
        });
        let mut mine = key();
        locks[0].with(&mut mine.ctx(), |n, _| {
            *n += 1;
            assert!(Key::<Dom>::take().is_none());
        });
        drop(mine);
        assert!(Key::<Dom>::take().is_some());
        thread.join().unwrap();
        assert_eq!(values(&locks), [3]);
    });
}

/// A notification is not lost between the look at the value and the wait.
#[test]
fn a_condition_variable() {
    model(3, || {
        let shared = Arc::new((Mutex::<Outer, bool, Raw>::new(false), Condvar::new()));
        let other = shared.clone();
        let thread = thread::spawn(move || {
            let mut key = key();
            let mut done = other.0.hold(key.ctx());
            other.1.wait_while(&mut done, |done| !*done);
            assert!(*done);
        });
        shared.0.with(&mut key().ctx(), |done, _| *done = true);
        shared.1.notify_one();
        thread.join().unwrap();
    });
}

/// A lock that is released for a time, while another thread wants it, is had by both.
#[test]
fn unlocked_for_a_time() {
    model(3, || {
        let all = locks::<1>();
        let other = all.clone();
        let thread = thread::spawn(move || {
            other[0].with(&mut key().ctx(), |n, _| *n += 1);
        });
        let mut key = key();
        let mut held = all[0].hold(key.ctx());
        let before = *held;
        HeldMutex::unlocked(&mut held, |ctx| all[0].with(ctx, |n, _| *n += 1));
        assert!(*held > before);
        drop(held);
        drop(key);
        thread.join().unwrap();
        assert_eq!(values(&all), [2]);
    });
}

/// Three ranked locks, hand over hand by two threads; a third goes down at once.
#[test]
fn hand_over_hand() {
    model(3, || {
        let nodes: Arc<[Ranked<usize, M>; 3]> =
            Arc::new(std::array::from_fn(|rank| Ranked::new(rank, Mutex::new(0))));
        let walk = |nodes: &[Ranked<usize, M>; 3]| {
            let mut key = key();
            let mut root = key.ctx();
            let mut chain = Ascending::new(&mut root);
            let mut here = chain.lock(&nodes[0]).unwrap();
            for node in &nodes[1..] {
                let next = chain.lock(node).unwrap();
                *here += 1;
                here = next;
            }
            *here += 1;
        };
        let other = nodes.clone();
        let thread = thread::spawn(move || walk(&other));
        walk(&nodes);
        thread.join().unwrap();
        let mut key = key();
        for node in nodes.iter() {
            assert_eq!(node.with(&mut key.ctx(), |n, _| *n), 2);
        }
    });
}

/// An attempt out of order against a thread that waits in order.
#[test]
fn an_attempt_out_of_order() {
    model(4, || {
        let outer = Arc::new(Mutex::<Outer, usize, Raw>::new(0));
        let inner = locks::<1>();
        let (other_outer, other_inner) = (outer.clone(), inner.clone());
        let thread = thread::spawn(move || {
            other_outer.with(&mut key().ctx(), |a, ctx| {
                other_inner[0].with(ctx, |b, _| *b += *a);
            });
        });
        inner[0].with(&mut key().ctx(), |_, ctx| {
            if let Some((mut a, _)) = outer.try_lock_unordered(ctx) {
                *a += 1;
            }
        });
        thread.join().unwrap();
    });
}

/// A leaf lock by one thread under a lock, by another with nothing held.
#[test]
fn a_leaf() {
    model(4, || {
        let leaf = Arc::new(Leaf::<Dom, usize, Raw>::new(0));
        let all = locks::<1>();
        let (other_leaf, other_all) = (leaf.clone(), all.clone());
        let thread = thread::spawn(move || {
            other_all[0]
                .with(&mut key().ctx(), |_, _| other_leaf.with(|n| *n += 1))
                .unwrap();
        });
        leaf.with(|n| *n += 1).unwrap();
        all[0].with(&mut key().ctx(), |_, _| ());
        thread.join().unwrap();
        assert_eq!(leaf.with(|n| *n), Ok(2));
    });
}

/// That the models can see a deadlock at all: the same raw locks, in two orders, without
/// this crate. In a process of its own, because loom does not survive what it has found.
#[test]
fn without_an_order_the_model_finds_the_deadlock() {
    const CHILD: &str = "LOCKORDER_TEST_DEADLOCK";
    if std::env::var_os(CHILD).is_none() {
        let exe = std::env::current_exe().unwrap();
        let output = std::process::Command::new(exe)
            .args(["without_an_order_the_model_finds_the_deadlock", "--exact"])
            .arg("--nocapture")
            .env(CHILD, "1")
            .output()
            .unwrap();
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && words.contains("deadlock"),
            "{words}"
        );
        return;
    }
    model(4, || {
        let all: Arc<[lock_api::Mutex<Raw, ()>; 2]> =
            Arc::new(std::array::from_fn(|_| lock_api::Mutex::new(())));
        let other = all.clone();
        let thread = thread::spawn(move || {
            let _b = other[1].lock();
            let _a = other[0].lock();
        });
        let a = all[0].lock();
        let b = all[1].lock();
        drop((a, b));
        thread.join().unwrap();
    });
}
