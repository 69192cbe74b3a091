//! The way of a new connection to whoever takes it.

use std::sync::Arc;

use super::super::turn::Turn;
use super::accept::{Offer, Place};
use super::connection::{Connection, Listener};
use super::displace;

/// Hands an established connection out: to the accept queue, or to the listener's service.
pub(super) fn hand_out(
    turn: &mut Turn<'_>,
    listener: &Arc<Listener>,
    connection: &Arc<Connection>,
    place: Place,
) {
    let worker = &mut *turn.worker;
    let wakers = &mut worker.work.wakers;
    if let Some(deferred) = &listener.deferred {
        let (flow, connection) = (connection.flow, Arc::clone(connection));
        let taken = deferred.with(&mut turn.key.ctx(), |deferred, _| {
            deferred.complete(&flow, connection, place, wakers)
        });
        if let Err(connection) = taken {
            displace::reset(turn, &connection);
        }
        return;
    }
    let offer = listener.queue.with(&mut turn.key.ctx(), |queue, _| {
        queue.offer(Arc::clone(connection), place, wakers)
    });
    match offer {
        Offer::Queued => {}
        Offer::Serve(service, connection) => worker.work.serve.push((service, connection)),
        // The listener closed meanwhile.
        Offer::Refused(connection) => displace::reset(turn, &connection),
    }
}
