//! What the feature `track` counts.
#![cfg(feature = "track")]

use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use lockorder::track::{Report, report};
use lockorder::{Key, LockSet, Mutex, RwLock, RwLockWriteGuard};

/// Each test counts in a domain of its own.
macro_rules! domain {
    ($module:ident) => {
        mod $module {
            lockorder::lock_order! {
                pub(crate) domain Dom;
                level Outer, Inner, Leaf;
                Dom => Outer => Inner => Leaf;
            }
        }
    };
}

fn level<'a>(report: &'a Report, name: &str) -> &'a lockorder::track::LevelReport {
    report
        .levels
        .iter()
        .find(|level| level.name == name)
        .expect("a level of that name")
}

domain!(counts);
#[test]
fn acquisitions_holds_and_the_longest_chain() {
    use counts::{Dom, Inner, Leaf, Outer};
    let outer = Mutex::<Outer, _>::new(());
    let inner = RwLock::<Inner, _>::new(());
    let leaves = [Mutex::<Leaf, _>::new(()), Mutex::new(())];
    let mut key = Key::<Dom>::take().unwrap();
    outer.with(&mut key.ctx(), |(), ctx| {
        inner.with_read(ctx, |(), _| thread::sleep(Duration::from_millis(2)));
        let (guard, mut ctx) = inner.write(ctx);
        let _guard = RwLockWriteGuard::downgrade(guard);
        LockSet::new(&leaves).with(&mut ctx, |_, _| ());
    });
    let mut root = key.ctx();
    let (guard, _) = outer.lock(&mut root);
    lockorder::MutexGuard::unlock_fair(guard);

    let report = report::<Dom>();
    assert_eq!(report.domain, "Dom");
    assert_eq!(report.longest_chain, ["Outer", "Inner", "Leaf", "Leaf"]);
    let counts: Vec<_> = report
        .levels
        .iter()
        .map(|l| (l.name, l.acquired, l.contended))
        .collect();
    assert_eq!(counts, [("Outer", 2, 0), ("Inner", 2, 0), ("Leaf", 2, 0)]);
    for level in &report.levels {
        assert_eq!(
            level.holds.iter().sum::<u64>(),
            level.acquired,
            "{}",
            level.name
        );
        assert_eq!(level.waits.iter().sum::<u64>(), 0);
    }
    // Asleep under both: at least that long, by the clock that counts.
    assert!(level(&report, "Inner").hold_nanos >= 2_000_000);
    assert!(level(&report, "Outer").hold_nanos >= level(&report, "Inner").hold_nanos);
}

domain!(waits);
#[test]
fn contention_and_waiting() {
    use waits::{Dom, Outer};
    let lock = Mutex::<Outer, _>::new(());
    let held = Barrier::new(2);
    thread::scope(|s| {
        s.spawn(|| {
            let mut key = Key::<Dom>::take().unwrap();
            lock.with(&mut key.ctx(), |(), _| {
                held.wait();
                // Until the other one has been seen to wait.
                while level(&report::<Dom>(), "Outer").contended == 0 {
                    thread::yield_now();
                }
            });
        });
        let mut key = Key::<Dom>::take().unwrap();
        held.wait();
        lock.with(&mut key.ctx(), |(), _| ());
    });
    let report = report::<Dom>();
    let outer = level(&report, "Outer");
    assert_eq!((outer.acquired, outer.contended), (2, 1));
    assert_eq!(outer.waits.iter().sum::<u64>(), 1);
    assert!(outer.wait_nanos > 0);
    assert_eq!(report.longest_chain, ["Outer"]);
}

domain!(gives_up);
#[test]
fn giving_up_counts_as_contended_only() {
    use gives_up::{Dom, Outer};
    let lock = Mutex::<Outer, _>::new(());
    let mut key = Key::<Dom>::take().unwrap();
    lock.with(&mut key.ctx(), |(), _| {
        thread::scope(|s| {
            s.spawn(|| {
                let mut key = Key::<Dom>::take().unwrap();
                let mut root = key.ctx();
                assert!(lock.try_lock(&mut root).is_none());
                let timeout = Duration::from_millis(1);
                assert!(lock.try_lock_for(&mut root, timeout).is_none());
            });
        });
    });
    let report = report::<Dom>();
    let outer = level(&report, "Outer");
    assert_eq!((outer.acquired, outer.contended), (1, 1));
    assert_eq!(outer.holds.iter().sum::<u64>(), 1);
}

domain!(dumps);
#[test]
fn text_and_json() {
    use dumps::{Dom, Inner, Outer};
    let (outer, inner) = (Mutex::<Outer, _>::new(()), Mutex::<Inner, _>::new(()));
    let mut key = Key::<Dom>::take().unwrap();
    outer.with(&mut key.ctx(), |(), ctx| inner.with(ctx, |(), _| ()));
    let report = report::<Dom>();
    let text = report.to_string();
    assert!(text.starts_with("Dom "), "{text}");
    assert!(
        text.lines().any(|line| line.starts_with("Inner ")),
        "{text}"
    );
    assert!(text.ends_with("longest chain: Outer → Inner"), "{text}");
    let json = report.to_json();
    assert!(
        json.starts_with("{\"domain\":\"Dom\",\"longest_chain\":[\"Outer\",\"Inner\"],\"levels\":[{\"name\":\"Outer\",\"acquired\":1,\"contended\":0,\"wait_nanos\":0,"),
        "{json}"
    );
    assert!(json.contains("{\"name\":\"Leaf\",\"acquired\":0,\"contended\":0,\"wait_nanos\":0,\"hold_nanos\":0,\"waits\":[],\"holds\":[]}]}"), "{json}");
}
