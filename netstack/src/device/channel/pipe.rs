//! The program's side of a packet channel.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;
use futures_sink::Sink;

use super::Shared;
use crate::device::Unpark as _;

/// Why a packet was not taken. The packet comes back where sending it later can help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The stack's queue is full for now.
    #[error("packet channel: the stack's queue is full: wait for room (send) or drop the packet")]
    Full(Bytes),
    /// The stack is gone.
    #[error("packet channel: the stack dropped its side of the channel")]
    Closed,
    /// Longer than the channel's MTU.
    #[error(
        "packet channel: a packet of {len} bytes does not fit the channel's MTU of {mtu}: send at most that"
    )]
    TooBig {
        /// Its length, in bytes.
        len: usize,
        /// The channel's MTU, in bytes.
        mtu: u16,
    },
}

/// The program's side of a packet channel: both directions. See [`PacketPipe::into_split`].
#[derive(Debug)]
pub struct PacketPipe {
    receiver: PacketReceiver,
    sender: PacketSender,
}

impl PacketPipe {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            receiver: PacketReceiver {
                shared: Arc::clone(&shared),
            },
            sender: PacketSender { shared },
        }
    }

    /// The two directions, for two tasks.
    pub fn into_split(self) -> (PacketReceiver, PacketSender) {
        (self.receiver, self.sender)
    }

    /// See [`PacketReceiver::recv`].
    pub async fn recv(&mut self) -> Option<Bytes> {
        self.receiver.recv().await
    }

    /// See [`PacketSender::send`].
    ///
    /// # Errors
    /// As there.
    pub async fn send(&mut self, packet: impl Into<Bytes>) -> Result<(), SendError> {
        self.sender.send(packet).await
    }

    /// See [`PacketReceiver::try_recv`].
    pub fn try_recv(&mut self) -> Option<Bytes> {
        self.receiver.try_recv()
    }

    /// See [`PacketSender::try_send`].
    ///
    /// # Errors
    /// As there.
    pub fn try_send(&mut self, packet: impl Into<Bytes>) -> Result<(), SendError> {
        self.sender.try_send(packet)
    }
}

/// Takes the packets that the stack sends.
#[derive(Debug)]
pub struct PacketReceiver {
    shared: Arc<Shared>,
}

impl PacketReceiver {
    /// The next packet, with its IP header first and all checksums filled in; `None` when the stack is
    /// gone and everything that it sent was taken. Cancel-safe.
    pub async fn recv(&mut self) -> Option<Bytes> {
        std::future::poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// The next packet, if one is there.
    pub fn try_recv(&mut self) -> Option<Bytes> {
        self.shared.from_stack.pop()
    }

    /// [`PacketReceiver::recv`] for hand-written futures.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(packet) = self.shared.from_stack.pop() {
            return Poll::Ready(Some(packet));
        }
        self.shared.reader.register(cx.waker());
        // Both may have happened before the waker was in place.
        let dropped = self.shared.device_dropped.load(Ordering::Acquire);
        match self.shared.from_stack.pop() {
            Some(packet) => Poll::Ready(Some(packet)),
            None if dropped => Poll::Ready(None),
            None => Poll::Pending,
        }
    }

    /// How many packets of the stack were dropped because this side did not take them in time.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }
}

impl Drop for PacketReceiver {
    fn drop(&mut self) {
        self.shared.receiver_dropped.store(true, Ordering::Release);
        self.shared.unpark();
    }
}

impl Stream for PacketReceiver {
    type Item = Bytes;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        self.poll_recv(cx)
    }
}

/// Gives packets to the stack.
#[derive(Debug)]
pub struct PacketSender {
    shared: Arc<Shared>,
}

impl PacketSender {
    /// Hands one packet (IP header first) to the stack; waits while the queue is full. Cancel-safe: a
    /// cancelled call sent nothing.
    ///
    /// # Errors
    /// The stack is gone, or the packet is larger than the channel's MTU.
    pub async fn send(&mut self, packet: impl Into<Bytes>) -> Result<(), SendError> {
        let packet = packet.into();
        std::future::poll_fn(|cx| self.poll_ready(cx)).await?;
        self.try_send(packet)
    }

    /// Hands one packet (IP header first) to the stack.
    ///
    /// # Errors
    /// The queue is full (the packet comes back), the stack is gone, or the packet is too large.
    pub fn try_send(&mut self, packet: impl Into<Bytes>) -> Result<(), SendError> {
        let packet = packet.into();
        if packet.len() > usize::from(self.shared.mtu) {
            return Err(SendError::TooBig {
                len: packet.len(),
                mtu: self.shared.mtu,
            });
        }
        if self.shared.device_dropped.load(Ordering::Acquire) {
            return Err(SendError::Closed);
        }
        self.shared.to_stack.push(packet).map_err(SendError::Full)?;
        self.shared.unpark();
        Ok(())
    }

    /// Ready when the queue has room. This is the only sender, so the room is still there afterwards.
    ///
    /// # Errors
    /// The stack is gone.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        for register in [true, false] {
            if self.shared.device_dropped.load(Ordering::Acquire) {
                return Poll::Ready(Err(SendError::Closed));
            }
            if !self.shared.to_stack.is_full() {
                return Poll::Ready(Ok(()));
            }
            if register {
                // Then look again: the room may have come before the waker was in place.
                self.shared.writer.register(cx.waker());
            }
        }
        Poll::Pending
    }
}

impl Drop for PacketSender {
    fn drop(&mut self) {
        self.shared.sender_dropped.store(true, Ordering::Release);
        self.shared.unpark();
    }
}

impl Sink<Bytes> for PacketSender {
    type Error = SendError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        PacketSender::poll_ready(&mut self, cx)
    }

    fn start_send(mut self: Pin<&mut Self>, packet: Bytes) -> Result<(), SendError> {
        self.try_send(packet)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        // The queue is the destination.
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        Poll::Ready(Ok(()))
    }
}
