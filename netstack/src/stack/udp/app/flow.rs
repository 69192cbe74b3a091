//! The sockets of flows: one for each pair of endpoints.

use std::io;
use std::sync::Arc;
use std::task::Waker;

use lockorder::Key;

use super::super::super::foreign::{locked, wake_all as wake};
use super::super::super::host::Host;
use super::super::super::levels::StackLocks;
use super::super::deliver::deliver_to;
use super::super::group::SocketGroup;
use super::super::socket::{Binding, BoundSocket, Protocol};
use crate::base::counters::{Counter, DropReason};
use crate::base::time::Duration;
use crate::base::{Instant, Rng};
use crate::ip::peer::PeerNet;
use crate::udp::Datagram;

/// Creates the socket of the flow that `first` began, with that datagram in its queue. In a full table, a flow of the
/// peer that has most makes room.
///
/// With `idle`, the flow ends when nothing comes or is sent for that time, at one of the calls of [`end_idle`].
///
/// Returns `None` if the flow has a socket already, which gets the datagram, or if no flow makes room: then the datagram
/// is lost, and counted.
pub(crate) fn flow(
    host: &Host,
    first: Datagram,
    idle: Option<Duration>,
) -> io::Result<Option<Arc<BoundSocket>>> {
    host.ending.check_open()?;
    let socket = BoundSocket::single(Protocol::Udp, first.to, &Binding::Flow, &host.config)
        .ok_or_else(|| io::Error::other("accept: no socket was made"))?;
    if let Some(idle) = idle {
        socket.set_idle_timeout(idle, host.clock.now());
    }
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

/// Ends the flows that have been idle for too long. Returns how many flows are left that may come to that.
pub(crate) fn end_idle(host: &Host) -> usize {
    let now = host.clock.now();
    let groups = locked(|key| host.udp.snapshot(&mut key.ctx()));
    let flows = groups
        .iter()
        .filter(|group| group.is_flow())
        .flat_map(|group| group.sockets());
    let (mut left, mut wakers) = (0, Vec::new());
    for socket in flows {
        match socket.is_idle(now) {
            Some(true) if locked(|key| end(host, key, socket, now, &mut wakers)) => {
                let counters = host.workers.counters_here();
                counters.add(Counter::UdpFlowsIdle, 1);
            }
            Some(_) => left += 1,
            None => {}
        }
    }
    wake(wakers);
    left
}

/// Ends a flow that is idle at `now`; false if it is not idle any more, has a datagram that was not received, or has
/// ended.
fn end(
    host: &Host,
    key: &mut Key<StackLocks>,
    socket: &Arc<BoundSocket>,
    now: Instant,
    wakers: &mut Vec<Waker>,
) -> bool {
    socket.state.with(&mut key.ctx(), |state, ctx| {
        // A datagram may have come, or been sent, before the socket was locked.
        if socket.is_idle(now) != Some(true) {
            return false;
        }
        let ends = (state.socket.local(), state.socket.remote());
        let has_ended = state.socket.end_idle();
        if has_ended {
            let connected = ends.1.map(|remote| (ends.0, remote));
            host.udp.remove(ctx, socket, connected, None);
            state.readers.drain_into(wakers);
        }
        has_ended
    })
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

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    #[test]
    fn a_flow_that_becomes_active_before_it_is_locked_does_not_end() {
        let host = Host::example();
        let ends = ["10.77.0.2:4000", "10.77.0.1:7"];
        let [from, to]: [SocketAddr; 2] = ends.map(|text| text.parse().expect(text));
        let payload = bytes::Bytes::from_static(b"first").into();
        let first = Datagram { from, to, payload };
        let idle = Duration::from_secs(60);
        let socket = flow(&host, first, Some(idle)).expect("open").expect("new");
        let read = locked(|key| {
            let ctx = &mut key.ctx();
            socket.state.with(ctx, |state, _| state.socket.recv())
        });
        assert!(read.is_some());
        let now = host.clock.now() + idle;
        assert_eq!(socket.is_idle(now), Some(true));
        let ended = |now| locked(|key| end(&host, key, &socket, now, &mut Vec::new()));
        // A datagram is sent between the look and the end.
        socket.note_active(|| now);
        assert!(!ended(now));
        assert!(ended(now + idle));
        assert!(!ended(now + idle), "it has ended");
    }
}
