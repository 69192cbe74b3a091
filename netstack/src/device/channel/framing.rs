//! The header in front of the packets of a channel.

use super::super::virtio::{HEADER_BYTES, SUPER_PACKET_BYTES};

/// The form of the packets of a channel, in both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// Bare IP packets with complete checksums, none longer than the MTU.
    #[default]
    Bare,
    /// Packets behind a virtio-net header (`struct virtio_net_hdr`, ten bytes in native byte order), for carriers that
    /// take super-packets: an offloading TUN device of the program's own, or the network card of a virtual machine. A
    /// packet may stand for several of one flow, up to 64 KiB, and have an unfinished checksum; the header says so.
    ///
    /// The stack believes a header: a carrier must take it from a kernel or a hypervisor, not from a peer. A header that
    /// contradicts its packet costs the packet, under one counted reason.
    VirtioNet,
}

impl Framing {
    /// Returns the length of what stands in front of a packet, in bytes.
    pub const fn header_bytes(self) -> usize {
        match self {
            Self::Bare => 0,
            Self::VirtioNet => HEADER_BYTES,
        }
    }

    /// Returns the length of the longest packet where `mtu` is the largest MTU, in bytes with what stands in front of it.
    pub const fn packet_bytes_max(self, mtu: u16) -> usize {
        match self {
            Self::Bare => mtu as usize,
            Self::VirtioNet => HEADER_BYTES + SUPER_PACKET_BYTES,
        }
    }
}
