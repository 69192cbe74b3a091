//! Models of what several threads do at once, explored exhaustively by loom.
//!
//! `cargo test -p netstack --features loom --lib models`

use loom::sync::atomic::{AtomicBool, Ordering};
use loom::sync::{Arc, Mutex, Notify};
use loom::thread;

use super::doorbell::Doorbell;
use super::tcp::accept::{AcceptQueue, Backlog, Offer, Service};

/// Work that is queued while the worker falls asleep is found, by the worker or by the wake-up. If it
/// were not, the worker would sleep for ever, which loom reports as a deadlock.
#[test]
fn a_worker_that_falls_asleep_hears_of_work() {
    loom::model(|| {
        let bed = Arc::new(Notify::new());
        let doorbell = Arc::new(Doorbell::default());
        let unpark = Arc::clone(&bed);
        doorbell.set_unpark(Box::new(move || unpark.notify()));
        let queue = Arc::new(Mutex::new(Vec::new()));

        let sender = {
            let (doorbell, queue) = (Arc::clone(&doorbell), Arc::clone(&queue));
            thread::spawn(move || {
                queue.lock().expect("no panic").push(1);
                doorbell.ring();
            })
        };
        let is_empty = || queue.lock().expect("no panic").is_empty();
        let work = loop {
            if let Some(work) = queue.lock().expect("no panic").pop() {
                break work;
            }
            if doorbell.fall_asleep(is_empty) {
                bed.wait();
                doorbell.awake();
            }
        };
        assert_eq!(work, 1);
        sender.join().expect("no panic");
    });
}

/// Two senders wake a sleeping worker, and neither message is lost.
#[test]
fn no_message_of_two_senders_is_lost() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let bed = Arc::new(Notify::new());
        let doorbell = Arc::new(Doorbell::default());
        let unpark = Arc::clone(&bed);
        doorbell.set_unpark(Box::new(move || unpark.notify()));
        let queue = Arc::new(Mutex::new(Vec::new()));
        let senders: Vec<_> = (1..=2)
            .map(|work| {
                let (doorbell, queue) = (Arc::clone(&doorbell), Arc::clone(&queue));
                thread::spawn(move || {
                    queue.lock().expect("no panic").push(work);
                    doorbell.ring();
                })
            })
            .collect();
        let is_empty = || queue.lock().expect("no panic").is_empty();
        let mut sum = 0;
        while sum < 3 {
            if let Some(work) = queue.lock().expect("no panic").pop() {
                sum += work;
            } else if doorbell.fall_asleep(is_empty) {
                bed.wait();
                doorbell.awake();
            }
        }
        for sender in senders {
            sender.join().expect("no panic");
        }
    });
}

fn service() -> Service<u32> {
    Service::new(std::sync::Arc::new(|_| Box::pin(async {})))
}

/// A connection that is established while its listener sets a service goes to that service: either it
/// is offered to it, or it is among those that waited.
#[test]
fn a_connection_that_comes_in_while_a_service_is_set_is_served() {
    loom::model(|| {
        let queue = Arc::new(Mutex::new(AcceptQueue::<u32>::default()));
        let backlog = Backlog::new(1);
        let place = backlog.admit().expect("a free place");
        let worker = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || {
                let mut queue = queue.lock().expect("no panic");
                matches!(queue.offer(7, place, &mut Vec::new()), Offer::Serve(_, 7))
            })
        };
        let waited = queue.lock().expect("no panic").serve(service());
        let offered = worker.join().expect("no panic");
        let waited = waited.expect("the first service").contains(&7);
        assert!(offered != waited, "served exactly once");
        assert_eq!(queue.lock().expect("no panic").len(), 0, "none is stranded");
        assert_eq!(backlog.taken(), 0);
    });
}

/// The same with a listener that closes: the connection is refused, or it is among those to be reset.
#[test]
fn a_connection_that_comes_in_while_the_listener_closes_is_reset() {
    loom::model(|| {
        let queue = Arc::new(Mutex::new(AcceptQueue::<u32>::default()));
        let backlog = Backlog::new(1);
        let place = backlog.admit().expect("a free place");
        let worker = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || {
                let mut queue = queue.lock().expect("no panic");
                matches!(queue.offer(7, place, &mut Vec::new()), Offer::Refused(7))
            })
        };
        let waited = queue.lock().expect("no panic").close(&mut Vec::new());
        let refused = worker.join().expect("no panic");
        assert!(refused != waited.contains(&7), "reset exactly once");
        assert_eq!(backlog.taken(), 0);
    });
}

/// The protocol that the accept queue replaced: whether there is a service was asked before the
/// queue's lock was taken. Shows that the model finds the connection that it stranded.
#[test]
#[should_panic(expected = "stranded")]
fn asking_for_the_service_outside_the_lock_strands_a_connection() {
    loom::model(|| {
        let has_service = Arc::new(AtomicBool::new(false));
        let queue = Arc::new(Mutex::new(Vec::new()));
        let worker = {
            let (has_service, queue) = (Arc::clone(&has_service), Arc::clone(&queue));
            thread::spawn(move || {
                if !has_service.load(Ordering::Acquire) {
                    queue.lock().expect("no panic").push(7);
                }
            })
        };
        has_service.store(true, Ordering::Release);
        queue.lock().expect("no panic").clear();
        worker.join().expect("no panic");
        assert!(queue.lock().expect("no panic").is_empty(), "stranded");
    });
}
