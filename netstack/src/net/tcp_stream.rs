//! A TCP connection, as the application holds it.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWriteExt;

use super::addrs::{ToSocketAddrs, no_address};
use super::handle::{Handle, Input, Reader};
use super::methods::{
    address_methods, reading_methods, reading_traits, writing_methods, writing_traits,
};
use super::ready::{Interest, Ready};
use super::stack::Stack;
use crate::stack::Host;
use crate::stack::tcp::connection::Connection;
use crate::stack::tcp::options::Options;
use crate::stack::tcp::{open, stream};
use crate::tcp::TcpInfo;

/// A TCP stream, as `tokio::net::TcpStream` is one.
///
/// Reading copies once, from the received packet into the caller's buffer. [`AsyncBufRead`](tokio::io::AsyncBufRead)
/// and [`TcpStream::recv_payload`] do not copy. Dropping the stream closes it: written data is still delivered, unless
/// received data was left unread. Then the peer gets a reset, as with the kernel.
///
/// ```
/// # netstack::net::example(async |stack| {
/// use netstack::net::{TcpListener, TcpStream};
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// let listener = TcpListener::bind(&stack, "10.77.0.2:80").await?;
/// let mut client = TcpStream::connect(&stack, "10.77.0.2:80").await?;
/// let (mut server, _) = listener.accept().await?;
/// client.write_all(b"hello").await?;
/// client.shutdown().await?;
/// let mut text = String::new();
/// server.read_to_string(&mut text).await?;
/// assert_eq!(text, "hello");
/// # Ok(())
/// # }).unwrap();
/// ```
pub struct TcpStream(pub(super) Reader);

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (local, remote) = (self.handle().local(), self.handle().remote());
        write!(f, "TcpStream({local} <-> {remote})")
    }
}

impl TcpStream {
    /// Takes the application's first share in a connection.
    pub(super) fn new(host: Arc<Host>, connection: Arc<Connection>) -> Self {
        Self(Reader::new(Handle { host, connection }))
    }

    pub(super) fn handle(&self) -> &Handle {
        &self.0.handle
    }

    fn input(&self) -> &Input {
        &self.0.input
    }

    fn parts(&mut self) -> (&Handle, &mut Input) {
        (&self.0.handle, &mut self.0.input)
    }

    /// Connects to `remote` from an address and port that the stack chooses; to several addresses in turn until
    /// one answers. Cancel-safe: a cancelled call leaves no connection.
    ///
    /// # Errors
    /// The peer refused, cannot be reached or did not answer; there is no route, port or place for one
    /// more connection. The kind says which, as with tokio.
    pub async fn connect(stack: &Stack, remote: impl ToSocketAddrs) -> io::Result<Self> {
        let options = stack.host.tcp_options();
        let mut last_error = None;
        for remote in remote.to_socket_addrs()? {
            match Self::open(&stack.host, None, remote, &options).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last_error = Some(error),
            }
        }
        Err(last_error.unwrap_or_else(no_address))
    }

    /// Connects to `remote` from `local`; with port 0 the stack chooses the port.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// # use netstack::net::{TcpListener, TcpStream};
    /// let listener = TcpListener::bind(&stack, "10.77.0.2:80").await?;
    /// let (local, remote) = ("10.77.0.2:1000".parse()?, "10.77.0.2:80".parse()?);
    /// let client = TcpStream::connect_from(&stack, local, remote).await?;
    /// assert_eq!(client.local_addr()?, local);
    /// # drop(listener);
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`TcpStream::connect`], or `local` is not an address of this stack or in use.
    pub async fn connect_from(
        stack: &Stack,
        local: SocketAddr,
        remote: SocketAddr,
    ) -> io::Result<Self> {
        let options = stack.host.tcp_options();
        Self::open(&stack.host, Some(local), remote, &options).await
    }

    pub(super) async fn open(
        host: &Arc<Host>,
        local: Option<SocketAddr>,
        remote: SocketAddr,
        options: &Options,
    ) -> io::Result<Self> {
        let connection = open::connect(host, local, remote, options)?;
        Self::new(Arc::clone(host), connection).connected().await
    }

    /// Connects with `data`, as much of which as possible leaves with the SYN.
    pub(super) async fn open_with_data(
        host: &Arc<Host>,
        local: Option<SocketAddr>,
        remote: SocketAddr,
        options: &Options,
        data: &[u8],
    ) -> io::Result<Self> {
        let (connection, taken) = open::connect_with_data(host, local, remote, options, data)?;
        let stream = Self::new(Arc::clone(host), connection);
        let mut stream = stream.connected().await?;
        let rest = data.get(taken..).unwrap_or_default();
        stream.write_all(rest).await?;
        Ok(stream)
    }

    /// Waits for the end of the handshake. Dropped while it waits, the stream aborts the attempt.
    async fn connected(self) -> io::Result<Self> {
        let Handle { host, connection } = self.handle();
        std::future::poll_fn(|cx| stream::poll_connect(host, connection, cx.into())).await?;
        Ok(self)
    }

    /// Returns the numbers of this connection: round trip, window, retransmissions, bytes.
    ///
    /// ```
    /// # netstack::net::example_pair(async |client, _server| {
    /// client.try_write(b"hello")?;
    /// println!("{:?}", client.info());
    /// assert!(client.take_error()?.is_none());
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    pub fn info(&self) -> TcpInfo {
        let now = self.handle().host.clock.now();
        self.handle().with_state(|state| state.tcp.info_at(now))
    }

    /// Returns the number of the worker that owns the connection: a task on it needs no other thread. See
    /// [`Stack::spawn_on`].
    pub fn worker(&self) -> usize {
        self.handle().connection.owner.into()
    }

    /// Waits until the stream is ready for something of `interest`, and returns all of that which it is ready for.
    /// Cancel-safe.
    ///
    /// ```
    /// # netstack::net::example_pair(async |client, server| {
    /// use netstack::net::Interest;
    ///
    /// let ready = server.ready(Interest::READABLE | Interest::WRITABLE).await?;
    /// assert!(ready.is_writable() && !ready.is_readable());
    /// client.try_write(b"hello")?;
    /// let ready = server.ready(Interest::READABLE).await?;
    /// assert!(ready.is_readable() && !ready.is_read_closed() && !ready.is_error());
    /// assert_eq!(server.try_read(&mut [0; 8])?, 5);
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// The stack ended. An error of the connection is reported by the next call.
    pub async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        let buffered = !self.input().buffered().is_empty();
        self.handle().ready(interest, buffered).await
    }

    /// Polls for something to read, the end of the stream, or an error. Of the tasks that poll, the latest is woken.
    ///
    /// ```
    /// # netstack::net::example_pair(async |client, server| {
    /// std::future::poll_fn(|cx| client.poll_write_ready(cx)).await?;
    /// client.try_write(b"hello")?;
    /// std::future::poll_fn(|cx| server.poll_read_ready(cx)).await?;
    /// assert_eq!(server.try_read(&mut [0; 8])?, 5);
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// The stack ended. An error of the connection is reported by the next call.
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let handle = self.handle();
        if self.input().buffered().is_empty() {
            ready!(stream::poll_readable(&handle.connection, cx.into()));
        }
        Poll::Ready(handle.host.ending.check())
    }

    /// Polls for room to write, or an error. Of the tasks that poll, the latest is woken.
    ///
    /// # Errors
    /// As [`TcpStream::poll_read_ready`].
    pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let handle = self.handle();
        ready!(stream::poll_writable(&handle.connection, cx.into()));
        Poll::Ready(handle.host.ending.check())
    }

    /// Takes the error that the connection ended in, so that no other call reports it.
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as tokio does.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        Ok(self.handle().take_error())
    }

    address_methods!();
    reading_methods!();
    writing_methods!();
}

reading_traits!(TcpStream);
writing_traits!(TcpStream);
