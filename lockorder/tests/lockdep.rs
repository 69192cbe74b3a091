//! The checks of debug builds: locks without a context, and domains against each other.
#![cfg(any(debug_assertions, feature = "lockdep"))]

mod common;

use std::thread;

use lockorder::{Condvar, Domain, Key, LockSet, Mutex, graph, lockdep};

use common::panic_in;

/// Each test has a domain of its own: what was in order is remembered.
macro_rules! domain {
    ($module:ident) => {
        mod $module {
            lockorder::lock_order! {
                pub(crate) domain Dom;
                level A, B, C, Beside;
                Dom => A => B => C;
                A => Beside;
            }
        }
    };
}

/// Returns the lines of a message, without the positions.
fn words(message: &str) -> Vec<String> {
    message
        .lines()
        .map(|line| {
            let mut line = line.trim().to_owned();
            while let Some(at) = line.find(" at ") {
                let rest = line[at + 4..].to_owned();
                let end = rest.find([',', ' ']).unwrap_or(rest.len());
                line = format!("{} @{}", &line[..at], &rest[end..]);
            }
            line
        })
        .collect()
}

domain!(orders);
#[test]
fn a_wrong_order_panics_and_names_both_chains() {
    use orders::{A, B, C};
    let (a, b, c) = (
        lockdep::Mutex::<A, _>::new(1),
        lockdep::RwLock::<B, _>::new(2),
        lockdep::Mutex::<C, _>::new(3),
    );
    // In order.
    {
        let _a = a.lock();
        let b = b.read();
        let _c = c.lock();
        assert_eq!(*b, 2);
    }
    let message = panic_in(|| {
        let _c = c.lock();
        let _a = a.lock();
    });
    assert_eq!(
        words(&message),
        [
            "lock level `A` may not be acquired while holding `C`",
            "this thread holds:",
            "`C`, acquired @",
            "and waits for:",
            "`A` @",
            "the other way round, threads have acquired:",
            "`B` @, under `A` acquired @",
            "`C` @, under `B` acquired @",
        ]
    );
    assert!(message.contains("lockdep.rs:"), "{message}");
    // The raw locks are free again, and an attempt may be in any order.
    let _c = c.lock();
    assert!(a.try_lock().is_some());
    // The same level twice, and the same lock twice.
    let message = panic_in(|| drop(c.lock()));
    assert!(
        message.starts_with("lock level `C` may not be acquired while holding `C`"),
        "{message}"
    );
    let message = panic_in(|| drop(lockdep::RwLock::<orders::Beside, _>::new(()).write()));
    assert!(
        message.ends_with("no chain from the one to the other"),
        "{message}"
    );
}

domain!(declared);
#[test]
fn the_declared_order_where_nothing_was_seen() {
    use declared::{A, B, C};
    let (b, a) = (
        lockdep::RwLock::<B, _>::new(()),
        lockdep::Mutex::<A, _>::new(()),
    );
    let message = panic_in(|| {
        let _b = b.write();
        drop(a.lock());
    });
    assert!(
        message.ends_with("the declared order is:\n    `A` => `B`"),
        "{message}"
    );
    let c = lockdep::Mutex::<C, _>::new(());
    let message = panic_in(|| {
        let _c = c.lock();
        drop(a.lock());
    });
    assert!(message.ends_with("`A` => `B` => `C`"), "{message}");
}

domain!(mixed);
#[test]
fn typed_and_checked_locks_in_one_domain() {
    use mixed::{A, B, C, Dom};
    let typed = [Mutex::<B, _>::new(1), Mutex::new(2)];
    let (a, c) = (
        lockdep::Mutex::<A, _>::new(()),
        lockdep::Mutex::<C, _>::new(()),
    );
    let mut key = Key::<Dom>::take().unwrap();
    // In order: typed under checked, checked under typed, a set in between.
    {
        let _a = a.lock();
        LockSet::new(&typed).with(&mut key.ctx(), |_, _| drop(c.lock()));
    }
    // Checked under typed, out of order.
    let message = panic_in(|| typed[0].with(&mut key.ctx(), |_, _| drop(a.lock())));
    assert!(
        message.starts_with("lock level `A` may not be acquired while holding `B`"),
        "{message}"
    );
    // Typed under checked, out of order: the type cannot see the checked one.
    let message = panic_in(|| {
        let _c = c.lock();
        typed[0].with(&mut key.ctx(), |_, _| ());
    });
    assert!(
        message.starts_with("lock level `B` may not be acquired while holding `C`"),
        "{message}"
    );
    // A wait on a condition variable under a checked lock.
    let message = panic_in(|| {
        let mut held = typed[0].hold(key.ctx());
        let _c = c.lock();
        Condvar::new().wait(&mut held);
    });
    assert!(
        message.starts_with("a condition variable is waited on while holding `C`"),
        "{message}"
    );
}

domain!(one);
domain!(other);
#[test]
fn two_domains_in_both_orders() {
    let first = Mutex::<one::B, _>::new(());
    let second = Mutex::<other::B, _>::new(());
    thread::scope(|s| {
        let both = || {
            let (mut one, mut other) = (
                Key::<one::Dom>::take().unwrap(),
                Key::<other::Dom>::take().unwrap(),
            );
            first.with(&mut one.ctx(), |(), _| {
                second.with(&mut other.ctx(), |(), _| ())
            });
        };
        s.spawn(both).join().unwrap();
        // Again in the same order: fine.
        s.spawn(both).join().unwrap();
    });
    let (mut one, mut other) = (
        Key::<one::Dom>::take().unwrap(),
        Key::<other::Dom>::take().unwrap(),
    );
    for _ in 0..2 {
        let message = panic_in(|| {
            second.with(&mut other.ctx(), |(), _| {
                first.with(&mut one.ctx(), |(), _| ())
            });
        });
        assert!(
            message.starts_with("locks of the domains `lockdep::other::Dom` and `lockdep::one::Dom` are held in both orders"),
            "{message}"
        );
        assert!(
            message.contains("the other way round, threads have:"),
            "{message}"
        );
    }
    // An attempt does not wait.
    second.with(&mut other.ctx(), |(), _| {
        assert!(first.try_lock(&mut one.ctx()).is_some());
    });
}

mod net {
    lockorder::lock_order! { pub(crate) domain Net; level Conn; Net => Conn; }
}
mod app {
    lockorder::lock_order! {
        pub(crate) domain App;
        level Session, Callback;
        App => Session => extern crate::net::Net;
        App => Callback;
    }
}
#[test]
fn domains_against_a_declared_edge() {
    let (session, conn) = (
        Mutex::<app::Session, _>::new(0),
        Mutex::<net::Conn, _>::new(1),
    );
    let mut key = Key::<app::App>::take().unwrap();
    let read = session.with(&mut key.ctx(), |_, ctx| {
        ctx.enter(|key: &mut Key<net::Net>| conn.with(&mut key.ctx(), |n, _| *n))
    });
    assert_eq!(read, Some(1));
    let mut net = Key::<net::Net>::take().unwrap();
    let message = panic_in(|| {
        conn.with(&mut net.ctx(), |_, _| {
            session.with(&mut key.ctx(), |_, _| ())
        });
    });
    assert!(
        message.contains(
            "the declared order is:\n    extern `lockdep::app::App` => `lockdep::net::Net`"
        ),
        "{message}"
    );
}

mod around {
    // `Net` lies between two levels of this domain: the pair is checked level by level.
    lockorder::lock_order! {
        pub(crate) domain Around;
        level Before, After;
        Around => Before => extern crate::net::Net => After;
    }
}
mod disk {
    lockorder::lock_order! { pub(crate) domain Disk; level File; Disk => File; }
}
mod one_way {
    lockorder::lock_order! {
        pub(crate) domain OneWay;
        level X;
        OneWay => X;
        extern crate::net::Net => extern crate::disk::Disk;
    }
}
mod other_way {
    lockorder::lock_order! {
        pub(crate) domain OtherWay;
        level X;
        OtherWay => X;
        extern crate::disk::Disk => extern crate::net::Net;
    }
}
#[test]
fn graphs_are_composed_at_the_start() {
    assert!(graph::check(&[around::Around::GRAPH, app::App::GRAPH]).is_ok());
    assert!(
        around::Around::GRAPH.may_follow(1, 2),
        "through the other domain"
    );
    // Two declarations that do not know each other.
    let domains = [one_way::OneWay::GRAPH, other_way::OtherWay::GRAPH];
    let cycle = graph::check(&domains).unwrap_err();
    assert_eq!(
        cycle.to_string(),
        "lock order cycle between domains: lockdep::net::Net → lockdep::disk::Disk → lockdep::net::Net"
    );
    assert_eq!(cycle.domains().len(), 2);
}
