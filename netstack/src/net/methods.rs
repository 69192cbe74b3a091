//! The methods and traits that a stream shares with its halves: written once, for each of them.
//!
//! A type that reads has the private functions `handle`, `input` and `parts`, one that writes has `handle`.

/// Methods of whatever has addresses.
macro_rules! address_methods {
    () => {
        /// Returns our address and port.
        ///
        /// ```
        /// # netstack::net::example_pair(async |client, server| {
        /// assert_eq!(client.local_addr()?, server.peer_addr()?);
        /// assert_eq!(client.peer_addr()?, server.local_addr()?);
        /// # Ok(())
        /// # }).unwrap();
        /// ```
        ///
        /// # Errors
        /// Never fails; it returns a `Result` as tokio does.
        pub fn local_addr(&self) -> std::io::Result<std::net::SocketAddr> {
            Ok(self.handle().local())
        }

        /// Returns the peer's address and port.
        ///
        /// # Errors
        /// Never fails; it returns a `Result` as tokio does.
        pub fn peer_addr(&self) -> std::io::Result<std::net::SocketAddr> {
            Ok(self.handle().remote())
        }
    };
}

/// Methods of whatever reads.
macro_rules! reading_methods {
    () => {
        /// Takes the next chunk of the stream as it was received, without a copy; `None` at its end. Cancel-safe:
        /// a cancelled call has taken nothing.
        ///
        /// ```
        /// # netstack::net::example_pair(async |mut client, mut server| {
        /// let question = bytes::Bytes::from_static(b"question");
        /// client.send_payload(question.into()).await?;
        /// // Echo without a copy: the received slab is sent back.
        /// let payload = server.recv_payload().await?.expect("the question");
        /// server.send_payload(payload).await?;
        /// let answer = std::future::poll_fn(|cx| client.poll_recv_payload(cx)).await?;
        /// assert_eq!(answer.as_deref(), Some(&b"question"[..]));
        /// # Ok(())
        /// # }).unwrap();
        /// ```
        ///
        /// # Errors
        /// The connection ended in an error.
        pub fn recv_payload(
            &mut self,
        ) -> impl Future<Output = std::io::Result<Option<packet::Payload>>> + Send {
            std::future::poll_fn(|cx| self.poll_recv_payload(cx))
        }

        /// Polls for the next chunk of the stream, as `recv_payload`.
        pub fn poll_recv_payload(
            &mut self,
            cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<std::io::Result<Option<packet::Payload>>> {
            let (handle, input) = self.parts();
            input.poll_payload(handle, cx.into())
        }

        /// Waits until there is something to read, the end of the stream, or an error. As many tasks as like
        /// may wait. Cancel-safe.
        ///
        /// ```
        /// # netstack::net::example_pair(async |client, server| {
        /// use std::io::{ErrorKind, IoSliceMut};
        ///
        /// client.try_write(b"one two three")?;
        /// server.readable().await?;
        /// let (mut one, mut two, mut rest) = ([0; 3], [0; 4], Vec::new());
        /// assert_eq!(server.try_read(&mut one)?, 3);
        /// assert_eq!(server.try_read_vectored(&mut [IoSliceMut::new(&mut two)])?, 4);
        /// assert_eq!(server.try_read_buf(&mut rest)?, 6);
        /// assert_eq!(server.try_read(&mut one).unwrap_err().kind(), ErrorKind::WouldBlock);
        /// # Ok(())
        /// # }).unwrap();
        /// ```
        ///
        /// # Errors
        /// The stack ended. An error of the connection is reported by the next read.
        pub fn readable(&self) -> impl Future<Output = std::io::Result<()>> + Send {
            self.input().readable(self.handle())
        }

        /// Reads the data that is there; returns 0 at the end of the stream.
        ///
        /// # Errors
        /// `WouldBlock` if there is none; the error that the connection ended in.
        pub fn try_read(&self, out: &mut [u8]) -> std::io::Result<usize> {
            self.input().try_read(self.handle(), out)
        }

        /// Reads the data that is there into several buffers, one after the other.
        ///
        /// # Errors
        /// As `try_read`.
        pub fn try_read_vectored(
            &self,
            outs: &mut [std::io::IoSliceMut<'_>],
        ) -> std::io::Result<usize> {
            self.input().try_read_vectored(self.handle(), outs)
        }

        /// Reads data that is there, at most 8 KiB, and appends it to `out`; returns 0 at the end of the stream,
        /// or if `out` has no room.
        ///
        /// # Errors
        /// As `try_read`.
        pub fn try_read_buf<B: bytes::BufMut>(&self, out: &mut B) -> std::io::Result<usize> {
            let mut room = [0; 8 << 10];
            let len = room.len().min(out.remaining_mut());
            let count = self.try_read(&mut room[..len])?;
            out.put_slice(&room[..count]);
            Ok(count)
        }

        /// Copies the data that comes next without taking it; 0 at the end of the stream. Cancel-safe.
        ///
        /// ```
        /// # netstack::net::example_pair(async |client, server| {
        /// client.try_write(b"hello")?;
        /// let mut start = [0; 2];
        /// assert_eq!(server.peek(&mut start).await?, 2);
        /// let mut room = [0; 8];
        /// let mut room = tokio::io::ReadBuf::new(&mut room);
        /// std::future::poll_fn(|cx| server.poll_peek(cx, &mut room)).await?;
        /// assert_eq!(room.filled(), b"hello");
        /// # Ok(())
        /// # }).unwrap();
        /// ```
        ///
        /// # Errors
        /// The connection ended in an error.
        pub fn peek(&self, out: &mut [u8]) -> impl Future<Output = std::io::Result<usize>> + Send {
            self.input().peek(self.handle(), out)
        }

        /// Polls for data to copy without taking it, as `peek`.
        pub fn poll_peek(
            &self,
            cx: &mut std::task::Context<'_>,
            out: &mut tokio::io::ReadBuf<'_>,
        ) -> std::task::Poll<std::io::Result<usize>> {
            self.input().poll_peek(self.handle(), cx, out)
        }
    };
}

/// Methods of whatever writes.
macro_rules! writing_methods {
    () => {
        /// Queues all of `payload` without a copy; waits for room in the send buffer. Not cancel-safe: a cancelled
        /// call may have queued a part.
        ///
        /// # Errors
        /// The connection ended in an error, or its writing side is closed.
        pub fn send_payload(
            &mut self,
            payload: packet::Payload,
        ) -> impl Future<Output = std::io::Result<()>> + Send {
            self.handle().send_payload(payload)
        }

        /// Queues `payload` without a copy. What is queued is taken off its front, so that a call that fails or is dropped
        /// leaves the rest of it. Cancel-safe.
        ///
        /// ```
        /// # netstack::net::example_pair(async |mut client, mut server| {
        /// let mut payload = bytes::Bytes::from_static(b"question").into();
        /// client.send_payload_from(&mut payload).await?;
        /// assert!(payload.is_empty());
        /// assert_eq!(server.recv_payload().await?.as_deref(), Some(&b"question"[..]));
        /// # Ok(())
        /// # }).unwrap();
        /// ```
        ///
        /// # Errors
        /// As `send_payload`.
        pub fn send_payload_from<'a>(
            &'a mut self,
            payload: &'a mut packet::Payload,
        ) -> impl Future<Output = std::io::Result<()>> + Send + 'a {
            self.handle().send_payload_from(payload)
        }

        /// Waits until there is room to write, or an error. As many tasks as like may wait. Cancel-safe.
        ///
        /// ```
        /// # netstack::net::example_pair(async |client, _server| {
        /// use std::io::{ErrorKind, IoSlice};
        ///
        /// let count = loop {
        ///     client.writable().await?;
        ///     match client.try_write(b"hello") {
        ///         Err(error) if error.kind() == ErrorKind::WouldBlock => {}
        ///         written => break written?,
        ///     }
        /// };
        /// assert_eq!(count, 5);
        /// client.try_write_vectored(&[IoSlice::new(b", "), IoSlice::new(b"world")])?;
        /// # Ok(())
        /// # }).unwrap();
        /// ```
        ///
        /// # Errors
        /// The stack ended. An error of the connection is reported by the next write.
        pub fn writable(&self) -> impl Future<Output = std::io::Result<()>> + Send {
            self.handle().writable()
        }

        /// Writes as much as there is room for.
        ///
        /// # Errors
        /// `WouldBlock` if there is no room; the error that the connection ended in.
        pub fn try_write(&self, data: &[u8]) -> std::io::Result<usize> {
            use crate::stack::waiters::Wait;
            match self.handle().poll_write(Wait::Never, data) {
                std::task::Poll::Ready(result) => result,
                std::task::Poll::Pending => Err(std::io::ErrorKind::WouldBlock.into()),
            }
        }

        /// Writes as much of several pieces, one after the other, as there is room for.
        ///
        /// # Errors
        /// As `try_write`.
        pub fn try_write_vectored(
            &self,
            pieces: &[std::io::IoSlice<'_>],
        ) -> std::io::Result<usize> {
            use crate::stack::waiters::Wait;
            match self.handle().poll_write_vectored(Wait::Never, pieces) {
                std::task::Poll::Ready(result) => result,
                std::task::Poll::Pending => Err(std::io::ErrorKind::WouldBlock.into()),
            }
        }
    };
}

/// tokio's traits of whatever reads, and those of futures-io with the feature of that name.
macro_rules! reading_traits {
    ($($kind:ty),+) => {
        $(
            impl tokio::io::AsyncBufRead for $kind {
                fn poll_fill_buf(
                    self: std::pin::Pin<&mut Self>,
                    cx: &mut std::task::Context<'_>,
                ) -> std::task::Poll<std::io::Result<&[u8]>> {
                    let (handle, input) = self.get_mut().parts();
                    input.poll_fill_buf(handle, cx.into())
                }

                fn consume(self: std::pin::Pin<&mut Self>, amount: usize) {
                    self.get_mut().parts().1.consume(amount);
                }
            }

            impl tokio::io::AsyncRead for $kind {
                fn poll_read(
                    self: std::pin::Pin<&mut Self>,
                    cx: &mut std::task::Context<'_>,
                    out: &mut tokio::io::ReadBuf<'_>,
                ) -> std::task::Poll<std::io::Result<()>> {
                    let (handle, input) = self.get_mut().parts();
                    input.poll_read(handle, cx.into(), out)
                }
            }

            #[cfg(feature = "futures-io")]
            impl futures_io::AsyncBufRead for $kind {
                fn poll_fill_buf(
                    self: std::pin::Pin<&mut Self>,
                    cx: &mut std::task::Context<'_>,
                ) -> std::task::Poll<std::io::Result<&[u8]>> {
                    tokio::io::AsyncBufRead::poll_fill_buf(self, cx)
                }

                fn consume(self: std::pin::Pin<&mut Self>, amount: usize) {
                    tokio::io::AsyncBufRead::consume(self, amount);
                }
            }

            #[cfg(feature = "futures-io")]
            impl futures_io::AsyncRead for $kind {
                fn poll_read(
                    self: std::pin::Pin<&mut Self>,
                    cx: &mut std::task::Context<'_>,
                    out: &mut [u8],
                ) -> std::task::Poll<std::io::Result<usize>> {
                    let mut out = tokio::io::ReadBuf::new(out);
                    tokio::io::AsyncRead::poll_read(self, cx, &mut out)
                        .map_ok(|()| out.filled().len())
                }
            }
        )+
    };
}

/// tokio's trait of whatever writes, and that of futures-io with the feature of that name.
macro_rules! writing_traits {
    ($($kind:ty),+) => {
        $(
            impl tokio::io::AsyncWrite for $kind {
                fn poll_write(
                    self: std::pin::Pin<&mut Self>,
                    cx: &mut std::task::Context<'_>,
                    data: &[u8],
                ) -> std::task::Poll<std::io::Result<usize>> {
                    self.handle().poll_write(cx.into(), data)
                }

                fn poll_write_vectored(
                    self: std::pin::Pin<&mut Self>,
                    cx: &mut std::task::Context<'_>,
                    pieces: &[std::io::IoSlice<'_>],
                ) -> std::task::Poll<std::io::Result<usize>> {
                    self.handle().poll_write_vectored(cx.into(), pieces)
                }

                fn is_write_vectored(&self) -> bool {
                    true
                }

                /// Written data leaves by itself: there is nothing to wait for.
                fn poll_flush(
                    self: std::pin::Pin<&mut Self>,
                    _: &mut std::task::Context<'_>,
                ) -> std::task::Poll<std::io::Result<()>> {
                    std::task::Poll::Ready(Ok(()))
                }

                /// Sends FIN after the written data; does not wait for its acknowledgment.
                fn poll_shutdown(
                    self: std::pin::Pin<&mut Self>,
                    _: &mut std::task::Context<'_>,
                ) -> std::task::Poll<std::io::Result<()>> {
                    std::task::Poll::Ready(self.handle().shutdown_write())
                }
            }

            #[cfg(feature = "futures-io")]
            impl futures_io::AsyncWrite for $kind {
                fn poll_write(
                    self: std::pin::Pin<&mut Self>,
                    cx: &mut std::task::Context<'_>,
                    data: &[u8],
                ) -> std::task::Poll<std::io::Result<usize>> {
                    tokio::io::AsyncWrite::poll_write(self, cx, data)
                }

                fn poll_write_vectored(
                    self: std::pin::Pin<&mut Self>,
                    cx: &mut std::task::Context<'_>,
                    pieces: &[std::io::IoSlice<'_>],
                ) -> std::task::Poll<std::io::Result<usize>> {
                    tokio::io::AsyncWrite::poll_write_vectored(self, cx, pieces)
                }

                fn poll_flush(
                    self: std::pin::Pin<&mut Self>,
                    cx: &mut std::task::Context<'_>,
                ) -> std::task::Poll<std::io::Result<()>> {
                    tokio::io::AsyncWrite::poll_flush(self, cx)
                }

                fn poll_close(
                    self: std::pin::Pin<&mut Self>,
                    cx: &mut std::task::Context<'_>,
                ) -> std::task::Poll<std::io::Result<()>> {
                    tokio::io::AsyncWrite::poll_shutdown(self, cx)
                }
            }
        )+
    };
}

pub(super) use {
    address_methods, reading_methods, reading_traits, writing_methods, writing_traits,
};
