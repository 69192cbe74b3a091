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

/// The table counts its entries and holds no connection that was removed; each taken place of a backlog
/// belongs to a connection that waits in the queue, and each place for a half-open one to an entry.
fn check_connections(host: &Host) {
    let (connections, listeners, half_open) = locked(|key| {
        let ctx = &mut key.ctx();
        (
            host.tcp.connections.snapshot(ctx),
            host.tcp.listeners.snapshot(ctx),
            host.tcp.connections.check(ctx),
        )
    });
    assert_eq!(connections.len(), host.tcp.connections.len(), "table count");
    assert_eq!(
        half_open,
        host.tcp.syn_places.taken(),
        "places of half-open connections"
    );
    for connection in &connections {
        connection.with_state(|state| {
            assert!(
                !state.removed,
                "{connection:?} was removed and is in the table"
            );
        });
    }
    for listener in &listeners {
        let queued = locked(|key| listener.queue.with(&mut key.ctx(), |queue, _| queue.len()));
        let completed = listener.deferred.as_ref().map_or(0, |deferred| {
            locked(|key| deferred.with(&mut key.ctx(), |deferred, _| deferred.completed()))
        });
        assert_eq!(
            listener.places_taken(),
            queued + completed,
            "{listener:?}: backlog places"
        );
    }
}

/// The ledgers know every slab that is in use, no contract was broken, and no slab of the reserve is
/// held.
fn check_buffers(host: &Host) {
    let buffers = &host.buffers;
    let memory = buffers.memory_use();
    assert!(memory.allocated <= memory.limit, "{memory:?}");
    let pools = [
        buffers.large(),
        buffers.small(),
        buffers.exact(),
        buffers.reserve(),
    ];
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
