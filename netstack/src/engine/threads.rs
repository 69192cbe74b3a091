//! Worker threads: one per device queue, on the machine's clock.
//!
//! A worker that finds nothing to do first spins for a short while, if its recent pauses were short:
//! waking a sleeping processor costs more than a round trip. It yields while it spins, and never more
//! than half of the processors' worth of workers spin at a time, so that whoever produces the packets
//! can run.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use super::clock::Clock;
use super::worker::Worker;
use crate::base::time::Duration;
use crate::device::Device;

/// Longest pause that is spun through.
const SPIN: Duration = Duration::from_micros(60);

/// Limits how many workers spin at a time.
#[derive(Debug)]
pub struct Spinners {
    running: AtomicUsize,
    limit: usize,
}

impl Spinners {
    /// At most `limit` at a time.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            running: AtomicUsize::new(0),
            limit,
        })
    }

    /// Half of the processors, at least one.
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

/// Starts a worker's thread. It ends when the worker is told to stop, or when its device fails.
pub fn start<D: Device + ?Sized>(
    name: String,
    mut worker: Worker<D>,
    clock: Clock,
    spinners: Arc<Spinners>,
) -> io::Result<JoinHandle<io::Result<()>>> {
    std::thread::Builder::new()
        .name(name)
        .spawn(move || run(&mut worker, clock, &spinners))
}

fn run<D: Device + ?Sized>(
    worker: &mut Worker<D>,
    clock: Clock,
    spinners: &Spinners,
) -> io::Result<()> {
    let mut last_busy = clock.now();
    // Pauses that ended within the spin, as a moving average in 1/16: spin only while they do.
    let mut short_pauses = 16_u32;
    let mut spinning = false;
    loop {
        let now = clock.now();
        let turn = worker.turn(now)?;
        if turn.stop {
            return Ok(());
        }
        if turn.busy {
            if spinning {
                spinners.leave();
                spinning = false;
            }
            last_busy = now;
            continue;
        }
        let pause = now - last_busy;
        if pause < SPIN && short_pauses >= 4 && (spinning || spinners.enter()) {
            spinning = true;
            std::thread::yield_now();
            continue;
        }
        if spinning {
            spinners.leave();
            spinning = false;
        }
        worker.park(now, turn.next_timer)?;
        let woke = clock.now();
        // What came soon enough would have been caught by spinning.
        let short = woke - last_busy < SPIN * 2;
        short_pauses = (short_pauses * 15 + if short { 256 } else { 0 }) / 16;
        short_pauses = short_pauses.min(16);
        last_busy = woke;
    }
}
