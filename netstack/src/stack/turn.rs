//! What one worker has to itself: no lock, no sharing.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use lockorder::Key;

use crate::base::{Counters, Instant, Rng};
use crate::ip::fragment::Identification;
use crate::stack::deferred::Deferred;
use crate::stack::host::Shared;
use crate::stack::ip::addressing::Addressing;
use crate::stack::levels::StackLocks;
use crate::stack::local::Local;
use crate::stack::tcp::connection::ConnCell;

/// One worker's own state.
pub struct WorkerState {
    /// Its number.
    pub index: usize,
    /// Its counters.
    pub counters: Arc<Counters>,
    /// Lists of what this turn has to do.
    pub local: Local,
    /// Calls to be made when nothing is locked.
    pub deferred: Deferred,
    /// The current addressing, as of this turn.
    pub(crate) addressing: Arc<Addressing>,
    addressing_version: u64,
    pub(crate) rng: Rng,
    pub(crate) identification: Identification,
    /// The time of this turn.
    pub(crate) now: Instant,
    /// When the oldest incomplete datagram expires, as of this turn.
    pub(crate) reassembly_deadline: Instant,
}

impl WorkerState {
    /// The state of worker `index` of `shared`.
    pub fn new(shared: &Shared, index: usize, now: Instant) -> Self {
        let mut seed = shared.seed;
        seed[0] ^= index as u8 + 1;
        seed[1] ^= (index >> 8) as u8;
        let rng = Rng::from_seed(seed);
        let addressing = crate::stack::host::locked(|key| shared.addressing(key));
        Self {
            index,
            counters: Arc::clone(&shared.workers[index].counters),
            local: Local {
                mailbox: shared.workers[index].mailbox.id(),
                ..Local::default()
            },
            deferred: Deferred::default(),
            addressing,
            addressing_version: 0,
            identification: shared
                .identification
                .for_worker(index as u32, shared.workers.len() as u32),
            rng,
            now,
            reassembly_deadline: Instant::FAR_FUTURE,
        }
    }

    /// Takes up what changed since the last turn.
    pub fn begin_turn(&mut self, shared: &Shared, key: &mut Key<StackLocks>, now: Instant) {
        self.now = now;
        let version = shared.addressing_version.load(Ordering::Acquire);
        if version != self.addressing_version {
            self.addressing = shared.addressing(key);
            self.addressing_version = version;
        }
        self.reassembly_deadline =
            Instant::from_nanos(shared.reassembly_deadline.load(Ordering::Relaxed));
    }

    /// The connection may have something to send at the end of this turn.
    pub(crate) fn mark_dirty(&mut self, cell: &Arc<ConnCell>) {
        if cell.mark() {
            self.local.dirty.push(Arc::clone(cell));
        }
    }

    /// When this worker has to look at the stack's own timers.
    pub fn next_timer(&self) -> Option<Instant> {
        (self.reassembly_deadline != Instant::FAR_FUTURE).then_some(self.reassembly_deadline)
    }
}
