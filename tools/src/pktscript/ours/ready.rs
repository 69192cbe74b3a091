//! `poll`: what sockets are ready for.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use netstack::net::Interest;

use super::Ours;
use super::sockets::{Blocked, Kind, Socket, Stream};
use crate::pktscript::host::{Called, Events, Returned, SocketId};

impl Ours {
    /// Returns what each socket is ready for, of what is asked.
    pub(super) fn ready_now(&mut self, sockets: &[(SocketId, Events)]) -> Vec<Events> {
        sockets
            .iter()
            .map(|(id, asked)| match self.sockets.get_mut(id) {
                Some(socket) => {
                    // Errors and hang-ups are told unasked.
                    of_socket(socket) & (*asked | Events::ERR | Events::HUP)
                }
                None => Events::NVAL,
            })
            .collect()
    }

    pub(super) fn poll(&mut self, sockets: Vec<(SocketId, Events)>, timeout_millis: i64) -> Called {
        let ready = self.ready_now(&sockets);
        if timeout_millis == 0 || ready.iter().any(|events| !events.is_empty()) {
            return Called::Returned(Returned::Ready(ready));
        }
        let until = (timeout_millis > 0).then(|| {
            self.now_micros
                .saturating_add(timeout_millis.saturating_mul(1_000))
        });
        self.blocked = Some(Blocked::Poll { sockets, until });
        Called::Blocks
    }
}

fn of_socket(socket: &mut Socket) -> Events {
    match &mut socket.kind {
        Kind::Stream(stream) => of_stream(stream),
        Kind::Listener(listener, found) => {
            let cx = &mut Context::from_waker(Waker::noop());
            if found.is_empty()
                && let Poll::Ready(Ok((stream, _))) = listener.poll_accept(cx)
            {
                found.push(stream);
            }
            if found.is_empty() {
                Events::empty()
            } else {
                Events::IN
            }
        }
        Kind::Fresh(_) => Events::OUT | Events::HUP,
        Kind::Deferred(..) => Events::OUT,
        Kind::Failed => Events::IN | Events::OUT | Events::ERR | Events::HUP | Events::RDHUP,
        Kind::Udp(_) | Kind::FreshUdp => Events::OUT,
        Kind::Connecting(_) => Events::empty(),
    }
}

fn of_stream(stream: &Stream) -> Events {
    let cx = &mut Context::from_waker(Waker::noop());
    let mut ready = pin!(
        stream
            .get_ref()
            .ready(Interest::READABLE | Interest::WRITABLE)
    );
    let Poll::Ready(Ok(ready)) = ready.as_mut().poll(cx) else {
        return Events::empty();
    };
    let mut events = Events::empty();
    events.set(Events::IN, ready.is_readable() || ready.is_read_closed());
    events.set(Events::RDHUP, ready.is_read_closed());
    events.set(Events::OUT, ready.is_writable());
    events.set(Events::ERR, ready.is_error());
    events.set(
        Events::HUP,
        ready.is_read_closed() && ready.is_write_closed(),
    );
    events
}
