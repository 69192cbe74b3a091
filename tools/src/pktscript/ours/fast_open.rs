//! Data that connects: TCP Fast Open as Linux (`MSG_FASTOPEN`, `TCP_FASTOPEN_CONNECT`) and FreeBSD (`TCP_FASTOPEN`) have it.

use std::net::SocketAddr;
use std::task::{Context, Waker};

use super::Ours;
use super::sockets::{Blocked, Kind, error};
use crate::pktscript::host::{Called, Returned, SocketId};

/// Connections whose handshake is not done, per listener, where a script does not say how many.
pub(super) const FAST_OPEN_PENDING: u32 = 128;

/// The value of `net.ipv4.tcp_fastopen`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct FastOpenSetting(pub(super) i64);

impl FastOpenSetting {
    /// Returns true if each listener uses it unasked.
    pub(super) fn listens(self) -> bool {
        self.0 & 0x402 == 0x402
    }

    /// Returns true if a listener may use it.
    pub(super) fn may_listen(self) -> bool {
        self.0 & 2 != 0
    }

    /// Returns true if a socket may connect with it.
    pub(super) fn may_connect(self) -> bool {
        self.0 & 1 != 0
    }
}

impl Ours {
    /// Returns true if data for a socket connects it.
    pub(super) fn connects(&self, id: SocketId, to: Option<SocketAddr>, fast_open: bool) -> bool {
        let Some(socket) = self.sockets.get(&id) else {
            return false;
        };
        match &socket.kind {
            Kind::Deferred(..) => true,
            Kind::Fresh(_) => fast_open || (socket.data_connects && to.is_some()),
            Kind::Connecting(_) => fast_open,
            _ => false,
        }
    }

    /// Connects with data.
    pub(super) fn send_early(
        &mut self,
        id: SocketId,
        data: &[u8],
        to: Option<SocketAddr>,
        dont_wait: bool,
    ) -> Called {
        let may_connect = self.fast_open.may_connect();
        let Some(socket) = self.sockets.get(&id) else {
            return error("EBADF");
        };
        let nonblocking = socket.nonblocking || dont_wait;
        let queues = socket.data_connects;
        let (fresh, to) = match &socket.kind {
            Kind::Deferred(fresh, to) => (fresh, *to),
            Kind::Fresh(_) if !may_connect && !queues => return error("EOPNOTSUPP"),
            Kind::Fresh(fresh) => match to {
                Some(to) => (fresh, to),
                None => return error("EINVAL"),
            },
            _ => return error("EALREADY"),
        };
        let room = fresh.fast_open_room(to).unwrap_or(0);
        let taken = if queues || !nonblocking {
            data.len()
        } else {
            data.len().min(room)
        };
        let data = data.get(..taken).unwrap_or_default().to_vec();
        let value = i64::try_from(taken).unwrap_or(i64::MAX);
        let called = self.begin_early(id, to, data, nonblocking || queues, value);
        // What a socket takes before it is connected has been sent as far as the program knows.
        match called {
            Called::Returned(Returned::Error("EINPROGRESS")) if taken > 0 => {
                Called::Returned(Returned::Value(value, Vec::new()))
            }
            called => called,
        }
    }

    /// Begins to connect with data, which the call returns the length of.
    pub(super) fn begin_early(
        &mut self,
        id: SocketId,
        to: SocketAddr,
        data: Vec<u8>,
        nonblocking: bool,
        value: i64,
    ) -> Called {
        let Some(socket) = self.sockets.get_mut(&id) else {
            return error("EBADF");
        };
        let (Kind::Fresh(fresh) | Kind::Deferred(fresh, _)) =
            std::mem::replace(&mut socket.kind, Kind::Failed)
        else {
            return error("EISCONN");
        };
        socket.kind =
            Kind::Connecting(Box::pin(
                async move { fresh.connect_with_data(to, &data).await },
            ));
        let cx = &mut Context::from_waker(Waker::noop());
        self.poll_connecting(id, cx);
        let is_failed = self
            .sockets
            .get(&id)
            .is_some_and(|socket| matches!(socket.kind, Kind::Failed));
        if nonblocking && !is_failed {
            return error("EINPROGRESS");
        }
        self.blocked = Some(Blocked::Connect(id, value));
        Called::Blocks
    }
}
