//! A worker whose device has more packets than a turn takes in reads them before it sends what they may answer:
//! retransmission timers and FINs wait, but not for ever.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use netstack::base::{Counters, Instant, LinkCaps};
use netstack::device::memory::{LinkConfig, LinkDevice, pair};
use netstack::device::{Device, Unpark};
use netstack::net::{Stack, TcpListener, TcpStream, Turns};
use packet::frame::{RxPacket, TxPacket};
use packet::{Buffers, Payload};

/// The turns in a row for which a worker that is behind lets timers and FINs wait.
const MOST_TURNS: usize = 16;
const CONNECTIONS: usize = 5;

/// A device that has more packets than anybody takes in, while it is flooded.
struct Flooded {
    link: LinkDevice,
    flood: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
}

impl Device for Flooded {
    fn caps(&self) -> LinkCaps {
        self.link.caps()
    }

    fn recv_batch(
        &mut self,
        out: &mut Vec<RxPacket>,
        max: usize,
        buffers: &Buffers,
        now: Instant,
        counters: &Counters,
    ) -> io::Result<usize> {
        if !self.flood.load(Ordering::Relaxed) {
            return self.link.recv_batch(out, max, buffers, now, counters);
        }
        let garbage = || RxPacket {
            data: Payload::from(Bytes::from_static(b"no packet")),
            ..RxPacket::default()
        };
        out.extend(std::iter::repeat_with(garbage).take(max));
        Ok(max)
    }

    fn send_batch(&mut self, batch: &mut Vec<TxPacket>, counters: &Counters) -> io::Result<()> {
        self.sent.fetch_add(batch.len(), Ordering::Relaxed);
        self.link.send_batch(batch, counters)
    }

    fn park(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.link.park(timeout)
    }

    fn unparker(&self) -> Arc<dyn Unpark> {
        self.link.unparker()
    }
}

struct World {
    now: Instant,
    /// The workers of the peer and of the stack behind the flooded device.
    turns: [Vec<Turns>; 2],
    stacks: [Stack; 2],
    flood: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
}

fn stack(device: impl Device, last: u8, now: Instant) -> (Stack, Vec<Turns>) {
    let builder = Stack::builder().address([10, 77, 0, last].into(), 24);
    builder
        .manual(vec![Box::new(device)], now)
        .expect("a stack")
}

impl World {
    fn new() -> Self {
        let now = Instant::from_millis(1_000);
        let (a, link) = pair(&LinkConfig::default());
        let (flood, sent) = (Arc::default(), Arc::default());
        let device = Flooded {
            link,
            flood: Arc::clone(&flood),
            sent: Arc::clone(&sent),
        };
        let ((peer, peer_turns), (ours, our_turns)) = (stack(a, 1, now), stack(device, 2, now));
        Self {
            now,
            turns: [peer_turns, our_turns],
            stacks: [peer, ours],
            flood,
            sent,
        }
    }

    /// Turns both stacks until nothing is left to do.
    fn settle(&mut self) {
        let mut busy = true;
        while busy {
            busy = false;
            for worker in self.turns.iter_mut().flatten() {
                busy |= worker.turn(self.now).expect("a turn").busy;
            }
        }
    }

    /// Turns the stack behind the flooded device once. Returns the number of packets that it sent.
    fn turn_once(&mut self) -> usize {
        let before = self.sent.load(Ordering::Relaxed);
        for worker in &mut self.turns[1] {
            worker.turn(self.now).expect("a turn");
        }
        self.sent.load(Ordering::Relaxed) - before
    }

    fn complete<T>(&mut self, future: impl Future<Output = io::Result<T>>) -> T {
        let mut future = pin!(future);
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..100 {
            if let Poll::Ready(result) = future.as_mut().poll(&mut cx) {
                return result.expect("no error");
            }
            self.settle();
        }
        panic!("it never completes");
    }

    /// Opens connections from the peer. Returns the streams of both ends.
    fn connect(&mut self) -> (Vec<TcpStream>, Vec<TcpStream>) {
        let [peer, ours] = self.stacks.clone();
        let listener = TcpListener::bind_now(&ours, "10.77.0.2:7").expect("bind");
        let (mut theirs, mut accepted) = (Vec::new(), Vec::new());
        for _ in 0..CONNECTIONS {
            theirs.push(self.complete(TcpStream::connect(&peer, "10.77.0.2:7")));
            accepted.push(self.complete(listener.accept()).0);
        }
        self.settle();
        (theirs, accepted)
    }

    fn set_flood(&self, flood: bool) {
        self.flood.store(flood, Ordering::Relaxed);
    }
}

#[test]
fn fins_wait_until_the_device_was_read_to_its_end() {
    let mut world = World::new();
    let (_theirs, ours) = world.connect();
    world.set_flood(true);
    drop(ours);
    for turn in 0..MOST_TURNS / 2 {
        assert_eq!(world.turn_once(), 0, "in turn {turn}");
    }
    world.set_flood(false);
    assert_eq!(world.turn_once(), CONNECTIONS);
}

#[test]
fn fins_leave_under_a_flood_that_does_not_end() {
    let mut world = World::new();
    let (theirs, ours) = world.connect();
    world.set_flood(true);
    drop(ours);
    let turns = (1..=MOST_TURNS).find(|_| world.turn_once() == CONNECTIONS);
    assert!(turns.is_some());
    world.set_flood(false);
    world.settle();
    drop(theirs);
    world.settle();
    assert_eq!(world.stacks[1].connections(), 0);
}

#[test]
fn a_connection_with_data_to_send_does_not_wait() {
    let mut world = World::new();
    let (_theirs, ours) = world.connect();
    world.set_flood(true);
    for stream in &ours {
        stream.try_write(b"the last words").expect("room");
    }
    drop(ours);
    assert_eq!(world.turn_once(), CONNECTIONS);
}

#[test]
fn what_is_not_acknowledged_is_not_sent_again_before_the_device_was_read() {
    let mut world = World::new();
    let (_theirs, ours) = world.connect();
    for stream in &ours {
        stream.try_write(b"a request").expect("room");
    }
    assert_eq!(world.turn_once(), CONNECTIONS);
    // The peer has not answered for long, as far as was read.
    world.now = world.now + Duration::from_secs(2);
    world.set_flood(true);
    for turn in 0..MOST_TURNS / 2 {
        assert_eq!(world.turn_once(), 0, "in turn {turn}");
    }
    // The flood hid the answers: with these, nothing is sent again.
    for worker in &mut world.turns[0] {
        while worker.turn(world.now).expect("a turn").busy {}
    }
    world.set_flood(false);
    assert_eq!(world.turn_once(), 0);
    // Without answers, even a flood does not keep the timers from firing.
    for stream in &ours {
        stream.try_write(b"another one").expect("room");
    }
    assert_eq!(world.turn_once(), CONNECTIONS);
    world.now = world.now + Duration::from_secs(2);
    world.set_flood(true);
    let turns = (1..=MOST_TURNS).find(|_| world.turn_once() == CONNECTIONS);
    assert!(turns.is_some());
}
