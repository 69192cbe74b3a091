//! Worker threads: one per device queue, on the machine's clock.
//!
//! A worker that finds nothing to do may spin for a short while before it sleeps; see `pauses` for
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

/// Longest pause that a worker spins through.
const SPIN: Duration = Duration::from_micros(60);

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
    let mut idle_since = None;
    let mut pauses = Pauses::new();
    let mut spinning = false;
    loop {
        let now = clock.now();
        let turn = worker.turn(now)?;
        if turn.stop {
            return Ok(());
        }
        if worker.is_frozen() {
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
        if pauses.spin() && pause < SPIN && (spinning || spinners.enter()) {
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
