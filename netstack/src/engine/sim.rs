//! Virtual time: several stacks, turned by one thread, with the same code as on the machine's clock.
//!
//! A step turns every worker until none has anything left to do at this instant, then moves the time
//! to the next packet or timer. With seeded links and stacks, a run repeats exactly.
//!
//! See `netstack/examples/virtual_time.rs` for a program that tests its own protocol under loss.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::worker::Worker;
use crate::base::{Instant, Rng};
use crate::device::Device;
use crate::stack::Host;

/// Turns at one instant before a simulation calls it a livelock.
const TURNS_PER_INSTANT: usize = 1_000_000;
/// Of so many turns of a seeded order, one does not take place.
const HELD_UP_OF: u32 = 8;

/// Stacks on virtual time.
pub struct Simulation {
    now: Instant,
    /// `None`: the worker was removed.
    workers: Vec<Option<Worker<dyn Device>>>,
    /// Decides the order of the workers, if it is not that of their places.
    order: Option<Rng>,
    /// Tasks of [`Simulation::spawn`] that have not ended.
    unfinished: Arc<AtomicUsize>,
    /// The places without a worker for which a task was spawned.
    misplaced: Vec<usize>,
    contains_panics: bool,
    #[cfg(any(test, feature = "invariants"))]
    hosts: Vec<Arc<Host>>,
}

/// The result of a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// The time moved, and more packets or timers are to come.
    Moved,
    /// No packet and no timer is left: nothing more will happen by itself, whatever tasks still wait for.
    Quiet,
}

/// A task that is counted until it ends.
struct Unfinished(Arc<AtomicUsize>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Simulation {
    /// Creates an empty simulation whose clock stands at `start`.
    pub fn new(start: Instant) -> Self {
        Self {
            now: start,
            workers: Vec::new(),
            order: None,
            unfinished: Arc::default(),
            misplaced: Vec::new(),
            contains_panics: false,
            #[cfg(any(test, feature = "invariants"))]
            hosts: Vec::new(),
        }
    }

    /// Returns the virtual time.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Adds worker number `index` of a stack on a device of its own; returns its place here.
    ///
    /// The device may be of any kind: an end of a link of [`memory`](crate::device::memory), a packet channel whose
    /// pipe the program serves between two steps, or one of the program's with its own
    /// [`next_delivery`](Device::next_delivery).
    pub fn add(&mut self, host: &Arc<Host>, index: usize, device: impl Device) -> usize {
        let device: Box<dyn Device> = Box::new(device);
        let worker = Worker::new(Arc::clone(host), index, device, self.now);
        self.workers.push(Some(worker));
        #[cfg(any(test, feature = "invariants"))]
        if index == 0 {
            self.hosts.push(Arc::clone(host));
        }
        self.workers.len() - 1
    }

    /// Removes the worker at `place`, as when the machine that it runs on loses its power: it sends nothing more, and its
    /// tasks are dropped. To end a whole stack like this, call [`Stack::abort`](crate::net::Stack::abort) and
    /// remove each of its workers before the next step.
    pub fn remove(&mut self, place: usize) {
        if let Some(worker) = self.workers.get_mut(place).and_then(Option::take) {
            #[cfg(any(test, feature = "invariants"))]
            {
                let host = worker.host();
                self.hosts.retain(|other| !Arc::ptr_eq(other, &host));
            }
            worker.finish();
        }
    }

    /// Lets `order` decide at each instant in which order the workers are turned, and which of them are held up while
    /// others go on, as threads are. By default they are turned by their places.
    pub fn interleave(&mut self, order: Rng) {
        self.order = Some(order);
    }

    /// Starts a task on the worker at `place`, for which [`Simulation::run`] waits. The next step fails if there is no
    /// such worker.
    ///
    /// A task that serves for ever is started by [`Stack::spawn_on`](crate::net::Stack::spawn_on).
    pub fn spawn(&mut self, place: usize, future: impl Future<Output = ()> + Send + 'static) {
        let Some(Some(worker)) = self.workers.get_mut(place) else {
            self.misplaced.push(place);
            return;
        };
        self.unfinished.fetch_add(1, Ordering::Relaxed);
        let unfinished = Unfinished(Arc::clone(&self.unfinished));
        worker.spawn(Box::pin(async move {
            let _unfinished = unfinished;
            future.await;
        }));
    }

    /// Returns the number of tasks of [`Simulation::spawn`] that have not ended.
    pub fn unfinished(&self) -> usize {
        self.unfinished.load(Ordering::Relaxed)
    }

    /// Returns the number of tasks on the worker at `place`, services included.
    pub fn tasks(&self, place: usize) -> usize {
        let worker = self.workers.get(place).and_then(Option::as_ref);
        worker.map_or(0, Worker::tasks)
    }

    /// Lets the simulation go on when a task panics, as a worker thread does. By default it fails.
    pub fn contain_panics(&mut self) {
        self.contains_panics = true;
    }

    /// Exchanges the devices of the workers at two places: each receives the other's packets from now
    /// on, as when the kernel steers flows to other queues.
    pub fn swap_devices(&mut self, a: usize, b: usize) {
        if let Ok([Some(a), Some(b)]) = self.workers.get_disjoint_mut([a, b]) {
            a.swap_devices(b);
        }
    }

    /// Does everything that can be done now, then moves to the next event, but not beyond `limit`. If there was
    /// nothing to do and there is no event, moves to `limit`.
    ///
    /// # Errors
    /// A device failed, a task panicked or has no worker, or the stacks never came to rest at one instant.
    pub fn step(&mut self, limit: Instant) -> io::Result<Step> {
        if let Some(place) = self.misplaced.pop() {
            let workers = self.workers.len();
            return Err(io::Error::other(format!(
                "a task was spawned at place {place}, but there are {workers} workers"
            )));
        }
        let (did_something, next) = self.do_everything()?;
        #[cfg(any(test, feature = "invariants"))]
        self.check_at_rest();
        match next {
            Some(next) => self.advance(next.min(limit)),
            None if !did_something => self.advance(limit),
            None => {}
        }
        Ok(next.map_or(Step::Quiet, |_| Step::Moved))
    }

    /// Turns the workers until nothing is left to do at this instant. Returns whether anything was done, and the time
    /// of the next event.
    fn do_everything(&mut self) -> io::Result<(bool, Option<Instant>)> {
        let mut did_something = false;
        for _ in 0..TURNS_PER_INSTANT {
            let (mut busy, mut next) = (false, None);
            for place in self.next_pass() {
                let Some(place) = place else {
                    // It is held up: this pass does not show that all are at rest.
                    busy = true;
                    continue;
                };
                let (turned, event) = self.turn(place)?;
                did_something |= turned;
                busy |= turned;
                next = event.into_iter().chain(next).min();
            }
            if !busy && next.is_none_or(|next| next > self.now) {
                return Ok((did_something, next));
            }
            if !busy {
                // A timer of this instant that lies within the wheel's current tick.
                self.now = self.now + crate::base::time::Duration::from_nanos(1);
            }
        }
        Err(io::Error::other(format!(
            "the stacks do not come to rest at {:?}",
            self.now
        )))
    }

    /// Returns the places of the workers in the order of the next pass; `None` for one that is held up.
    fn next_pass(&mut self) -> Vec<Option<usize>> {
        let mut places: Vec<_> = (0..self.workers.len()).map(Some).collect();
        let Some(order) = &mut self.order else {
            return places;
        };
        for last in (1..places.len()).rev() {
            places.swap(last, order.below(last as u32 + 1) as usize);
        }
        for place in &mut places {
            if order.below(HELD_UP_OF) == 0 {
                *place = None;
            }
        }
        places
    }

    /// Turns one worker. Returns whether it did anything, and the time of its next event.
    fn turn(&mut self, place: usize) -> io::Result<(bool, Option<Instant>)> {
        let Some(Some(worker)) = self.workers.get_mut(place) else {
            return Ok((false, None));
        };
        let turn = worker.turn(self.now)?;
        match worker.take_panic() {
            Some(message) if !self.contains_panics => {
                let now = self.now;
                return Err(io::Error::other(format!(
                    "a task at place {place} panicked at {now:?}: {message}"
                )));
            }
            _ => {}
        }
        let events = [turn.next_timer, worker.next_delivery()];
        Ok((turn.busy, events.into_iter().flatten().min()))
    }

    fn advance(&mut self, to: Instant) {
        self.now = self.now.max(to);
        for worker in self.workers.iter().flatten() {
            worker.advance(self.now);
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

    /// Steps until `done`, or until `limit`. True if `done`.
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
            self.step(limit)?;
        }
    }

    /// Steps until every task of [`Simulation::spawn`] has ended.
    ///
    /// # Errors
    /// As [`Simulation::step`], or tasks are left at `limit`.
    pub fn run(&mut self, limit: Instant) -> io::Result<()> {
        if self.run_until(limit, |sim| sim.unfinished() == 0)? {
            return Ok(());
        }
        let left = self.unfinished();
        Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("{left} tasks have not ended at {limit:?}"),
        ))
    }
}
