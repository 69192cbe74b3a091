//! The connection table: sharded, each shard locked only to look up or to change one entry.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lockorder::{LockBefore, LockCtx, RwLock};

use super::super::levels;
use super::connection::Connection;
use crate::demux::{FlowKey, FlowTable, shard_of};
use crate::ip::key::HashKey;

const SHARDS: usize = 64;

type Shard = RwLock<levels::Tables, FlowTable<Arc<Connection>>>;

/// Every connection of the stack, by its four-tuple.
pub(crate) struct ConnectionTable {
    secret: HashKey,
    shards: Box<[Shard]>,
    len: AtomicUsize,
    limit: usize,
}

/// The reason why a connection could not be inserted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InsertError {
    /// The flow exists.
    Exists,
    /// The table is full.
    Full,
}

impl ConnectionTable {
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

    /// Returns the number of connections in the table.
    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::Acquire)
    }

    pub(crate) fn get<L>(&self, ctx: &mut LockCtx<'_, L>, flow: &FlowKey) -> Option<Arc<Connection>>
    where
        L: LockBefore<levels::Tables>,
    {
        self.shard(flow)
            .with_read(ctx, |flows, _| flows.get(flow).cloned())
    }

    pub(crate) fn contains<L>(&self, ctx: &mut LockCtx<'_, L>, flow: &FlowKey) -> bool
    where
        L: LockBefore<levels::Tables>,
    {
        self.shard(flow)
            .with_read(ctx, |flows, _| flows.get(flow).is_some())
    }

    pub(crate) fn insert<L>(
        &self,
        ctx: &mut LockCtx<'_, L>,
        connection: Arc<Connection>,
    ) -> Result<(), InsertError>
    where
        L: LockBefore<levels::Tables>,
    {
        self.len
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |len| {
                (len < self.limit).then_some(len + 1)
            })
            .map_err(|_| InsertError::Full)?;
        let flow = connection.flow;
        let inserted = self
            .shard(&flow)
            .with_write(ctx, |flows, _| flows.insert(flow, connection).is_ok());
        if inserted {
            Ok(())
        } else {
            self.len.fetch_sub(1, Ordering::AcqRel);
            Err(InsertError::Exists)
        }
    }

    /// Removes exactly this connection, not a successor with the same four-tuple.
    pub(crate) fn remove<L>(&self, ctx: &mut LockCtx<'_, L>, connection: &Arc<Connection>) -> bool
    where
        L: LockBefore<levels::Tables>,
    {
        let flow = &connection.flow;
        let removed = self
            .shard(flow)
            .with_write(ctx, |flows, _| match flows.get(flow) {
                Some(entry) if Arc::ptr_eq(entry, connection) => flows.remove(flow),
                _ => None,
            });
        if removed.is_some() {
            self.len.fetch_sub(1, Ordering::AcqRel);
        }
        removed.is_some()
    }

    /// Returns every connection, shard by shard.
    pub(crate) fn snapshot<L>(&self, ctx: &mut LockCtx<'_, L>) -> Vec<Arc<Connection>>
    where
        L: LockBefore<levels::Tables>,
    {
        let mut all = Vec::with_capacity(self.len());
        for shard in &self.shards {
            shard.with_read(ctx, |flows, _| {
                all.extend(flows.iter().map(|(_, connection)| Arc::clone(connection)));
            });
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::base::{Instant, Rng, TcpConfig};
    use crate::stack::foreign::locked;
    use crate::tcp::{Open, SeqNum, Tcp};

    fn connection(port: u16) -> Arc<Connection> {
        let local: SocketAddr = "10.0.0.1:80".parse().expect("an address");
        let remote = SocketAddr::new(local.ip(), port);
        let open = Open {
            isn: SeqNum(1),
            ts_offset: 0,
            mss: 1460,
        };
        let tcp = Tcp::connect(&Arc::new(TcpConfig::default()), open, Instant::ZERO);
        Connection::new(FlowKey::new(local, remote), 0, tcp, None, 64)
    }

    fn table(limit: usize) -> ConnectionTable {
        ConnectionTable::new(HashKey::random(&mut Rng::from_seed([7; 32])), limit)
    }

    #[test]
    fn the_table_holds_each_four_tuple_once_and_no_more_than_its_limit() {
        let table = table(2);
        locked(|key| {
            let first = connection(1);
            assert_eq!(table.insert(&mut key.ctx(), Arc::clone(&first)), Ok(()));
            assert_eq!(
                table.insert(&mut key.ctx(), connection(1)),
                Err(InsertError::Exists)
            );
            assert_eq!(table.len(), 1, "a refused insertion leaves no count behind");
            assert_eq!(table.insert(&mut key.ctx(), connection(2)), Ok(()));
            assert_eq!(
                table.insert(&mut key.ctx(), connection(3)),
                Err(InsertError::Full)
            );
            assert_eq!(table.snapshot(&mut key.ctx()).len(), 2);
            assert!(table.contains(&mut key.ctx(), &first.flow));
        });
    }

    #[test]
    fn a_successor_with_the_same_four_tuple_is_not_removed() {
        let table = table(8);
        locked(|key| {
            let old = connection(1);
            let new = connection(1);
            assert_eq!(table.insert(&mut key.ctx(), Arc::clone(&old)), Ok(()));
            assert!(table.remove(&mut key.ctx(), &old));
            assert_eq!(table.insert(&mut key.ctx(), Arc::clone(&new)), Ok(()));
            assert!(!table.remove(&mut key.ctx(), &old));
            let found = table.get(&mut key.ctx(), &new.flow).expect("the successor");
            assert!(Arc::ptr_eq(&found, &new));
            assert_eq!(table.len(), 1);
        });
    }
}
