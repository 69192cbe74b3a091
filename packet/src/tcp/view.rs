//! Segments as they were received.

use core::net::IpAddr;

use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::MIN_HEADER_LEN;
use super::header::{TcpFlags, TcpHeader};
use super::options::TcpOptions;
use super::raw::TcpOptionIter;
use crate::IpProto;
use crate::checksum::{self, RxChecksum};

/// The fixed 20 octets of a TCP header (RFC 9293 section 3.1).
///
/// ```text
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +-------------------------------+-------------------------------+
/// |           src_port            |           dst_port            |
/// +-------------------------------+-------------------------------+
/// |                              seq                              |
/// +---------------------------------------------------------------+
/// |                              ack                              |
/// +-------+-------+---------------+-------------------------------+
/// | offset|   0   |     flags     |            window             |
/// +-------+-------+---------------+-------------------------------+
/// |           checksum            |            urgent             |
/// +-------------------------------+-------------------------------+
/// ```
#[derive(
    FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, PartialEq, Eq, Debug,
)]
#[repr(C)]
pub struct WireHeader {
    /// Source port.
    pub src_port: U16,
    /// Destination port.
    pub dst_port: U16,
    /// Sequence number.
    pub seq: U32,
    /// Acknowledgement number.
    pub ack: U32,
    /// Header length in units of 4 octets (high 4 bits), reserved bits.
    pub data_offset: u8,
    /// Control bits.
    pub flags: u8,
    /// Window.
    pub window: U16,
    /// Checksum.
    pub checksum: U16,
    /// Urgent pointer.
    pub urgent: U16,
}

/// Why a segment is discarded.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum TcpParseError {
    /// Shorter than the fixed header of 20 octets.
    #[error("shorter than the fixed header")]
    TooShort,
    /// The data offset is below 20 octets, or beyond the end of the segment.
    #[error("bad data offset")]
    DataOffset,
    /// Options whose lengths do not fit (RFC 9293 section 3.1, MUST-7).
    #[error("malformed options")]
    Options,
    /// The checksum is wrong.
    #[error("bad checksum")]
    Checksum,
}

/// A segment of which only the structure was checked, not the checksum: it has ports and numbers, but
/// no payload.
#[derive(Clone, Copy, Debug)]
pub struct TcpUnverified<'a> {
    wire: &'a WireHeader,
    bytes: &'a [u8],
    options: &'a [u8],
    payload: &'a [u8],
}

impl<'a> TcpUnverified<'a> {
    /// Checks the data offset of `bytes`, which begin with the header and end with the segment.
    ///
    /// # Errors
    /// [`TcpParseError::TooShort`] and [`TcpParseError::DataOffset`].
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, TcpParseError> {
        let Ok((wire, behind)) = WireHeader::ref_from_prefix(bytes) else {
            return Err(TcpParseError::TooShort);
        };
        let header_len = usize::from(wire.data_offset >> 4) * 4;
        let (options, payload) = header_len
            .checked_sub(MIN_HEADER_LEN)
            .and_then(|options_len| behind.split_at_checked(options_len))
            .ok_or(TcpParseError::DataOffset)?;
        Ok(Self {
            wire,
            bytes,
            options,
            payload,
        })
    }

    /// The fixed header.
    #[inline]
    pub fn wire(&self) -> &'a WireHeader {
        self.wire
    }

    /// All options, the unknown included.
    pub fn options(&self) -> TcpOptionIter<'a> {
        TcpOptionIter::new(self.options)
    }

    /// Verifies the checksum, unless the device vouches for it, and reads the options.
    ///
    /// # Errors
    /// [`TcpParseError::Checksum`] and [`TcpParseError::Options`].
    #[inline]
    pub fn verify(
        self,
        src: IpAddr,
        dst: IpAddr,
        checksum: RxChecksum,
    ) -> Result<TcpView<'a>, TcpParseError> {
        if checksum == RxChecksum::Unknown
            && !checksum::verify_transport(src, dst, IpProto::TCP, self.bytes)
        {
            return Err(TcpParseError::Checksum);
        }
        let options = TcpOptions::parse(self.options).map_err(|_| TcpParseError::Options)?;
        Ok(TcpView {
            segment: self,
            options,
        })
    }
}

/// A segment whose header, options and checksum are right (or whose checksum the device vouches for).
#[derive(Clone, Copy, Debug)]
pub struct TcpView<'a> {
    segment: TcpUnverified<'a>,
    options: TcpOptions,
}

impl<'a> TcpView<'a> {
    /// Reads `bytes`, an IP payload from its first octet to its last.
    ///
    /// # Errors
    /// What is wrong; the checksum is judged before the options.
    #[inline]
    pub fn parse(
        src: IpAddr,
        dst: IpAddr,
        bytes: &'a [u8],
        checksum: RxChecksum,
    ) -> Result<Self, TcpParseError> {
        TcpUnverified::parse(bytes)?.verify(src, dst, checksum)
    }

    /// The header's fields.
    #[inline]
    pub fn header(&self) -> TcpHeader {
        let wire = self.segment.wire;
        TcpHeader {
            src_port: wire.src_port.get(),
            dst_port: wire.dst_port.get(),
            seq: wire.seq.get(),
            ack: wire.ack.get(),
            flags: TcpFlags::from_bits_retain(wire.flags),
            window: wire.window.get(),
            urgent: wire.urgent.get(),
            options: self.options,
        }
    }

    /// The fixed header, as it is on the wire.
    #[inline]
    pub fn wire(&self) -> &'a WireHeader {
        self.segment.wire
    }

    /// The options in use.
    #[inline]
    pub fn options(&self) -> TcpOptions {
        self.options
    }

    /// All options, the unknown included.
    pub fn all_options(&self) -> TcpOptionIter<'a> {
        self.segment.options()
    }

    /// Length of the header with options, in octets: 20 to 60.
    #[inline]
    pub fn header_len(&self) -> usize {
        MIN_HEADER_LEN + self.segment.options.len()
    }

    /// What follows the header.
    #[inline]
    pub fn payload(&self) -> &'a [u8] {
        self.segment.payload
    }
}
