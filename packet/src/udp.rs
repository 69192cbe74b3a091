//! UDP datagrams (RFC 768, RFC 1122 section 4.1, RFC 8200 section 8.1).
//!
//! * **Define.** A [`UdpView`] is a datagram whose length field fits what was received and whose
//!   checksum was verified, vouched for by the device, or (IPv4 only) left out by the sender.
//! * **Enforce.** [`UdpView::parse`] is the only constructor.
//! * **Consume.** Sockets are given the payload of a `UdpView` only.
//!
//! The zero checksum that RFC 6935 and RFC 6936 allow tunnels over IPv6 stays closed.
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

use core::net::IpAddr;

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::IpProto;
use crate::checksum::{self, RxChecksum};

/// Length of the header, in octets.
pub const LEN: usize = 8;

/// The 8 octets of a UDP header as they are on the wire (RFC 768).
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
    /// Source port, zero if none.
    pub src_port: U16,
    /// Destination port.
    pub dst_port: U16,
    /// Length of header and payload, in octets.
    pub len: U16,
    /// Checksum; zero is none.
    pub checksum: U16,
}

/// A UDP header's fields, in host order.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct UdpHeader {
    /// Source port, zero if the sender wants no answer.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Length of header and payload, in octets: at least 8. Builders set it from the payload.
    pub len: u16,
}

impl UdpHeader {
    /// Writes the 8 octets, with a checksum field of zero, to the front of `out`; answers how many
    /// octets were written: 0 if `out` is too short.
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

/// Why a datagram is discarded.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum UdpParseError {
    /// Shorter than the header of 8 octets.
    #[error("shorter than the header")]
    TooShort,
    /// The length field is below 8, or beyond the end of what was received.
    #[error("bad length")]
    Length,
    /// The checksum is wrong.
    #[error("bad checksum")]
    Checksum,
    /// No checksum over IPv6 (RFC 8200 section 8.1).
    #[error("no checksum over IPv6")]
    MissingChecksum,
}

/// A datagram whose length and checksum are right.
#[derive(Clone, Copy, Debug)]
pub struct UdpView<'a> {
    wire: &'a WireHeader,
    payload: &'a [u8],
}

impl<'a> UdpView<'a> {
    /// Reads `bytes`, an IP payload; what lies beyond the UDP length is left out.
    ///
    /// # Errors
    /// What is wrong with it.
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
            // A device that leaves the checksum to us still sets a partial sum, which is not zero.
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

    /// The header's fields.
    #[inline]
    pub fn header(&self) -> UdpHeader {
        UdpHeader {
            src_port: self.src_port(),
            dst_port: self.dst_port(),
            len: self.wire.len.get(),
        }
    }

    /// Source port; zero if the sender wants no answer.
    #[inline]
    pub fn src_port(&self) -> u16 {
        self.wire.src_port.get()
    }

    /// Destination port.
    #[inline]
    pub fn dst_port(&self) -> u16 {
        self.wire.dst_port.get()
    }

    /// Whether the sender left the checksum out (IPv4 only).
    #[inline]
    pub fn is_unchecked(&self) -> bool {
        self.wire.checksum.get() == 0
    }

    /// What follows the header, as far as the UDP length says.
    #[inline]
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }
}
