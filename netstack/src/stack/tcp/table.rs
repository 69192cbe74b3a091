//! The table of connections: sharded, locked only to look up or to change one entry.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lockorder::{LockBefore, LockCtx, RwLock};

use crate::demux::{FlowKey, FlowTable, shard_of};
use crate::ip::key::HashKey;
use crate::stack::levels;
use crate::stack::tcp::connection::ConnCell;

const SHARDS: usize = 64;

type Shard = RwLock<levels::Demux, FlowTable<Arc<ConnCell>>>;

/// Every connection of the stack, by its flow.
pub(crate) struct Flows {
    secret: HashKey,
    shards: Box<[Shard]>,
    len: AtomicUsize,
    limit: usize,
}

/// Why a connection could not be entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InsertError {
    /// The flow exists.
    Exists,
    /// The table is full.
    Full,
}

impl Flows {
    pub(crate) fn new(secret: HashKey, limit: usize) -> Self {
        Self {
            shards: (0..SHARDS)
                .map(|_| RwLock::new(FlowTable::new(limit, secret)))
                .collect(),
            secret,
            len: AtomicUsize::new(0),
            limit,
        }
    }

    fn shard(&self, flow: &FlowKey) -> &Shard {
        &self.shards[shard_of(flow, SHARDS, &self.secret)]
    }

    /// Connections in the table.
    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::Acquire)
    }

    pub(crate) fn get<L>(&self, ctx: &mut LockCtx<'_, L>, flow: &FlowKey) -> Option<Arc<ConnCell>>
    where
        L: LockBefore<levels::Demux>,
    {
        self.shard(flow)
            .with_read(ctx, |flows, _| flows.get(flow).cloned())
    }

    pub(crate) fn contains<L>(&self, ctx: &mut LockCtx<'_, L>, flow: &FlowKey) -> bool
    where
        L: LockBefore<levels::Demux>,
    {
        self.shard(flow)
            .with_read(ctx, |flows, _| flows.get(flow).is_some())
    }

    pub(crate) fn insert<L>(
        &self,
        ctx: &mut LockCtx<'_, L>,
        cell: Arc<ConnCell>,
    ) -> Result<(), InsertError>
    where
        L: LockBefore<levels::Demux>,
    {
        self.len
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |len| {
                (len < self.limit).then_some(len + 1)
            })
            .map_err(|_| InsertError::Full)?;
        let flow = cell.flow;
        let inserted = self
            .shard(&flow)
            .with_write(ctx, |flows, _| flows.insert(flow, cell).is_ok());
        if inserted {
            Ok(())
        } else {
            self.len.fetch_sub(1, Ordering::AcqRel);
            Err(InsertError::Exists)
        }
    }

    /// Takes out exactly this connection (not a successor with the same flow).
    pub(crate) fn remove<L>(&self, ctx: &mut LockCtx<'_, L>, cell: &Arc<ConnCell>) -> bool
    where
        L: LockBefore<levels::Demux>,
    {
        let flow = &cell.flow;
        let removed = self
            .shard(flow)
            .with_write(ctx, |flows, _| match flows.get(flow) {
                Some(entry) if Arc::ptr_eq(entry, cell) => flows.remove(flow),
                _ => None,
            });
        if removed.is_some() {
            self.len.fetch_sub(1, Ordering::AcqRel);
        }
        removed.is_some()
    }

    /// Every connection, shard by shard.
    pub(crate) fn snapshot<L>(&self, ctx: &mut LockCtx<'_, L>) -> Vec<Arc<ConnCell>>
    where
        L: LockBefore<levels::Demux>,
    {
        let mut all = Vec::with_capacity(self.len());
        for shard in &self.shards {
            shard.with_read(ctx, |flows, _| {
                all.extend(flows.iter().map(|(_, cell)| Arc::clone(cell)));
            });
        }
        all
    }
}
