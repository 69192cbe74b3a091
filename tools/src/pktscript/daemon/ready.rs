//! `poll`: what sockets are ready for.

use super::Daemon;
use super::sockets::Kind;
use crate::pktscript::host::{Events, Returned, SocketId};

impl Daemon {
    /// Returns what each socket is ready for, of what is asked.
    pub(super) fn ready_now(&self, sockets: &[(SocketId, Events)]) -> Vec<Events> {
        let ready = sockets
            .iter()
            .map(|(id, asked)| match self.sockets.get(id) {
                // Errors and hang-ups are told unasked.
                Some(open) => {
                    of_kind(&open.kind, self.send_buffer) & (*asked | Events::ERR | Events::HUP)
                }
                None => Events::NVAL,
            });
        ready.collect()
    }

    /// Returns the answer of `poll`; `None` if none of the sockets is ready.
    pub(super) fn poll(&self, sockets: &[(SocketId, Events)]) -> Option<Returned> {
        let ready = self.ready_now(sockets);
        let is_any = ready.iter().any(|events| !events.is_empty());
        let is_late = self.poll_ends.is_some_and(|end| self.time.now() >= end);
        (is_any || is_late).then_some(Returned::Ready(ready))
    }
}

/// Returns what a socket is ready for. `send_buffer`: the bytes that it takes without waiting for the peer.
fn of_kind(kind: &Kind, send_buffer: usize) -> Events {
    match kind {
        Kind::Stream(stream) => stream.events(send_buffer),
        Kind::Listener { accepted, .. } if !accepted.is_empty() => Events::IN,
        Kind::Listener { .. } | Kind::Connecting(_) => Events::empty(),
        Kind::Datagrams(datagrams) => {
            let mut events = Events::OUT;
            events.set(Events::IN, datagrams.is_readable());
            events.set(Events::ERR, datagrams.has_error());
            events
        }
        Kind::Fresh { udp: true, .. } => Events::OUT,
        Kind::Fresh { udp: false, .. } => Events::OUT | Events::HUP,
        Kind::Failed(_) => Events::IN | Events::OUT | Events::ERR | Events::HUP | Events::RDHUP,
    }
}
