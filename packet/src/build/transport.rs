//! TCP and UDP headers.

use core::net::IpAddr;

use super::{BuildError, Headroom, TxChecksum};
use crate::checksum::{self, Checksum};
use crate::tcp::{MIN_HEADER_LEN, TcpHeader};
use crate::udp::{self, UdpHeader};
use crate::{IpProto, frame::ChecksumOffload};

/// Offset of the checksum field in a TCP header, in bytes.
const TCP_CHECKSUM_AT: usize = 16;
/// Offset of the checksum field in a UDP header, in bytes.
const UDP_CHECKSUM_AT: usize = 6;

/// Returns the length of a segment or datagram, or an error if it exceeds the longest IP payload.
#[inline]
fn transport_len(header_len: usize, behind: usize) -> Result<u16, BuildError> {
    u16::try_from(behind.saturating_add(header_len)).map_err(|_| BuildError::TooLong)
}

/// Returns the sum of the pseudo-header and, unless `mode` is [`TxChecksum::Partial`], of the bytes that
/// follow the transport header.
#[inline]
fn begin<'a>(
    pseudo: Checksum,
    behind_header: &[u8],
    payload: impl Iterator<Item = &'a [u8]>,
    payload_len: usize,
    mode: TxChecksum,
) -> Checksum {
    let mut sum = pseudo;
    match mode {
        TxChecksum::Partial => {}
        TxChecksum::Payload(payload) => {
            sum.add_bytes(behind_header);
            sum.append(payload);
        }
        TxChecksum::Full => {
            sum.add_bytes(behind_header);
            let mut summed = 0;
            for piece in payload {
                sum.add_bytes(piece);
                summed += piece.len();
            }
            debug_assert_eq!(
                summed, payload_len,
                "payload_len is the length of the payload"
            );
        }
    }
    sum
}

/// Puts a TCP header in front of `head`. The pieces of `payload`, `payload_len` bytes together, will
/// follow the head; only [`TxChecksum::Full`] reads them.
///
/// # Errors
/// Returns [`BuildError::NoRoom`], [`BuildError::TooLong`] or [`BuildError::MixedVersions`].
#[inline]
pub fn prepend_tcp<'a>(
    head: &mut impl Headroom,
    header: &TcpHeader,
    src: IpAddr,
    dst: IpAddr,
    payload: impl Iterator<Item = &'a [u8]>,
    payload_len: usize,
    mode: TxChecksum,
) -> Result<(), BuildError> {
    if src.is_ipv4() != dst.is_ipv4() {
        return Err(BuildError::MixedVersions);
    }
    let header_len = header.len();
    let len = transport_len(header_len + head.len(), payload_len)?;
    let pseudo = checksum::pseudo_header(src, dst, IpProto::TCP, u32::from(len));
    let mut sum = begin(pseudo, head.as_slice(), payload, payload_len, mode);
    let out = head.prepend(header_len).ok_or(BuildError::NoRoom)?;
    header.write(out);
    let field = match mode {
        TxChecksum::Partial => sum.partial(),
        TxChecksum::Full | TxChecksum::Payload(_) => {
            // The header has its own sum because the payload may have left the other one at an odd
            // offset. The fixed part is added as numbers: reading back words that were just written
            // in smaller pieces is slow.
            let mut head_sum = Checksum::new();
            head_sum.add_u16(header.src_port);
            head_sum.add_u16(header.dst_port);
            head_sum.add_u32(header.seq);
            head_sum.add_u32(header.ack);
            let (high, low) = header.flags.to_wire();
            head_sum.add_u16(u16::from_be_bytes([
                (header_len as u8 / 4) << 4 | high,
                low,
            ]));
            head_sum.add_u16(header.window);
            head_sum.add_u16(header.urgent);
            head_sum.add_bytes(out.get(MIN_HEADER_LEN..).unwrap_or(&[]));
            sum.add(head_sum);
            sum.finish()
        }
    };
    put(out, TCP_CHECKSUM_AT, field);
    Ok(())
}

/// Puts a UDP header in front of `head`. The pieces of `payload`, `payload_len` bytes together, will
/// follow the head; only [`TxChecksum::Full`] reads them.
///
/// The length field is computed and `header.len` ignored. A checksum of zero is sent as all ones
/// (RFC 768).
///
/// # Errors
/// Returns [`BuildError::NoRoom`], [`BuildError::TooLong`] or [`BuildError::MixedVersions`].
#[inline]
pub fn prepend_udp<'a>(
    head: &mut impl Headroom,
    header: &UdpHeader,
    src: IpAddr,
    dst: IpAddr,
    payload: impl Iterator<Item = &'a [u8]>,
    payload_len: usize,
    mode: TxChecksum,
) -> Result<(), BuildError> {
    if src.is_ipv4() != dst.is_ipv4() {
        return Err(BuildError::MixedVersions);
    }
    let len = transport_len(udp::LEN + head.len(), payload_len)?;
    let pseudo = checksum::pseudo_header(src, dst, IpProto::UDP, u32::from(len));
    let mut sum = begin(pseudo, head.as_slice(), payload, payload_len, mode);
    let out = head.prepend(udp::LEN).ok_or(BuildError::NoRoom)?;
    UdpHeader { len, ..*header }.write(out);
    let field = match mode {
        TxChecksum::Partial => sum.partial(),
        TxChecksum::Full | TxChecksum::Payload(_) => {
            for number in [header.src_port, header.dst_port, len] {
                sum.add_u16(number);
            }
            match sum.finish() {
                0 => 0xffff,
                other => other,
            }
        }
    };
    put(out, UDP_CHECKSUM_AT, field);
    Ok(())
}

#[inline]
fn put(header: &mut [u8], at: usize, checksum: u16) {
    if let Some(field) = header.get_mut(at..at + 2) {
        field.copy_from_slice(&checksum.to_be_bytes());
    }
}

impl ChecksumOffload {
    /// Returns the offload of a TCP segment after `ip_header_len` bytes of IP headers.
    pub const fn tcp(ip_header_len: u16) -> Self {
        Self {
            start: ip_header_len,
            offset: TCP_CHECKSUM_AT as u16,
        }
    }

    /// Returns the offload of a UDP datagram after `ip_header_len` bytes of IP headers.
    pub const fn udp(ip_header_len: u16) -> Self {
        Self {
            start: ip_header_len,
            offset: UDP_CHECKSUM_AT as u16,
        }
    }
}
