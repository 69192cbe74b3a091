//! A device whose worker is recorded: it notes what a turn reads, and what it sends.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::task::{Context, Poll};
use std::time::Duration;

use netstack::base::{Counters, Instant, LinkCaps};
use netstack::device::observe::{Direction, Observer};
use netstack::device::{Device, Unpark};
use packet::Buffers;
use packet::frame::{RxPacket, TxPacket};
use pcap_file::PcapError;

use crate::recording::blocks::Blocks;
use crate::recording::decisions::SentRecord;
use crate::recording::effects::Effects;
use crate::recording::packets::{Received, bytes_of, memory_of, touch};

/// A note of what a turn did with its device.
pub(super) enum Noted {
    Read {
        now: Instant,
        packets: Vec<Received>,
        memory: [u64; 2],
        mtu: u16,
        effects: Effects,
        /// The blocks of the packets.
        blocks: Vec<u8>,
    },
    Sent {
        sent: SentRecord,
        blocks: Vec<u8>,
    },
    /// A packet could not be noted.
    Failed(PcapError),
}

/// The device.
pub(super) struct Recorded<D> {
    pub(super) device: D,
    pub(super) blocks: Blocks,
    pub(super) notes: Sender<Noted>,
    /// The recording has not ended.
    pub(super) is_recording: Arc<AtomicBool>,
    /// The time of the turn.
    pub(super) now: Instant,
}

impl<D: Device> Recorded<D> {
    fn is_recording(&self) -> bool {
        self.is_recording.load(Ordering::Relaxed)
    }

    fn note(&self, noted: Result<Noted, PcapError>) {
        // Whoever takes notes goes with the device.
        let _ = self.notes.send(noted.unwrap_or_else(Noted::Failed));
    }

    fn read(
        &mut self,
        received: &[RxPacket],
        memory: [u64; 2],
        mut effects: Effects,
        buffers: &Buffers,
    ) -> Result<Noted, PcapError> {
        let mut packets = Vec::with_capacity(received.len());
        for packet in received {
            let about = Received::of(packet, buffers);
            packets.push(about);
            if let Some(pool) = about.memory.pool() {
                effects.handed_over(pool);
            }
            let at = Instant::from_nanos(packet.arrived_nanos);
            self.blocks.packet(Direction::In, at, &packet.data, None)?;
        }
        Ok(Noted::Read {
            now: self.now,
            packets,
            memory,
            mtu: self.device.caps().mtu,
            effects,
            blocks: self.blocks.take(),
        })
    }

    fn sent(&mut self, batch: &[TxPacket]) -> Result<Vec<u8>, PcapError> {
        for packet in batch {
            let bytes = bytes_of(packet);
            self.blocks.packet(Direction::Out, self.now, &bytes, None)?;
        }
        Ok(self.blocks.take())
    }
}

impl<D: Device> Device for Recorded<D> {
    fn caps(&self) -> LinkCaps {
        self.device.caps()
    }

    fn recv_batch(
        &mut self,
        out: &mut Vec<RxPacket>,
        max: usize,
        buffers: &Buffers,
        now: Instant,
        counters: &Counters,
    ) -> io::Result<usize> {
        if !self.is_recording() {
            return self.device.recv_batch(out, max, buffers, now, counters);
        }
        self.now = now;
        let before = out.len();
        let memory = memory_of(buffers);
        let state = Effects::read(counters, Some(buffers));
        let received = self.device.recv_batch(out, max, buffers, now, counters);
        touch(buffers, self.device.caps().mtu);
        let effects = Effects::read(counters, Some(buffers)).since(state);
        let received_now = out.get(before..).unwrap_or_default();
        let noted = self.read(received_now, memory, effects, buffers);
        self.note(noted);
        received
    }

    fn send_batch(&mut self, batch: &mut Vec<TxPacket>, counters: &Counters) -> io::Result<()> {
        if !self.is_recording() {
            return self.device.send_batch(batch, counters);
        }
        let blocks = self.sent(batch);
        let packets = batch.iter().map(|packet| packet.offload).collect();
        let state = Effects::read(counters, None);
        let sent = self.device.send_batch(batch, counters);
        let effects = Effects::read(counters, None).since(state);
        let record = SentRecord { packets, effects };
        self.note(blocks.map(|blocks| Noted::Sent {
            sent: record,
            blocks,
        }));
        sent
    }

    fn park(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.device.park(timeout)
    }

    fn poll_park(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.device.poll_park(cx)
    }

    fn unparker(&self) -> Arc<dyn Unpark> {
        self.device.unparker()
    }

    fn take_observers(&mut self) -> Vec<Arc<dyn Observer>> {
        self.device.take_observers()
    }

    fn next_delivery(&self) -> Option<Instant> {
        self.device.next_delivery()
    }
}
