//! The capabilities of a link, as its device reports them and the stack relies on them.

/// Work that a device does on packets that it sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct OffloadCaps {
    /// Finishes a partial transport checksum ([`packet::frame::ChecksumOffload`]).
    pub tx_checksum: bool,
    /// Takes TCP super-segments of up to 64 KiB ([`packet::frame::SegmentOffload`]) and may hand
    /// them over on receive. Needs `tx_checksum`.
    pub tso: bool,
    /// Takes segmented UDP datagrams (UDP GSO) and may hand them over on receive (UDP GRO): one UDP
    /// header and the payload of several datagrams, each [`packet::frame::RxPacket::gso_size`] bytes
    /// long but the last. Needs `tx_checksum`.
    pub uso: bool,
}

impl OffloadCaps {
    /// Returns the capabilities that can be used together: a device that cuts segments must finish
    /// their checksums, too.
    pub fn usable(self) -> Self {
        Self {
            tx_checksum: self.tx_checksum,
            tso: self.tso && self.tx_checksum,
            uso: self.uso && self.tx_checksum,
        }
    }
}

/// The capabilities of a link. The MTU may change while its device lives, and the longest packet that comes in with it;
/// the offloads stay the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LinkCaps {
    /// Largest packet that is sent in one piece, in bytes with its IP header.
    pub mtu: u16,
    /// Largest packet that is received, in bytes with its IP header: more than the MTU where the
    /// device coalesces segments.
    pub max_packet: usize,
    /// Work that the device does on packets that it sends.
    pub offload: OffloadCaps,
}

/// Room that a receive slab needs beyond the largest packet, in bytes: for the device's own header
/// in front of the packet, and for one byte that tells a truncated packet from one that just fits.
const DEVICE_ROOM_BYTES: usize = 64;

impl LinkCaps {
    /// Returns how long the large slabs of a pool must be to receive from this link, in bytes.
    pub fn slab_bytes(&self) -> usize {
        self.max_packet.max(usize::from(self.mtu)) + DEVICE_ROOM_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segmentation_needs_checksum_offload() {
        let all = OffloadCaps {
            tx_checksum: true,
            tso: true,
            uso: true,
        };
        assert_eq!(all.usable(), all);
        let none = OffloadCaps {
            tx_checksum: false,
            ..all
        };
        assert_eq!(none.usable(), OffloadCaps::default());
    }
}
