//! The program's end of a packet channel.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use atomic_waker::AtomicWaker;
use bytes::Bytes;
use futures_core::Stream;
use futures_sink::Sink;

use super::Shared;
use super::buffer::{Carried, PacketBuffer};
use super::run::Run;
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
    /// The packet is longer than the channel's MTU, or than any super-packet.
    #[error(
        "packet channel: a packet of {len} bytes exceeds the channel's {max} bytes: send a shorter one"
    )]
    TooBig {
        /// Its length, in bytes.
        len: usize,
        /// The most that the channel takes, in bytes: its MTU if packets are bare.
        max: usize,
    },
}

/// The error of an MTU that is too small for IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "packet channel: an MTU of {mtu} bytes cannot carry IPv4: give at least 68, or 1280 for IPv6"
)]
pub struct MtuError {
    /// The MTU that was given, in bytes.
    pub mtu: u16,
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
                run: Run::default(),
            },
            sender: PacketSender::new(shared),
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

    /// Changes the MTU; see [`PacketSender::set_mtu`].
    ///
    /// # Errors
    /// Those of [`PacketSender::set_mtu`].
    pub fn set_mtu(&self, mtu: u16) -> Result<(), MtuError> {
        self.sender.set_mtu(mtu)
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
    /// The rest of the run that was taken last.
    run: Run,
}

impl PacketReceiver {
    /// Waits for the next packet, which begins with its IP header and has complete checksums. Returns
    /// `None` once the stack dropped its end and every packet was received. Cancel-safe.
    pub async fn recv(&mut self) -> Option<Bytes> {
        std::future::poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// Returns the next packet, if one is there.
    pub fn try_recv(&mut self) -> Option<Bytes> {
        if let Some(packet) = self.next_of_run() {
            return Some(packet);
        }
        self.run = self.shared.pop_run()?;
        self.run.next()
    }

    /// Returns the next packet of the run that was taken last.
    fn next_of_run(&mut self) -> Option<Bytes> {
        self.drop_too_long();
        self.run.next()
    }

    /// Drops the run that was taken last if the MTU has become smaller than its packets.
    fn drop_too_long(&mut self) {
        if !self.run.is_empty() && self.run.largest() > usize::from(self.shared.mtu()) {
            let run = std::mem::take(&mut self.run);
            let dropped = &self.shared.dropped;
            dropped.fetch_add(run.packets() as u64, Ordering::Relaxed);
        }
    }

    /// Polls for the next packet; see [`PacketReceiver::recv`].
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(packet) = self.next_of_run() {
            return Poll::Ready(Some(packet));
        }
        match self.poll_recv_run(cx) {
            Poll::Ready(Some(run)) => {
                self.run = run;
                Poll::Ready(self.run.next())
            }
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Waits for packets and appends at most `limit` of them to `out`; returns their number, at least one, or 0
    /// once the stack dropped its end and every packet was received. Cancel-safe.
    pub async fn recv_many(&mut self, out: &mut Vec<Bytes>, limit: usize) -> usize {
        let Some(first) = self.recv().await else {
            return 0;
        };
        let before = out.len();
        out.push(first);
        out.extend(std::iter::from_fn(|| self.try_recv()).take(limit.saturating_sub(1)));
        out.len() - before
    }

    /// Waits for the next run of packets: packets that left the stack together and are of one length but the last, such as
    /// those of one super-segment of TCP. They are in one piece of memory, several in at most 65,507 bytes and at most 64 of
    /// them, so that a carrier can send them in one call (UDP GSO).
    /// Returns `None` once the stack dropped its end and every packet was received. Cancel-safe.
    ///
    /// ```
    /// # use netstack::device::channel::PacketReceiver;
    /// # async fn example(mut receiver: PacketReceiver, seal: impl Fn(bytes::Bytes)) {
    /// while let Some(run) = receiver.recv_run().await {
    ///     println!("{} packets of {} bytes", run.packets(), run.packet_len());
    ///     for packet in run {
    ///         seal(packet);
    ///     }
    /// }
    /// # }
    /// ```
    pub async fn recv_run(&mut self) -> Option<Run> {
        std::future::poll_fn(|cx| self.poll_recv_run(cx)).await
    }

    /// Polls for the next run of packets; see [`PacketReceiver::recv_run`].
    pub fn poll_recv_run(&mut self, cx: &mut Context<'_>) -> Poll<Option<Run>> {
        self.drop_too_long();
        if !self.run.is_empty() {
            return Poll::Ready(Some(std::mem::take(&mut self.run)));
        }
        if let Some(run) = self.shared.pop_run() {
            return Poll::Ready(Some(run));
        }
        self.shared.reader.register(cx.waker());
        // A packet or the drop may have come before the waker was registered.
        let dropped = self.shared.device_dropped.load(Ordering::Acquire);
        match self.shared.pop_run() {
            Some(run) => Poll::Ready(Some(run)),
            None if dropped => Poll::Ready(None),
            None => Poll::Pending,
        }
    }

    /// Returns the number of packets that were dropped because this end's queue was full, or because they waited in it
    /// when the MTU was lowered.
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

/// A sender that waits for room.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    waker: AtomicWaker,
    /// It is in the list of those that wait.
    listed: AtomicBool,
}

impl Waiting {
    pub(super) fn wake(&self) {
        self.listed.store(false, Ordering::Release);
        self.waker.wake();
    }
}

/// Sends packets to the stack. Clones send to the same queue, each for a task of its own.
#[derive(Debug)]
pub struct PacketSender {
    shared: Arc<Shared>,
    waiting: Arc<Waiting>,
}

impl Clone for PacketSender {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.shared))
    }
}

impl PacketSender {
    fn new(shared: Arc<Shared>) -> Self {
        shared.senders.fetch_add(1, Ordering::AcqRel);
        Self {
            shared,
            waiting: Arc::default(),
        }
    }

    /// Sends one packet, which begins with its IP header, to the stack. Waits while the queue is full.
    /// Cancel-safe: a cancelled call has sent nothing.
    ///
    /// # Errors
    /// The stack dropped its end, or the packet is larger than the channel's MTU.
    pub async fn send(&mut self, packet: impl Into<Bytes>) -> Result<(), SendError> {
        let mut packet = packet.into();
        loop {
            match self.try_send(packet) {
                // Another sender may take the room that this one waits for.
                Err(SendError::Full(back)) => packet = back,
                result => return result,
            }
            std::future::poll_fn(|cx| self.poll_ready(cx)).await?;
        }
    }

    /// Sends packets from the front of `packets`, at least one unless it is empty, and takes them out; returns how
    /// many. Waits while the queue is full. The stack is woken once for all of them. Cancel-safe: a cancelled call has
    /// sent nothing.
    ///
    /// # Errors
    /// The stack dropped its end, or the first packet is larger than the channel's MTU: it is taken out. Packets behind one
    /// that is too large stay in the list.
    pub async fn send_many(&mut self, packets: &mut Vec<Bytes>) -> Result<usize, SendError> {
        loop {
            let sent = self.try_send_many(packets)?;
            if sent > 0 || packets.is_empty() {
                return Ok(sent);
            }
            std::future::poll_fn(|cx| self.poll_ready(cx)).await?;
        }
    }

    /// [`PacketSender::send_many`] without waiting: returns 0 if the queue is full.
    ///
    /// # Errors
    /// As there.
    pub fn try_send_many(&mut self, packets: &mut Vec<Bytes>) -> Result<usize, SendError> {
        self.push_many(packets)
    }

    /// Sends packets that were written into memory of the stack, as [`PacketSender::send_many`] does. The stack takes them as they
    /// are, but for short ones in long memory, and segments of TCP that it merges: those are copied.
    ///
    /// # Errors
    /// As there.
    pub async fn send_buffers(
        &mut self,
        packets: &mut Vec<PacketBuffer>,
    ) -> Result<usize, SendError> {
        loop {
            let sent = self.try_send_buffers(packets)?;
            if sent > 0 || packets.is_empty() {
                return Ok(sent);
            }
            std::future::poll_fn(|cx| self.poll_ready(cx)).await?;
        }
    }

    /// [`PacketSender::send_buffers`] without waiting: returns 0 if the queue is full.
    ///
    /// # Errors
    /// As there.
    pub fn try_send_buffers(
        &mut self,
        packets: &mut Vec<PacketBuffer>,
    ) -> Result<usize, SendError> {
        self.push_many(packets)
    }

    /// Returns memory of the stack for one packet, as long as the longest that the channel takes: its largest MTU, or
    /// 65,545 bytes with [`Framing::VirtioNet`](super::Framing::VirtioNet). Write a packet to its beginning, say how long it
    /// is, and send it.
    ///
    /// If the stack has none, the memory is the program's, and the packet is copied when the stack takes it.
    ///
    /// ```
    /// # use std::io::Read;
    /// # use netstack::device::channel::{PacketSender, SendError};
    /// # fn carry(mut network: impl Read, mut to_stack: PacketSender) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut packet = to_stack.packet_buffer();
    /// let len = network.read(&mut packet)?;
    /// packet.truncate(len);
    /// let mut packets = vec![packet];
    /// if to_stack.try_send_buffers(&mut packets)? == 0 {
    ///     println!("the queue is full: {packets:?} is lost, or waits for `send_buffers`");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn packet_buffer(&self) -> PacketBuffer {
        PacketBuffer::new(&self.shared.lender, self.packet_bytes_max())
    }

    /// Takes packets out of the front of `packets` until one finds no room or is refused; returns how many the stack takes.
    ///
    /// # Errors
    /// The first packet is refused: it is taken out.
    fn push_many<P: Carried>(&self, packets: &mut Vec<P>) -> Result<usize, SendError> {
        let mut sent = 0;
        let mut failed = None;
        for packet in packets.iter_mut() {
            if let Err(error) = self.check(packet) {
                failed = (sent == 0).then_some(error);
                break;
            }
            let taken = std::mem::replace(packet, P::empty());
            if let Err(back) = self.shared.to_stack.push(taken.into()) {
                *packet = P::back(back);
                break;
            }
            sent += 1;
        }
        packets.drain(..sent + usize::from(failed.is_some()));
        if sent > 0 {
            self.shared.unpark();
        }
        failed.map_or(Ok(sent), Err)
    }

    /// Sends one packet, which begins with its IP header, to the stack without waiting.
    ///
    /// # Errors
    /// The queue is full (the error holds the packet), the stack dropped its end, or the packet is
    /// larger than the channel's MTU.
    pub fn try_send(&mut self, packet: impl Into<Bytes>) -> Result<(), SendError> {
        let packet = packet.into();
        self.check(&packet)?;
        let pushed = self.shared.to_stack.push(packet.into());
        pushed.map_err(|back| SendError::Full(Bytes::back(back)))?;
        self.shared.unpark();
        Ok(())
    }

    /// Changes the MTU under a living stack, which takes it up in its next turn: connections go on in segments that
    /// fit, in both directions of the change. From this call on, no packet from the stack is longer. A packet to the
    /// stack may still be as long as the largest MTU so far. IPv6 needs 1280 bytes.
    ///
    /// ```
    /// use netstack::Stack;
    /// use netstack::device::channel::{ChannelConfig, channel};
    ///
    /// let (device, pipe) = channel(ChannelConfig { mtu: 1420, ..ChannelConfig::default() });
    /// let stack = Stack::builder().address("10.77.0.2".parse()?, 24).start(vec![Box::new(device)])?;
    /// // The tunnel has moved to a path that carries less.
    /// let (receiver, sender) = pipe.into_split();
    /// sender.set_mtu(1280)?;
    /// # while stack.mtu() != 1280 { std::thread::yield_now(); }
    /// # drop(receiver);
    /// # stack.abort()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The MTU is below 68. Nothing is changed then.
    pub fn set_mtu(&self, mtu: u16) -> Result<(), MtuError> {
        self.shared.set_mtu(mtu)
    }

    fn packet_bytes_max(&self) -> usize {
        let mtu = self.shared.largest_mtu.load(Ordering::Acquire);
        self.shared.framing.packet_bytes_max(mtu)
    }

    /// Checks that a packet may be sent, if there is room.
    fn check(&self, packet: &[u8]) -> Result<(), SendError> {
        let (len, max) = (packet.len(), self.packet_bytes_max());
        if len > max {
            return Err(SendError::TooBig { len, max });
        }
        if self.shared.device_dropped.load(Ordering::Acquire) {
            return Err(SendError::Closed);
        }
        Ok(())
    }

    /// Polls for room in the queue. Where it is the only sender, the next [`PacketSender::try_send`] finds the
    /// room.
    ///
    /// # Errors
    /// The stack dropped its end.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        for register in [true, false] {
            if self.shared.device_dropped.load(Ordering::SeqCst) {
                return Poll::Ready(Err(SendError::Closed));
            }
            if !self.shared.to_stack.is_full() {
                return Poll::Ready(Ok(()));
            }
            if register {
                // The second round sees room that came before the waker was registered.
                self.waiting.waker.register(cx.waker());
                if !self.waiting.listed.swap(true, Ordering::AcqRel) {
                    self.shared.writers.push(Arc::clone(&self.waiting));
                }
            }
        }
        Poll::Pending
    }
}

impl Drop for PacketSender {
    fn drop(&mut self) {
        if self.shared.senders.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.shared.unpark();
        }
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
