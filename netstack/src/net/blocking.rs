//! The sockets without `async`, as `std::net` has them.
//!
//! A call blocks its thread, so a stack that is used from here needs threads of its own
//! ([`StackBuilder::start`](super::StackBuilder::start)), or a driver on another thread. A task on a worker, which
//! would wait for itself, gets an error.
//!
//! ```no_run
//! # fn example(stack: &netstack::net::Stack) -> std::io::Result<()> {
//! use std::io::{Read, Write};
//! use netstack::net::blocking::TcpStream;
//!
//! let mut stream = TcpStream::connect(stack, "192.0.2.1:80")?;
//! stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
//! let mut answer = String::new();
//! stream.read_to_string(&mut answer)?;
//! # Ok(())
//! # }
//! ```

use std::io::{self, IoSlice, Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use super::addrs::ToSocketAddrs;
use super::block_on::block_on;
use super::stack::Stack;
use crate::base::time::Duration;

/// A timeout that may be changed while another thread waits: it counts for later calls.
#[derive(Debug)]
struct Timeout(AtomicU64);

impl Timeout {
    const fn none() -> Self {
        Self(AtomicU64::new(u64::MAX))
    }

    fn get(&self) -> Option<Duration> {
        let nanos = self.0.load(Ordering::Relaxed);
        (nanos != u64::MAX).then(|| Duration::from_nanos(nanos))
    }

    /// Sets the timeout.
    ///
    /// # Errors
    /// `InvalidInput` for zero, as with std.
    fn set(&self, timeout: Option<Duration>) -> io::Result<()> {
        if timeout == Some(Duration::ZERO) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a timeout of zero is no timeout; pass None, or call a function of the async socket that does not wait",
            ));
        }
        let nanos = timeout.map_or(u64::MAX, |timeout| {
            u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX - 1)
        });
        self.0.store(nanos, Ordering::Relaxed);
        Ok(())
    }
}

/// A TCP stream, as `std::net::TcpStream`. A shared reference reads and writes, too.
#[derive(Debug)]
pub struct TcpStream {
    inner: super::TcpStream,
    read_timeout: Timeout,
    write_timeout: Timeout,
}

impl From<super::TcpStream> for TcpStream {
    fn from(inner: super::TcpStream) -> Self {
        Self {
            inner,
            read_timeout: Timeout::none(),
            write_timeout: Timeout::none(),
        }
    }
}

impl TcpStream {
    /// Connects to `remote`, as [`net::TcpStream::connect`](super::TcpStream::connect).
    ///
    /// # Errors
    /// As there.
    pub fn connect(stack: &Stack, remote: impl ToSocketAddrs) -> io::Result<Self> {
        block_on(super::TcpStream::connect(stack, remote), None)?.map(Self::from)
    }

    /// Connects to `remote` within `timeout`.
    ///
    /// # Errors
    /// `TimedOut`; otherwise as [`TcpStream::connect`].
    pub fn connect_timeout(
        stack: &Stack,
        remote: SocketAddr,
        timeout: Duration,
    ) -> io::Result<Self> {
        block_on(super::TcpStream::connect(stack, remote), Some(timeout))?.map(Self::from)
    }

    /// Returns the async stream, for its options and addresses.
    pub fn get_ref(&self) -> &super::TcpStream {
        &self.inner
    }

    /// Returns the async stream.
    pub fn into_inner(self) -> super::TcpStream {
        self.inner
    }

    /// Sets the longest time that a read waits; `None`: without a limit.
    ///
    /// # Errors
    /// `InvalidInput` for zero.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.read_timeout.set(timeout)
    }

    /// Sets the longest time that a write waits; `None`: without a limit.
    ///
    /// # Errors
    /// `InvalidInput` for zero.
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.write_timeout.set(timeout)
    }

    /// Copies the data that comes next without taking it; 0 at the end of the stream.
    ///
    /// # Errors
    /// The connection ended in an error, or the read timeout passed.
    pub fn peek(&self, out: &mut [u8]) -> io::Result<usize> {
        block_on(self.inner.peek(out), self.read_timeout.get())?
    }

    /// Sends FIN after the written data. Reading goes on.
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as std does.
    pub fn shutdown_write(&self) -> io::Result<()> {
        self.inner.handle().shutdown_write()
    }
}

impl Read for &TcpStream {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.inner.try_read(out) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    block_on(self.inner.readable(), self.read_timeout.get())??;
                }
                read => return read,
            }
        }
    }
}

impl Write for &TcpStream {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(data)])
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        loop {
            match self.inner.try_write_vectored(pieces) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    block_on(self.inner.writable(), self.write_timeout.get())??;
                }
                written => return written,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for TcpStream {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        (&*self).read(out)
    }
}

impl Write for TcpStream {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        (&*self).write(data)
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self).write_vectored(pieces)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Accepts TCP connections, as `std::net::TcpListener`.
#[derive(Debug)]
pub struct TcpListener(super::TcpListener);

impl From<super::TcpListener> for TcpListener {
    fn from(inner: super::TcpListener) -> Self {
        Self(inner)
    }
}

impl TcpListener {
    /// Listens on `address`, as [`net::TcpListener::bind`](super::TcpListener::bind).
    ///
    /// # Errors
    /// As there.
    pub fn bind(stack: &Stack, address: impl ToSocketAddrs) -> io::Result<Self> {
        super::TcpListener::bind_now(stack, address).map(Self)
    }

    /// Accepts the next connection; returns it with its peer.
    ///
    /// # Errors
    /// The stack ended: every later call fails, too.
    pub fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, peer) = block_on(self.0.accept(), None)??;
        Ok((stream.into(), peer))
    }

    /// Returns the connections as they come; ends when the stack ends.
    pub fn incoming(&self) -> impl Iterator<Item = TcpStream> + '_ {
        std::iter::from_fn(|| self.accept().ok().map(|(stream, _)| stream))
    }

    /// Returns the address that it listens on.
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as std does.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// Sends and receives datagrams, as `std::net::UdpSocket`.
#[derive(Debug)]
pub struct UdpSocket {
    inner: super::UdpSocket,
    read_timeout: Timeout,
}

impl From<super::UdpSocket> for UdpSocket {
    fn from(inner: super::UdpSocket) -> Self {
        Self {
            inner,
            read_timeout: Timeout::none(),
        }
    }
}

impl UdpSocket {
    /// Binds to `address`, as [`net::UdpSocket::bind`](super::UdpSocket::bind).
    ///
    /// # Errors
    /// As there.
    pub fn bind(stack: &Stack, address: impl ToSocketAddrs) -> io::Result<Self> {
        super::UdpSocket::bind_now(stack, address).map(Self::from)
    }

    /// Returns the async socket, for its options and addresses.
    pub fn get_ref(&self) -> &super::UdpSocket {
        &self.inner
    }

    /// Sets the longest time that a receive waits; `None`: without a limit.
    ///
    /// # Errors
    /// `InvalidInput` for zero.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.read_timeout.set(timeout)
    }

    /// Connects the socket to `remote`.
    ///
    /// # Errors
    /// As [`net::UdpSocket::connect`](super::UdpSocket::connect).
    pub fn connect(&self, remote: impl ToSocketAddrs) -> io::Result<()> {
        block_on(self.inner.connect(remote), None)?
    }

    /// Sends one datagram to `remote`; returns its length.
    ///
    /// # Errors
    /// As [`net::UdpSocket::send_to`](super::UdpSocket::send_to).
    pub fn send_to(&self, data: &[u8], remote: impl ToSocketAddrs) -> io::Result<usize> {
        block_on(self.inner.send_to(data, remote), None)?
    }

    /// Sends one datagram to the connected peer; returns its length.
    ///
    /// # Errors
    /// As [`net::UdpSocket::send`](super::UdpSocket::send).
    pub fn send(&self, data: &[u8]) -> io::Result<usize> {
        block_on(self.inner.send(data), None)?
    }

    /// Receives one datagram into `out`; returns its length there and its sender.
    ///
    /// # Errors
    /// The read timeout passed; otherwise as [`net::UdpSocket::recv_from`](super::UdpSocket::recv_from).
    pub fn recv_from(&self, out: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        block_on(self.inner.recv_from(out), self.read_timeout.get())?
    }

    /// Receives one datagram into `out`; returns its length there.
    ///
    /// # Errors
    /// As [`UdpSocket::recv_from`].
    pub fn recv(&self, out: &mut [u8]) -> io::Result<usize> {
        self.recv_from(out).map(|(count, _)| count)
    }
}
