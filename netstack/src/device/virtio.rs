//! The ten bytes in front of each packet of an offloading TUN device.
//!
//! * **Define.** A received header is sound when what it says about checksum and segmentation can be
//!   true of the packet behind it.
//! * **Enforce.** [`Header::judge`] is the only way from a received header to what the stack is told.
//! * **Consume.** The stack skips checksums that are vouched for, and cuts super-segments at
//!   `gso_size`, without looking again.
//!
//! The fields are in the machine's own byte order, as a TUN device has them unless told otherwise.

use packet::checksum::RxChecksum;
use packet::frame::{SegmentKind, TxOffload};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Length of the header, in bytes.
pub(super) const HEADER_BYTES: usize = size_of::<Header>();

/// The transport checksum holds the pseudo-header's sum only; the rest is to be added.
const FLAG_NEEDS_CSUM: u8 = 1;
/// The transport checksum was verified.
const FLAG_DATA_VALID: u8 = 2;

const GSO_NONE: u8 = 0;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_UDP_L4: u8 = 5;
/// Beside a TCP type: the first segment alone carries CWR (RFC 3168).
const GSO_ECN: u8 = 0x80;

const PROTO_TCP: u8 = 6;
const PROTO_UDP: u8 = 17;
/// Where the flags are in a TCP header, in bytes, and CWR among them.
const TCP_FLAGS_AT: usize = 13;
const TCP_CWR: u8 = 0x80;

/// As the kernel lays it out (`struct virtio_net_hdr`).
#[derive(
    Clone, Copy, Default, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub(super) struct Header {
    flags: u8,
    gso_type: u8,
    hdr_len: u16,
    gso_size: u16,
    csum_start: u16,
    csum_offset: u16,
}

impl Header {
    /// The header at the front of what was read, and the packet behind it; `None` when there is no
    /// room for a header and at least one byte.
    pub(super) fn split(read: &[u8]) -> Option<(Self, &[u8])> {
        let (header, packet) = Self::read_from_prefix(read).ok()?;
        (!packet.is_empty()).then_some((header, packet))
    }

    /// What to tell the stack: whether the checksum is vouched for, and the size of the segments in a
    /// super-segment (0: it is none). `None` when the header contradicts the packet.
    pub(super) fn judge(&self, packet: &[u8]) -> Option<(RxChecksum, u16)> {
        let partial = self.flags & FLAG_NEEDS_CSUM != 0;
        if partial {
            let end = usize::from(self.csum_start) + usize::from(self.csum_offset) + 2;
            if end > packet.len() {
                return None;
            }
        }
        let checksum = if partial || self.flags & FLAG_DATA_VALID != 0 {
            RxChecksum::Vouched
        } else {
            RxChecksum::Unknown
        };
        let gso_size = match self.gso_type & !GSO_ECN {
            GSO_NONE if self.gso_type == GSO_NONE => 0,
            // A super-segment's checksum cannot be but partial: there is none yet for each segment.
            kind if partial && self.gso_size > 0 && kind_fits(kind, packet) => self.gso_size,
            _ => return None,
        };
        Some((checksum, gso_size))
    }

    /// The header for a packet that begins with `head` and asks for `offload`.
    pub(super) fn for_sending(offload: &TxOffload, head: &[u8]) -> Self {
        let mut header = Self::default();
        if let Some(checksum) = &offload.checksum {
            header.flags = FLAG_NEEDS_CSUM;
            header.csum_start = checksum.start;
            header.csum_offset = checksum.offset;
        }
        if let Some(segment) = &offload.segment {
            header.gso_type = match segment.kind {
                SegmentKind::Tcp4 => GSO_TCPV4,
                SegmentKind::Tcp6 => GSO_TCPV6,
                SegmentKind::Udp => GSO_UDP_L4,
            };
            let flags_at = usize::from(header.csum_start) + TCP_FLAGS_AT;
            if segment.kind != SegmentKind::Udp
                && head.get(flags_at).is_some_and(|flags| flags & TCP_CWR != 0)
            {
                header.gso_type |= GSO_ECN;
            }
            header.gso_size = segment.size;
            // How much the kernel lays out in one piece: all the headers, not more.
            header.hdr_len = segment.header_len;
        }
        header
    }
}

/// Whether a super-segment of that kind can look like this packet.
fn kind_fits(kind: u8, packet: &[u8]) -> bool {
    let version = packet.first().map_or(0, |byte| byte >> 4);
    let v4_proto = packet.get(9).copied();
    match kind {
        GSO_TCPV4 => version == 4 && v4_proto == Some(PROTO_TCP),
        // IPv6 may have extension headers in front of TCP: the parser finds out.
        GSO_TCPV6 => version == 6,
        GSO_UDP_L4 => version == 6 || (version == 4 && v4_proto == Some(PROTO_UDP)),
        _ => false,
    }
}
