//! Headers of IPv4 and IPv6, with their extensions.

use std::net::IpAddr;

use super::Fragment;
use crate::capture::link::{IPV4, be16, by_version};

pub(super) const IPV6_FRAGMENT: u8 = 44;
pub(super) const AUTHENTICATION: u8 = 51;
/// Extension headers of IPv6: hop-by-hop, routing, fragment, authentication, destination, mobility, HIP, shim.
const EXTENSIONS: [u8; 8] = [0, 43, IPV6_FRAGMENT, AUTHENTICATION, 60, 135, 139, 140];
/// Most extension headers of a packet.
const MAX_EXTENSIONS: usize = 16;

/// The fields of an IPv4 or IPv6 header with its extensions.
pub(super) struct IpHeader {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) ttl: u8,
    pub(super) traffic_class: u8,
    pub(super) fragment: Option<Fragment>,
    pub(super) protocol: u8,
    pub(super) total: usize,
    pub(super) payload_at: usize,
}

impl IpHeader {
    /// Parses the header of a packet with `wire` bytes on the wire, link padding included.
    pub(super) fn parse(bytes: &[u8], wire: u32) -> Option<Self> {
        // A device that cuts large segments itself may be given packets without a length.
        let or_wire = |total: usize, least: usize| {
            if total <= least {
                wire as usize
            } else {
                total.min(wire as usize)
            }
        };
        match by_version(bytes, 0)? {
            IPV4 => Self::parse_v4(bytes, or_wire),
            _ => Self::parse_v6(bytes, or_wire),
        }
    }

    fn parse_v4(bytes: &[u8], or_wire: impl Fn(usize, usize) -> usize) -> Option<Self> {
        let len = usize::from(bytes.first()? & 0xf) * 4;
        bytes.get(..len).filter(|header| header.len() >= 20)?;
        let word = be16(bytes, 6)?;
        let (offset, more) = (u32::from(word & 0x1fff) * 8, word & 0x2000 != 0);
        let mut header = Self {
            source: IpAddr::from(array::<4>(bytes, 12)?),
            destination: IpAddr::from(array::<4>(bytes, 16)?),
            ttl: *bytes.get(8)?,
            traffic_class: *bytes.get(1)?,
            fragment: (more || offset > 0).then_some(Fragment {
                offset,
                more,
                id: be16(bytes, 4)?.into(),
            }),
            protocol: *bytes.get(9)?,
            total: or_wire(be16(bytes, 2)?.into(), len - 1),
            payload_at: len,
        };
        if header.protocol == AUTHENTICATION && offset == 0 {
            header.skip_extension(bytes);
        }
        Some(header)
    }

    fn parse_v6(bytes: &[u8], or_wire: impl Fn(usize, usize) -> usize) -> Option<Self> {
        bytes.get(..40)?;
        let mut header = Self {
            source: IpAddr::from(array::<16>(bytes, 8)?),
            destination: IpAddr::from(array::<16>(bytes, 24)?),
            ttl: *bytes.get(7)?,
            traffic_class: (be16(bytes, 0)? >> 4) as u8,
            fragment: None,
            protocol: *bytes.get(6)?,
            total: or_wire(usize::from(be16(bytes, 4)?) + 40, 40),
            payload_at: 40,
        };
        for _ in 0..MAX_EXTENSIONS {
            let later = header.fragment.is_some_and(|fragment| fragment.offset > 0);
            if later || !EXTENSIONS.contains(&header.protocol) || !header.skip_extension(bytes) {
                break;
            }
        }
        Some(header)
    }

    /// Goes behind an extension header. Returns false if it was not captured whole.
    fn skip_extension(&mut self, bytes: &[u8]) -> bool {
        let at = self.payload_at;
        let (Some(next), Some(len)) = (bytes.get(at), bytes.get(at + 1)) else {
            return false;
        };
        let len = match self.protocol {
            IPV6_FRAGMENT => 8,
            AUTHENTICATION => (usize::from(*len) + 2) * 4,
            _ => (usize::from(*len) + 1) * 8,
        };
        if bytes.get(at..at + len).is_none() {
            return false;
        }
        if self.protocol == IPV6_FRAGMENT
            && let (Some(word), Some(id)) = (be16(bytes, at + 2), array::<4>(bytes, at + 4))
        {
            let (offset, more) = (u32::from(word & 0xfff8), word & 1 != 0);
            // An atomic fragment is whole (RFC 6946).
            self.fragment = (more || offset > 0).then_some(Fragment {
                offset,
                more,
                id: u32::from_be_bytes(id),
            });
        }
        self.protocol = *next;
        self.payload_at += len;
        true
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}
