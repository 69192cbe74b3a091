//! Memory for headers, filled from its end.

use super::Head;

mod private {
    pub trait Sealed {}
}

/// Memory for headers that is filled from its end: [`Head`], an inline buffer, or [`SliceHead`], a slice
/// in front of a payload.
///
/// The trait is sealed, because the builders rely on what these two implementations guarantee.
pub trait Headroom: private::Sealed {
    /// Adds `len` zero bytes in front of the headers and returns them to be written. Returns `None` and
    /// changes nothing if there is no room.
    fn prepend(&mut self, len: usize) -> Option<&mut [u8]>;

    /// Returns the headers so far.
    fn as_slice(&self) -> &[u8];

    /// Returns the headers so far, for changes in place.
    fn as_mut_slice(&mut self) -> &mut [u8];

    /// Returns the length of the headers so far, in bytes.
    fn len(&self) -> usize;

    /// Returns `true` if there are no headers yet.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the room that is left, in bytes.
    fn room(&self) -> usize;
}

impl private::Sealed for Head {}

impl Headroom for Head {
    #[inline]
    fn prepend(&mut self, len: usize) -> Option<&mut [u8]> {
        Head::prepend(self, len)
    }

    #[inline]
    fn as_slice(&self) -> &[u8] {
        Head::as_slice(self)
    }

    #[inline]
    fn as_mut_slice(&mut self) -> &mut [u8] {
        Head::as_mut_slice(self)
    }

    #[inline]
    fn len(&self) -> usize {
        Head::len(self)
    }

    #[inline]
    fn room(&self) -> usize {
        Head::room(self)
    }
}

/// The headers of a packet at the end of a slice, directly in front of the payload.
///
/// ```
/// use packet::build::{self, Headroom, IpFields, SliceHead, TxChecksum};
/// use packet::ip::{AnyIpPacket, IpPacket, Ipv4};
/// use packet::udp::UdpHeader;
/// use packet::IpProto;
///
/// let mut buffer = [0xff; 100];
/// let (room, payload) = buffer.split_at_mut(95);
/// payload.copy_from_slice(b"hello");
///
/// let (src, dst) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
/// let header = UdpHeader { src_port: 7, dst_port: 9, len: 0 };
/// let mut head = SliceHead::new(room);
/// let pieces = [&payload[..]].into_iter();
/// build::prepend_udp(&mut head, &header, src, dst, pieces, 5, TxChecksum::Full).unwrap();
/// let fields = IpFields {
///     src,
///     dst,
///     proto: IpProto::UDP,
///     ttl: 64,
///     traffic_class: 0,
///     ident: 0,
///     dont_fragment: true,
///     flow_label: 0,
/// };
/// build::prepend_ip(&mut head, &fields, 5).unwrap();
/// let start = head.room();
///
/// let packet = IpPacket::<Ipv4>::parse(&buffer[start..]).unwrap();
/// assert_eq!((packet.total_len(), packet.proto()), (33, IpProto::UDP));
/// assert!(buffer[..start].iter().all(|byte| *byte == 0xff), "the rest is unchanged");
/// ```
#[derive(Debug)]
pub struct SliceHead<'a> {
    bytes: &'a mut [u8],
    start: usize,
}

impl<'a> SliceHead<'a> {
    /// Creates a head without headers. The first header will end at the end of `room`.
    #[inline]
    pub fn new(room: &'a mut [u8]) -> Self {
        Self {
            start: room.len(),
            bytes: room,
        }
    }
}

impl private::Sealed for SliceHead<'_> {}

impl Headroom for SliceHead<'_> {
    #[inline]
    fn prepend(&mut self, len: usize) -> Option<&mut [u8]> {
        let start = self.start.checked_sub(len)?;
        let out = self.bytes.get_mut(start..self.start)?;
        self.start = start;
        out.fill(0);
        Some(out)
    }

    #[inline]
    fn as_slice(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or(&[])
    }

    #[inline]
    fn as_mut_slice(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.start..).unwrap_or(&mut [])
    }

    #[inline]
    fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    #[inline]
    fn room(&self) -> usize {
        self.start
    }
}
