//! The invariants of a worker at the end of its turn. Compiled into tests, fuzz targets and
//! simulations only: the feature `invariants`.

use std::sync::Arc;

use super::worker::{Progress, Worker};
use crate::device::Device;
use crate::stack::foreign;
use crate::stack::tcp::connection::Connection;

impl<D: Device + ?Sized> Worker<D> {
    /// Checks that nothing is left to do after a turn that says so: a worker that slept now would
    /// strand it.
    ///
    /// # Panics
    /// An invariant is broken.
    pub(super) fn check_turn(&self, progress: Progress) {
        let work = &self.state.work;
        assert!(work.transmit.is_empty(), "packets left unsent");
        assert!(work.looped.is_empty(), "packets left unlooped");
        assert!(!foreign::has_deferred(), "values left undropped");
        if progress.left {
            return;
        }
        assert!(work.parting.is_empty(), "FINs left unsent");
        assert!(self.loopback.is_empty(), "looped packets left unread");
        assert!(work.wakers.is_empty(), "tasks left unwoken");
        assert!(work.events.is_empty(), "events left undelivered");
        assert!(work.serve.is_empty(), "services left unstarted");
        assert!(work.spawn.is_empty(), "tasks left unstarted");
        assert!(work.tasks.ready.is_empty(), "tasks left unpolled");
        assert!(work.tasks.datagrams.is_empty(), "datagrams left unsent");
        assert!(
            work.tasks.connections.is_empty(),
            "connections left undriven"
        );
    }

    /// Checks that a connection that was just driven has a timer that fires no later than the one
    /// that it waits for.
    ///
    /// # Panics
    /// An invariant is broken.
    pub(super) fn check_timer(&self, connection: &Arc<Connection>) {
        let (deadline, removed) =
            connection.with_state(|state| (state.tcp.poll_timeout(), state.removed));
        let armed = connection.timer().map(|(_, at)| at);
        match (deadline, armed) {
            _ if removed => {}
            (Some(deadline), Some(at)) => {
                assert!(
                    at <= deadline,
                    "{connection:?}: armed {at:?}, due {deadline:?}"
                );
                assert!(
                    !self.wheel.is_empty(),
                    "{connection:?}: no timer in the wheel"
                );
            }
            (Some(deadline), None) => panic!("{connection:?}: nothing armed, due {deadline:?}"),
            (None, _) => {}
        }
    }
}
