//! All sockets of UDP and ICMP echo.

use std::sync::Arc;
use std::task::Waker;

use lockorder::{LockBefore, LockCtx};

use super::super::super::foreign::locked;
use super::super::super::host::Host;
use super::super::super::levels;
use super::super::socket::{BoundSocket, Protocol};
use super::super::table::SocketTable;

/// Returns the table of the sockets of a protocol.
pub(super) fn table(host: &Host, protocol: Protocol) -> &SocketTable {
    match protocol {
        Protocol::Udp => &host.udp,
        Protocol::Echo => &host.echo.asking,
        Protocol::EchoAnswer => &host.echo.answering,
    }
}

/// Returns every open socket of UDP and ICMP echo, each once.
pub(in crate::stack) fn all<L>(host: &Host, ctx: &mut LockCtx<'_, L>) -> Vec<Arc<BoundSocket>>
where
    L: LockBefore<levels::Tables>,
{
    let mut sockets = Vec::new();
    for table in [&host.udp, &host.echo.asking, &host.echo.answering] {
        for group in table.snapshot(ctx) {
            sockets.extend(group.sockets().cloned());
        }
    }
    sockets.sort_unstable_by_key(Arc::as_ptr);
    sockets.dedup_by(|a, b| Arc::ptr_eq(a, b));
    sockets
}

/// Appends the tasks that wait for datagrams to `wakers`.
pub(crate) fn wake_all(host: &Host, wakers: &mut Vec<Waker>) {
    locked(|key| {
        for socket in all(host, &mut key.ctx()) {
            socket.state.with(&mut key.ctx(), |state, _| {
                state.readers.drain_into(wakers);
            });
        }
    });
}
