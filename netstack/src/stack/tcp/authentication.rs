//! Verification of what comes to a listener, and to its half-open connections, if they are authenticated (TCP-AO, RFC 5925), and what becomes of
//! segments that are not authentic.

use std::net::SocketAddr;
use std::sync::Arc;

use lockorder::{LockBefore, LockCtx};

use super::super::levels;
use super::super::turn::Turn;
use super::authenticator::{Authenticator, ends_of};
use super::connection::Listener;
use super::decide;
use crate::ao::Fault;
use crate::base::counters::DropReason;
use crate::demux::FlowKey;
use crate::tcp::{HalfOpen, SeqNum};

/// Counts and discards a segment that is not authentic. Nothing answers it.
#[cold]
pub(super) fn discard(turn: &Turn<'_>, fault: Fault) {
    turn.drop_packet(match fault {
        Fault::Missing | Fault::Contradiction => DropReason::TcpAoMissing,
        Fault::UnknownKey => DropReason::TcpAoUnknownKey,
        Fault::Code => DropReason::TcpAoBad,
        Fault::Refused => DropReason::TcpAoRefused,
    });
}

/// Verifies a SYN to a listener. Returns the number of its key, or `None` if the connection is not authenticated.
pub(super) fn verify_syn(
    turn: &mut Turn<'_>,
    listener: &Listener,
    flow: &FlowKey,
    wire: &[u8],
) -> Result<Option<u8>, Fault> {
    let Some(keys) = &listener.options.keys else {
        return Ok(None);
    };
    let ends = ends_of(flow);
    keys.read(&mut turn.key.ctx(), |keys| keys.verify_syn(&ends, wire))
}

/// Returns true if a listener authenticates its connections with that peer.
pub(in crate::stack) fn is_required<L>(
    ctx: &mut LockCtx<'_, L>,
    listener: &Listener,
    peer: SocketAddr,
) -> bool
where
    L: LockBefore<levels::AuthenticationKeys>,
{
    let keys = listener.options.keys.as_ref();
    keys.is_some_and(|keys| keys.read(ctx, |keys| keys.is_for(peer) || keys.refuses_others()))
}

/// The initial sequence number of a half-open connection, and its session, if it is authenticated.
pub(super) type Authentic = (SeqNum, Option<Box<Authenticator>>);

/// Verifies a segment for a half-open connection of a listener that has keys; `None` if there is none any more.
pub(super) fn authenticate(
    turn: &mut Turn<'_>,
    flow: &FlowKey,
    wire: &[u8],
) -> Option<Result<Authentic, Fault>> {
    let connections = &turn.host.tcp.connections;
    let found = connections.with_half_open(&mut turn.key.ctx(), flow, |queue, id| {
        let (_, entry) = queue.get_mut(id)?;
        let listener = entry.place.listener();
        let has_keys = listener.options.keys.is_some();
        Some((entry.half, has_keys.then(|| Arc::clone(listener))))
    });
    let (half, listener) = found.flatten()?;
    let keys = listener.as_ref().map(|listener| &listener.options.keys);
    let (Some(listener), Some(Some(keys))) = (&listener, keys) else {
        return Some(Ok((half.iss(), None)));
    };
    if half.key_id().is_none() {
        let is_late = is_required(&mut turn.key.ctx(), listener, flow.remote());
        if is_late {
            // It began before there was a key for the peer.
            give_up(turn, flow, &half);
            return Some(Err(Fault::Missing));
        }
        return Some(Ok((half.iss(), None)));
    }
    let ctx = &mut turn.key.ctx();
    let Some(mut session) = Authenticator::resume(keys, ctx, flow, &half) else {
        return Some(Err(Fault::UnknownKey));
    };
    let verified = session.verify(ctx, wire);
    Some(verified.map(|()| (half.iss(), Some(session))))
}

/// Ends a handshake that may not be completed.
fn give_up(turn: &mut Turn<'_>, flow: &FlowKey, half: &HalfOpen) {
    let connections = &turn.host.tcp.connections;
    let removed = connections.with_half_open(&mut turn.key.ctx(), flow, |queue, id| {
        let (_, entry) = queue.get_mut(id)?;
        let is_it = entry.half.iss() == half.iss();
        is_it.then(|| queue.remove(id))?
    });
    if let Some((flow, entry)) = removed.flatten() {
        decide::fail(turn, &flow, &entry);
    }
}
