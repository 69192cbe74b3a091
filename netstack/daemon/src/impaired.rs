//! A device behind a bad link: the rules of the crate [`impair`](::impair) between a stack and its device.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use impair::{Checksum, Frame, Impairment, Wire};
use netstack::base::counters::Counter;
use netstack::base::{Counters, DropReason, Instant, LinkCaps};
use netstack::device::{Device, Unpark};
use packet::build::Head;
use packet::checksum::RxChecksum;
use packet::frame::{ChecksumOffload, Chunks, RxPacket, SegmentOffload, TxOffload, TxPacket};
use packet::{Buffers, Payload};

use crate::probe::now;

/// A device and the link in front of it.
struct Impaired {
    device: Box<dyn Device>,
    /// Towards the stack.
    up: Wire,
    /// From the stack.
    down: Wire,
    received: Vec<RxPacket>,
    to_send: Vec<TxPacket>,
}

/// Puts a link between a device and its stack. `up` concerns packets towards the stack, `down` those from it.
pub(crate) fn wrap(
    device: Box<dyn Device>,
    up: Impairment,
    down: Impairment,
    seed: u64,
) -> Box<dyn Device> {
    Box::new(Impaired {
        device,
        up: Wire::new(up, seed),
        down: Wire::new(down, !seed),
        received: Vec::new(),
        to_send: Vec::new(),
    })
}

impl Impaired {
    /// Gives the device what is due.
    fn give(&mut self, counters: &Counters) -> io::Result<()> {
        let now = now();
        while let Some(frame) = self.down.pop(now) {
            self.to_send.push(sent(frame));
        }
        if self.to_send.is_empty() {
            return Ok(());
        }
        self.device.send_batch(&mut self.to_send, counters)
    }
}

/// Returns what a device received as the link carries it.
fn arrived(packet: RxPacket) -> Frame {
    let checksum = match packet.checksum {
        RxChecksum::Vouched => Checksum::Vouched,
        _ => Checksum::Complete,
    };
    Frame::new(packet.data.to_vec(), checksum, packet.gso_size)
}

/// Returns what a stack sends as the link carries it.
fn departing(packet: &TxPacket) -> Frame {
    let checksum = match packet.offload.checksum {
        Some(ChecksumOffload { start, offset }) => Checksum::Partial { start, offset },
        None => Checksum::Complete,
    };
    let size = packet.offload.segment.map_or(0, |segment| segment.size);
    Frame::new(packet.to_vec(), checksum, size)
}

/// Returns what the link carried as a device sends it.
fn sent(frame: Frame) -> TxPacket {
    let checksum = match frame.checksum() {
        Checksum::Partial { start, offset } => Some(ChecksumOffload { start, offset }),
        _ => None,
    };
    let segment = frame.cut_as().map(|(kind, header_len)| SegmentOffload {
        kind,
        size: frame.gso_size(),
        header_len: u16::try_from(header_len).unwrap_or_default(),
    });
    let header_len = segment.map_or(0, |segment| usize::from(segment.header_len));
    let bytes = Bytes::from(frame.into_bytes());
    let mut head = Head::new();
    let header_len = header_len.min(bytes.len());
    let payload = match head.prepend(header_len) {
        Some(room) => {
            room.copy_from_slice(bytes.get(..header_len).unwrap_or_default());
            bytes.slice(header_len..)
        }
        None => bytes,
    };
    TxPacket {
        head,
        payload: Chunks::from(Payload::from(payload)),
        offload: TxOffload { checksum, segment },
    }
}

impl Device for Impaired {
    fn caps(&self) -> LinkCaps {
        self.device.caps()
    }

    fn recv_batch(
        &mut self,
        out: &mut Vec<RxPacket>,
        max: usize,
        buffers: &Buffers,
        arrival: Instant,
        counters: &Counters,
    ) -> io::Result<usize> {
        let mut received = std::mem::take(&mut self.received);
        self.device
            .recv_batch(&mut received, max, buffers, arrival, counters)?;
        let time = now();
        for packet in received.drain(..) {
            // The link's answer to a packet that is too big.
            if let Some(answer) = self.up.push(arrived(packet), time) {
                self.to_send.push(sent(answer));
            }
        }
        self.received = received;
        self.give(counters)?;
        let before = out.len();
        while out.len() - before < max {
            let Some(frame) = self.up.pop(time) else {
                break;
            };
            let checksum = match frame.checksum() {
                Checksum::Complete => RxChecksum::Unknown,
                _ => RxChecksum::Vouched,
            };
            let gso_size = frame.gso_size();
            match buffers.copy_received(frame.bytes()) {
                Some(data) => out.push(RxPacket {
                    data,
                    checksum,
                    gso_size,
                    arrived_nanos: arrival.as_nanos(),
                }),
                None => counters.drop_packet(DropReason::NoReceiveBuffer),
            }
        }
        Ok(out.len() - before)
    }

    fn send_batch(&mut self, batch: &mut Vec<TxPacket>, counters: &Counters) -> io::Result<()> {
        let time = now();
        for packet in batch.drain(..) {
            if let Some(answer) = self.down.push(departing(&packet), time) {
                // The stack finds it in its next turn, which comes at once.
                counters.add(Counter::PacketsIn, 1);
                self.up.answer(answer, time);
            }
        }
        self.give(counters)
    }

    fn park(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let due = [self.up.next(), self.down.next()]
            .into_iter()
            .flatten()
            .min();
        let due = due.map(|at| at.saturating_sub(now()));
        self.device.park([due, timeout].into_iter().flatten().min())
    }

    fn poll_park(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.device.poll_park(cx)
    }

    fn unparker(&self) -> Arc<dyn Unpark> {
        self.device.unparker()
    }
}
