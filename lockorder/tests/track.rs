//! The counts of the feature `track`.
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

domain!(live);
#[test]
fn live_data_for_a_dashboard() {
    use live::{Dom, Inner, Outer};
    let (outer, inner) = (Mutex::<Outer, _>::new(()), Mutex::<Inner, _>::new(()));
    let mut key = Key::<Dom>::take().unwrap();
    outer.with(&mut key.ctx(), |(), _| ());
    let earlier = report::<Dom>();
    outer.with(&mut key.ctx(), |(), ctx| inner.with(ctx, |(), _| ()));
    let since = report::<Dom>().since(&earlier);
    let counts: Vec<_> = since.levels.iter().map(|l| (l.name, l.acquired)).collect();
    assert_eq!(counts, [("Outer", 1), ("Inner", 1), ("Leaf", 0)]);
    let outer = level(&since, "Outer");
    assert_eq!(outer.holds.iter().sum::<u64>(), 1);
    assert!(outer.hold_below(1.0) >= outer.hold_nanos);
    assert_eq!((outer.wait_below(1.0), outer.contention()), (0, 0.0));

    let dot = since.to_dot();
    assert!(dot.starts_with("digraph \"Dom\" {"), "{dot}");
    assert!(dot.contains("Inner\\nacquired 1\\ncontended 0"), "{dot}");
    assert!(dot.contains("fillcolor=\"0.333 0.5 1.0\""), "{dot}");
    assert!(dot.contains("n1 -> n2;"), "{dot}");
}

domain!(red);
#[test]
fn a_level_that_is_always_taken_is_red() {
    use red::{Dom, Outer};
    let lock = Mutex::<Outer, _>::new(());
    let mut key = Key::<Dom>::take().unwrap();
    lock.with(&mut key.ctx(), |(), _| {
        thread::scope(|s| {
            s.spawn(|| {
                let mut key = Key::<Dom>::take().unwrap();
                let timeout = Duration::from_millis(1);
                assert!(lock.try_lock_for(&mut key.ctx(), timeout).is_none());
            });
        });
    });
    let dot = report::<Dom>().to_dot();
    assert!(dot.contains("contended 1\\nhold p99 < "), "{dot}");
    assert!(dot.contains("fillcolor=\"0.000 0.5 1.0\""), "{dot}");
}

#[cfg(feature = "serde")]
domain!(serialised);
#[cfg(feature = "serde")]
#[test]
fn serialised_as_to_json_says() {
    use serialised::{Dom, Outer};
    let lock = Mutex::<Outer, _>::new(());
    let mut key = Key::<Dom>::take().unwrap();
    lock.with(&mut key.ctx(), |(), _| ());
    let report = report::<Dom>();
    let by_serde = serde_json::to_value(&report).unwrap();
    let by_hand: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
    assert_eq!(by_serde, by_hand);
    assert_eq!(by_serde["levels"][0]["acquired"], 1);
}
