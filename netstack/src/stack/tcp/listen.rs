//! Passive opens: listening, accepting, serving (RFC 9293 section 3.10.1).

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;

use super::super::foreign::{locked, wake_all};
use super::super::host::Host;
use super::super::mailbox::Message;
use super::super::waiters::{Ticket, Wait, Waiter};
use super::accept::{Accept, Backlog, Offer};
use super::connection::{Connection, Listener, Service};
use super::control::abort;
use super::decide::info;
use super::deferred::{Asked, Decision, Failed, Next};
use super::filter::SynInfo;
use super::options::Options;
use crate::demux::{BindError, Destinations};

/// Opens a listening port.
pub(crate) fn listen(
    host: &Host,
    local: SocketAddr,
    options: Options,
) -> io::Result<Arc<Listener>> {
    host.ending.check_open()?;
    host.ip.addressing.get().check_bind("listen", &local)?;
    let listener = bind(host, local, options)?;
    // The end of the stack closes the listeners of the table: it may have missed this one.
    if let Err(ended) = host.ending.check_open() {
        unlisten(host, &listener);
        return Err(ended);
    }
    Ok(listener)
}

/// Opens a listener for the destinations that no other listener takes.
pub(crate) fn listen_any(
    host: &Host,
    destinations: Destinations,
    options: Options,
) -> io::Result<Arc<Listener>> {
    host.ending.check_open()?;
    destinations
        .check()
        .map_err(|why| io::Error::new(io::ErrorKind::InvalidInput, format!("listen: {why}")))?;
    let local = SocketAddr::from(([0; 4], 0));
    let listener = new_listener(host, local, options);
    locked(|key| {
        let listeners = &host.tcp.listeners;
        match listeners.bind_any(&mut key.ctx(), destinations, &listener) {
            Ok(()) => Ok(()),
            Err(BindError::Full(_)) => Err(io::Error::new(
                io::ErrorKind::OutOfMemory,
                "listen: too many listeners",
            )),
            Err(_) => Err(io::Error::new(
                io::ErrorKind::AddrInUse,
                "listen: another listener of this stack has exactly these destinations",
            )),
        }
    })?;
    if let Err(ended) = host.ending.check_open() {
        unlisten(host, &listener);
        return Err(ended);
    }
    Ok(listener)
}

/// Creates a listener. One whose program changed none of TCP's limits has the stack's backlog, whatever that becomes.
fn new_listener(host: &Host, local: SocketAddr, options: Options) -> Arc<Listener> {
    let tcp = &host.tcp;
    if Arc::ptr_eq(&options.config, &tcp.config) {
        let backlog = Backlog::sharing(&tcp.backlog);
        return Listener::with_backlog(local, options, &tcp.syn_places, backlog);
    }
    Listener::new(local, options, &tcp.syn_places)
}

/// Enters a new listener in the table.
fn bind(host: &Host, local: SocketAddr, options: Options) -> io::Result<Arc<Listener>> {
    locked(|key| {
        let mut local = local;
        if local.port() == 0 {
            let listeners = &host.tcp.listeners;
            let port = host.ports.pick_unconnected(&mut key.ctx(), |ctx, port| {
                listeners.is_port_used(ctx, local.is_ipv6(), port)
            })?;
            local.set_port(port);
        }
        let listener = new_listener(host, local, options);
        match host.tcp.listeners.bind(&mut key.ctx(), &listener) {
            Ok(()) => Ok(listener),
            Err(BindError::Full(_)) => Err(io::Error::new(
                io::ErrorKind::OutOfMemory,
                "listen: too many listeners",
            )),
            Err(_) => Err(io::Error::new(
                io::ErrorKind::AddrInUse,
                format!("listen: {local} is in use by another listener of this stack"),
            )),
        }
    })
}

/// Hands the listener's connections to `service` from now on, those that wait included.
pub(crate) fn serve(host: &Host, listener: &Arc<Listener>, service: Service) -> io::Result<()> {
    let waiting = locked(|key| {
        let service = service.clone();
        listener
            .queue
            .with(&mut key.ctx(), |queue, _| queue.serve(service))
    });
    let waiting = waiting.map_err(|_| {
        io::Error::new(
            io::ErrorKind::AlreadyExists,
            "serve: this listener has a service already",
        )
    })?;
    for connection in waiting {
        start(host, &service, connection);
    }
    Ok(())
}

/// Returns the connections that nobody has accepted, each with its number in the order in which they came.
pub(crate) fn unaccepted(host: &Host) -> HashMap<*const Connection, u32> {
    let mut all = Vec::new();
    let listeners = locked(|key| host.tcp.listeners.snapshot(&mut key.ctx()));
    for listener in listeners {
        locked(|key| {
            listener.queue.with(&mut key.ctx(), |queue, _| {
                all.extend(queue.waiting().map(Arc::as_ptr));
            });
        });
    }
    all.into_iter().zip(0..).collect()
}

/// Returns the listener for `local`, an address that was the host's.
pub(crate) fn listener_at(host: &Host, local: SocketAddr) -> Option<Arc<Listener>> {
    let addressing = host.ip.addressing.get();
    let is_own = || addressing.addresses.is_here(local.ip());
    locked(|key| host.tcp.listeners.lookup(&mut key.ctx(), local, is_own))
}

/// Offers a connection of an earlier stack, which nobody had accepted, to the listener at its address. It is reset if there is
/// none, or its backlog is full.
pub(crate) fn offer_again(host: &Host, connection: Arc<Connection>) {
    let listener = listener_at(host, connection.flow.local());
    let listener = listener.filter(|listener| listener.deferred.is_none());
    let admitted = listener.and_then(|listener| Some((listener.admit()?, listener)));
    let Some((place, listener)) = admitted else {
        abort(host, &connection);
        return;
    };
    let mut wakers = Vec::new();
    let offer = locked(|key| {
        listener.queue.with(&mut key.ctx(), |queue, _| {
            queue.offer(connection, place, &mut wakers)
        })
    });
    wake_all(wakers);
    match offer {
        Offer::Queued => {}
        Offer::Serve(service, connection) => start(host, &service, connection),
        Offer::Refused(connection) => abort(host, &connection),
    }
}

/// Starts a service for a connection that no worker's turn starts.
fn start(host: &Host, service: &Service, connection: Arc<Connection>) {
    let owner = usize::from(connection.owner);
    if let Some(task) = service.start(connection) {
        host.workers[owner].mailbox.send(Message::Spawn(task));
    }
}

/// Takes the listener back from its service: connections wait to be accepted from now on.
pub(crate) fn take_back(listener: &Listener) {
    locked(|key| {
        listener
            .queue
            .with(&mut key.ctx(), |queue, _| queue.take_back());
    });
}

/// Takes the next connection that the listener has ready.
pub(crate) fn poll_accept(
    host: &Host,
    listener: &Listener,
    wait: Wait<'_>,
) -> Poll<io::Result<Arc<Connection>>> {
    Waiter::poll(wait, |waiter| {
        let accept = locked(|key| {
            listener
                .queue
                .with(&mut key.ctx(), |queue, _| queue.accept(waiter))
        });
        match accept {
            Accept::Ready(connection) => Poll::Ready(Ok(connection)),
            Accept::Wait => Poll::Pending,
            Accept::Closed => Poll::Ready(Err(host.ending.explain(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "accept: the listener was closed",
            )))),
        }
    })
}

/// Forgets a task that no longer waits for a connection.
pub(crate) fn forget(listener: &Listener, ticket: Ticket) {
    locked(|key| {
        listener
            .queue
            .with(&mut key.ctx(), |queue, _| queue.forget(ticket));
    });
}

/// Takes the next SYN that the program is to decide about.
pub(crate) fn poll_syn(
    host: &Host,
    listener: &Listener,
    wait: Wait<'_>,
) -> Poll<io::Result<(Asked, SynInfo)>> {
    let closed = || {
        host.ending.explain(io::Error::new(
            io::ErrorKind::ConnectionAborted,
            "next: the listener was closed",
        ))
    };
    let Some(deferred) = &listener.deferred else {
        return Poll::Ready(Err(closed()));
    };
    Waiter::poll(wait, |waiter| {
        loop {
            let next =
                locked(|key| deferred.with(&mut key.ctx(), |deferred, _| deferred.next(waiter)));
            match next {
                Next::Wait => return Poll::Pending,
                Next::Closed => return Poll::Ready(Err(closed())),
                Next::Syn(asked) => {
                    // One whose entry ended meanwhile is not shown.
                    if let Some(info) = syn_info(host, &asked) {
                        return Poll::Ready(Ok((asked, info)));
                    }
                }
            }
        }
    })
}

fn syn_info(host: &Host, asked: &Asked) -> Option<SynInfo> {
    let half = locked(|key| {
        let connections = &host.tcp.connections;
        connections.with_half_open(&mut key.ctx(), &asked.flow, |queue, id| {
            queue.get_mut(id).map(|(_, entry)| entry.half)
        })
    });
    let half = half.flatten().filter(|half| half.iss() == asked.iss)?;
    Some(info(&asked.flow, &half.peer(), asked.hop))
}

/// Forgets a task that no longer waits for a SYN.
pub(crate) fn forget_asker(listener: &Listener, ticket: Ticket) {
    if let Some(deferred) = &listener.deferred {
        locked(|key| {
            deferred.with(&mut key.ctx(), |deferred, _| deferred.forget_asker(ticket));
        });
    }
}

/// Tells a worker what the program decided about a SYN.
pub(crate) fn decide(host: &Host, asked: Asked, decision: Decision) {
    let (local, remote) = (asked.flow.local(), asked.flow.remote());
    let worker = usize::from(host.workers.choose_owner(&local, &remote));
    host.workers[worker]
        .mailbox
        .send(Message::Decided(Box::new((asked, decision))));
}

/// Accepts a SYN: a task will wait for its connection.
pub(crate) fn begin_accept(host: &Host, listener: &Listener, asked: Asked) {
    if let Some(deferred) = &listener.deferred {
        locked(|key| deferred.with(&mut key.ctx(), |deferred, _| deferred.accept(&asked)));
    }
    if syn_info(host, &asked).is_none() {
        fail(listener, &asked);
        return;
    }
    decide(host, asked, Decision::Accept);
}

fn fail(listener: &Listener, asked: &Asked) {
    let mut wakers = Vec::new();
    if let Some(deferred) = &listener.deferred {
        locked(|key| {
            deferred.with(&mut key.ctx(), |deferred, _| {
                deferred.fail(&asked.flow, asked.iss, &mut wakers);
            });
        });
    }
    wake_all(wakers);
}

/// Polls for the connection of a SYN that the program accepted.
pub(crate) fn poll_deferred(
    host: &Host,
    listener: &Listener,
    asked: &Asked,
    wait: Wait<'_>,
) -> Poll<io::Result<Arc<Connection>>> {
    Waiter::poll(wait, |waiter| {
        let result = listener.deferred.as_ref().and_then(|deferred| {
            locked(|key| {
                deferred.with(&mut key.ctx(), |deferred, _| deferred.result(asked, waiter))
            })
        });
        match result {
            None => Poll::Pending,
            Some(Ok(connection)) => Poll::Ready(Ok(connection)),
            Some(Err(Failed)) => Poll::Ready(Err(host.ending.explain(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "accept: the handshake failed: the peer gave up, or the decision came too late",
            )))),
        }
    })
}

/// Gives up a handshake that was accepted: its connection, if there is one, is reset.
pub(crate) fn give_up(host: &Host, listener: &Listener, asked: &Asked) {
    let connection = listener.deferred.as_ref().and_then(|deferred| {
        locked(|key| deferred.with(&mut key.ctx(), |deferred, _| deferred.give_up(asked)))
    });
    if let Some(connection) = connection {
        abort(host, &connection);
    }
}

/// Closes a listening port, and resets the connections that were not accepted.
pub(crate) fn unlisten(host: &Host, listener: &Arc<Listener>) {
    let mut wakers = Vec::new();
    let waiting = locked(|key| {
        let ctx = &mut key.ctx();
        host.tcp.listeners.unbind(ctx, listener);
        host.tcp.connections.forget_listener(ctx, listener);
        listener
            .queue
            .with(&mut key.ctx(), |queue, _| queue.close(&mut wakers))
    });
    let deferred = listener.deferred.as_ref().map(|deferred| {
        locked(|key| deferred.with(&mut key.ctx(), |deferred, _| deferred.close(&mut wakers)))
    });
    for connection in waiting.into_iter().chain(deferred.into_iter().flatten()) {
        abort(host, &connection);
    }
    wake_all(wakers);
}

/// Closes every listening port.
pub(crate) fn close_all(host: &Host) {
    let listeners = locked(|key| host.tcp.listeners.snapshot(&mut key.ctx()));
    for listener in &listeners {
        unlisten(host, listener);
    }
}
