//! The sockets of flows: one for each pair of endpoints.

use std::io;
use std::sync::Arc;
use std::task::Waker;

use lockorder::Key;

use super::super::super::foreign::{locked, wake_all as wake};
use super::super::super::host::Host;
use super::super::super::levels::StackLocks;
use super::super::deliver::deliver_to;
use super::super::socket::{Binding, BoundSocket, Protocol, SocketGroup};
use crate::base::Rng;
use crate::base::counters::{Counter, DropReason};
use crate::ip::peer::PeerNet;
use crate::udp::Datagram;

/// Creates the socket of the flow that `first` began, with that datagram in its queue. In a full table, a flow of the
/// peer that has most makes room.
///
/// Returns `None` if the flow has a socket already, which gets the datagram, or if no flow makes room: then the datagram
/// is lost, and counted.
pub(crate) fn flow(host: &Host, first: Datagram) -> io::Result<Option<Arc<BoundSocket>>> {
    host.ending.check_open()?;
    let socket = BoundSocket::single(Protocol::Udp, first.to, &Binding::Flow, &host.config)
        .ok_or_else(|| io::Error::other("accept: no socket was made"))?;
    let mut wakers = Vec::new();
    let entered = locked(|key| enter(host, key, &socket, first, &mut wakers));
    wake(wakers);
    Ok(entered.then_some(socket))
}

/// Delivers `first` to `socket` and enters that in the table; false if there is another socket for the flow, which
/// has the datagram then, or no room. Appends the tasks to be woken to `wakers`.
fn enter(
    host: &Host,
    key: &mut Key<StackLocks>,
    socket: &Arc<BoundSocket>,
    first: Datagram,
    wakers: &mut Vec<Waker>,
) -> bool {
    let (local, remote) = (first.to, first.from);
    let (udp, buffers) = (&host.udp, &host.buffers);
    let counters = host.workers.counters_here();
    let group = SocketGroup::new(std::slice::from_ref(socket));
    let again = Arc::clone(&group);
    let (delivered, mut entered) = socket.state.with(&mut key.ctx(), |state, ctx| {
        socket.connect(state, local, remote);
        // Before the flow is entered: what follows it comes behind.
        let payload = first.payload.clone();
        let delivered = state.socket.deliver(remote, local, payload, buffers);
        (delivered, udp.connect(ctx, None, local, remote, group))
    });
    if !entered {
        // Not the listener, which would give the datagram to the next call of `accept` for ever.
        if let Some(other) = udp.connection(&mut key.ctx(), local, remote) {
            other.state.with(&mut key.ctx(), |state, _| {
                deliver_to(state, first, 0, buffers, counters);
                state.readers.drain_into(wakers);
            });
            return false;
        }
        entered = displace(host, key, &first, wakers)
            && udp.connect(&mut key.ctx(), None, local, remote, again);
    }
    match delivered {
        _ if !entered => counters.drop_packet(DropReason::UdpFlowsFull),
        Ok(()) => {}
        Err(reason) => counters.drop_packet(reason),
    }
    entered
}

/// Ends a flow of the peer that has most, to make room for the one that `first` begins; false if none must.
fn displace(
    host: &Host,
    key: &mut Key<StackLocks>,
    first: &Datagram,
    wakers: &mut Vec<Waker>,
) -> bool {
    let counters = host.workers.counters_here();
    let newcomer = PeerNet::of(first.from.ip());
    let displaced = host
        .udp
        .displace(&mut key.ctx(), newcomer, &mut draws(host, first));
    let Some(displaced) = displaced else {
        return false;
    };
    for ended in displaced.sockets() {
        let lost = ended.state.with(&mut key.ctx(), |state, _| {
            state.readers.drain_into(wakers);
            state.socket.displace()
        });
        for _ in 0..lost {
            counters.drop_packet(DropReason::UdpDisplaced);
        }
    }
    counters.add(Counter::UdpFlowsDisplaced, 1);
    true
}

/// Returns a generator that draws a sample for one decision.
fn draws(host: &Host, first: &Datagram) -> Rng {
    let number = host.tcp.isn.isn(host.clock.now(), first.to, first.from);
    Rng::from_u64(number.0.into())
}
