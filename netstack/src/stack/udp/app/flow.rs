//! The sockets of flows: one for each pair of endpoints.

use std::io;
use std::sync::Arc;

use super::super::super::foreign::{locked, wake_all as wake};
use super::super::super::host::Host;
use super::super::socket::{Binding, BoundSocket, Protocol, SocketGroup};
use crate::base::Rng;
use crate::base::counters::Counter;
use crate::ip::peer::PeerNet;
use crate::udp::Datagram;

/// Makes the socket of the flow that `first` began, with that datagram in its queue. If the flow has a
/// socket already, that one gets the datagram and the result is `None`. If there are as many flows as there may be,
/// one of the peer that has most makes room; if none must, the datagram is lost, and the result is `None`, too.
pub(crate) fn flow(host: &Host, first: Datagram) -> io::Result<Option<Arc<BoundSocket>>> {
    host.ending.check_open()?;
    let (local, remote) = (first.to, first.from);
    let socket = BoundSocket::single(Protocol::Udp, local, &Binding::Flow, &host.config)
        .ok_or_else(|| io::Error::other("accept: no socket was made"))?;
    let group = SocketGroup::new(std::slice::from_ref(&socket));
    let mut wakers = Vec::new();
    let made = locked(|key| {
        let (ctx, udp) = (&mut key.ctx(), &host.udp);
        let (enter, again) = (Arc::clone(&group), group);
        let entered = socket.state.with(ctx, |state, ctx| {
            socket.connect(state, local, remote);
            // Before the flow is entered: what follows it comes behind. A queue that has no room for it loses
            // it, as any other datagram.
            let _ = (state.socket).deliver(remote, local, first.payload.clone(), &host.buffers);
            udp.connect(ctx, None, local, remote, enter)
        });
        if entered {
            return Some(socket);
        }
        // Not the listener, which would give the datagram to the next call of `accept` for ever.
        if let Some(other) = udp.connection(&mut key.ctx(), local, remote) {
            let _ = other.state.with(&mut key.ctx(), |state, _| {
                state
                    .socket
                    .deliver(remote, local, first.payload.clone(), &host.buffers)
            });
            return None;
        }
        // There are as many as there may be.
        let displaced = udp.displace(
            &mut key.ctx(),
            PeerNet::of(remote.ip()),
            &mut draws(host, &first),
        );
        for ended in displaced?.sockets() {
            ended.state.with(&mut key.ctx(), |state, _| {
                state.socket.displace();
                state.readers.drain_into(&mut wakers);
            });
        }
        let worker = host.workers.current().unwrap_or(0);
        host.workers[worker]
            .counters
            .add(Counter::UdpFlowsDisplaced, 1);
        let entered = udp.connect(&mut key.ctx(), None, local, remote, again);
        entered.then_some(socket)
    });
    wake(wakers);
    Ok(made)
}

/// Returns a generator that draws a sample for one decision.
fn draws(host: &Host, first: &Datagram) -> Rng {
    let number = host.tcp.isn.isn(host.clock.now(), first.to, first.from);
    Rng::from_u64(number.0.into())
}
