//! The table of listening ports.

use std::net::SocketAddr;
use std::sync::Arc;

use lockorder::{LockBefore, LockCtx, RwLock};

use super::super::levels;
use super::connection::Listener;
use crate::demux::{BindError, BindTable, Destinations};
use crate::ip::key::HashKey;

/// Every listener of the stack, by its address and port.
pub(crate) struct Listeners(RwLock<levels::Tables, BindTable<Arc<Listener>>>);

impl Listeners {
    pub(crate) fn new(limit: usize, secret: HashKey) -> Self {
        Self(RwLock::new(BindTable::new(limit, secret)))
    }

    /// Returns the listener for segments to `local`, the most specific one first; `is_own` says whether
    /// that is an address of the host.
    pub(crate) fn lookup<L>(
        &self,
        ctx: &mut LockCtx<'_, L>,
        local: SocketAddr,
        is_own: impl FnOnce() -> bool,
    ) -> Option<Arc<Listener>>
    where
        L: LockBefore<levels::Tables>,
    {
        self.0
            .with_read(ctx, |listeners, _| listeners.lookup(local, is_own).cloned())
    }

    /// Returns true if a listener of that family uses the port.
    pub(crate) fn is_port_used<L>(&self, ctx: &mut LockCtx<'_, L>, ipv6: bool, port: u16) -> bool
    where
        L: LockBefore<levels::Tables>,
    {
        self.0
            .with_read(ctx, |listeners, _| listeners.is_port_used(ipv6, port))
    }

    /// Enters a listener.
    ///
    /// # Errors
    /// The address is taken, or the table is full.
    pub(crate) fn bind<L>(
        &self,
        ctx: &mut LockCtx<'_, L>,
        listener: &Arc<Listener>,
    ) -> Result<(), BindError<Arc<Listener>>>
    where
        L: LockBefore<levels::Tables>,
    {
        self.0.with_write(ctx, |listeners, _| {
            listeners.bind(listener.local, Arc::clone(listener))
        })
    }

    /// Enters a listener for many destinations.
    ///
    /// # Errors
    /// Another listener has exactly these, or the table is full.
    pub(crate) fn bind_any<L>(
        &self,
        ctx: &mut LockCtx<'_, L>,
        destinations: Destinations,
        listener: &Arc<Listener>,
    ) -> Result<(), BindError<Arc<Listener>>>
    where
        L: LockBefore<levels::Tables>,
    {
        self.0.with_write(ctx, |listeners, _| {
            listeners.bind_any(destinations, Arc::clone(listener))
        })
    }

    /// Removes exactly this listener, not a successor with the same address.
    pub(crate) fn unbind<L>(&self, ctx: &mut LockCtx<'_, L>, listener: &Arc<Listener>)
    where
        L: LockBefore<levels::Tables>,
    {
        self.0.with_write(ctx, |listeners, _| {
            if listener.local.port() == 0 {
                // A listener for many destinations has no port of its own.
                listeners.unbind_any(|bound| Arc::ptr_eq(bound, listener));
            } else if listeners
                .get(listener.local)
                .is_some_and(|bound| Arc::ptr_eq(bound, listener))
            {
                listeners.unbind(listener.local);
            }
        });
    }

    /// Returns every listener.
    pub(crate) fn snapshot<L>(&self, ctx: &mut LockCtx<'_, L>) -> Vec<Arc<Listener>>
    where
        L: LockBefore<levels::Tables>,
    {
        self.0
            .with_read(ctx, |listeners, _| listeners.values().cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;
    use crate::stack::foreign::locked;
    use crate::stack::tcp::listener::SynPlaces;
    use crate::stack::tcp::options::Options;

    #[test]
    fn a_successor_with_the_same_address_is_not_unbound() {
        let listeners = Listeners::new(4, HashKey::random(&mut Rng::from_seed([3; 32])));
        let local: SocketAddr = "10.0.0.1:80".parse().expect("an address");
        locked(|key| {
            let ctx = &mut key.ctx();
            let places = SynPlaces::new(4);
            let old = Listener::new(local, Options::with_backlog(1), &places);
            let new = Listener::new(local, Options::with_backlog(1), &places);
            assert!(listeners.bind(ctx, &old).is_ok());
            assert!(listeners.bind(ctx, &new).is_err());
            listeners.unbind(ctx, &old);
            assert!(!listeners.is_port_used(ctx, false, 80));
            assert!(listeners.bind(ctx, &new).is_ok());
            listeners.unbind(ctx, &old);
            let found = listeners
                .lookup(ctx, local, || true)
                .expect("the successor");
            assert!(Arc::ptr_eq(&found, &new));
            assert_eq!(listeners.snapshot(ctx).len(), 1);
        });
    }
}
