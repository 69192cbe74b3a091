//! The sockets of a script by the numbers that it gives them.

use std::collections::HashMap;

use crate::pktscript::host::SocketId;

/// One socket.
#[derive(Clone, Copy, Debug)]
struct Socket {
    id: SocketId,
    udp: bool,
    /// Bytes that were written to it.
    sent: u32,
    /// Bytes that were read from it.
    received: u32,
}

/// The sockets of a script.
#[derive(Clone, Debug, Default)]
pub(super) struct Sockets {
    by_fd: HashMap<i64, Socket>,
}

impl Sockets {
    /// Notes that the script calls a socket by this number.
    pub(super) fn insert(&mut self, fd: i64, id: SocketId, udp: bool) {
        let socket = Socket {
            id,
            udp,
            sent: 0,
            received: 0,
        };
        self.by_fd.insert(fd, socket);
    }

    /// Forgets a socket.
    pub(super) fn remove(&mut self, fd: i64) {
        self.by_fd.remove(&fd);
    }

    /// Returns the host's number of a socket.
    pub(super) fn id(&self, fd: i64) -> Option<SocketId> {
        self.by_fd.get(&fd).map(|socket| socket.id)
    }

    /// Returns true for sockets of datagrams.
    pub(super) fn is_udp(&self, fd: i64) -> bool {
        self.by_fd.get(&fd).is_some_and(|socket| socket.udp)
    }

    /// Returns the bytes written to a socket so far.
    pub(super) fn sent(&self, fd: i64) -> u32 {
        self.by_fd.get(&fd).map_or(0, |socket| socket.sent)
    }

    /// Returns the bytes read from a socket so far.
    pub(super) fn received(&self, fd: i64) -> u32 {
        self.by_fd.get(&fd).map_or(0, |socket| socket.received)
    }

    /// Notes bytes that were written.
    pub(super) fn add_sent(&mut self, fd: i64, bytes: u32) {
        if let Some(socket) = self.by_fd.get_mut(&fd) {
            socket.sent = socket.sent.wrapping_add(bytes);
        }
    }

    /// Notes bytes that were read.
    pub(super) fn add_received(&mut self, fd: i64, bytes: u32) {
        if let Some(socket) = self.by_fd.get_mut(&fd) {
            socket.received = socket.received.wrapping_add(bytes);
        }
    }
}
