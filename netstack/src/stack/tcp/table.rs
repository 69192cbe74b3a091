//! The connection table: sharded, each shard locked only to look up or to change one entry.

mod restore;
mod time_waits;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use lockorder::{LockBefore, LockCtx, RwLock};

use super::super::levels;
use super::connection::{Connection, Listener};
use super::shard::{Ended, Expired, Found, HalfOpenEntry, HalfOpenQueue, Resend, Shard};
use crate::base::{Instant, Rng};
use crate::demux::flow_queue::EntryId;
use crate::demux::{FlowKey, HashedFlow};
use crate::ip::key::HashKey;
use crate::ip::peer::{SAMPLE, SampleRate};
use crate::tcp::SeqNum;

/// The number of shards.
pub(crate) const SHARDS: usize = 32;

/// A shard behind its lock.
struct Locked {
    shard: RwLock<levels::Tables, Shard<Arc<Connection>>>,
    /// The end of the TIME-WAIT that ends first, in nanoseconds.
    first_time_wait: AtomicU64,
}

/// Time between two lines in the log about a full table: a flood must not fill the log.
const FULL_LOG_PAUSE: Duration = Duration::from_secs(10);

/// Every connection of the stack, by its four-tuple; and what is half open or in TIME-WAIT.
pub(crate) struct ConnectionTable {
    secret: HashKey,
    shards: Box<[Locked]>,
    /// Connections, and the most that there may be.
    len: AtomicUsize,
    limit: AtomicUsize,
    /// The same for TIME-WAIT.
    time_waits: AtomicUsize,
    time_wait_limit: AtomicUsize,
    /// When a full table is logged again, in nanoseconds.
    full_logged: AtomicU64,
}

/// The reason why a connection could not be inserted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InsertError {
    /// The flow exists.
    Exists,
    /// The table is full.
    Full,
}

/// The place of a new entry with a deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) shard: usize,
    /// Another TIME-WAIT ended early for this one.
    pub(crate) recycled: bool,
}

impl ConnectionTable {
    /// Creates a table for at most `limit` connections, and `time_wait_limit` in TIME-WAIT.
    pub(crate) fn new(secret: HashKey, limit: usize, time_wait_limit: usize) -> Self {
        let locked = |_| Locked {
            shard: RwLock::new(Shard::new(secret)),
            first_time_wait: AtomicU64::new(u64::MAX),
        };
        Self {
            shards: (0..SHARDS).map(locked).collect(),
            secret,
            len: AtomicUsize::new(0),
            limit: AtomicUsize::new(limit),
            time_waits: AtomicUsize::new(0),
            time_wait_limit: AtomicUsize::new(time_wait_limit),
            full_logged: AtomicU64::new(0),
        }
    }

    fn hashed(&self, flow: &FlowKey) -> HashedFlow {
        HashedFlow::new(*flow, &self.secret)
    }

    fn shard(&self, flow: &HashedFlow) -> &RwLock<levels::Tables, Shard<Arc<Connection>>> {
        &self.shards[flow.shard(SHARDS)].shard
    }

    /// Returns the number of connections: those that are half open or in TIME-WAIT do not count.
    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::Acquire)
    }

    /// Returns true if no connection can be inserted now.
    pub(crate) fn is_full(&self) -> bool {
        self.len() >= self.limit()
    }

    /// Returns true if a refusal because of the limit should be logged: once in [`FULL_LOG_PAUSE`].
    pub(crate) fn should_log_full(&self, now: Instant) -> bool {
        let due = self.full_logged.load(Ordering::Relaxed);
        let next = (now + FULL_LOG_PAUSE).as_nanos();
        let order = Ordering::Relaxed;
        now.as_nanos() >= due
            && self
                .full_logged
                .compare_exchange(due, next, order, order)
                .is_ok()
    }

    /// Returns the most connections that there may be.
    pub(crate) fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// Returns the most connections that there may be in TIME-WAIT.
    pub(crate) fn time_wait_limit(&self) -> usize {
        self.time_wait_limit.load(Ordering::Relaxed)
    }

    /// Changes both. Those that are there stay, though they may be more.
    pub(crate) fn set_limits(&self, connections: usize, time_waits: usize) {
        self.limit.store(connections, Ordering::Relaxed);
        self.time_wait_limit.store(time_waits, Ordering::Relaxed);
    }

    /// Returns the number of connections in TIME-WAIT.
    pub(crate) fn time_waits(&self) -> usize {
        self.time_waits.load(Ordering::Acquire)
    }

    /// Returns the occupant of a four-tuple.
    #[inline]
    pub(crate) fn find<L>(&self, ctx: &mut LockCtx<'_, L>, flow: &FlowKey) -> Found<Arc<Connection>>
    where
        L: LockBefore<levels::Tables>,
    {
        let flow = self.hashed(flow);
        self.shard(&flow)
            .with_read(ctx, |shard, _| shard.find(&flow))
    }

    /// Returns the connection of a four-tuple.
    pub(crate) fn get<L>(&self, ctx: &mut LockCtx<'_, L>, flow: &FlowKey) -> Option<Arc<Connection>>
    where
        L: LockBefore<levels::Tables>,
    {
        match self.find(ctx, flow) {
            Found::Open(connection) => Some(connection),
            _ => None,
        }
    }

    /// Returns true if the four-tuple is not vacant.
    pub(crate) fn contains<L>(&self, ctx: &mut LockCtx<'_, L>, flow: &FlowKey) -> bool
    where
        L: LockBefore<levels::Tables>,
    {
        !matches!(self.find(ctx, flow), Found::Vacant)
    }

    /// Enters a connection in a vacant four-tuple.
    pub(crate) fn insert<L>(
        &self,
        ctx: &mut LockCtx<'_, L>,
        connection: Arc<Connection>,
    ) -> Result<(), InsertError>
    where
        L: LockBefore<levels::Tables>,
    {
        self.counted(ctx, connection, |shard, flow, connection| {
            shard.insert_open(flow, connection).is_ok()
        })
    }

    /// Puts a connection in the place of its half-open entry with this initial sequence number.
    pub(crate) fn promote<L>(
        &self,
        ctx: &mut LockCtx<'_, L>,
        iss: SeqNum,
        connection: Arc<Connection>,
    ) -> Result<(), InsertError>
    where
        L: LockBefore<levels::Tables>,
    {
        self.counted(ctx, connection, |shard, flow, connection| {
            shard.promote(flow, iss, connection).is_ok()
        })
    }

    /// Counts one connection more if `enter` enters it.
    fn counted<L>(
        &self,
        ctx: &mut LockCtx<'_, L>,
        connection: Arc<Connection>,
        enter: impl FnOnce(&mut Shard<Arc<Connection>>, &HashedFlow, Arc<Connection>) -> bool,
    ) -> Result<(), InsertError>
    where
        L: LockBefore<levels::Tables>,
    {
        let limit = self.limit();
        self.len
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |len| {
                (len < limit).then_some(len + 1)
            })
            .map_err(|_| InsertError::Full)?;
        let flow = self.hashed(&connection.flow);
        let entered = self
            .shard(&flow)
            .with_write(ctx, |shard, _| enter(shard, &flow, connection));
        if entered {
            Ok(())
        } else {
            self.len.fetch_sub(1, Ordering::AcqRel);
            Err(InsertError::Exists)
        }
    }

    /// Returns different connections from random places of the table, at most [`SAMPLE`].
    pub(crate) fn sample<L>(&self, ctx: &mut LockCtx<'_, L>, rng: &mut Rng) -> Vec<Arc<Connection>>
    where
        L: LockBefore<levels::Tables>,
    {
        let mut sample: Vec<Arc<Connection>> = Vec::with_capacity(SAMPLE);
        for _ in 0..SAMPLE {
            let (shard, place) = (rng.below(SHARDS as u32) as usize, rng.u64());
            let drawn = self.shards[shard]
                .shard
                .with_read(ctx, |shard, _| shard.open.sample(place).cloned());
            if let Some(drawn) = drawn
                && !sample.iter().any(|other| Arc::ptr_eq(other, &drawn))
            {
                sample.push(drawn);
            }
        }
        sample
    }

    /// Removes a half-open connection to `listener` of the peer that has most of them in the flow's shard, if it has
    /// much more than the peer of `flow`; returns it.
    pub(crate) fn displace_half_open<L>(
        &self,
        ctx: &mut LockCtx<'_, L>,
        listener: &Arc<Listener>,
        flow: &FlowKey,
        sampling: (&mut Rng, &mut SampleRate),
    ) -> Option<Ended<Arc<Connection>>>
    where
        L: LockBefore<levels::Tables>,
    {
        let flow = self.hashed(flow);
        self.shard(&flow).with_write(ctx, |shard, _| {
            shard.displace_half_open(listener, flow.flow(), sampling)
        })
    }

    /// Removes a half-open connection to `listener` that is not authenticated, if a sample shows one. `flow` is that of the
    /// newcomer.
    pub(crate) fn displace_stranger<L>(
        &self,
        ctx: &mut LockCtx<'_, L>,
        listener: &Arc<Listener>,
        flow: &FlowKey,
        rng: &mut Rng,
    ) -> Option<Ended<Arc<Connection>>>
    where
        L: LockBefore<levels::Tables>,
    {
        // In a flood any shard has some; that of the newcomer is looked at first.
        let first = self.hashed(flow);
        let displaced = self
            .shard(&first)
            .with_write(ctx, |shard, _| shard.displace_stranger(listener, rng));
        displaced.or_else(|| {
            self.shards.iter().find_map(|shard| {
                let shard = &shard.shard;
                shard.with_write(ctx, |shard, _| shard.displace_stranger(listener, rng))
            })
        })
    }

    /// Removes exactly this connection, not a successor with the same four-tuple.
    pub(crate) fn remove<L>(&self, ctx: &mut LockCtx<'_, L>, connection: &Arc<Connection>) -> bool
    where
        L: LockBefore<levels::Tables>,
    {
        let flow = self.hashed(&connection.flow);
        let removed = self
            .shard(&flow)
            .with_write(ctx, |shard, _| match shard.open.get(&flow) {
                Some(entry) if Arc::ptr_eq(entry, connection) => shard.open.remove(&flow),
                _ => None,
            });
        if removed.is_some() {
            self.len.fetch_sub(1, Ordering::AcqRel);
        }
        removed.is_some()
    }

    /// Returns the number of the shard of a four-tuple.
    pub(crate) fn shard_of(&self, flow: &FlowKey) -> usize {
        self.hashed(flow).shard(SHARDS)
    }

    /// Enters a half-open connection in a list, which is due at `deadline`. The four-tuple is vacant,
    /// or in TIME-WAIT and to be succeeded.
    pub(crate) fn insert_half_open<L>(
        &self,
        ctx: &mut LockCtx<'_, L>,
        flow: FlowKey,
        (list, deadline): (usize, Instant),
        entry: HalfOpenEntry<Arc<Connection>>,
    ) -> Result<Placed, InsertError>
    where
        L: LockBefore<levels::Tables>,
    {
        let flow = self.hashed(&flow);
        let succeeds = self
            .with_shard(ctx, flow.shard(SHARDS), |shard| {
                shard.insert_half_open(&flow, (list, deadline), entry)
            })
            .map_err(|_| InsertError::Exists)?;
        if succeeds {
            self.time_waits.fetch_sub(1, Ordering::AcqRel);
        }
        Ok(Placed {
            shard: flow.shard(SHARDS),
            recycled: false,
        })
    }

    /// Runs `f` on the half-open entry of a four-tuple.
    pub(crate) fn with_half_open<L, R>(
        &self,
        ctx: &mut LockCtx<'_, L>,
        flow: &FlowKey,
        f: impl FnOnce(&mut HalfOpenQueue<Arc<Connection>>, EntryId) -> R,
    ) -> Option<R>
    where
        L: LockBefore<levels::Tables>,
    {
        let flow = self.hashed(flow);
        self.shard(&flow).with_write(ctx, |shard, _| {
            let id = shard.half_open.find(&flow)?;
            Some(f(&mut shard.half_open, id))
        })
    }

    /// Handles at most `limit` entries of a shard that are due, and returns when the next ones are.
    /// SYN-ACKs to send again are appended to `resend`.
    pub(crate) fn expire<L>(
        &self,
        ctx: &mut LockCtx<'_, L>,
        index: usize,
        now: Instant,
        limit: usize,
        resend: &mut Vec<Resend<Arc<Connection>>>,
        failed: &mut Vec<Ended<Arc<Connection>>>,
    ) -> (Expired, Option<Instant>)
    where
        L: LockBefore<levels::Tables>,
    {
        let result = self.with_shard(ctx, index, |shard| {
            let expired = shard.expire(now, limit, resend, failed);
            (expired, shard.next_deadline())
        });
        self.time_waits
            .fetch_sub(result.0.time_waits, Ordering::AcqRel);
        result
    }

    /// Runs `f` on a shard, and notes which TIME-WAIT ends first there.
    fn with_shard<L, R>(
        &self,
        ctx: &mut LockCtx<'_, L>,
        index: usize,
        f: impl FnOnce(&mut Shard<Arc<Connection>>) -> R,
    ) -> R
    where
        L: LockBefore<levels::Tables>,
    {
        let locked = &self.shards[index];
        locked.shard.with_write(ctx, |shard, _| {
            let result = f(shard);
            let first = shard.time_wait.next_deadline();
            locked
                .first_time_wait
                .store(first.map_or(u64::MAX, Instant::as_nanos), Ordering::Relaxed);
            result
        })
    }

    /// Removes the half-open connections of a listener that closed.
    pub(crate) fn forget_listener<L>(&self, ctx: &mut LockCtx<'_, L>, listener: &Listener)
    where
        L: LockBefore<levels::Tables>,
    {
        if listener.half_open() == 0 {
            return;
        }
        for index in 0..SHARDS {
            self.with_shard(ctx, index, |shard| shard.forget_listener(listener));
        }
    }

    /// Runs `f` on a shard that stays as it is.
    pub(super) fn read_shard<L, R>(
        &self,
        ctx: &mut LockCtx<'_, L>,
        index: usize,
        f: impl FnOnce(&Shard<Arc<Connection>>) -> R,
    ) -> R
    where
        L: LockBefore<levels::Tables>,
    {
        self.shards[index].shard.with_read(ctx, |shard, _| f(shard))
    }

    /// Checks that the queues are consistent; returns the number of half-open entries.
    ///
    /// # Panics
    /// They are not.
    #[cfg(any(test, feature = "invariants"))]
    pub(crate) fn check<L>(&self, ctx: &mut LockCtx<'_, L>) -> usize
    where
        L: LockBefore<levels::Tables>,
    {
        let (mut half_open, mut time_waits) = (0, 0);
        for locked in &self.shards {
            locked.shard.with_read(ctx, |shard, _| {
                shard.half_open.check();
                shard.time_wait.check();
                half_open += shard.half_open.len();
                time_waits += shard.time_wait.len();
            });
        }
        assert_eq!(time_waits, self.time_waits(), "TIME-WAIT count");
        half_open
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
