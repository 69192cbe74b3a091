//! The table of a stack that takes the place of another one: its entries go over.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use lockorder::{LockBefore, LockCtx};

use super::super::super::levels;
use super::super::connection::Connection;
use super::super::shard::{Found, HalfOpenEntry, Shard};
use super::{ConnectionTable, InsertError, Locked, SHARDS};
use crate::base::Instant;
use crate::demux::FlowKey;
use crate::tcp::TimeWait;

impl ConnectionTable {
    /// Enters a connection of an earlier stack in a vacant four-tuple, however many there are.
    pub(crate) fn readmit<L>(
        &self,
        ctx: &mut LockCtx<'_, L>,
        connection: Arc<Connection>,
    ) -> Result<(), InsertError>
    where
        L: LockBefore<levels::Tables>,
    {
        let flow = self.hashed(&connection.flow);
        let insert = |shard: &mut Shard<_>| shard.insert_open(&flow, connection);
        self.with_shard(ctx, flow.shard(SHARDS), insert)
            .map_err(|_| InsertError::Exists)?;
        self.len.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    /// Calls `f` for each half-open connection, with its deadline.
    pub(crate) fn for_each_half_open<L>(
        &self,
        ctx: &mut LockCtx<'_, L>,
        mut f: impl FnMut(&FlowKey, Instant, &HalfOpenEntry<Arc<Connection>>),
    ) where
        L: LockBefore<levels::Tables>,
    {
        for locked in &self.shards {
            locked.shard.with_read(ctx, |shard, _| {
                let all = 0..shard.half_open.slots();
                for (flow, _, deadline, entry) in shard.half_open.entries_in(all) {
                    f(flow, deadline, entry);
                }
            });
        }
    }

    /// Enters a half-open connection of an earlier stack in a vacant four-tuple. Those of one list come in the order of their
    /// deadlines.
    pub(crate) fn readmit_half_open<L>(
        &self,
        ctx: &mut LockCtx<'_, L>,
        flow: FlowKey,
        wait: (usize, Instant),
        entry: HalfOpenEntry<Arc<Connection>>,
    ) -> Result<(), InsertError>
    where
        L: LockBefore<levels::Tables>,
    {
        match self.find(ctx, &flow) {
            Found::Vacant => self.insert_half_open(ctx, flow, wait, entry).map(drop),
            _ => Err(InsertError::Exists),
        }
    }

    /// Returns every TIME-WAIT, with its end.
    pub(crate) fn time_wait_entries<L>(
        &self,
        ctx: &mut LockCtx<'_, L>,
    ) -> Vec<(FlowKey, TimeWait, Instant)>
    where
        L: LockBefore<levels::Tables>,
    {
        let mut all = Vec::with_capacity(self.time_waits());
        for locked in &self.shards {
            locked.shard.with_read(ctx, |shard, _| {
                let push = |flow: &FlowKey, time_wait: &TimeWait, at| {
                    all.push((*flow, *time_wait, at));
                };
                shard.time_wait.for_each(push);
            });
        }
        all
    }

    /// Enters the TIME-WAITs of an earlier stack, which come in the order of their ends.
    pub(crate) fn add_time_waits<L>(
        &self,
        ctx: &mut LockCtx<'_, L>,
        entries: Vec<(FlowKey, TimeWait, Instant)>,
    ) where
        L: LockBefore<levels::Tables>,
    {
        for (flow, time_wait, at) in entries {
            let flow = self.hashed(&flow);
            let added = self.with_shard(ctx, flow.shard(SHARDS), |shard| {
                let is_vacant = matches!(shard.find(&flow), Found::Vacant);
                is_vacant && shard.time_wait.insert(&flow, 0, at, time_wait).is_ok()
            });
            self.time_waits
                .fetch_add(usize::from(added), Ordering::AcqRel);
        }
    }

    /// Returns the shards in which something is due, and when.
    pub(crate) fn deadlines<L>(&self, ctx: &mut LockCtx<'_, L>) -> Vec<(usize, Instant)>
    where
        L: LockBefore<levels::Tables>,
    {
        let shards = self.shards.iter().enumerate();
        let deadline = |(index, locked): (usize, &Locked)| {
            let next = locked
                .shard
                .with_read(ctx, |shard, _| shard.next_deadline());
            next.map(|at| (index, at))
        };
        shards.filter_map(deadline).collect()
    }
}
