//! The properties of packets that their bytes do not tell: of one that was read, what the device said of it and where it
//! lies; of one that is sent, the work that is left to the device.

use bytes::Bytes;
use netstack::base::Instant;
use netstack::device::observe::SeenPacket;
use packet::frame::{ChecksumOffload, RxPacket, SegmentKind, SegmentOffload, TxOffload, TxPacket};
use packet::{Buffers, Payload, RxChecksum};

use super::decisions::Fields;

/// The memory that a received packet lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Memory {
    Large,
    Small,
    /// A slab of the reserve, which is lent for a turn.
    Reserve,
    /// Memory of its own length.
    Exact,
    /// Memory that is no slab.
    Own,
}

impl Memory {
    const ALL: [Self; 5] = [
        Self::Large,
        Self::Small,
        Self::Reserve,
        Self::Exact,
        Self::Own,
    ];

    fn of(payload: &Payload, buffers: &Buffers) -> Self {
        let pinned = payload.pinned_bytes();
        match () {
            () if !payload.is_pooled() => Self::Own,
            () if payload.is_lent() => Self::Reserve,
            () if pinned == buffers.large().slab_bytes() => Self::Large,
            () if pinned == buffers.small().slab_bytes() => Self::Small,
            () => Self::Exact,
        }
    }

    /// Returns the number of its pool among those whose slabs are counted.
    pub(crate) fn pool(self) -> Option<usize> {
        (self as usize <= Self::Reserve as usize).then_some(self as usize)
    }
}

/// A received packet, without its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) memory: Memory,
    is_vouched: bool,
    gso_size: u16,
    /// Where the packet begins in its memory, and the length of that.
    offset: u32,
    pinned: u32,
}

impl Received {
    pub(crate) fn of(packet: &RxPacket, buffers: &Buffers) -> Self {
        let short = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        Self {
            memory: Memory::of(&packet.data, buffers),
            is_vouched: packet.checksum == RxChecksum::Vouched,
            gso_size: packet.gso_size,
            offset: short(packet.data.offset()),
            pinned: short(packet.data.pinned_bytes()),
        }
    }

    pub(crate) fn encode(&self, to: &mut Vec<u8>) {
        to.extend([self.memory as u8, u8::from(self.is_vouched)]);
        to.extend(self.gso_size.to_le_bytes());
        to.extend(self.offset.to_le_bytes());
        to.extend(self.pinned.to_le_bytes());
    }

    pub(crate) fn decode(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self {
            memory: *Memory::ALL.get(usize::from(fields.u8()?))?,
            is_vouched: fields.u8()? != 0,
            gso_size: fields.u16()?,
            offset: fields.u32()?,
            pinned: fields.u32()?,
        })
    }

    #[cfg(test)]
    pub(super) fn example() -> Self {
        Self {
            memory: Memory::Small,
            is_vouched: true,
            gso_size: 1,
            offset: 2,
            pinned: 2_048,
        }
    }

    /// Makes the packet as the device made it. Returns `None` if there is no such memory.
    pub(crate) fn packet(&self, bytes: &[u8], at: Instant, buffers: &Buffers) -> Option<RxPacket> {
        let data = match self.memory {
            Memory::Own => Payload::from(Bytes::copy_from_slice(bytes)),
            Memory::Exact if self.pinned as usize <= buffers.large().slab_bytes() => {
                buffers.copy_exact(bytes)?
            }
            _ => self.slab(bytes, buffers)?,
        };
        Some(RxPacket {
            data,
            checksum: match self.is_vouched {
                true => RxChecksum::Vouched,
                false => RxChecksum::Unknown,
            },
            gso_size: self.gso_size,
            arrived_nanos: at.as_nanos(),
        })
    }

    fn slab(&self, bytes: &[u8], buffers: &Buffers) -> Option<Payload> {
        let mut slab = match self.memory {
            Memory::Large => buffers.take_large_to_receive(),
            Memory::Small => buffers
                .small()
                .take()
                .or_else(|| buffers.take_to_receive(bytes.len())),
            Memory::Reserve => buffers.reserve().take(),
            Memory::Exact | Memory::Own => buffers.take_to_receive(self.pinned as usize),
        }?;
        let start = self.offset as usize;
        let range = start..start.checked_add(bytes.len())?;
        slab.as_mut_slice()
            .get_mut(range.clone())?
            .copy_from_slice(bytes);
        Some(slab.freeze(range))
    }
}

/// Takes memory for one packet and gives it back. A device may do so when it finds nothing to read, or not: when it is done
/// after each read, nobody can tell.
pub(crate) fn touch(buffers: &Buffers, mtu: u16) {
    drop(buffers.take_to_receive(usize::from(mtu) + 1));
}

/// Returns the memory for packets that is used, and that is allocated, in bytes.
pub(crate) fn memory_of(buffers: &Buffers) -> [u64; 2] {
    let memory = buffers.memory_use();
    [memory.used as u64, memory.allocated as u64]
}

/// Returns the bytes of a packet that is sent, with a complete checksum.
pub(crate) fn bytes_of(packet: &TxPacket) -> Vec<u8> {
    SeenPacket::sent(Instant::ZERO, packet).map_or_else(
        // The device drops it.
        || packet.to_vec(),
        |packet| packet.copy(usize::MAX),
    )
}

/// Writes the work that is left to the device.
pub(crate) fn encode_offload(offload: &TxOffload, to: &mut Vec<u8>) {
    let (kind, segment) = match offload.segment {
        None => (0, None),
        Some(segment) => match segment.kind {
            SegmentKind::Tcp4 => (1, Some(segment)),
            SegmentKind::Tcp6 => (2, Some(segment)),
            SegmentKind::Udp => (3, Some(segment)),
        },
    };
    to.extend([u8::from(offload.checksum.is_some()), kind]);
    let checksum = offload.checksum.map_or([0; 2], |it| [it.start, it.offset]);
    let segment = segment.map_or([0; 2], |it| [it.size, it.header_len]);
    for field in checksum.into_iter().chain(segment) {
        to.extend(field.to_le_bytes());
    }
}

/// Reads the work that is left to the device.
pub(crate) fn decode_offload(fields: &mut Fields<'_>) -> Option<TxOffload> {
    let (has_checksum, kind) = (fields.u8()? != 0, fields.u8()?);
    let [start, offset, size, header_len] =
        [fields.u16()?, fields.u16()?, fields.u16()?, fields.u16()?];
    let segment = |kind| SegmentOffload {
        kind,
        size,
        header_len,
    };
    Some(TxOffload {
        checksum: has_checksum.then_some(ChecksumOffload { start, offset }),
        segment: match kind {
            0 => None,
            1 => Some(segment(SegmentKind::Tcp4)),
            2 => Some(segment(SegmentKind::Tcp6)),
            3 => Some(segment(SegmentKind::Udp)),
            _ => return None,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_received_packet_comes_back_in_memory_of_the_same_kind() {
        let buffers = Buffers::new(65_600, 4, 4).with_reserve(2);
        let mut large = buffers.large().take().expect("free");
        large.as_mut_slice()[12..17].copy_from_slice(b"large");
        let datas = [
            large.freeze(12..17),
            buffers.copy(b"small").expect("free"),
            buffers.reserve().take().expect("free").freeze(0..3),
            buffers.copy_exact(b"exact").expect("free"),
            Payload::from(Bytes::from_static(b"own")),
        ];
        for (data, memory) in datas.into_iter().zip(Memory::ALL) {
            let packet = RxPacket {
                data,
                checksum: RxChecksum::Vouched,
                gso_size: 9,
                arrived_nanos: 5,
            };
            let received = Received::of(&packet, &buffers);
            assert_eq!(received.memory, memory);
            let mut bytes = Vec::new();
            received.encode(&mut bytes);
            assert_eq!(Received::decode(&mut Fields(&bytes)), Some(received));
            let at = Instant::from_nanos(5);
            let again = received.packet(&packet.data, at, &buffers).expect("memory");
            assert_eq!(again.data[..], packet.data[..]);
            assert_eq!(Received::of(&again, &buffers), received);
            assert_eq!(again.arrived_nanos, 5);
        }
    }

    #[test]
    fn the_work_of_the_device_comes_back() {
        let checksum = ChecksumOffload {
            start: 20,
            offset: 16,
        };
        let segment = SegmentOffload {
            kind: SegmentKind::Tcp6,
            size: 1_440,
            header_len: 60,
        };
        for offload in [
            TxOffload::default(),
            TxOffload {
                checksum: Some(checksum),
                segment: None,
            },
            TxOffload {
                checksum: Some(checksum),
                segment: Some(segment),
            },
        ] {
            let mut bytes = Vec::new();
            encode_offload(&offload, &mut bytes);
            assert_eq!(decode_offload(&mut Fields(&bytes)), Some(offload));
        }
        let unknown = [0, 9, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(decode_offload(&mut Fields(&unknown)), None);
        assert_eq!(decode_offload(&mut Fields(&[])), None);
    }
}
