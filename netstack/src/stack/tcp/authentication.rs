//! Verification of what comes to a listener whose connections are authenticated (TCP-AO, RFC 5925), and what becomes of
//! segments that are not authentic.

use std::net::SocketAddr;

use lockorder::{LockBefore, LockCtx};

use super::super::levels;
use super::super::turn::Turn;
use super::authenticator::ends_of;
use super::connection::Listener;
use crate::ao::Fault;
use crate::base::counters::DropReason;
use crate::demux::FlowKey;

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
