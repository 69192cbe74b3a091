//! Condition variables.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lockorder::{Condvar, HeldMutex, Key, Mutex};

mod levels {
    lockorder::lock_order! {
        pub(crate) domain Dom;
        level Queue, Log;
        Dom => Queue => Log;
    }
}
use levels::{Dom, Log, Queue};

struct Channel {
    queue: Mutex<Queue, VecDeque<usize>>,
    log: Mutex<Log, usize>,
    filled: Condvar,
    emptied: Condvar,
}

/// A bounded queue, many producers and consumers: every item arrives once.
#[test]
fn a_bounded_queue() {
    const EACH: usize = 500;
    const THREADS: usize = 4;
    let channel = Channel {
        queue: Mutex::new(VecDeque::new()),
        log: Mutex::new(0),
        filled: Condvar::new(),
        emptied: Condvar::new(),
    };
    let sum = AtomicUsize::new(0);
    thread::scope(|s| {
        for _ in 0..THREADS {
            s.spawn(|| {
                let mut key = Key::<Dom>::take().unwrap();
                for n in 1..=EACH {
                    let mut queue = channel.queue.hold(key.ctx());
                    channel
                        .emptied
                        .wait_while(&mut queue, |queue| queue.len() >= 3);
                    queue.push_back(n);
                    let (_, mut ctx) = HeldMutex::split(&mut queue);
                    channel.log.with(&mut ctx, |log, _| *log += 1);
                    channel.filled.notify_one();
                }
            });
            s.spawn(|| {
                let mut key = Key::<Dom>::take().unwrap();
                for _ in 0..EACH {
                    let mut queue = channel.queue.hold(key.ctx());
                    let item = loop {
                        if let Some(item) = queue.pop_front() {
                            break item;
                        }
                        // By hand: woken for nothing, or too late, it looks again.
                        channel.filled.wait(&mut queue);
                    };
                    drop(queue);
                    channel.emptied.notify_all();
                    sum.fetch_add(item, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(sum.into_inner(), THREADS * EACH * (EACH + 1) / 2);
    assert_eq!(channel.log.into_inner(), THREADS * EACH);
}

/// While a thread waits, its lock is free, and everything earlier and later as well.
#[test]
fn a_wait_releases_its_lock() {
    let queue = Mutex::<Queue, _>::new(false);
    let ready = Condvar::new();
    thread::scope(|s| {
        let waits = s.spawn(|| {
            Key::<Dom>::run(|key| {
                let mut done = queue.hold(key.ctx());
                ready.wait_while(&mut done, |done| !*done);
                *done
            })
        });
        while !waits.is_finished() {
            Key::<Dom>::run(|key| queue.with(&mut key.ctx(), |done, _| *done = true));
            ready.notify_all();
            thread::yield_now();
        }
        assert!(waits.join().unwrap());
    });
}

#[test]
fn time_outs() {
    let queue = Mutex::<Queue, _>::new(0);
    let never = Condvar::new();
    let mut key = Key::<Dom>::take().unwrap();
    let mut held = queue.hold(key.ctx());
    let timeout = Duration::from_millis(5);
    // The clock is the measure.
    #[allow(clippy::disallowed_methods)]
    let begin = Instant::now();
    assert!(
        never
            .wait_while_for(&mut held, |n| *n == 0, timeout)
            .timed_out()
    );
    assert!(begin.elapsed() >= timeout);
    assert!(queue.is_locked());
    // Satisfied without a wait.
    assert!(
        !never
            .wait_while_for(&mut held, |n| *n == 1, timeout)
            .timed_out()
    );
    // A wait with a time-out may end early, for no reason: only its end is certain.
    let _ = never.wait_for(&mut held, timeout);
    assert!(queue.is_locked());
}

/// One condition variable with two mutexes at once is allowed.
#[test]
fn two_mutexes() {
    let queues = [Mutex::<Queue, _>::new(false), Mutex::new(false)];
    let ready = Condvar::default();
    thread::scope(|s| {
        let threads: Vec<_> = queues
            .iter()
            .map(|queue| {
                s.spawn(|| {
                    Key::<Dom>::run(|key| {
                        let mut done = queue.hold(key.ctx());
                        ready.wait_while(&mut done, |done| !*done);
                    });
                })
            })
            .collect();
        for queue in &queues {
            Key::<Dom>::run(|key| queue.with(&mut key.ctx(), |done, _| *done = true));
        }
        while threads.iter().any(|thread| !thread.is_finished()) {
            ready.notify_all();
            thread::yield_now();
        }
    });
}

/// A panic in a condition releases the lock, as anywhere under it.
#[test]
fn a_panic_in_a_condition() {
    let queue = Mutex::<Queue, _>::new(0);
    let ready = Condvar::new();
    let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        Key::<Dom>::run(|key| {
            let mut held = queue.hold(key.ctx());
            ready.wait_while(&mut held, |_| panic!("as planned"));
        });
    }));
    assert!(unwound.is_err());
    assert!(!queue.is_locked());
    assert!(Key::<Dom>::take().is_some());
}
