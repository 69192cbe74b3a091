//! The in-memory link as two devices, for two engines on one thread or on two.
//!
//! A sender pushes frames to a bounded queue without a lock and unparks the other end; the receiver
//! moves them to its own [`Wire`] at its own current time. So a link between two threads needs no shared
//! clock, and a link on a single thread is as reproducible as [`Link`](super::Link).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_queue::ArrayQueue;
use packet::Buffers;
use packet::frame::{RxPacket, TxPacket};

use super::super::linear::Frame;
use super::super::wake::MemoryWake;
use super::super::{Device, Unpark};
use super::wire::count_out;
use super::{LinkConfig, Wire, WireStats};
use crate::base::{Counters, DropReason, Instant, LinkCaps};

/// Most frames in the queue between the two ends.
const HANDOVER_PACKETS: usize = 4_096;

struct Inbox {
    frames: ArrayQueue<Frame>,
    wake: MemoryWake,
}

impl Unpark for Inbox {
    fn unpark(&self) {
        self.wake.unpark();
    }
}

/// One end of an in-memory link.
pub struct LinkDevice {
    config: LinkConfig,
    wire: Wire,
    inbox: Arc<Inbox>,
    peer: Arc<Inbox>,
    /// The latest time that a call has passed in.
    now: Instant,
}

impl std::fmt::Debug for LinkDevice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LinkDevice")
            .field("waiting", &self.inbox.frames.len())
            .field("wire", &self.wire)
            .finish_non_exhaustive()
    }
}

/// Creates a link and returns its ends A and B as devices.
///
/// ```
/// use netstack::base::{Counters, Instant};
/// use netstack::device::Device as _;
/// use netstack::device::memory::{LinkConfig, pair};
/// use packet::{Buffers, Payload, TxPacket};
///
/// let (mut a, mut b) = pair(&LinkConfig::default());
/// let (buffers, counters) = (Buffers::new(2048, 16, 16), Counters::new());
/// let mut packet = TxPacket::default();
/// packet.payload = Payload::from(bytes::Bytes::from_static(b"any bytes")).into();
/// a.send_batch(&mut vec![packet], &counters)?;
///
/// let mut received = Vec::new();
/// b.recv_batch(&mut received, 32, &buffers, Instant::ZERO, &counters)?;
/// assert_eq!(&received[0].data[..], b"any bytes");
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn pair(config: &LinkConfig) -> (LinkDevice, LinkDevice) {
    let (a_to_b, b_to_a) = config.wires();
    let inbox = || {
        Arc::new(Inbox {
            frames: ArrayQueue::new(HANDOVER_PACKETS),
            wake: MemoryWake::new(),
        })
    };
    let (at_a, at_b) = (inbox(), inbox());
    let end = |wire, inbox: &Arc<Inbox>, peer: &Arc<Inbox>| LinkDevice {
        config: config.clone(),
        wire,
        inbox: Arc::clone(inbox),
        peer: Arc::clone(peer),
        now: Instant::ZERO,
    };
    (end(b_to_a, &at_a, &at_b), end(a_to_b, &at_b, &at_a))
}

impl LinkDevice {
    /// Returns the statistics of packets sent to this end.
    pub fn stats(&self) -> WireStats {
        self.wire.stats()
    }

    fn take_in(&mut self) {
        // Bounded by the frames there at first: the sender may be as fast as the receiver.
        for _ in 0..self.inbox.frames.len() {
            let Some(frame) = self.inbox.frames.pop() else {
                return;
            };
            self.wire.push(frame, self.now);
        }
    }
}

impl Device for LinkDevice {
    fn caps(&self) -> LinkCaps {
        self.config.caps()
    }

    fn recv_batch(
        &mut self,
        out: &mut Vec<RxPacket>,
        max: usize,
        buffers: &Buffers,
        now: Instant,
        counters: &Counters,
    ) -> io::Result<usize> {
        self.now = self.now.max(now);
        self.take_in();
        let before = out.len();
        out.extend(std::iter::from_fn(|| self.wire.pop(self.now, buffers, counters)).take(max));
        Ok(out.len() - before)
    }

    fn send_batch(&mut self, batch: &mut Vec<TxPacket>, counters: &Counters) -> io::Result<()> {
        let (mut sent, mut bytes) = (0, 0);
        for packet in batch.drain(..) {
            let Some(frame) = self.config.frame(&packet, counters) else {
                continue;
            };
            let len = frame.len() as u64;
            match self.peer.frames.push(frame) {
                Ok(()) => {
                    sent += 1;
                    bytes += len;
                }
                Err(_full) => counters.drop_packet(DropReason::TransmitFailed),
            }
        }
        if sent > 0 {
            self.peer.unpark();
        }
        count_out(counters, sent, bytes);
        Ok(())
    }

    fn park(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        if !self.inbox.frames.is_empty() {
            return Ok(());
        }
        let arrival = self
            .wire
            .next_delivery()
            .map(|at| at.saturating_since(self.now));
        self.inbox
            .wake
            .park([timeout, arrival].into_iter().flatten().min());
        Ok(())
    }

    fn unparker(&self) -> Arc<dyn Unpark> {
        Arc::clone(&self.inbox) as Arc<dyn Unpark>
    }

    /// Returns when the next packet arrives at this end, or `None` if no packet is in flight. Returns the
    /// latest time that a call has passed in if a packet waits to be moved to the wire.
    fn next_delivery(&self) -> Option<Instant> {
        let waiting = (!self.inbox.frames.is_empty()).then_some(self.now);
        [waiting, self.wire.next_delivery()]
            .into_iter()
            .flatten()
            .min()
    }
}
