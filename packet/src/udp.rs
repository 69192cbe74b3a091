//! UDP datagrams (RFC 768, RFC 1122 section 4.1, RFC 8200 section 8.1).
//!
//! * **Define.** A [`UdpView`] is a datagram whose length field fits the bytes received and whose
//!   checksum was verified, vouched for by the device, or (IPv4 only) left out by the sender.
//! * **Enforce.** [`UdpView::parse`] is the only constructor.
//! * **Consume.** Sockets receive payload from a `UdpView` only.
//!
//! The zero checksum that RFC 6935 and RFC 6936 allow to tunnels over IPv6 is not accepted.
//!
//! ```
//! use packet::checksum::RxChecksum;
//! use packet::udp::UdpView;
//!
//! let (src, dst) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
//! let bytes = [0, 7, 0, 9, 0, 9, 0, 0, b'x'];
//! let view = UdpView::parse(src, dst, &bytes, RxChecksum::Unknown).unwrap();
//! assert_eq!((view.src_port(), view.dst_port(), view.payload()), (7, 9, &b"x"[..]));
//! ```

pub mod surplus;

use core::net::IpAddr;

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::IpProto;
use crate::checksum::{self, RxChecksum};

/// Length of the header, in bytes.
pub const LEN: usize = 8;

/// The 8 bytes of a UDP header as they are on the wire (RFC 768).
///
/// ```text
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +-------------------------------+-------------------------------+
/// |           src_port            |           dst_port            |
/// +-------------------------------+-------------------------------+
/// |              len              |           checksum            |
/// +-------------------------------+-------------------------------+
/// ```
#[derive(
    FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, PartialEq, Eq, Debug,
)]
#[repr(C)]
pub struct WireHeader {
    /// Source port; zero for none.
    pub src_port: U16,
    /// Destination port.
    pub dst_port: U16,
    /// Length of header and payload, in bytes.
    pub len: U16,
    /// Checksum; zero for none.
    pub checksum: U16,
}

/// A UDP header's fields, in host order.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct UdpHeader {
    /// Source port; zero if the sender wants no answer.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Length of header and payload, in bytes: at least 8. The builders ignore it and compute the length.
    pub len: u16,
}

impl UdpHeader {
    /// Writes the header with a zero checksum to the front of `out`. Returns the number of bytes
    /// written: 8, or 0 if `out` is too short.
    pub fn write(&self, out: &mut [u8]) -> usize {
        let wire = WireHeader {
            src_port: self.src_port.into(),
            dst_port: self.dst_port.into(),
            len: self.len.into(),
            checksum: 0.into(),
        };
        match out.get_mut(..LEN) {
            Some(out) => {
                out.copy_from_slice(wire.as_bytes());
                LEN
            }
            None => 0,
        }
    }
}

/// The reason to discard a datagram.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum UdpParseError {
    /// The datagram is shorter than the header of 8 bytes.
    #[error("UDP datagram is shorter than its header of 8 bytes")]
    TooShort,
    /// The length field is below 8, or exceeds the bytes received.
    #[error("UDP length field is below 8 or exceeds the IP payload")]
    Length,
    /// The checksum is wrong.
    #[error("UDP checksum is wrong")]
    Checksum,
    /// The checksum is missing, which is an error over IPv6 (RFC 8200 section 8.1).
    #[error("UDP checksum is missing, which IPv6 does not allow")]
    MissingChecksum,
}

/// A datagram whose length and checksum are right.
#[derive(Clone, Copy, Debug)]
pub struct UdpView<'a> {
    wire: &'a WireHeader,
    payload: &'a [u8],
}

impl<'a> UdpView<'a> {
    /// Parses `bytes`, an IP payload. Bytes beyond the UDP length are no part of the payload: see [`surplus`].
    ///
    /// # Errors
    /// Returns the first fault found: length, then checksum.
    #[inline]
    pub fn parse(
        src: IpAddr,
        dst: IpAddr,
        bytes: &'a [u8],
        checksum: RxChecksum,
    ) -> Result<Self, UdpParseError> {
        let Ok((wire, _)) = WireHeader::ref_from_prefix(bytes) else {
            return Err(UdpParseError::TooShort);
        };
        let len = wire.len.get();
        let datagram = bytes.get(..usize::from(len)).ok_or(UdpParseError::Length)?;
        let payload = datagram.get(LEN..).ok_or(UdpParseError::Length)?;
        if wire.checksum.get() == 0 {
            // A checksum that a device would have finished holds a partial sum, which is not zero.
            if src.is_ipv6() {
                return Err(UdpParseError::MissingChecksum);
            }
        } else if checksum == RxChecksum::Unknown
            && !checksum::verify_transport(src, dst, IpProto::UDP, datagram)
        {
            return Err(UdpParseError::Checksum);
        }
        Ok(Self { wire, payload })
    }

    /// Returns the header's fields.
    #[inline]
    pub fn header(&self) -> UdpHeader {
        UdpHeader {
            src_port: self.src_port(),
            dst_port: self.dst_port(),
            len: self.wire.len.get(),
        }
    }

    /// Returns the source port, which is zero if the sender wants no answer.
    #[inline]
    pub fn src_port(&self) -> u16 {
        self.wire.src_port.get()
    }

    /// Returns the destination port.
    #[inline]
    pub fn dst_port(&self) -> u16 {
        self.wire.dst_port.get()
    }

    /// Returns `true` if the sender left out the checksum (IPv4 only).
    #[inline]
    pub fn is_unchecked(&self) -> bool {
        self.wire.checksum.get() == 0
    }

    /// Returns the payload.
    #[inline]
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }
}
