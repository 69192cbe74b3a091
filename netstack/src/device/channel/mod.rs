//! A device whose other end is the program itself, for packets that bypass the kernel, such as a
//! tunnel's.
//!
//! [`channel`] creates a [`ChannelDevice`] for the stack and a [`PacketPipe`] for the program. The pipe
//! has an async interface (`recv`, `send`, in batches `recv_many` and `send_many`,
//! `Stream`, `Sink`, `poll_*`) and works with any runtime. [`channel_queues`] makes several, one for each worker.
//!
//! The program sees packets no longer than the MTU. Inside, TCP works on super-segments: those that the stack
//! sends are cut into packets as they are copied, and segments of the program that continue each other are merged.
//! A carrier that takes super-packets says so ([`Framing::VirtioNet`]), and nothing is cut for it.
//!
//! The stack copies what it takes, so no packet keeps the program's memory, and all that is held counts against the
//! stack's own. A carrier saves that copy of long packets if it reads or decrypts each into memory of the stack
//! ([`PacketSender::packet_buffer`]).
//!
//! Each direction is a bounded queue without a lock. A packet that the stack sends into a full queue is
//! dropped and counted, as on any link. A packet that the program sends into a full queue waits
//! ([`PacketSender::send`]) or is returned ([`PacketSender::try_send`]). Dropping either end closes the
//! other.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use atomic_waker::AtomicWaker;
use crossbeam_queue::{ArrayQueue, SegQueue};
use packet::Buffers;
use packet::checksum::RxChecksum;
use packet::frame::{RxPacket, TxPacket};

use super::coalesce::{Merged, Train};
use super::virtio::{HEADER_BYTES, SUPER_PACKET_BYTES};
use super::wake::MemoryWake;
use super::{Device, Unpark};
use crate::base::counters::Counter;
use crate::base::limits::MIN_MTU_V4;
use crate::base::{Counters, DropReason, Instant, LinkCaps, OffloadCaps};

pub(super) mod buffer;
mod burst;
mod framing;
#[cfg(test)]
mod memory_tests;
pub(super) mod out_memory;
mod outbound;
mod pipe;
mod queues;
pub(super) mod run;
#[cfg(test)]
mod tests;
mod virtio_net;

pub use buffer::PacketBuffer;
use buffer::{Inbound, Lender};
use burst::Burst;
pub use framing::Framing;
use out_memory::OutMemory;
use outbound::Sent;
use pipe::Waiting;
pub use pipe::{MtuError, PacketPipe, PacketReceiver, PacketSender, SendError};
pub use queues::{QueueSender, channel_queues};
pub use run::Run;

/// Sizes of a packet channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelConfig {
    /// Largest packet in either direction, in bytes with its IP header. [`PacketSender::set_mtu`] changes it later.
    pub mtu: u16,
    /// Most packets that wait for the stack.
    pub to_stack: usize,
    /// Most packets that wait for the program.
    pub from_stack: usize,
    /// The header in front of each packet, and the length that it may have.
    pub framing: Framing,
}

impl Default for ChannelConfig {
    /// Returns MTU 1420, which suits a tunnel over Ethernet, room for 512 packets to the stack and 1,024 from it, and bare
    /// packets.
    fn default() -> Self {
        Self {
            mtu: 1420,
            to_stack: 512,
            from_stack: 1024,
            framing: Framing::Bare,
        }
    }
}

struct Shared {
    framing: Framing,
    mtu: AtomicU16,
    /// The largest MTU so far: how long a packet to the stack may be. The peers of a stack whose MTU was lowered still
    /// send what was agreed upon before.
    largest_mtu: AtomicU16,
    to_stack: ArrayQueue<Inbound>,
    /// The stack's memory, for packets to it.
    lender: Lender,
    /// Packets for the program, those of one super-segment together.
    from_stack: SegQueue<Run>,
    /// Packets in `from_stack`, and the most that there may be.
    from_stack_len: AtomicUsize,
    from_stack_limit: usize,
    /// Wakes the stack's worker.
    wake: MemoryWake,
    /// Wakes the task that waits for packets.
    reader: AtomicWaker,
    /// Senders that wait for room.
    writers: SegQueue<Arc<Waiting>>,
    /// Open senders.
    senders: AtomicUsize,
    device_dropped: AtomicBool,
    receiver_dropped: AtomicBool,
    /// Packets that the stack sent into a full queue.
    dropped: AtomicU64,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel")
            .field("mtu", &self.mtu())
            .field("to_stack", &self.to_stack.len())
            .field("from_stack", &self.from_stack_len.load(Ordering::Relaxed))
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn mtu(&self) -> u16 {
        self.mtu.load(Ordering::Acquire)
    }

    /// Changes the MTU, which the stack takes up in its next turn.
    fn set_mtu(&self, mtu: u16) -> Result<(), MtuError> {
        if mtu < MIN_MTU_V4 {
            return Err(MtuError { mtu });
        }
        self.largest_mtu.fetch_max(mtu, Ordering::AcqRel);
        self.mtu.store(mtu, Ordering::Release);
        self.unpark();
        Ok(())
    }

    /// Queues packets for the program; returns how many were not taken because the queue is full.
    fn push_run(&self, run: Run) -> usize {
        let count = run.packets();
        let len = self.from_stack_len.load(Ordering::Acquire);
        let room = self.from_stack_limit.saturating_sub(len).min(count);
        if room > 0 {
            // The device alone adds to the length: the room cannot shrink.
            self.from_stack_len.fetch_add(room, Ordering::AcqRel);
            self.from_stack.push(run.first(room));
        }
        count - room
    }

    /// Takes the next packets for the program. Those that were sent before the MTU was lowered below their length are
    /// dropped.
    fn pop_run(&self) -> Option<Run> {
        loop {
            let run = self.from_stack.pop()?;
            let packets = run.packets();
            self.from_stack_len.fetch_sub(packets, Ordering::AcqRel);
            if run.largest() <= usize::from(self.mtu()) {
                return Some(run);
            }
            self.dropped.fetch_add(packets as u64, Ordering::Relaxed);
        }
    }

    /// Wakes the senders that wait for room now, and none that comes meanwhile: one that is woken may fill the queue
    /// and wait again.
    fn wake_writers(&self) {
        let waiting = self.writers.len();
        for waiting in std::iter::from_fn(|| self.writers.pop()).take(waiting) {
            waiting.wake();
        }
    }

    /// Returns true if the program dropped every sender.
    fn is_sender_dropped(&self) -> bool {
        self.senders.load(Ordering::Acquire) == 0
    }

    fn is_receiver_dropped(&self) -> bool {
        self.receiver_dropped.load(Ordering::Acquire)
    }

    /// Returns true if a turn of the stack finds something: packets, or that the program has dropped its end.
    fn is_turn_due(&self) -> bool {
        !self.to_stack.is_empty() || self.is_sender_dropped() && self.is_receiver_dropped()
    }
}

impl Unpark for Shared {
    fn unpark(&self) {
        self.wake.unpark();
    }
}

/// Creates a device for a stack, and the program's end of it. Queues hold at least one packet.
///
/// ```
/// use netstack::base::{Counters, Instant};
/// use netstack::device::Device as _;
/// use netstack::device::channel::{ChannelConfig, channel};
/// use packet::Buffers;
///
/// let (mut device, pipe) = channel(ChannelConfig::default());
/// // A tunnel has one task per direction: decrypt and send, receive and encrypt.
/// let (mut from_stack, mut to_stack) = pipe.into_split();
/// to_stack.try_send(&b"a packet, decrypted"[..])?;
/// assert_eq!(from_stack.try_recv(), None);
///
/// // The stack's worker does this.
/// let (buffers, counters) = (Buffers::new(2048, 16, 16), Counters::new());
/// let mut received = Vec::new();
/// device.recv_batch(&mut received, 32, &buffers, Instant::ZERO, &counters)?;
/// assert_eq!(&received[0].data[..], b"a packet, decrypted");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn channel(config: ChannelConfig) -> (ChannelDevice, PacketPipe) {
    let shared = Arc::new(Shared {
        framing: config.framing,
        mtu: AtomicU16::new(config.mtu),
        largest_mtu: AtomicU16::new(config.mtu),
        to_stack: ArrayQueue::new(config.to_stack.max(1)),
        lender: Lender::default(),
        from_stack: SegQueue::new(),
        from_stack_len: AtomicUsize::new(0),
        from_stack_limit: config.from_stack.max(1),
        wake: MemoryWake::new(),
        reader: AtomicWaker::new(),
        writers: SegQueue::new(),
        senders: AtomicUsize::new(0),
        device_dropped: AtomicBool::new(false),
        receiver_dropped: AtomicBool::new(false),
        dropped: AtomicU64::new(0),
    });
    let pipe = PacketPipe::new(Arc::clone(&shared));
    (
        ChannelDevice {
            shared,
            burst: Burst::default(),
            memory: OutMemory::new(),
            train: Train::default(),
        },
        pipe,
    )
}

/// The stack's end of a packet channel.
#[derive(Debug)]
pub struct ChannelDevice {
    shared: Arc<Shared>,
    /// Packets on their way out; empty between two calls.
    burst: Burst,
    memory: OutMemory,
    /// Packets on their way in; empty between two calls.
    train: Train<Inbound>,
}

impl Drop for ChannelDevice {
    fn drop(&mut self) {
        // Ordered with the list of writers: one that is not in it yet finds this.
        self.shared.device_dropped.store(true, Ordering::SeqCst);
        self.shared.reader.wake();
        self.shared.wake_writers();
    }
}

impl Device for ChannelDevice {
    fn caps(&self) -> LinkCaps {
        LinkCaps {
            mtu: self.shared.mtu(),
            max_packet: match self.shared.framing {
                Framing::Bare => self.shared.largest_mtu.load(Ordering::Acquire).into(),
                Framing::VirtioNet => SUPER_PACKET_BYTES,
            },
            // For a carrier that takes bare packets, super-segments of TCP are cut here, in one pass with the copy that
            // sending takes anyway.
            offload: OffloadCaps {
                tso: true,
                uso: self.shared.framing == Framing::VirtioNet,
                tx_checksum: true,
            },
        }
    }

    fn recv_batch(
        &mut self,
        out: &mut Vec<RxPacket>,
        max: usize,
        buffers: &Buffers,
        now: Instant,
        counters: &Counters,
    ) -> io::Result<usize> {
        let before = out.len();
        let (mut taken, mut bytes) = (0, 0);
        self.shared.wake.look();
        self.shared.lender.open(buffers);
        let keep = |packet: Inbound| packet.keep(buffers);
        // Loaded before the queue is read: packets sent before the sender was dropped are delivered.
        let sender_dropped = self.shared.is_sender_dropped();
        let mut receive = |merged: Merged| {
            out.push(RxPacket {
                data: merged.data,
                checksum: merged.checksum,
                gso_size: merged.gso_size,
                arrived_nanos: now.as_nanos(),
            });
        };
        while taken < max {
            let Some(mut packet) = self.shared.to_stack.pop() else {
                break;
            };
            taken += 1;
            bytes += packet.len() as u64;
            if self.shared.framing == Framing::VirtioNet {
                let described = match virtio_net::read(&packet) {
                    Ok(described) => described,
                    Err(reason) => {
                        counters.drop_packet(reason);
                        continue;
                    }
                };
                packet.advance(HEADER_BYTES);
                if described.is_vouched {
                    self.train.finish(buffers, counters, keep, &mut receive);
                    match packet.keep(buffers) {
                        Some(data) => receive(Merged {
                            data,
                            checksum: RxChecksum::Vouched,
                            gso_size: described.gso_size,
                        }),
                        None => counters.drop_packet(DropReason::NoReceiveBuffer),
                    }
                    continue;
                }
            }
            if let Err(packet) = self.train.push(packet) {
                self.train.finish(buffers, counters, keep, &mut receive);
                // An empty train takes any packet.
                let _ = self.train.push(packet);
            }
        }
        self.train.finish(buffers, counters, keep, &mut receive);
        if taken > 0 {
            counters.add(Counter::PacketsIn, taken as u64);
            counters.add(Counter::BytesIn, bytes);
            self.shared.wake_writers();
        } else if sender_dropped && self.shared.is_receiver_dropped() {
            return Err(device_gone());
        }
        Ok(out.len() - before)
    }

    fn send_batch(&mut self, batch: &mut Vec<TxPacket>, counters: &Counters) -> io::Result<()> {
        let dropped = self.shared.is_receiver_dropped();
        let mut sent = Sent::default();
        if dropped {
            for _ in batch.drain(..) {
                counters.drop_packet(DropReason::TransmitFailed);
            }
        } else if self.shared.framing == Framing::VirtioNet {
            self.send_framed(batch, counters, &mut sent);
        } else {
            self.send_bare(batch, counters, &mut sent);
        }
        if sent.packets > 0 {
            counters.add(Counter::PacketsOut, sent.packets);
            counters.add(Counter::BytesOut, sent.bytes);
            self.shared.reader.wake();
        }
        if dropped && self.shared.is_sender_dropped() {
            return Err(device_gone());
        }
        Ok(())
    }

    fn park(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        if !self.shared.is_turn_due() {
            self.shared.wake.park(timeout);
        }
        Ok(())
    }

    fn poll_park(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let unparked = self.shared.wake.poll(cx);
        if unparked.is_pending() && !self.shared.is_turn_due() {
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    fn unparker(&self) -> Arc<dyn Unpark> {
        Arc::clone(&self.shared) as Arc<dyn Unpark>
    }
}

fn device_gone() -> io::Error {
    io::Error::new(
        io::ErrorKind::BrokenPipe,
        "packet channel: the program dropped its end of the channel",
    )
}
