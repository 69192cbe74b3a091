//! The program's end of a packet channel.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;
use futures_sink::Sink;

use super::Shared;
use crate::device::Unpark as _;

/// The reason why a packet was not accepted. Holds the packet if a later attempt may succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The stack's queue is full.
    #[error(
        "packet channel: the stack's queue is full: wait for room with send, or drop the packet"
    )]
    Full(Bytes),
    /// The stack dropped its end.
    #[error("packet channel: the stack dropped its end of the channel")]
    Closed,
    /// The packet is longer than the channel's MTU.
    #[error(
        "packet channel: a packet of {len} bytes exceeds the channel's MTU of {mtu} bytes: send a shorter one"
    )]
    TooBig {
        /// Its length, in bytes.
        len: usize,
        /// The channel's MTU, in bytes.
        mtu: u16,
    },
}

/// The program's end of a packet channel, both directions. See [`PacketPipe::into_split`].
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

    /// Splits the pipe into its two directions, for two tasks.
    pub fn into_split(self) -> (PacketReceiver, PacketSender) {
        (self.receiver, self.sender)
    }

    /// Receives the next packet; see [`PacketReceiver::recv`].
    pub async fn recv(&mut self) -> Option<Bytes> {
        self.receiver.recv().await
    }

    /// Sends a packet; see [`PacketSender::send`].
    ///
    /// # Errors
    /// Those of [`PacketSender::send`].
    pub async fn send(&mut self, packet: impl Into<Bytes>) -> Result<(), SendError> {
        self.sender.send(packet).await
    }

    /// Receives a packet if one is there; see [`PacketReceiver::try_recv`].
    pub fn try_recv(&mut self) -> Option<Bytes> {
        self.receiver.try_recv()
    }

    /// Sends a packet if there is room; see [`PacketSender::try_send`].
    ///
    /// # Errors
    /// Those of [`PacketSender::try_send`].
    pub fn try_send(&mut self, packet: impl Into<Bytes>) -> Result<(), SendError> {
        self.sender.try_send(packet)
    }
}

/// Receives the packets that the stack sends.
#[derive(Debug)]
pub struct PacketReceiver {
    shared: Arc<Shared>,
}

impl PacketReceiver {
    /// Waits for the next packet, which begins with its IP header and has complete checksums. Returns
    /// `None` once the stack dropped its end and every packet was received. Cancel-safe.
    pub async fn recv(&mut self) -> Option<Bytes> {
        std::future::poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// Returns the next packet, if one is there.
    pub fn try_recv(&mut self) -> Option<Bytes> {
        self.shared.from_stack.pop()
    }

    /// Polls for the next packet; see [`PacketReceiver::recv`].
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(packet) = self.shared.from_stack.pop() {
            return Poll::Ready(Some(packet));
        }
        self.shared.reader.register(cx.waker());
        // A packet or the drop may have come before the waker was registered.
        let dropped = self.shared.device_dropped.load(Ordering::Acquire);
        match self.shared.from_stack.pop() {
            Some(packet) => Poll::Ready(Some(packet)),
            None if dropped => Poll::Ready(None),
            None => Poll::Pending,
        }
    }

    /// Returns the number of packets that the stack dropped because this end's queue was full.
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

/// Sends packets to the stack.
#[derive(Debug)]
pub struct PacketSender {
    shared: Arc<Shared>,
}

impl PacketSender {
    /// Sends one packet, which begins with its IP header, to the stack. Waits while the queue is full.
    /// Cancel-safe: a cancelled call has sent nothing.
    ///
    /// # Errors
    /// The stack dropped its end, or the packet is larger than the channel's MTU.
    pub async fn send(&mut self, packet: impl Into<Bytes>) -> Result<(), SendError> {
        let packet = packet.into();
        std::future::poll_fn(|cx| self.poll_ready(cx)).await?;
        self.try_send(packet)
    }

    /// Sends one packet, which begins with its IP header, to the stack without waiting.
    ///
    /// # Errors
    /// The queue is full (the error holds the packet), the stack dropped its end, or the packet is
    /// larger than the channel's MTU.
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

    /// Polls for room in the queue. There is only one sender, so the next [`PacketSender::try_send`]
    /// finds the room.
    ///
    /// # Errors
    /// The stack dropped its end.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        for register in [true, false] {
            if self.shared.device_dropped.load(Ordering::Acquire) {
                return Poll::Ready(Err(SendError::Closed));
            }
            if !self.shared.to_stack.is_full() {
                return Poll::Ready(Ok(()));
            }
            if register {
                // The second round sees room that came before the waker was registered.
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
        // A packet in the queue needs no flush.
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        Poll::Ready(Ok(()))
    }
}
