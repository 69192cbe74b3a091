//! The in-memory link as two devices, one for each of two engines, on one thread or on two.
//!
//! A sender puts frames into a bounded queue without a lock and wakes the other side; the receiver
//! takes them from there onto its own [`Wire`], with its own idea of now. So a link between two
//! threads needs no shared clock, and one on a single thread is as repeatable as [`Link`](super::Link).

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

/// Frames between the two threads of a link.
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
    /// The latest time that this side was told.
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

/// Both ends of a link as devices: the first is A's, the second B's.
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
    /// When the next packet arrives here: the latest time that this side was told, if one waits to be
    /// put on the wire; `None` when nothing is under way.
    pub fn next_delivery(&self) -> Option<Instant> {
        let waiting = (!self.inbox.frames.is_empty()).then_some(self.now);
        [waiting, self.wire.next_delivery()]
            .into_iter()
            .flatten()
            .min()
    }

    /// What has happened to packets on their way here.
    pub fn stats(&self) -> WireStats {
        self.wire.stats()
    }

    fn take_in(&mut self) {
        // No more than were there at first: the sender may be as fast as we are.
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
            .park([timeout, arrival].into_iter().flatten().min())
    }

    fn unparker(&self) -> Arc<dyn Unpark> {
        Arc::clone(&self.inbox) as Arc<dyn Unpark>
    }
}
