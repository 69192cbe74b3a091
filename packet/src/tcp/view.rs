//! Views of received TCP segments.

use core::net::IpAddr;

use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::MIN_HEADER_LEN;
use super::header::{TcpFlags, TcpHeader};
use super::options::TcpOptions;
use super::raw::TcpOptionIter;
use crate::IpProto;
use crate::checksum::{self, RxChecksum};

/// The fixed 20 bytes of a TCP header (RFC 9293 section 3.1).
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
/// | offset|  0  |AE|    flags     |            window             |
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
    /// Header length in units of 4 bytes (high 4 bits), reserved bits, AE.
    pub data_offset: u8,
    /// Control bits but AE.
    pub flags: u8,
    /// Window.
    pub window: U16,
    /// Checksum.
    pub checksum: U16,
    /// Urgent pointer.
    pub urgent: U16,
}

impl WireHeader {
    /// Returns the control bits.
    #[inline]
    pub fn control(&self) -> TcpFlags {
        TcpFlags::from_bits_retain(u16::from_be_bytes([self.data_offset & 1, self.flags]))
    }
}

/// The reason to discard a segment.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum TcpParseError {
    /// The segment is shorter than the fixed header of 20 bytes.
    #[error("TCP segment is shorter than its fixed header of 20 bytes")]
    TooShort,
    /// The data offset is below 20 bytes, or beyond the end of the segment.
    #[error("TCP data offset is below 20 bytes or beyond the end of the segment")]
    DataOffset,
    /// The lengths of the options are wrong (RFC 9293 section 3.1, MUST-7).
    #[error("TCP options are malformed")]
    Options,
    /// The checksum is wrong.
    #[error("TCP checksum is wrong")]
    Checksum,
}

/// A segment whose data offset was checked, but not its checksum and options. It gives access to the
/// header, but not to the payload.
#[derive(Clone, Copy, Debug)]
pub struct TcpUnverified<'a> {
    wire: &'a WireHeader,
    bytes: &'a [u8],
    options: &'a [u8],
    payload: &'a [u8],
}

impl<'a> TcpUnverified<'a> {
    /// Parses `bytes`, a whole segment, and checks its data offset.
    ///
    /// # Errors
    /// Returns [`TcpParseError::TooShort`] or [`TcpParseError::DataOffset`].
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

    /// Returns the fixed header.
    #[inline]
    pub fn wire(&self) -> &'a WireHeader {
        self.wire
    }

    /// Iterates over all options, unknown ones included.
    pub fn options(&self) -> TcpOptionIter<'a> {
        TcpOptionIter::new(self.options)
    }

    /// Verifies the checksum, unless the device vouches for it, and parses the options.
    ///
    /// # Errors
    /// Returns [`TcpParseError::Checksum`] or [`TcpParseError::Options`].
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

/// A segment whose header, options and checksum are right. The device may have vouched for the checksum.
#[derive(Clone, Copy, Debug)]
pub struct TcpView<'a> {
    segment: TcpUnverified<'a>,
    options: TcpOptions,
}

impl<'a> TcpView<'a> {
    /// Parses `bytes`, a whole IP payload.
    ///
    /// # Errors
    /// Returns the first fault found: length, data offset, checksum, then options.
    #[inline]
    pub fn parse(
        src: IpAddr,
        dst: IpAddr,
        bytes: &'a [u8],
        checksum: RxChecksum,
    ) -> Result<Self, TcpParseError> {
        TcpUnverified::parse(bytes)?.verify(src, dst, checksum)
    }

    /// Returns the header's fields.
    #[inline]
    pub fn header(&self) -> TcpHeader {
        let wire = self.segment.wire;
        TcpHeader {
            src_port: wire.src_port.get(),
            dst_port: wire.dst_port.get(),
            seq: wire.seq.get(),
            ack: wire.ack.get(),
            flags: wire.control(),
            window: wire.window.get(),
            urgent: wire.urgent.get(),
            options: self.options,
        }
    }

    /// Returns the fixed header in wire format.
    #[inline]
    pub fn wire(&self) -> &'a WireHeader {
        self.segment.wire
    }

    /// Returns the options that connections use.
    #[inline]
    pub fn options(&self) -> TcpOptions {
        self.options
    }

    /// Iterates over all options, unknown ones included.
    pub fn all_options(&self) -> TcpOptionIter<'a> {
        self.segment.options()
    }

    /// Returns the length of the header with options, in bytes: 20 to 60.
    #[inline]
    pub fn header_len(&self) -> usize {
        MIN_HEADER_LEN + self.segment.options.len()
    }

    /// Returns the payload.
    #[inline]
    pub fn payload(&self) -> &'a [u8] {
        self.segment.payload
    }
}
