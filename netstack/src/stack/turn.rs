//! The context of one worker's turn: the shared host, this thread's key, and the worker's own state.

use std::sync::Arc;

use lockorder::Key;

use super::budget::holders::Holders;
use super::host::Host;
use super::ip::addressing::Addressing;
use super::levels::StackLocks;
use super::tcp::alarms::Alarms;
use super::tcp::connection::Connection;
use super::tcp::crowd::Crowd;
use super::tcp::shard::Resend;
use super::worklist::{TaskWork, Worklist};
use crate::base::counters::{Counter, DropReason};
use crate::base::mib::Tally;
use crate::base::{Counters, FateCell, Instant, Rng};
use crate::ip::fragment::Identification;
use crate::ip::peer::SampleRate;
use crate::tcp::MetricsCache;

/// The state that one worker has to itself: no lock, no sharing.
pub struct WorkerState {
    /// Its number.
    pub index: usize,
    /// Its counters.
    pub counters: Arc<Counters>,
    /// The fate of the packet that is taken in.
    pub(crate) fate: FateCell,
    /// The objects of the MIBs, in these counters.
    pub(crate) tally: Tally,
    /// The work of this turn.
    pub work: Worklist,
    /// The device has more packets than this turn takes in: answers may be among them.
    pub(crate) is_behind: bool,
    /// The addresses and routes, as of the beginning of the turn.
    pub(crate) addressing: Arc<Addressing>,
    addressing_version: u64,
    pub(crate) rng: Rng,
    pub(crate) identification: Identification,
    /// The times at which it looks for handshakes and TIME-WAITs that are due.
    pub(crate) alarms: Alarms,
    /// SYN-ACKs to send again; empty between looks, kept for its allocation.
    pub(crate) resend: Vec<Resend<Arc<Connection>>>,
    /// The share of SYNs to a full queue for which it looks for a peer that crowds the others out.
    pub(crate) sample_rate: SampleRate,
    /// Its last sample of a full table of connections.
    pub(crate) crowd: Option<Crowd>,
    /// The properties of paths that its connections measured.
    pub(in crate::stack) metrics: MetricsCache,
    /// Its connections that hold memory.
    pub(in crate::stack) holders: Holders,
}

impl WorkerState {
    /// Creates the state of worker `index` of `host`.
    pub fn new(host: &Host, index: usize) -> Self {
        let mut seed = host.seed;
        seed[0] ^= index as u8 + 1;
        seed[1] ^= (index >> 8) as u8;
        let mut rng = Rng::from_seed(seed);
        Self {
            index,
            metrics: MetricsCache::new(rng.u64()),
            counters: Arc::clone(&host.workers[index].counters),
            fate: FateCell::default(),
            tally: Tally::new(&host.workers[index].counters),
            work: Worklist {
                tasks: TaskWork {
                    mailbox: host.workers[index].mailbox.id(),
                    ..TaskWork::default()
                },
                ..Worklist::default()
            },
            is_behind: false,
            addressing_version: host.ip.addressing.version(),
            addressing: host.ip.addressing.get(),
            rng,
            alarms: Alarms::default(),
            resend: Vec::new(),
            sample_rate: SampleRate::default(),
            crowd: None,
            holders: Holders::default(),
            identification: host
                .ip
                .identification
                .for_worker(index as u32, host.workers.count() as u32),
        }
    }

    /// Looks after every entry of the connection table that has a deadline, as if this worker had added it.
    pub(crate) fn look_after_all(&mut self, host: &Host, key: &mut Key<StackLocks>) {
        for (shard, at) in host.tcp.connections.deadlines(&mut key.ctx()) {
            self.alarms.note(shard, at);
        }
    }

    /// Takes up changes of the host's addresses.
    #[inline]
    pub(crate) fn renew(&mut self, host: &Host, key: &mut Key<StackLocks>) {
        let version = host.ip.addressing.version();
        if version != self.addressing_version {
            self.addressing = host.ip.addressing.read(&mut key.ctx());
            self.addressing_version = version;
        }
    }
}

/// One turn of one worker. Whoever has it holds no lock of the stack.
pub struct Turn<'a> {
    /// The host.
    pub host: &'a Host,
    /// This thread's key: the proof that nothing is locked.
    pub key: &'a mut Key<StackLocks>,
    /// The worker's own state.
    pub worker: &'a mut WorkerState,
    /// The time of the turn.
    pub now: Instant,
}

impl Turn<'_> {
    /// Counts a packet that is discarded: the one that is taken in, or an answer to it.
    pub(crate) fn drop_packet(&self, reason: DropReason) {
        self.drop_other(reason);
        self.worker.fate.discard(reason);
    }

    /// Counts a packet that is discarded, other than the one that is taken in.
    pub(crate) fn drop_other(&self, reason: DropReason) {
        self.worker.counters.drop_packet(reason);
    }

    /// Counts `count` of `counter`.
    pub(crate) fn count(&self, counter: Counter, count: u64) {
        self.worker.counters.add(counter, count);
    }

    /// Queues a connection for the end of its owner's turn: it may have something to send.
    ///
    /// The owner is this worker, unless the flow changed hands while a segment was on its way here.
    pub(crate) fn drive_later(&mut self, connection: &Arc<Connection>) {
        if usize::from(connection.owner) != self.worker.index {
            self.host.workers.drive(connection);
        } else if connection.mark() {
            self.worker
                .work
                .tasks
                .connections
                .push(Arc::clone(connection));
        }
    }
}
