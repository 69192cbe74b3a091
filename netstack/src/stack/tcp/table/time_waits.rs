//! TIME-WAIT in the connection table: what takes a connection's place once both sides have closed.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use lockorder::{LockBefore, LockCtx};

use super::{ConnectionTable, Locked, Placed, SHARDS};
use crate::base::Instant;
use crate::demux::FlowKey;
use crate::demux::flow_queue::EntryId;
use crate::stack::levels;
use crate::stack::tcp::connection::Connection;
use crate::stack::tcp::shard::TimeWaitQueue;
use crate::tcp::TimeWait;

impl ConnectionTable {
    /// Runs `f` on the TIME-WAIT of a four-tuple.
    pub(crate) fn with_time_wait<L, R>(
        &self,
        ctx: &mut LockCtx<'_, L>,
        flow: &FlowKey,
        f: impl FnOnce(&mut TimeWaitQueue, EntryId) -> R,
    ) -> Option<R>
    where
        L: LockBefore<levels::Tables>,
    {
        let flow = self.hashed(flow);
        self.with_shard(ctx, flow.shard(SHARDS), |shard| {
            let id = shard.time_wait.find(&flow)?;
            let before = shard.time_wait.len();
            let result = f(&mut shard.time_wait, id);
            let removed = before - shard.time_wait.len();
            self.time_waits.fetch_sub(removed, Ordering::AcqRel);
            Some(result)
        })
    }

    /// Puts a TIME-WAIT in the place of a connection. If there are too many, the oldest one ends. `None`
    /// if the connection is not in the table.
    pub(crate) fn retire<L>(
        &self,
        ctx: &mut LockCtx<'_, L>,
        connection: &Arc<Connection>,
        time_wait: TimeWait,
        deadline: Instant,
    ) -> Option<Placed>
    where
        L: LockBefore<levels::Tables>,
    {
        let flow = self.hashed(&connection.flow);
        let shard = flow.shard(SHARDS);
        let is_this = |entry: &Arc<Connection>| Arc::ptr_eq(entry, connection);
        let before = self.time_waits.fetch_add(1, Ordering::AcqRel);
        let retired = self.with_shard(ctx, shard, |shard| {
            shard.retire(&flow, is_this, time_wait, deadline)
        });
        if !retired {
            self.time_waits.fetch_sub(1, Ordering::AcqRel);
            return None;
        }
        self.len.fetch_sub(1, Ordering::AcqRel);
        let recycled = before >= self.time_wait_limit() && self.recycle(ctx);
        Some(Placed { shard, recycled })
    }

    /// Ends the TIME-WAIT that is the oldest.
    fn recycle<L>(&self, ctx: &mut LockCtx<'_, L>) -> bool
    where
        L: LockBefore<levels::Tables>,
    {
        let first = |(_, locked): &(usize, &Locked)| locked.first_time_wait.load(Ordering::Relaxed);
        let Some((oldest, _)) = self.shards.iter().enumerate().min_by_key(first) else {
            return false;
        };
        let removed = self.with_shard(ctx, oldest, |shard| {
            let id = shard.time_wait.first()?;
            shard.time_wait.remove(id)
        });
        if removed.is_some() {
            self.time_waits.fetch_sub(1, Ordering::AcqRel);
        }
        removed.is_some()
    }

    /// Removes everything that is in TIME-WAIT.
    pub(crate) fn forget_time_waits<L>(&self, ctx: &mut LockCtx<'_, L>)
    where
        L: LockBefore<levels::Tables>,
    {
        for index in 0..SHARDS {
            let removed = self.with_shard(ctx, index, |shard| {
                let all = shard.time_wait.matching(|_| true);
                all.into_iter()
                    .filter_map(|id| shard.time_wait.remove(id))
                    .count()
            });
            self.time_waits.fetch_sub(removed, Ordering::AcqRel);
        }
    }
}
