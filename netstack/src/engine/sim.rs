//! Virtual time: several stacks on in-memory links, turned by one thread, with the same code as on the
//! machine's clock.
//!
//! A step turns every worker until none has anything left to do at this instant, then moves the time
//! to the next packet or timer. With seeded links and stacks, a run repeats exactly.
//!
//! See `tests/tests/simulation.rs` for a test that runs stacks on virtual time.

use std::io;
use std::sync::Arc;

use super::worker::Worker;
use crate::base::Instant;
use crate::device::memory::LinkDevice;
use crate::stack::Host;
use crate::stack::task::TaskFuture;

/// Turns at one instant before a simulation calls it a livelock.
const TURNS_PER_INSTANT: usize = 1_000_000;

/// Stacks on virtual time.
pub struct Simulation {
    now: Instant,
    workers: Vec<Worker<LinkDevice>>,
    #[cfg(any(test, feature = "invariants"))]
    hosts: Vec<Arc<Host>>,
}

/// The result of a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// The time moved.
    Moved,
    /// The simulation is quiet: no packet and no timer is left.
    Quiet,
}

impl Simulation {
    /// Creates an empty simulation whose clock stands at `start`.
    pub fn new(start: Instant) -> Self {
        Self {
            now: start,
            workers: Vec::new(),
            #[cfg(any(test, feature = "invariants"))]
            hosts: Vec::new(),
        }
    }

    /// Returns the virtual time.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Adds worker number `index` of a stack on its end of a link; returns its place here.
    pub fn add(&mut self, host: &Arc<Host>, index: usize, device: LinkDevice) -> usize {
        let worker = Worker::new(Arc::clone(host), index, Box::new(device), self.now);
        self.workers.push(worker);
        #[cfg(any(test, feature = "invariants"))]
        if index == 0 {
            self.hosts.push(Arc::clone(host));
        }
        self.workers.len() - 1
    }

    /// Starts a task on the worker at `place`.
    pub fn spawn(&mut self, place: usize, future: TaskFuture) {
        if let Some(worker) = self.workers.get_mut(place) {
            worker.spawn(future);
        }
    }

    /// Returns the number of tasks on the worker at `place`.
    pub fn tasks(&self, place: usize) -> usize {
        self.workers.get(place).map_or(0, Worker::tasks)
    }

    /// Returns the device of the worker at `place`.
    pub fn device(&mut self, place: usize) -> Option<&mut LinkDevice> {
        self.workers.get_mut(place).map(Worker::device)
    }

    /// Exchanges the devices of the workers at two places: each receives the other's packets from now
    /// on, as when the kernel steers flows to other queues.
    pub fn swap_devices(&mut self, a: usize, b: usize) {
        if let Ok([a, b]) = self.workers.get_disjoint_mut([a, b]) {
            a.swap_devices(b);
        }
    }

    /// Does everything that can be done now, then moves to the next event, but not beyond `limit`.
    ///
    /// # Errors
    /// A device failed, or the stacks never came to rest at one instant.
    pub fn step(&mut self, limit: Instant) -> io::Result<Step> {
        let mut next;
        let mut turns = 0;
        loop {
            let mut busy = false;
            next = None;
            for worker in &mut self.workers {
                let turn = worker.turn(self.now)?;
                busy |= turn.busy;
                let deadline = [turn.next_timer, worker.device().next_delivery()];
                next = deadline.into_iter().flatten().chain(next).min();
            }
            if !busy && next.is_none_or(|next| next > self.now) {
                break;
            }
            turns += 1;
            if turns > TURNS_PER_INSTANT {
                return Err(io::Error::other(format!(
                    "the stacks do not come to rest at {:?}",
                    self.now
                )));
            }
            if !busy {
                // A timer of this instant that lies within the wheel's current tick.
                self.now = self.now + crate::base::time::Duration::from_nanos(1);
            }
        }
        #[cfg(any(test, feature = "invariants"))]
        self.check_at_rest();
        match next {
            Some(next) => {
                self.now = next.min(limit).max(self.now);
                for worker in &self.workers {
                    worker.advance(self.now);
                }
                Ok(Step::Moved)
            }
            None => Ok(Step::Quiet),
        }
    }

    /// Checks each host's invariants, as long as it has few enough connections to look at.
    #[cfg(any(test, feature = "invariants"))]
    fn check_at_rest(&self) {
        const CONNECTIONS: usize = 256;
        for host in &self.hosts {
            if host.tcp.connections.len() <= CONNECTIONS {
                crate::stack::check::check_at_rest(host);
            }
        }
    }

    /// Steps until `done`, until nothing will happen any more, or until `limit`. True if `done`.
    ///
    /// # Errors
    /// As [`Simulation::step`].
    pub fn run_until(
        &mut self,
        limit: Instant,
        mut done: impl FnMut(&mut Self) -> bool,
    ) -> io::Result<bool> {
        loop {
            if done(self) {
                return Ok(true);
            }
            if self.now >= limit {
                return Ok(false);
            }
            if self.step(limit)? == Step::Quiet {
                return Ok(done(self));
            }
        }
    }
}
