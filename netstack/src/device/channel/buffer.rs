//! Memory of the stack that the program fills with a packet.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::OnceLock;

use bytes::{Buf as _, Bytes, BytesMut};
use packet::buf::{Payload, SMALL_SLAB_BYTES};
use packet::{Buffers, SlabMut};

/// Memory for one packet to the stack. A carrier reads or decrypts a packet into it, so that the stack takes a long one as it
/// is: a packet that was handed over as [`Bytes`] is copied.
///
/// See [`PacketSender::packet_buffer`](super::PacketSender::packet_buffer). It counts against the memory of the stack for
/// as long as it lives. What it holds before a packet is written to it is arbitrary.
pub struct PacketBuffer {
    memory: Memory,
    len: usize,
}

enum Memory {
    Stack(SlabMut),
    /// There was none of the stack's.
    Program(BytesMut),
}

impl fmt::Debug for PacketBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PacketBuffer({} bytes)", self.len)
    }
}

impl Deref for PacketBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let all = match &self.memory {
            Memory::Stack(slab) => slab.as_slice(),
            Memory::Program(bytes) => bytes,
        };
        all.get(..self.len).unwrap_or(&[])
    }
}

impl DerefMut for PacketBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        let all = match &mut self.memory {
            Memory::Stack(slab) => slab.as_mut_slice(),
            Memory::Program(bytes) => bytes,
        };
        all.get_mut(..self.len).unwrap_or(&mut [])
    }
}

impl PacketBuffer {
    /// Creates one of `len` bytes.
    pub(super) fn new(lender: &Lender, len: usize) -> Self {
        let memory = match lender.lend(len) {
            Some(slab) => Memory::Stack(slab),
            None => Memory::Program(BytesMut::zeroed(len)),
        };
        Self { memory, len }
    }

    /// Sets the length to that of the packet. Does nothing if it is longer than that already.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }
}

/// The way to a stack's memory: none until the stack has turned for the first time.
#[derive(Default)]
pub(in crate::device) struct Lender(OnceLock<Buffers>);

impl Lender {
    /// Lends from `buffers`.
    #[cfg(test)]
    pub(in crate::device) fn of(buffers: &Buffers) -> Self {
        Self(OnceLock::from(buffers.clone()))
    }

    /// Lends from `buffers` from now on, unless it has lent from others.
    pub(super) fn open(&self, buffers: &Buffers) {
        if self.0.get().is_none() {
            let _ = self.0.set(buffers.clone());
        }
    }

    /// Returns a slab of at least `bytes`, if the stack has one for somebody who fills it in a time of his own.
    pub(super) fn lend(&self, bytes: usize) -> Option<SlabMut> {
        self.0.get()?.take_to_fill(bytes)
    }
}

/// A packet on its way to the stack. Many places wait for one, so it is short.
#[derive(Debug)]
pub(super) enum Inbound {
    Bytes(Bytes),
    /// The bytes of a slab between two places.
    Slab(SlabMut, u32, u32),
}

const _: () = assert!(size_of::<Inbound>() == size_of::<Bytes>());

impl Deref for Inbound {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Slab(slab, start, end) => {
                let bytes = slab.as_slice().get(*start as usize..*end as usize);
                bytes.unwrap_or(&[])
            }
        }
    }
}

impl From<Bytes> for Inbound {
    fn from(packet: Bytes) -> Self {
        Self::Bytes(packet)
    }
}

impl From<PacketBuffer> for Inbound {
    /// Takes a short packet out of long memory: a queue of them would hold far more than they are.
    fn from(packet: PacketBuffer) -> Self {
        let PacketBuffer { memory, len } = packet;
        match memory {
            Memory::Stack(slab) if len > SMALL_SLAB_BYTES || slab.len() <= SMALL_SLAB_BYTES => {
                // No slab is longer than `u32::MAX`.
                Self::Slab(slab, 0, len as u32)
            }
            Memory::Stack(slab) => {
                let bytes = slab.as_slice().get(..len).unwrap_or(&[]);
                Self::Bytes(Bytes::copy_from_slice(bytes))
            }
            Memory::Program(bytes) if len <= SMALL_SLAB_BYTES => {
                let bytes = bytes.get(..len).unwrap_or(&[]);
                Self::Bytes(Bytes::copy_from_slice(bytes))
            }
            Memory::Program(mut bytes) => {
                bytes.truncate(len);
                Self::Bytes(bytes.freeze())
            }
        }
    }
}

/// A form in which the program hands over a packet.
pub(super) trait Carried: Into<Inbound> + Deref<Target = [u8]> {
    /// Returns a packet without bytes, which takes no memory.
    fn empty() -> Self;

    /// Returns what was made of a packet of this form.
    fn back(packet: Inbound) -> Self;
}

impl Carried for Bytes {
    fn empty() -> Self {
        Self::new()
    }

    fn back(packet: Inbound) -> Self {
        match packet {
            Inbound::Bytes(bytes) => bytes,
            slab @ Inbound::Slab(..) => Self::copy_from_slice(&slab),
        }
    }
}

impl Carried for PacketBuffer {
    fn empty() -> Self {
        Self {
            memory: Memory::Program(BytesMut::new()),
            len: 0,
        }
    }

    fn back(packet: Inbound) -> Self {
        match packet {
            Inbound::Slab(slab, _, end) => Self {
                memory: Memory::Stack(slab),
                len: end as usize,
            },
            Inbound::Bytes(bytes) => Self {
                len: bytes.len(),
                memory: Memory::Program(bytes.into()),
            },
        }
    }
}

impl Inbound {
    /// Drops the first `count` bytes.
    pub(super) fn advance(&mut self, count: usize) {
        let count = count.min(self.len());
        match self {
            Self::Bytes(bytes) => bytes.advance(count),
            Self::Slab(_, start, _) => *start += count as u32,
        }
    }

    /// Converts the packet to memory of the stack: as it is, if it is in a slab of these buffers. Returns `None` if there is
    /// no memory for a copy.
    pub(super) fn keep(self, buffers: &Buffers) -> Option<Payload> {
        match self {
            Self::Slab(slab, start, end) if buffers.owns(&slab) => {
                Some(slab.freeze(start as usize..end as usize))
            }
            packet => {
                let long = (packet.len() > SMALL_SLAB_BYTES)
                    .then(|| buffers.gather(std::iter::once(&*packet)))
                    .flatten();
                long.or_else(|| buffers.copy_received(&packet))
            }
        }
    }
}
