//! The halves of a TCP stream: borrowed ones for one task, owned ones for two.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;

use super::handle::{Handle, Input, Reader};
use super::methods::{
    address_methods, reading_methods, reading_traits, writing_methods, writing_traits,
};
use super::ready::{Interest, Ready};
use super::tcp_stream::TcpStream;

/// The reading half, as `tokio::net::tcp::OwnedReadHalf`.
pub struct OwnedReadHalf(Reader);

/// The writing half, as `tokio::net::tcp::OwnedWriteHalf`. Dropping it shuts the writing side down,
/// unless it was given to [`OwnedReadHalf::reunite`] or [`OwnedWriteHalf::forget`].
pub struct OwnedWriteHalf {
    handle: Handle,
    shutdown_on_drop: bool,
}

/// The reading half of a borrowed stream, as `tokio::net::tcp::ReadHalf`.
pub struct ReadHalf<'a> {
    handle: &'a Handle,
    input: &'a mut Input,
}

/// The writing half of a borrowed stream, as `tokio::net::tcp::WriteHalf`.
pub struct WriteHalf<'a> {
    handle: &'a Handle,
}

/// The halves were not of one stream; both are given back.
#[derive(Debug)]
pub struct ReuniteError(pub OwnedReadHalf, pub OwnedWriteHalf);

impl fmt::Display for ReuniteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("reunite: these halves are not of one stream")
    }
}

impl Error for ReuniteError {}

macro_rules! debug {
    ($($kind:ty: $name:literal $arrow:literal),+) => {
        $(impl fmt::Debug for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let (local, remote) = (self.handle().local(), self.handle().remote());
                write!(f, concat!($name, "({} ", $arrow, " {})"), local, remote)
            }
        })+
    };
}

/// The method `ready` of a half.
macro_rules! ready_method {
    ($what:literal, $interest:ident, $buffered:expr) => {
        #[doc = concat!("Waits until a ", $what, " does not wait; see [`TcpStream::ready`].")]
        ///
        /// # Errors
        /// The stack ended.
        pub async fn ready(&self, interest: Interest) -> io::Result<Ready> {
            let buffered: fn(&Self) -> bool = $buffered;
            self.handle()
                .ready(interest & Interest::$interest, buffered(self))
                .await
        }
    };
}

debug!(
    OwnedReadHalf: "OwnedReadHalf" "<-",
    OwnedWriteHalf: "OwnedWriteHalf" "->",
    ReadHalf<'_>: "ReadHalf" "<-",
    WriteHalf<'_>: "WriteHalf" "->"
);

impl TcpStream {
    /// Splits into halves that can be used by different tasks; see [`OwnedReadHalf::reunite`].
    ///
    /// ```
    /// # netstack::net::example_pair(async |client, server| {
    /// use tokio::io::{AsyncReadExt, AsyncWriteExt};
    ///
    /// let (mut read, mut write) = client.into_split();
    /// let (there, mut back) = server.into_split();
    /// drop(there);
    /// back.write_all(b"hello").await?;
    /// drop(back); // Shuts the writing side down.
    /// let mut text = String::new();
    /// read.read_to_string(&mut text).await?;
    /// assert_eq!(text, "hello");
    /// let client = read.reunite(write).unwrap();
    /// # drop(client);
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    pub fn into_split(mut self) -> (OwnedReadHalf, OwnedWriteHalf) {
        let write = OwnedWriteHalf {
            handle: self.0.handle.share(),
            shutdown_on_drop: true,
        };
        (OwnedReadHalf(self.0.take()), write)
    }

    /// Splits into halves that borrow the stream. Where `AsyncBufReadExt` is in scope, its own `split` comes
    /// first: write `TcpStream::split(&mut stream)` there.
    ///
    /// ```
    /// # netstack::net::example_pair(async |mut client, server| {
    /// use tokio::io::AsyncWriteExt;
    ///
    /// let (read, mut write) = client.split();
    /// write.write_all(b"hello").await?;
    /// assert_eq!(server.peek(&mut [0; 8]).await?, 5);
    /// assert_eq!(read.peer_addr()?, write.peer_addr()?);
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    pub fn split(&mut self) -> (ReadHalf<'_>, WriteHalf<'_>) {
        let Reader { handle, input } = &mut self.0;
        (ReadHalf { handle, input }, WriteHalf { handle })
    }
}

impl OwnedReadHalf {
    fn handle(&self) -> &Handle {
        &self.0.handle
    }

    fn input(&self) -> &Input {
        &self.0.input
    }

    fn parts(&mut self) -> (&Handle, &mut Input) {
        (&self.0.handle, &mut self.0.input)
    }

    /// Puts two halves together again.
    ///
    /// # Errors
    /// The halves are not of one stream; both are given back.
    pub fn reunite(mut self, mut write: OwnedWriteHalf) -> Result<TcpStream, ReuniteError> {
        if !Arc::ptr_eq(&self.0.handle.connection, &write.handle.connection) {
            return Err(ReuniteError(self, write));
        }
        write.shutdown_on_drop = false;
        Ok(TcpStream(self.0.take()))
    }

    ready_method!("read", READABLE, |half| !half.input().buffered().is_empty());
    address_methods!();
    reading_methods!();
}

impl ReadHalf<'_> {
    fn handle(&self) -> &Handle {
        self.handle
    }

    fn input(&self) -> &Input {
        self.input
    }

    fn parts(&mut self) -> (&Handle, &mut Input) {
        (self.handle, self.input)
    }

    ready_method!("read", READABLE, |half| !half.input().buffered().is_empty());
    address_methods!();
    reading_methods!();
}

impl OwnedWriteHalf {
    fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Drops this half without shutting the writing side down.
    ///
    /// ```
    /// # netstack::net::example_pair(async |client, server| {
    /// let (read, write) = client.into_split();
    /// write.forget();
    /// assert_eq!(read.local_addr()?, server.peer_addr()?);
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    pub fn forget(mut self) {
        self.shutdown_on_drop = false;
    }

    ready_method!("write", WRITABLE, |_| false);
    address_methods!();
    writing_methods!();
}

impl WriteHalf<'_> {
    fn handle(&self) -> &Handle {
        self.handle
    }

    ready_method!("write", WRITABLE, |_| false);
    address_methods!();
    writing_methods!();
}

impl Drop for OwnedWriteHalf {
    fn drop(&mut self) {
        if self.shutdown_on_drop {
            let _ = self.handle.shutdown_write();
        }
    }
}

reading_traits!(OwnedReadHalf, ReadHalf<'_>);
writing_traits!(OwnedWriteHalf, WriteHalf<'_>);
