//! Datagrams that wait in UDP sockets, to the sockets that the program binds at the same addresses.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use lockorder::LockCtx;

use super::super::foreign::{locked, wake_all};
use super::super::host::Host;
use super::super::levels::StackLocks;
use super::super::udp::deliver::deliver_to;
use super::ends::four_tuple;
use crate::base::counters::DropReason;
use crate::udp::Datagram;

/// A datagram that waits.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "checkpoint", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct KeptDatagram {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    /// The place of its socket among those of one address, one for each worker.
    pub(super) index: u16,
    pub(super) payload: Bytes,
}

/// Returns every datagram, those of one socket in their order.
pub(super) fn export(host: &Host, ctx: &mut LockCtx<'_, StackLocks>) -> Vec<KeptDatagram> {
    let (mut all, mut seen) = (Vec::new(), HashSet::new());
    for group in host.udp.snapshot(ctx) {
        for (index, socket) in group.sockets().enumerate() {
            // One that is bound and connected is in two groups.
            if !seen.insert(Arc::as_ptr(socket)) {
                continue;
            }
            socket.state.with(ctx, |state, _| {
                let datagrams = state.socket.datagrams();
                all.extend(datagrams.map(|(from, to, payload)| KeptDatagram {
                    from,
                    to,
                    index: index as u16,
                    payload: Bytes::copy_from_slice(payload),
                }));
            });
        }
    }
    all
}

/// Returns true if each of them can be.
pub(super) fn are_valid(datagrams: &[KeptDatagram]) -> bool {
    let is_valid = |kept: &KeptDatagram| {
        four_tuple((kept.to, kept.from)).is_some() && kept.payload.len() <= usize::from(u16::MAX)
    };
    datagrams.iter().all(is_valid)
}

/// Delivers the datagrams within the limits of the sockets.
pub(super) fn enter(host: &Host, datagrams: Vec<KeptDatagram>) {
    let counters = host.workers.counters_here();
    let mut wakers = Vec::new();
    for kept in datagrams {
        let KeptDatagram {
            from,
            to,
            index,
            payload,
        } = kept;
        // It was found to be the host's when it came.
        let is_own = || true;
        let found = locked(|key| {
            let ctx = &mut key.ctx();
            host.udp.lookup(ctx, from, to, index.into(), is_own)
        });
        let Some(socket) = found else {
            counters.drop_packet(DropReason::UdpNoSocket);
            continue;
        };
        let datagram = Datagram {
            from,
            to,
            payload: payload.into(),
        };
        locked(|key| {
            socket.state.with(&mut key.ctx(), |state, _| {
                deliver_to(state, datagram, 0, &host.buffers, counters);
                state.readers.drain_into(&mut wakers);
            });
        });
    }
    wake_all(wakers);
}
