//! One worker's turn: take packets in, run what they concern, send what came of it.
//!
//! A turn runs to completion on one thread: read a batch of packets, take up messages, process each
//! packet, take up timers, wake and poll the tasks of this worker, let every connection that changed produce its
//! packets, send them in one batch. So an echo leaves in the turn that received it, and the
//! acknowledgements of a batch are one.
//!
//! Reads no clock: `now` is an argument, real or virtual.

use std::io;
use std::sync::Arc;

use lockorder::Key;

use super::wheel::TimerId;
use super::worker::{Progress, Worker, call_device};
use crate::base::Instant;
use crate::device::Device;
use crate::ip::receive::Origin;
use crate::stack::Host;
use crate::stack::levels::StackLocks;
use crate::stack::mailbox::Message;
use crate::stack::reached::{Mark, Stage};
use crate::stack::tcp::connection::Connection;
use crate::stack::turn::{Turn, WorkerState};
use crate::stack::{budget, foreign, ip, multicast, tcp, udp, worklist};

/// Messages, timers and task polls taken up per turn, each: a bound on a turn's length.
const WORK_BATCH: usize = 512;
/// Turns in a row with more packets than they take in, after which timers fire and FINs leave nevertheless.
const MOST_TURNS_BEHIND: u32 = 16;
/// Packets after which the transmit batch is sent before the turn's end.
const SEND_BATCH: usize = 128;

impl<D: Device + ?Sized> Worker<D> {
    /// Does everything that can be done at `now`.
    ///
    /// # Errors
    /// The device failed, or the turn was started inside another one.
    pub fn turn(&mut self, now: Instant) -> io::Result<Progress> {
        let mark = self.host.freeze.mark();
        if mark.stage() == Stage::Frozen {
            return Ok(self.rest(mark));
        }
        let Some(mut key) = Key::<StackLocks>::take() else {
            return Err(io::Error::other(
                "a worker's turn was started inside another's",
            ));
        };
        let key = &mut key;
        self.host.clock.advance(now);
        self.count_busy(now);
        // The device first, then what other workers handed over: whatever they handed over before this
        // read is older than what it got, since a flow moves to the queue of the worker that owns it.
        let mut busy = mark.stage() == Stage::Running && self.read_device(key, now)?;
        // After it: what was sent when a call had returned finds the address or group that the call added.
        self.state.renew(&self.host, key);
        self.follow_mtu(key, now);
        self.note_backlog();
        busy |= self.take_messages(key, now);
        self.state.renew(&self.host, key);
        self.receive(key, now);
        // What was armed in this turn is not due in it.
        if self.next_timer.is_some_and(|due| due <= now) {
            busy |= self.fire_timers(key, now);
        }
        let mut turn = Self::context(&self.host, key, &mut self.state, now);
        budget::rounds::tend(&mut turn, busy);
        busy |= self.run_tasks(key, now);
        // Tasks add addresses, too, and send from them.
        self.state.renew(&self.host, key);
        busy |= self.drive(key, now)?;
        self.send(key)?;
        busy |= self.loop_back(now);
        if foreign::has_deferred() {
            key.lend(foreign::drop_deferred);
        }
        self.host.workers.count_panics_of(self.state.index);
        self.next_timer = self.next_deadline();
        self.state.counters.set_timers(self.wheel.len());
        self.busy_since = busy.then_some(now);
        let left = busy && self.has_work(mark, now);
        let progress = Progress {
            busy,
            left,
            next_timer: self.next_timer,
            stop: self.stopping,
        };
        self.note_stage(mark, busy);
        #[cfg(any(test, feature = "invariants"))]
        self.check_turn(progress);
        Ok(progress)
    }

    /// Does nothing: the stack is frozen. It may end all the same.
    fn rest(&self, mark: Mark) -> Progress {
        self.host.workers[self.state.index].reached.note(mark);
        Progress {
            busy: false,
            left: false,
            next_timer: None,
            stop: self.stopping || self.host.ending.reason().is_some(),
        }
    }

    /// Returns true if the worker reads no packets now: its stack is frozen, or is about to be.
    pub(super) fn reads_nothing(&self) -> bool {
        self.host.freeze.mark().stage() != Stage::Running
    }

    /// Returns true if another turn has something to do that this one left or brought about.
    fn has_work(&self, mark: Mark, now: Instant) -> bool {
        // A stack that drains waits for a turn that finds nothing.
        mark.stage() != Stage::Running
            || self.is_full
            || !self.state.work.is_empty()
            || !self.loopback.is_empty()
            || self.next_timer.is_some_and(|due| due <= now)
    }

    /// Notes that nothing is left of what was read, while the stack drains.
    fn note_stage(&self, mark: Mark, busy: bool) {
        if mark.stage() == Stage::Draining && !busy {
            let worker = &self.host.workers[self.state.index];
            worker.reached.note(mark);
        }
    }

    /// Returns the earliest deadline of this worker's connections, handshakes, memory rounds and sleeping tasks, and of
    /// the stack's reassembly and reports of multicast groups.
    fn next_deadline(&self) -> Option<Instant> {
        let connections = self.wheel.next_deadline();
        let fragments = self.host.ip.reassembly.deadline();
        let round = budget::rounds::deadline(&self.state);
        let handshakes = self.state.alarms.next();
        let tasks = self.host.workers[self.state.index].sleepers.earliest();
        let groups = self.host.groups.deadline();
        let deadlines = [connections, fragments, round, handshakes, tasks, groups];
        let first = deadlines
            .into_iter()
            .map(|deadline| deadline.unwrap_or(Instant::FAR_FUTURE))
            .min();
        first.filter(|&first| first != Instant::FAR_FUTURE)
    }

    /// Returns the context of this turn.
    fn context<'a>(
        host: &'a Host,
        key: &'a mut Key<StackLocks>,
        worker: &'a mut WorkerState,
        now: Instant,
    ) -> Turn<'a> {
        Turn {
            host,
            key,
            worker,
            now,
        }
    }

    /// Reads a batch of packets from the device, and its MTU; true if there were any packets.
    fn read_device(&mut self, key: &mut Key<StackLocks>, now: Instant) -> io::Result<bool> {
        let counters = &self.state.counters;
        let (device, received) = (&mut self.device, &mut self.received);
        let (buffers, batch, onlookers) = (&self.host.buffers, self.batch, &mut self.onlookers);
        let read = || {
            device.recv_batch(received, batch, buffers, now, counters)?;
            onlookers.ask();
            Ok(device.caps().mtu)
        };
        // A device may be the program's: nothing is locked, and the key is free for it.
        let mtu = key.lend(|| call_device(read))?;
        if mtu != self.device_mtu {
            self.device_mtu = mtu;
            self.host.ip.paths.set_link_mtu(mtu);
            tracing::info!(
                mtu,
                worker = self.state.index,
                "the MTU of the link changed"
            );
        }
        Ok(!self.received.is_empty())
    }

    /// Drives the connections of this worker if the link carries less than in the turn before: what they have in flight
    /// may be lost, and is sent again in segments that fit.
    fn follow_mtu(&mut self, key: &mut Key<StackLocks>, now: Instant) {
        let before = std::mem::replace(&mut self.link_mtu, self.host.ip.paths.link_mtu());
        if self.link_mtu >= before {
            return;
        }
        let mut turn = Self::context(&self.host, key, &mut self.state, now);
        // Whatever has something in flight has a timer.
        for connection in self.wheel.values() {
            turn.drive_later(connection);
        }
    }

    /// Notes whether the device has more packets than this turn takes in. After some such turns in a row, the next one
    /// counts as one that read everything: under constant load, timers are late but not lost.
    fn note_backlog(&mut self) {
        self.is_full = self.received.len() >= self.batch;
        self.turns_behind = if self.is_full {
            self.turns_behind + 1
        } else {
            0
        };
        self.state.is_behind = self.is_full && !self.turns_behind.is_multiple_of(MOST_TURNS_BEHIND);
    }

    /// Processes the packets that were read from the device.
    fn receive(&mut self, key: &mut Key<StackLocks>, now: Instant) {
        let mut turn = Self::context(&self.host, key, &mut self.state, now);
        for packet in self.received.drain(..) {
            self.onlookers.take_in(&mut turn, packet, Origin::Received);
        }
        self.onlookers.after_batch(&mut turn);
        if self.loopback.is_empty() {
            return;
        }
        let mut looped = self.loopback.take();
        for packet in looped.drain(..) {
            ip::inbound::receive(&mut turn, packet, Origin::Looped);
        }
        self.loopback.put_back(looped);
    }

    /// Keeps what the stack sent to itself for the next turn; true if there was anything.
    fn loop_back(&mut self, now: Instant) -> bool {
        let sent = &mut self.state.work.looped;
        if !sent.is_empty() {
            let buffers = &self.host.buffers;
            self.loopback.fill(sent, buffers, &self.state.counters, now);
        }
        !self.loopback.is_empty()
    }

    fn take_messages(&mut self, key: &mut Key<StackLocks>, now: Instant) -> bool {
        if self.mailbox.is_empty() {
            return false;
        }
        let (mut decided, mut is_restored) = (Vec::new(), false);
        for _ in 0..WORK_BATCH {
            let work = &mut self.state.work;
            match self.mailbox.pop() {
                Some(Message::Drive(connection)) => work.tasks.connections.push(connection),
                Some(Message::Task(id)) => work.tasks.ready.push(id),
                Some(Message::Spawn(future)) => work.spawn.push(future),
                // The next deadline is computed at the end of each turn.
                Some(Message::Timer) => {}
                Some(Message::Restored) => is_restored = true,
                Some(Message::Decided(decision)) => decided.push(*decision),
                Some(Message::Stop) => self.stopping = true,
                None => break,
            }
        }
        if is_restored {
            self.state.look_after_all(&self.host, key);
        }
        let mut turn = Self::context(&self.host, key, &mut self.state, now);
        for (asked, decision) in decided {
            tcp::decide::on_decision(&mut turn, asked, decision);
        }
        for _ in 0..WORK_BATCH {
            let Some(packet) = self.mailbox.pop_arrival() else {
                break;
            };
            turn.worker.renew(turn.host, turn.key);
            self.onlookers
                .take_in(&mut turn, packet, Origin::HandedOver);
        }
        let outgoing = &mut self.state.work.tasks.datagrams;
        while outgoing.has_room()
            && let Some(datagram) = self.mailbox.pop_departure()
        {
            outgoing.push(datagram);
        }
        self.state.work.wakers.extend(self.mailbox.take_senders());
        true
    }

    fn fire_timers(&mut self, key: &mut Key<StackLocks>, now: Instant) -> bool {
        let sleepers = &self.host.workers[self.state.index].sleepers;
        let wakers = &mut self.state.work.wakers;
        sleepers.wake_due(&mut key.ctx(), now, WORK_BATCH, wakers);
        if self.state.is_behind {
            // What a timer says is missing may have arrived, and what it sends again would be answered again.
            return false;
        }
        let mut turn = Self::context(&self.host, key, &mut self.state, now);
        let mut busy = ip::inbound::on_reassembly_timeout(&mut turn);
        busy |= multicast::timers::on_timeout(&mut turn);
        busy |= tcp::timers::on_alarms(&mut turn, WORK_BATCH);
        for _ in 0..WORK_BATCH {
            let Some((_, connection)) = self.wheel.pop_due(now) else {
                break;
            };
            connection.set_timer(None);
            tcp::timers::on_timeout(&mut turn, &connection);
            busy = true;
        }
        busy
    }

    /// Wakes the tasks, starts the services and delivers the events that this turn's packets and timers
    /// concern, then polls the tasks that can go on: code of the program, with nothing locked. True if a task
    /// was polled.
    fn run_tasks(&mut self, key: &mut Key<StackLocks>, now: Instant) -> bool {
        let work = &mut self.state.work;
        let called = !work.wakers.is_empty() || !work.serve.is_empty() || !work.events.is_empty();
        let tasks_wait = !work.tasks.ready.is_empty() || !work.spawn.is_empty();
        if !called && !tasks_wait && !foreign::has_deferred() {
            return false;
        }
        let (subscription, tasks) = (&self.host.subscription, &mut self.tasks);
        let id = work.tasks.mailbox;
        work.tasks.now = Some(now);
        let mut ready = Vec::new();
        let polled = key.lend(|| {
            worklist::scope(&mut work.tasks, || {
                foreign::drop_deferred();
                subscription.deliver(&mut work.events);
                for (service, connection) in work.serve.drain(..) {
                    work.spawn.extend(service.start(connection));
                }
                foreign::wake_all(work.wakers.drain(..));
                // Tasks that are woken from here on are polled in the next turn.
                worklist::with(id, |list| ready = std::mem::take(&mut list.ready));
                ready.extend(work.spawn.drain(..).map(|future| tasks.insert(future)));
                let polled = !ready.is_empty();
                for id in ready.drain(..) {
                    tasks.poll(id);
                }
                foreign::drop_deferred();
                polled
            })
        });
        keep_allocation(&mut work.tasks.ready, ready);
        polled
    }

    /// Lets every connection that changed produce packets and set its timer.
    fn drive(&mut self, key: &mut Key<StackLocks>, now: Instant) -> io::Result<bool> {
        let mut turn = Self::context(&self.host, key, &mut self.state, now);
        let datagrams = udp::outbound::send_queued(&mut turn);
        let work = &mut self.state.work;
        if !self.state.is_behind && !work.parting.is_empty() {
            // Each FIN is answered by a packet: no more of them than one turn takes in.
            let parting = self.batch.min(work.parting.len());
            let connections = &mut work.tasks.connections;
            connections.extend(work.parting.drain(..parting));
        }
        if work.tasks.connections.is_empty() {
            return Ok(datagrams);
        }
        let mut connections = std::mem::take(&mut self.state.work.tasks.connections);
        for connection in connections.drain(..) {
            let mut turn = Self::context(&self.host, key, &mut self.state, now);
            let deadline = tcp::outbound::drive(&mut turn, &connection);
            self.set_timer(&connection, deadline);
            #[cfg(any(test, feature = "invariants"))]
            key.lend(|| self.check_timer(&connection));
            if self.state.work.transmit.len() >= SEND_BATCH {
                self.send(key)?;
            }
        }
        keep_allocation(&mut self.state.work.tasks.connections, connections);
        Ok(true)
    }

    /// Timers move forward lazily: one that is armed earlier than needed stays, and finds out when it
    /// fires.
    fn set_timer(&mut self, connection: &Arc<Connection>, deadline: Option<Instant>) {
        let armed = connection
            .timer()
            .and_then(|(raw, at)| TimerId::from_raw(raw).map(|id| (id, at)));
        match (armed, deadline) {
            (None, Some(deadline)) => {
                let id = self.wheel.arm(deadline, Arc::clone(connection));
                connection.set_timer(Some((id.to_raw(), deadline)));
            }
            (Some((id, at)), Some(deadline)) if deadline < at => {
                self.wheel.rearm(id, deadline);
                connection.set_timer(Some((id.to_raw(), deadline)));
            }
            (Some((id, _)), None) => {
                self.wheel.cancel(id);
                connection.set_timer(None);
            }
            _ => {}
        }
    }

    fn send(&mut self, key: &mut Key<StackLocks>) -> io::Result<()> {
        let batch = &mut self.state.work.transmit;
        if batch.is_empty() {
            return Ok(());
        }
        let (device, counters) = (&mut self.device, &self.state.counters);
        key.lend(|| call_device(|| device.send_batch(batch, counters)))
    }
}

/// Puts an emptied list back for its allocation, unless new entries came in meanwhile.
fn keep_allocation<T>(list: &mut Vec<T>, emptied: Vec<T>) {
    if list.is_empty() {
        *list = emptied;
    }
}
