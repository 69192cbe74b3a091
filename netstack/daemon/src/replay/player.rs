//! The device of a replay: it gives what was recorded, and shows what the stack sends.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::Duration;

use netstack::base::{Counters, Instant, LinkCaps};
use netstack::device::{Device, Unpark};
use packet::Buffers;
use packet::frame::{RxPacket, TxOffload, TxPacket};

use crate::recording::effects::{Effects, Kept};
use crate::recording::packets::{Received, bytes_of, memory_of, touch};
use crate::recording::reader::RecordedPacket;

/// The packets that a turn reads, and what comes with them.
pub(super) struct Input {
    pub(super) packets: Vec<(RecordedPacket, Received)>,
    /// The memory that was used and allocated before.
    pub(super) memory: [u64; 2],
    pub(super) mtu: u16,
    /// The effects of the device since the read before: with what was sent, then with this read.
    pub(super) effects: Vec<Effects>,
}

/// An output of the stack.
pub(super) enum Output {
    Packet {
        bytes: Vec<u8>,
        offload: TxOffload,
    },
    /// A part of the recording cannot be repeated.
    Fault(String),
}

/// The device.
pub(super) struct Player {
    pub(super) caps: LinkCaps,
    pub(super) inputs: Receiver<Input>,
    pub(super) outputs: Sender<Output>,
    pub(super) kept: Kept,
}

impl Player {
    fn show(&self, output: Output) {
        // Whoever looks goes with the device.
        let _ = self.outputs.send(output);
    }

    fn fault(&self, why: &str) {
        self.show(Output::Fault(why.to_owned()));
    }
}

impl Device for Player {
    fn caps(&self) -> LinkCaps {
        self.caps
    }

    fn recv_batch(
        &mut self,
        out: &mut Vec<RxPacket>,
        max: usize,
        buffers: &Buffers,
        _: Instant,
        counters: &Counters,
    ) -> io::Result<usize> {
        let Ok(input) = self.inputs.try_recv() else {
            return Ok(0);
        };
        self.caps.mtu = input.mtu;
        let memory = memory_of(buffers);
        if memory != input.memory {
            let ([used, allocated], [was_used, was_allocated]) = (memory, input.memory);
            self.fault(&format!(
                "the stack uses {used} bytes of {allocated} allocated instead of {was_used} of {was_allocated}"
            ));
        }
        for effects in &input.effects {
            if !effects.repeat(counters, buffers, &mut self.kept) {
                self.fault("the device kept memory that is not there now");
            }
        }
        if input.packets.len() > max {
            self.fault("more packets were read in this turn than it takes");
        }
        let before = out.len();
        for (packet, about) in input.packets.iter().take(max) {
            match about.packet(&packet.bytes, packet.at, buffers) {
                Some(packet) => out.push(packet),
                None => self.fault("a packet that was read lay in memory that is not there now"),
            }
        }
        touch(buffers, self.caps.mtu);
        Ok(out.len() - before)
    }

    fn send_batch(&mut self, batch: &mut Vec<TxPacket>, _: &Counters) -> io::Result<()> {
        for packet in batch.drain(..) {
            self.show(Output::Packet {
                bytes: bytes_of(&packet),
                offload: packet.offload,
            });
        }
        Ok(())
    }

    fn park(&mut self, _: Option<Duration>) -> io::Result<()> {
        Ok(())
    }

    fn unparker(&self) -> Arc<dyn Unpark> {
        Arc::new(NeverParked)
    }
}

/// A replay does not sleep.
struct NeverParked;

impl Unpark for NeverParked {
    fn unpark(&self) {}
}
