//! Models of what several threads do at once, explored exhaustively by loom.
//!
//! `cargo test -p netstack --features loom --lib models`

use loom::sync::atomic::{AtomicBool, Ordering};
use loom::sync::{Arc, Mutex, Notify};
use loom::thread;

use super::doorbell::Doorbell;
use super::tcp::accept::{AcceptQueue, Backlog, Offer, Service};
use super::tcp::listener::{Listener, SynPlaces};
use super::tcp::options::Options;
use super::tcp::shard::{Found, HalfOpenEntry, Shard};
use crate::base::{Instant, Rng};
use crate::demux::{FlowKey, HasFlow, HashedFlow};
use crate::ip::key::HashKey;
use crate::tcp::{HalfOpen, SeqNum};

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

const ISN: SeqNum = SeqNum(77);

/// A connection of the model: its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Numbered(FlowKey, u32);

impl HasFlow for Numbered {
    fn flow(&self) -> &FlowKey {
        &self.0
    }
}

/// A listener with one half-open connection, and what its workers share.
#[derive(Clone)]
struct Port {
    flow: HashedFlow,
    listener: std::sync::Arc<Listener<Numbered>>,
    places: std::sync::Arc<SynPlaces>,
    shard: Arc<Mutex<Shard<Numbered>>>,
    queue: Arc<Mutex<AcceptQueue<Numbered>>>,
}

impl Port {
    fn new() -> Self {
        let local = ([10, 0, 0, 1], 80).into();
        let flow = FlowKey::new(local, ([10, 0, 0, 2], 4_000).into());
        let places = SynPlaces::new(4);
        let listener = Listener::new(local, Options::with_backlog(4), &places);
        let secret = HashKey::random(&mut Rng::from_u64(1));
        let flow = HashedFlow::new(flow, &secret);
        let mut shard = Shard::new(secret);
        let entry = HalfOpenEntry {
            half: HalfOpen::example(ISN),
            place: listener.admit_syn().expect("a free place"),
        };
        let inserted = shard.insert_half_open(&flow, (0, Instant::from_millis(1)), entry);
        assert_eq!(inserted, Ok(false));
        Self {
            flow,
            listener,
            places,
            shard: Arc::new(Mutex::new(shard)),
            queue: Arc::new(Mutex::new(AcceptQueue::default())),
        }
    }

    fn find(&self) -> Found<Numbered> {
        self.shard.lock().expect("no panic").find(&self.flow)
    }

    /// Completes the handshake with `connection`, as a worker does. `None`: another worker did, or the
    /// entry is gone. Otherwise true if the connection was queued, false if it was refused.
    fn complete(&self, connection: u32) -> Option<bool> {
        let Found::HalfOpen = self.find() else {
            return None;
        };
        let connection = Numbered(*self.flow.flow(), connection);
        let place = self.listener.admit().expect("a free place");
        let mut shard = self.shard.lock().expect("no panic");
        let promoted = shard.promote(&self.flow, ISN, connection);
        drop(shard);
        promoted.ok()?;
        let mut queue = self.queue.lock().expect("no panic");
        Some(matches!(
            queue.offer(connection, place, &mut Vec::new()),
            Offer::Queued
        ))
    }
}

/// Two workers take segments that complete the same handshake, the ACK and the data after it: one of them
/// makes the connection, and the other finds it.
#[test]
fn a_handshake_that_two_workers_complete_makes_one_connection() {
    loom::model(|| {
        let port = Port::new();
        let other = {
            let port = port.clone();
            thread::spawn(move || (port.complete(2), port.find()))
        };
        let mine = (port.complete(1), port.find());
        let other = other.join().expect("no panic");
        let winner = match (mine.0, other.0) {
            (Some(true), None) => 1,
            (None, Some(true)) => 2,
            both => panic!("made {both:?}"),
        };
        let found = || Found::Open(Numbered(*port.flow.flow(), winner));
        assert_eq!((mine.1, other.1), (found(), found()));
        assert_eq!(port.queue.lock().expect("no panic").len(), 1);
        assert_eq!((port.listener.places_taken(), port.places.taken()), (1, 0));
    });
}

/// A handshake completes while its listener closes: the entry is gone, or the connection is refused, or
/// it is among those to be reset. In no case is a place left taken.
#[test]
fn a_handshake_that_completes_while_its_listener_closes_leaves_nothing() {
    loom::model(|| {
        let port = Port::new();
        let worker = {
            let port = port.clone();
            thread::spawn(move || port.complete(7))
        };
        let mut shard = port.shard.lock().expect("no panic");
        shard.forget_listener(&port.listener);
        drop(shard);
        let waiting = port.queue.lock().expect("no panic").close(&mut Vec::new());
        let completed = worker.join().expect("no panic");
        assert_eq!(waiting.iter().any(|c| c.1 == 7), completed == Some(true));
        assert_ne!(port.find(), Found::HalfOpen);
        assert_eq!((port.listener.places_taken(), port.places.taken()), (0, 0));
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
