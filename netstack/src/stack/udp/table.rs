//! The table of UDP sockets.

use std::net::SocketAddr;
use std::sync::Arc;

use lockorder::{LockBefore, LockCtx, RwLock};

use super::super::levels;
use super::socket::{BoundSocket, SocketGroup};
use crate::base::Rng;
use crate::demux::{BindError, Destinations, UdpTable};
use crate::ip::key::HashKey;
use crate::ip::peer::PeerNet;

/// The sockets of ICMP echo.
pub(crate) struct EchoSockets {
    /// Those that send requests and receive the replies.
    pub(crate) asking: SocketTable,
    /// Those that receive requests and send the replies.
    pub(crate) answering: SocketTable,
}

/// Every UDP socket of the stack, by its addresses.
pub(crate) struct SocketTable(RwLock<levels::Tables, UdpTable<Arc<SocketGroup>>>);

impl SocketTable {
    pub(crate) fn new(limit: usize, secret: HashKey) -> Self {
        Self(RwLock::new(UdpTable::new(limit, secret)))
    }

    /// Returns the socket for datagrams from `remote` to `local` that worker `index` received:
    /// connected before bound before wildcard. `is_own` says whether `local` is an address of the host.
    pub(crate) fn lookup<L>(
        &self,
        ctx: &mut LockCtx<'_, L>,
        remote: SocketAddr,
        local: SocketAddr,
        index: usize,
        is_own: impl FnOnce() -> bool,
    ) -> Option<Arc<BoundSocket>>
    where
        L: LockBefore<levels::Tables>,
    {
        self.0.with_read(ctx, |table, _| {
            table
                .lookup(remote, local, is_own)
                .and_then(|group| group.of_worker(index))
                .cloned()
        })
    }

    /// Returns the socket that is connected from `local` to `remote`.
    pub(crate) fn connection<L>(
        &self,
        ctx: &mut LockCtx<'_, L>,
        local: SocketAddr,
        remote: SocketAddr,
    ) -> Option<Arc<BoundSocket>>
    where
        L: LockBefore<levels::Tables>,
    {
        self.0.with_read(ctx, |table, _| {
            let group = table.connection(local, remote)?;
            group.of_worker(0).cloned()
        })
    }

    /// Returns true if a socket of that family uses the port.
    pub(crate) fn is_port_used<L>(&self, ctx: &mut LockCtx<'_, L>, ipv6: bool, port: u16) -> bool
    where
        L: LockBefore<levels::Tables>,
    {
        self.0
            .with_read(ctx, |table, _| table.is_port_used(ipv6, port))
    }

    /// Enters a group of sockets at its address.
    ///
    /// # Errors
    /// The address is taken, or the table is full.
    pub(crate) fn bind<L>(
        &self,
        ctx: &mut LockCtx<'_, L>,
        local: SocketAddr,
        group: Arc<SocketGroup>,
    ) -> Result<(), BindError<Arc<SocketGroup>>>
    where
        L: LockBefore<levels::Tables>,
    {
        self.0.with_write(ctx, |table, _| table.bind(local, group))
    }

    /// Enters a group of sockets for many destinations.
    ///
    /// # Errors
    /// Another one has exactly these, or the table is full.
    pub(crate) fn bind_any<L>(
        &self,
        ctx: &mut LockCtx<'_, L>,
        destinations: Destinations,
        group: Arc<SocketGroup>,
    ) -> Result<(), BindError<Arc<SocketGroup>>>
    where
        L: LockBefore<levels::Tables>,
    {
        self.0
            .with_write(ctx, |table, _| table.bind_any(destinations, group))
    }

    /// Removes a socket for many destinations.
    pub(crate) fn unbind_any<L>(&self, ctx: &mut LockCtx<'_, L>, socket: &Arc<BoundSocket>)
    where
        L: LockBefore<levels::Tables>,
    {
        let is_this = |group: &Arc<SocketGroup>| {
            let mut sockets = group.sockets();
            sockets.any(|bound| Arc::ptr_eq(bound, socket))
        };
        self.0.with_write(ctx, |table, _| table.unbind_any(is_this));
    }

    /// Returns every group of sockets. One that is bound and connected is in two of them.
    pub(crate) fn snapshot<L>(&self, ctx: &mut LockCtx<'_, L>) -> Vec<Arc<SocketGroup>>
    where
        L: LockBefore<levels::Tables>,
    {
        self.0.with_read(ctx, |table, _| {
            let groups = table.values().chain(table.connected());
            groups.cloned().collect()
        })
    }

    /// Removes a connection of the peer that crowds others out, to make room for one of `newcomer`, and returns it.
    pub(crate) fn displace<L>(
        &self,
        ctx: &mut LockCtx<'_, L>,
        newcomer: PeerNet,
        rng: &mut Rng,
    ) -> Option<Arc<SocketGroup>>
    where
        L: LockBefore<levels::Tables>,
    {
        self.0.with_write(ctx, |table, _| {
            let (flow, _) = table.crowding(newcomer, || rng.u64())?;
            table.disconnect(flow.local(), flow.remote())
        })
    }

    /// Enters a connected socket in place of its entry for `before`; false if the pair of addresses
    /// is taken or the table is full.
    pub(crate) fn connect<L>(
        &self,
        ctx: &mut LockCtx<'_, L>,
        before: Option<(SocketAddr, SocketAddr)>,
        local: SocketAddr,
        remote: SocketAddr,
        group: Arc<SocketGroup>,
    ) -> bool
    where
        L: LockBefore<levels::Tables>,
    {
        self.0.with_write(ctx, |table, _| {
            if let Some((local, remote)) = before {
                table.disconnect(local, remote);
            }
            table.connect(local, remote, group).is_ok()
        })
    }

    /// Removes a socket's connected entry, and with `last` its group's address.
    pub(crate) fn remove<L>(
        &self,
        ctx: &mut LockCtx<'_, L>,
        connected: Option<(SocketAddr, SocketAddr)>,
        last: Option<SocketAddr>,
    ) where
        L: LockBefore<levels::Tables>,
    {
        let removed = self.0.with_write(ctx, |table, _| {
            let connected = connected.and_then(|(local, remote)| table.disconnect(local, remote));
            let bound = last.and_then(|local| table.unbind(local));
            (connected, bound)
        });
        drop(removed);
    }
}
