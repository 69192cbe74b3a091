//! Calls that send and receive.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use netstack::net::UdpSocket;

use super::Ours;
use super::errors::{done, returned};
use super::sockets::{Blocked, Done, Kind, Stream, error, zero};
use crate::pktscript::host::{Called, Returned, SocketId};

/// Reads what is there, up to `len` bytes, as a kernel does: from all segments that have come.
fn read_now(stream: &Stream, len: usize) -> io::Result<Vec<u8>> {
    let mut data = vec![0; len];
    let mut filled = 0;
    while let Some(room) = data.get_mut(filled..).filter(|room| !room.is_empty()) {
        match stream.get_ref().try_read(room) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) => return Err(error),
        }
        // An error or the end is for the next call.
        if stream.get_ref().info().unread == 0 {
            break;
        }
    }
    data.truncate(filled);
    Ok(data)
}

fn peek_now(stream: &Stream, len: usize) -> io::Result<Vec<u8>> {
    let mut data = vec![0; len];
    let cx = &mut Context::from_waker(Waker::noop());
    let count = {
        let mut peek = pin!(stream.get_ref().peek(&mut data));
        match peek.as_mut().poll(cx) {
            Poll::Ready(count) => count?,
            Poll::Pending => return Err(io::ErrorKind::WouldBlock.into()),
        }
    };
    data.truncate(count);
    Ok(data)
}

/// Writes what there is room for.
fn write_now(stream: &Stream, data: &[u8]) -> io::Result<usize> {
    let mut written = 0;
    while let Some(rest) = data.get(written..).filter(|rest| !rest.is_empty()) {
        match stream.get_ref().try_write(rest) {
            Ok(0) => break,
            Ok(count) => written += count,
            Err(_) if written > 0 => break,
            Err(error) => return Err(error),
        }
    }
    Ok(written)
}

fn value(data: Vec<u8>) -> Returned {
    Returned::Value(i64::try_from(data.len()).unwrap_or(i64::MAX), data)
}

fn count(count: usize) -> Returned {
    Returned::Value(i64::try_from(count).unwrap_or(i64::MAX), Vec::new())
}

impl Ours {
    pub(super) fn receive(
        &mut self,
        id: SocketId,
        len: usize,
        peek: bool,
        dont_wait: bool,
        wait_all: bool,
    ) -> Called {
        let Some(socket) = self.sockets.get_mut(&id) else {
            return error("EBADF");
        };
        let nonblocking = socket.nonblocking || dont_wait;
        let stream = match &socket.kind {
            Kind::Stream(stream) => Arc::clone(stream),
            Kind::Udp(udp) => {
                let udp = Arc::clone(udp);
                return self.receive_datagram(&udp, len, nonblocking, peek);
            }
            Kind::Failed => {
                return match socket.error.take() {
                    Some(name) => error(name),
                    None => zero(),
                };
            }
            Kind::Connecting(_) | Kind::Deferred(..) if nonblocking => return error("EAGAIN"),
            _ => return error("ENOTCONN"),
        };
        let found = if peek {
            peek_now(&stream, len)
        } else {
            read_now(&stream, len)
        };
        match found {
            Ok(data) if wait_all && !nonblocking && data.len() < len && !data.is_empty() => {
                self.receive_all(stream, data, len)
            }
            Ok(data) => Called::Returned(value(data)),
            Err(failed) if failed.kind() != io::ErrorKind::WouldBlock => {
                Called::Returned(returned(&failed))
            }
            Err(_) if socket.read_shut => zero(),
            Err(_) if nonblocking => error("EAGAIN"),
            Err(_) if wait_all => self.receive_all(stream, Vec::new(), len),
            Err(_) => {
                self.blocked = Some(Blocked::Rest(Box::pin(async move {
                    loop {
                        if let Err(failed) = stream.get_ref().readable().await {
                            return Done::Returned(returned(&failed));
                        }
                        let found = if peek {
                            peek_now(&stream, len)
                        } else {
                            read_now(&stream, len)
                        };
                        match found {
                            Ok(data) => return Done::Returned(value(data)),
                            Err(failed) if failed.kind() == io::ErrorKind::WouldBlock => {}
                            Err(failed) => return Done::Returned(returned(&failed)),
                        }
                    }
                })));
                Called::Blocks
            }
        }
    }

    /// Receives until `len` bytes or the end of the stream.
    fn receive_all(&mut self, stream: Stream, mut data: Vec<u8>, len: usize) -> Called {
        self.blocked = Some(Blocked::Rest(Box::pin(async move {
            while data.len() < len {
                if let Err(failed) = stream.get_ref().readable().await {
                    return Done::Returned(returned(&failed));
                }
                match read_now(&stream, len - data.len()) {
                    Ok(more) if more.is_empty() => break,
                    Ok(more) => data.extend(more),
                    Err(failed) if failed.kind() == io::ErrorKind::WouldBlock => {}
                    Err(_) if !data.is_empty() => break,
                    Err(failed) => return Done::Returned(returned(&failed)),
                }
            }
            Done::Returned(value(data))
        })));
        Called::Blocks
    }

    pub(super) fn send(
        &mut self,
        id: SocketId,
        data: Vec<u8>,
        to: Option<SocketAddr>,
        dont_wait: bool,
    ) -> Called {
        let Some(socket) = self.sockets.get_mut(&id) else {
            return error("EBADF");
        };
        let nonblocking = socket.nonblocking || dont_wait;
        let stream = match &socket.kind {
            Kind::Stream(_) if socket.write_shut => return error("EPIPE"),
            Kind::Stream(stream) => Arc::clone(stream),
            Kind::Udp(_) | Kind::FreshUdp => return self.send_datagram(id, &data, to),
            Kind::Failed => return error(socket.error.take().unwrap_or("EPIPE")),
            Kind::Connecting(_) if nonblocking => return error("EAGAIN"),
            Kind::Connecting(_) => {
                let what = "a write that waits for the handshake";
                return Called::Returned(Returned::Unsupported(what.to_owned()));
            }
            _ => return error("EPIPE"),
        };
        let written = match write_now(&stream, &data) {
            Ok(written) => written,
            Err(failed) if failed.kind() == io::ErrorKind::WouldBlock && !nonblocking => 0,
            Err(failed) => return Called::Returned(returned(&failed)),
        };
        if written == data.len() || (nonblocking && written > 0) {
            return Called::Returned(count(written));
        }
        if nonblocking {
            return error("EAGAIN");
        }
        self.blocked = Some(Blocked::Rest(Box::pin(async move {
            let mut written = written;
            while written < data.len() {
                if let Err(failed) = stream.get_ref().writable().await {
                    return Done::Returned(returned(&failed));
                }
                match write_now(&stream, data.get(written..).unwrap_or_default()) {
                    Ok(more) => written += more,
                    Err(failed) if failed.kind() == io::ErrorKind::WouldBlock => {}
                    // What was written is reported first.
                    Err(_) if written > 0 => break,
                    Err(failed) => return Done::Returned(returned(&failed)),
                }
            }
            Done::Returned(count(written))
        })));
        Called::Blocks
    }

    fn receive_datagram(
        &mut self,
        socket: &Arc<UdpSocket>,
        len: usize,
        nonblocking: bool,
        peek: bool,
    ) -> Called {
        if peek {
            let what = "MSG_PEEK of datagrams".to_owned();
            return Called::Returned(Returned::Unsupported(what));
        }
        let socket = Arc::clone(socket);
        let mut rest = Box::pin(async move {
            let mut data = vec![0; len];
            Done::Returned(match socket.recv_from(&mut data).await {
                Ok((count, _)) => {
                    data.truncate(count);
                    value(data)
                }
                Err(failed) => returned(&failed),
            })
        });
        let cx = &mut Context::from_waker(Waker::noop());
        match rest.as_mut().poll(cx) {
            Poll::Ready(Done::Returned(returned)) => Called::Returned(returned),
            Poll::Ready(Done::Accepted(..)) => error("EINVAL"),
            Poll::Pending if nonblocking => error("EAGAIN"),
            Poll::Pending => {
                self.blocked = Some(Blocked::Rest(rest));
                Called::Blocks
            }
        }
    }

    /// Binds a socket for datagrams that has no address yet.
    fn bind_udp(&mut self, id: SocketId) -> Result<Arc<UdpSocket>, Called> {
        let stack = self.stack.stack().clone();
        let Some(socket) = self.sockets.get_mut(&id) else {
            return Err(error("EBADF"));
        };
        if let Kind::Udp(udp) = &socket.kind {
            return Ok(Arc::clone(udp));
        }
        let any: SocketAddr = if socket.v6 {
            (std::net::Ipv6Addr::UNSPECIFIED, 0).into()
        } else {
            (std::net::Ipv4Addr::UNSPECIFIED, 0).into()
        };
        match UdpSocket::bind_now(&stack, any) {
            Ok(bound) => {
                let bound = Arc::new(bound);
                socket.kind = Kind::Udp(Arc::clone(&bound));
                Ok(bound)
            }
            Err(failed) => Err(Called::Returned(returned(&failed))),
        }
    }

    pub(super) fn connect_udp(&mut self, id: SocketId, to: SocketAddr) -> Called {
        let socket = match self.bind_udp(id) {
            Ok(socket) => socket,
            Err(called) => return called,
        };
        let cx = &mut Context::from_waker(Waker::noop());
        let mut connect = pin!(socket.connect(to));
        match connect.as_mut().poll(cx) {
            Poll::Ready(result) => Called::Returned(done(result)),
            Poll::Pending => error("EINPROGRESS"),
        }
    }

    fn send_datagram(&mut self, id: SocketId, data: &[u8], to: Option<SocketAddr>) -> Called {
        let socket = match self.bind_udp(id) {
            Ok(socket) => socket,
            Err(called) => return called,
        };
        let cx = &mut Context::from_waker(Waker::noop());
        let sent = match to {
            Some(to) => pin!(socket.send_to(data, to)).as_mut().poll(cx),
            None => pin!(socket.send(data)).as_mut().poll(cx),
        };
        match sent {
            Poll::Ready(Ok(sent)) => Called::Returned(count(sent)),
            Poll::Ready(Err(failed)) => Called::Returned(returned(&failed)),
            Poll::Pending => error("EAGAIN"),
        }
    }

    /// Returns the bytes that wait to be read, or to be sent and acknowledged.
    pub(super) fn queued(&mut self, id: SocketId, unread: bool) -> Called {
        self.with(id, |socket| match &socket.kind {
            Kind::Stream(stream) => {
                let info = stream.get_ref().info();
                let bytes = if unread {
                    info.unread
                } else {
                    info.unsent.saturating_add(info.in_flight)
                };
                Called::Returned(Returned::Value(bytes.into(), Vec::new()))
            }
            _ => error("EINVAL"),
        })
    }
}
