//! The table of UDP sockets.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use lockorder::{LockBefore, LockCtx, RwLock};

use super::super::levels;
use super::group::SocketGroup;
use super::socket::BoundSocket;
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
pub(crate) struct SocketTable {
    table: RwLock<levels::Tables, UdpTable<Arc<SocketGroup>>>,
    /// The key of the hash by which sockets that share an address share the flows.
    secret: HashKey,
}

impl SocketTable {
    pub(crate) fn new(limit: usize, secret: HashKey) -> Self {
        Self {
            table: RwLock::new(UdpTable::new(limit, secret)),
            secret,
        }
    }

    /// Returns the socket for datagrams from `remote` to `local` that worker `index` received: the one that is connected
    /// to `remote`, or else of those that are not connected the bound before the wildcard. `is_own` says whether `local`
    /// is an address of the host.
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
        self.table.with_read(ctx, |table, _| {
            table
                .lookup(remote, local, is_own, |group| group.takes_from_all())
                .and_then(|group| group.choose(index, || self.secret.hash(&(remote, local))))
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
        self.table.with_read(ctx, |table, _| {
            let group = table.connection(local, remote)?;
            group.sockets().next().cloned()
        })
    }

    /// Returns the groups of sockets that each get a copy of a datagram to several hosts: those that are bound to its
    /// destination, and those of the wildcard; if there are none, what [`lookup`](Self::lookup) finds. A flow's own
    /// socket is the only one.
    pub(crate) fn receivers<L>(
        &self,
        ctx: &mut LockCtx<'_, L>,
        remote: SocketAddr,
        local: SocketAddr,
    ) -> [Option<Arc<SocketGroup>>; 2]
    where
        L: LockBefore<levels::Tables>,
    {
        let wildcard = match local {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let wildcard = SocketAddr::new(wildcard, local.port());
        self.table.with_read(ctx, |table, _| {
            let flow = table.connection(local, remote);
            let bound = [local, wildcard].map(|address| table.bound(address));
            let groups = match (flow, bound) {
                (Some(flow), _) => [Some(flow), None],
                (None, [None, None]) => [
                    table.lookup(remote, local, || true, |group| group.takes_from_all()),
                    None,
                ],
                (None, bound) => bound,
            };
            groups.map(|group| group.cloned())
        })
    }

    /// Returns true if a socket of that family uses the port.
    pub(crate) fn is_port_used<L>(&self, ctx: &mut LockCtx<'_, L>, ipv6: bool, port: u16) -> bool
    where
        L: LockBefore<levels::Tables>,
    {
        self.table
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
        self.table
            .with_write(ctx, |table, _| table.bind(local, group))
    }

    /// Enters a socket at an address that it shares with others.
    ///
    /// # Errors
    /// A socket that does not share it has the address, there are as many as there may be, or the table is full.
    pub(crate) fn share<L>(
        &self,
        ctx: &mut LockCtx<'_, L>,
        local: SocketAddr,
        socket: &Arc<BoundSocket>,
    ) -> Result<(), BindError<Arc<SocketGroup>>>
    where
        L: LockBefore<levels::Tables>,
    {
        self.table
            .with_write(ctx, |table, _| match table.bound_mut(local) {
                None => table.bind(local, SocketGroup::shared(Arc::clone(socket))),
                Some(group) => match group.with(Arc::clone(socket)) {
                    Some(joined) => {
                        *group = joined;
                        Ok(())
                    }
                    None => Err(BindError::InUse(Arc::clone(group))),
                },
            })
    }

    /// Removes a socket from the address that it shares with others, which is free when the last one is removed.
    pub(crate) fn unshare<L>(&self, ctx: &mut LockCtx<'_, L>, socket: &Arc<BoundSocket>)
    where
        L: LockBefore<levels::Tables>,
    {
        let local = socket.local();
        self.table.with_write(ctx, |table, _| {
            let group = table.bound_mut(local).filter(|group| group.has(socket));
            let Some(group) = group else {
                return;
            };
            *group = group.without(socket);
            if group.is_empty() {
                table.unbind(local);
            }
        });
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
        self.table
            .with_write(ctx, |table, _| table.bind_any(destinations, group))
    }

    /// Removes a socket for many destinations.
    pub(crate) fn unbind_any<L>(&self, ctx: &mut LockCtx<'_, L>, socket: &Arc<BoundSocket>)
    where
        L: LockBefore<levels::Tables>,
    {
        self.table.with_write(ctx, |table, _| {
            table.unbind_any(|group| group.has(socket));
        });
    }

    /// Returns every group of sockets. One that is bound and connected is in two of them.
    pub(crate) fn snapshot<L>(&self, ctx: &mut LockCtx<'_, L>) -> Vec<Arc<SocketGroup>>
    where
        L: LockBefore<levels::Tables>,
    {
        self.table.with_read(ctx, |table, _| {
            let groups = table.values().chain(table.connected());
            groups.cloned().collect()
        })
    }

    /// Removes a flow of the peer that crowds others out, to make room for one of `newcomer`, and returns it. Sockets
    /// that the program connected keep their place.
    pub(crate) fn displace<L>(
        &self,
        ctx: &mut LockCtx<'_, L>,
        newcomer: PeerNet,
        rng: &mut Rng,
    ) -> Option<Arc<SocketGroup>>
    where
        L: LockBefore<levels::Tables>,
    {
        self.table.with_write(ctx, |table, _| {
            let (flow, _) = table.crowding(newcomer, || rng.u64(), |group| group.is_flow())?;
            table.disconnect(flow.local(), flow.remote())
        })
    }

    /// Enters a connected socket in place of its entry for `before`; false if the pair of addresses
    /// is taken or the table is full: the entry for `before` stays then.
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
        self.table.with_write(ctx, |table, _| {
            let old = before.and_then(|(local, remote)| {
                let old = table.disconnect(local, remote)?;
                Some((local, remote, old))
            });
            let is_entered = table.connect(local, remote, group).is_ok();
            if let Some((local, remote, old)) = old.filter(|_| !is_entered) {
                // Its place is still free.
                let _ = table.connect(local, remote, old);
            }
            is_entered
        })
    }

    /// Removes the connected entry of `socket`, and with `last` its group's address. An entry for the same addresses
    /// that leads to another socket stays: that one took the place of this one.
    pub(crate) fn remove<L>(
        &self,
        ctx: &mut LockCtx<'_, L>,
        socket: &Arc<BoundSocket>,
        connected: Option<(SocketAddr, SocketAddr)>,
        last: Option<SocketAddr>,
    ) where
        L: LockBefore<levels::Tables>,
    {
        let removed = self.table.with_write(ctx, |table, _| {
            let connected = connected.and_then(|(local, remote)| {
                let is_this = table.connection(local, remote)?.has(socket);
                is_this.then(|| table.disconnect(local, remote))
            });
            let bound = last.and_then(|local| table.unbind(local));
            (connected, bound)
        });
        drop(removed);
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::foreign::locked;
    use super::super::socket::{Binding, Protocol};
    use super::*;
    use crate::base::Config;

    fn socket(binding: &Binding) -> Arc<BoundSocket> {
        let local = ([10, 0, 0, 1], 1).into();
        BoundSocket::single(Protocol::Udp, local, binding, &Config::default()).expect("a socket")
    }

    fn table() -> SocketTable {
        SocketTable::new(64, HashKey::random(&mut Rng::from_u64(1)))
    }

    #[test]
    fn a_socket_that_the_program_connected_makes_no_room() {
        let (table, mut rng) = (table(), Rng::from_u64(2));
        let kinds = [&Binding::Flow, &Binding::Address];
        locked(|key| {
            for port in 1..=64 {
                let group = SocketGroup::new(&[socket(kinds[usize::from(port % 2)])]);
                let ends = [[10, 0, 0, 1], [10, 0, 0, 9]].map(|ip| (ip, port).into());
                assert!(table.connect(&mut key.ctx(), None, ends[0], ends[1], group));
            }
            let newcomer = PeerNet::of([10, 0, 0, 8].into());
            let mut displaced = 0;
            for _ in 0..1_000 {
                if let Some(group) = table.displace(&mut key.ctx(), newcomer, &mut rng) {
                    assert!(group.is_flow());
                    displaced += 1;
                }
            }
            assert!(displaced > 16, "{displaced} of 32 flows");
        });
    }

    #[test]
    fn a_socket_that_is_closed_leaves_the_entry_of_its_successor() {
        let table = table();
        let (old, new) = (socket(&Binding::Flow), socket(&Binding::Flow));
        let ends = [[10, 0, 0, 1], [10, 0, 0, 9]].map(|ip| (ip, 1).into());
        let group = SocketGroup::new(std::slice::from_ref(&new));
        locked(|key| {
            let ctx = &mut key.ctx();
            assert!(table.connect(ctx, None, ends[0], ends[1], group));
            table.remove(ctx, &old, Some((ends[0], ends[1])), None);
            let found = table.connection(ctx, ends[0], ends[1]);
            assert!(found.is_some_and(|found| Arc::ptr_eq(&found, &new)));
            table.remove(ctx, &new, Some((ends[0], ends[1])), None);
            assert!(table.connection(ctx, ends[0], ends[1]).is_none());
        });
    }
}
