//! The ways in which a stack ends: politely within a grace, or at once.
//!
//! Reads no clock and does not wait: `net` does, and asks here what is left to do.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::ending::EndReason;
use super::foreign::{locked, wake_all};
use super::host::Host;
use super::tcp::connection::Connection;
use super::tcp::{control, listen};
use super::udp::app;
use crate::base::Instant;
use crate::base::time::Duration;
use crate::demux::FlowKey;
use crate::tcp::State;

/// Closes every listener and refuses new sockets and connections.
pub(crate) fn begin(host: &Host) {
    host.ending.begin();
    listen::close_all(host);
}

/// Ends the stack: resets every connection, and wakes every task that waits for anything of it. The
/// first reason counts; a later call does nothing.
///
/// The workers are not told to stop: see [`super::workers::Workers::stop`].
pub(crate) fn end(host: &Host, reason: EndReason) {
    if !host.ending.set(reason) {
        return;
    }
    listen::close_all(host);
    let mut wakers = Vec::new();
    control::end_all(host, &mut wakers);
    app::wake_all(host, &mut wakers);
    host.workers.take_senders(&mut wakers);
    host.workers.take_sleepers(&mut wakers);
    host.ending.take_waiting(&mut wakers);
    wake_all(wakers);
    host.workers.count_panics();
}

/// Removes what worker `index` owned: it ended, and its connections can send nothing any more.
pub(crate) fn end_worker(host: &Host, index: usize) {
    let mut wakers = Vec::new();
    control::remove_all(host, index, &mut wakers);
    host.workers[index].mailbox.close(&mut wakers);
    wake_all(wakers);
    if host.workers.is_last_to_end() {
        // It may own a handle of the stack.
        host.subscription.clear();
    }
    host.workers.count_panics();
}

/// Closes the connections that have been quiet for a while, so that those which still transfer
/// something can finish.
#[derive(Default)]
pub(crate) struct Draining {
    quiet_since: BTreeMap<FlowKey, Instant>,
}

impl Draining {
    /// Time after which a connection without anything to write counts as finished.
    const QUIET: Duration = Duration::from_millis(100);

    /// Closes the connections that are finished at `now`.
    pub(crate) fn close_finished(&mut self, host: &Host, now: Instant) {
        let mut quiet = BTreeMap::new();
        for connection in locked(|key| host.tcp.connections.snapshot(&mut key.ctx())) {
            if !is_quiet(&connection) {
                continue;
            }
            let flow = connection.flow;
            let since = self.quiet_since.get(&flow).copied().unwrap_or(now);
            if now - since >= Self::QUIET {
                control::close(host, &connection);
            } else {
                quiet.insert(flow, since);
            }
        }
        self.quiet_since = quiet;
    }
}

/// Returns true if the connection is open, everything written was acknowledged, and everything received was
/// read.
fn is_quiet(connection: &Arc<Connection>) -> bool {
    connection.with_state(|state| {
        matches!(state.tcp.state(), State::Established | State::CloseWait)
            && state.tcp.unacked() == 0
            && state.tcp.recv_len() == 0
    })
}
