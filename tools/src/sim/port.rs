//! The device of one worker: an end of the network.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use impair::Checksum;
use netstack::base::counters::Counter;
use netstack::base::{Counters, DropReason, Instant, LinkCaps};
use netstack::device::{Device, Unpark};
use packet::frame::{RxPacket, TxPacket};
use packet::{Buffers, RxChecksum};

use super::world::Shared;
use crate::virtual_stack::frame_of;

/// One queue of a host's device.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) world: Shared,
    pub(super) host: usize,
    pub(super) worker: usize,
    pub(super) caps: LinkCaps,
    /// The latest time that a call has passed in.
    pub(super) now: Instant,
}

struct Awake;

impl Unpark for Awake {
    fn unpark(&self) {}
}

impl Device for Port {
    fn caps(&self) -> LinkCaps {
        self.caps
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
        let frames = self.world.receive((self.host, self.worker), max, self.now);
        let before = out.len();
        for frame in frames {
            counters.add(Counter::PacketsIn, 1);
            counters.add(Counter::BytesIn, frame.bytes().len() as u64);
            let Some(data) = buffers.copy_received(frame.bytes()) else {
                counters.drop_packet(DropReason::NoReceiveBuffer);
                continue;
            };
            out.push(RxPacket {
                data,
                checksum: match frame.checksum() {
                    Checksum::Complete => RxChecksum::Unknown,
                    Checksum::Vouched | Checksum::Partial { .. } => RxChecksum::Vouched,
                },
                gso_size: frame.gso_size(),
                arrived_nanos: now.as_nanos(),
            });
        }
        Ok(out.len() - before)
    }

    fn send_batch(&mut self, batch: &mut Vec<TxPacket>, counters: &Counters) -> io::Result<()> {
        let frames: Vec<_> = batch.drain(..).map(|packet| frame_of(&packet)).collect();
        let bytes: usize = frames.iter().map(|frame| frame.bytes().len()).sum();
        counters.add(Counter::PacketsOut, frames.len() as u64);
        counters.add(Counter::BytesOut, bytes as u64);
        self.world.send(self.host, frames, self.now);
        Ok(())
    }

    fn park(&mut self, _timeout: Option<Duration>) -> io::Result<()> {
        Ok(())
    }

    fn unparker(&self) -> Arc<dyn Unpark> {
        Arc::new(Awake)
    }

    fn next_delivery(&self) -> Option<Instant> {
        let (host, worker, now) = (self.host, self.worker, self.now);
        self.world
            .with(|world| world.network.next(host, worker, now))?
    }
}
