//! The two ends of a flow, as a checkpoint has them.

use std::net::SocketAddr;

use crate::demux::FlowKey;

/// The two ends of a connection: ours, the peer's.
pub(super) type Flow = (SocketAddr, SocketAddr);

/// Returns the four-tuple of two ends; `None` if no packet has them. A peer may send from port 0, which is no port of ours.
pub(super) fn four_tuple((local, remote): Flow) -> Option<FlowKey> {
    let is_one = local.is_ipv4() == remote.is_ipv4() && local.port() != 0;
    is_one.then(|| FlowKey::new(local, remote))
}
