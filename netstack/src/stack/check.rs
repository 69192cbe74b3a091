//! The invariants of the whole stack. Compiled into tests, fuzz targets and simulations only: the
//! feature `invariants`.
//!
//! Violations panic: they are faults of ours, never of a peer or a program.

use packet::buf::Audit;

use super::foreign::locked;
use super::host::Host;

/// Checks what holds whenever no worker and no application is inside the stack.
///
/// # Panics
/// An invariant is broken.
pub(crate) fn check_at_rest(host: &Host) {
    check_connections(host);
    check_buffers(host);
}

/// The table counts its entries, holds no connection that was removed, and each taken place of a
/// backlog belongs to a connection of that listener: one that waits in the queue or is in its
/// handshake.
fn check_connections(host: &Host) {
    let (connections, listeners) = locked(|key| {
        let ctx = &mut key.ctx();
        (
            host.tcp.connections.snapshot(ctx),
            host.tcp.listeners.snapshot(ctx),
        )
    });
    assert_eq!(connections.len(), host.tcp.connections.len(), "table count");
    let mut handshakes = Vec::new();
    for connection in &connections {
        connection.with_state(|state| {
            assert!(
                !state.removed,
                "{connection:?} was removed and is in the table"
            );
            if let Some(handshake) = &state.handshake {
                handshakes.push(handshake.listener.local);
            }
        });
    }
    for listener in &listeners {
        let queued = locked(|key| listener.queue.with(&mut key.ctx(), |queue, _| queue.len()));
        let in_handshake = handshakes
            .iter()
            .filter(|&&local| local == listener.local)
            .count();
        assert_eq!(
            listener.places_taken(),
            queued + in_handshake,
            "{listener:?}: backlog places, {queued} queued, {in_handshake} in handshake"
        );
    }
}

/// The ledgers know every slab that is in use, no contract was broken, and no slab of the reserve is
/// held.
fn check_buffers(host: &Host) {
    let buffers = &host.buffers;
    let pools = [buffers.large(), buffers.small(), buffers.reserve()];
    assert_eq!(
        buffers.reserve().in_use(),
        0,
        "slabs of the reserve are held"
    );
    for (pool, audit) in pools.into_iter().zip(host.buffers.audit()) {
        match audit {
            Audit::Unsupported => {}
            Audit::Kept { owned, shared } => {
                assert_eq!(pool.in_use(), owned + shared, "slabs in use, by the ledger");
            }
            Audit::Broken { first, count } => {
                panic!("{count} contracts of the buffers are broken, first {first:?}");
            }
        }
    }
}
