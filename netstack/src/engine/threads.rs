//! Worker threads: one per device queue, on the machine's clock.
//!
//! A worker that finds nothing to do may spin for a short while (`Config::busy_poll`) before it sleeps; see `pauses` for
//! how it chooses. It yields while it spins, and at most as many workers spin at a time as half of the
//! processors, so that the threads that produce the packets can run.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use super::clock::Clock;
use super::pauses::Pauses;
use super::worker::Worker;
use crate::base::time::Duration;
use crate::device::Device;

/// Time between two looks of a worker whose stack is frozen.
pub(super) const FROZEN_PAUSE: Duration = Duration::from_millis(1);

/// Limits how many workers spin at a time.
#[derive(Debug)]
pub struct Spinners {
    running: AtomicUsize,
    limit: usize,
}

impl Spinners {
    /// Lets at most `limit` workers spin at a time.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            running: AtomicUsize::new(0),
            limit,
        })
    }

    /// Lets as many workers spin as half of the processors, at least one.
    pub fn for_this_machine() -> Arc<Self> {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self::new((processors / 2).max(1))
    }

    fn enter(&self) -> bool {
        self.running
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |running| {
                (running < self.limit).then_some(running + 1)
            })
            .is_ok()
    }

    fn leave(&self) {
        self.running.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Starts a worker's thread. It ends when the worker is told to stop. If its device fails or the worker
/// panics, the whole stack ends for that reason.
pub fn start<D: Device + ?Sized>(
    name: String,
    mut worker: Worker<D>,
    clock: Clock,
    spinners: Arc<Spinners>,
) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name).spawn(move || {
        let run = AssertUnwindSafe(|| run(&mut worker, clock, &spinners));
        let ran = catch_unwind(run);
        if let Err(reason) = worker.outcome(ran) {
            worker.end_stack(reason);
        }
        worker.finish();
    })
}

fn run<D: Device + ?Sized>(
    worker: &mut Worker<D>,
    clock: Clock,
    spinners: &Spinners,
) -> io::Result<()> {
    let busy_poll = worker.busy_poll();
    let mut idle_since = None;
    let mut pauses = Pauses::new();
    let mut spinning = false;
    loop {
        let now = clock.now();
        let turn = worker.turn(now)?;
        if turn.stop {
            return Ok(());
        }
        if !turn.busy && worker.reads_nothing() {
            // The device may have packets, which are not for now.
            std::thread::sleep(FROZEN_PAUSE);
            continue;
        }
        if turn.busy {
            if spinning {
                spinners.leave();
                spinning = false;
            }
            if let Some(since) = idle_since.take() {
                pauses.ended_after(now - since);
            }
            continue;
        }
        let pause = now - *idle_since.get_or_insert(now);
        if pauses.spin() && pause < busy_poll && (spinning || spinners.enter()) {
            spinning = true;
            std::thread::yield_now();
            continue;
        }
        if spinning {
            spinners.leave();
            spinning = false;
        }
        worker.park(now, turn.next_timer)?;
    }
}

#[cfg(test)]
mod tests {
    use packet::Buffers;
    use packet::frame::{RxPacket, TxPacket};

    use super::*;
    use crate::base::{Config, Counters, Instant, LinkCaps, OffloadCaps};
    use crate::device::Unpark;
    use crate::stack::Host;

    /// A device without packets that is gone after some sleeps.
    struct Quiet {
        reads: Arc<AtomicUsize>,
        sleeps: usize,
    }

    struct Awake;

    impl Unpark for Awake {
        fn unpark(&self) {}
    }

    impl Device for Quiet {
        fn caps(&self) -> LinkCaps {
            LinkCaps {
                mtu: 1_500,
                max_packet: 1_500,
                offload: OffloadCaps::default(),
            }
        }

        fn recv_batch(
            &mut self,
            _: &mut Vec<RxPacket>,
            _: usize,
            _: &Buffers,
            _: Instant,
            _: &Counters,
        ) -> io::Result<usize> {
            self.reads.fetch_add(1, Ordering::Relaxed);
            Ok(0)
        }

        fn send_batch(&mut self, _: &mut Vec<TxPacket>, _: &Counters) -> io::Result<()> {
            Ok(())
        }

        fn park(&mut self, _: Option<Duration>) -> io::Result<()> {
            let left = self.sleeps.checked_sub(1);
            self.sleeps = left.ok_or(io::ErrorKind::BrokenPipe)?;
            Ok(())
        }

        fn unparker(&self) -> Arc<dyn Unpark> {
            Arc::new(Awake)
        }
    }

    #[test]
    fn a_worker_looks_for_packets_before_it_sleeps_if_it_may() {
        for (busy_poll, looks) in [(Duration::ZERO, false), (Duration::from_millis(1), true)] {
            let config = Config {
                busy_poll,
                ..Config::default()
            };
            let (reads, sleeps) = (Arc::new(AtomicUsize::new(0)), 4);
            let device = Quiet {
                reads: Arc::clone(&reads),
                sleeps,
            };
            let address = ("10.0.0.1".parse().expect("an address"), 24);
            let host = Host::new(config, &[address], device.caps(), 1, [7; 32]).expect("a host");
            let clock = Clock::start();
            let mut worker = Worker::new(host, 0, Box::new(device), clock.now());
            let ended = run(&mut worker, clock, &Spinners::new(1));
            assert_eq!(ended.expect_err("gone").kind(), io::ErrorKind::BrokenPipe);
            let reads = reads.load(Ordering::Relaxed);
            assert_eq!(reads > sleeps + 1, looks, "{reads} reads");
        }
    }
}
