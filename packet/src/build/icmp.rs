//! ICMP headers, and whole packets that answer a received one.

use core::net::IpAddr;

use super::{BuildError, Head, Headroom, IpFields, prepend_ip};
use crate::buf::Payload;
use crate::checksum::{self, Checksum};
use crate::frame::{Chunks, TxOffload, TxPacket};
use crate::icmp::{self, IcmpMessage, Icmpv4, Icmpv6, quote_len};
use crate::ip::{IpVersion, Outline};

/// Offset of the checksum field in an ICMP header, in bytes.
const CHECKSUM_AT: usize = 2;

/// Puts an ICMP header in front of `head`. The pieces of `payload`, `payload_len` bytes together, will
/// follow the head. The checksum is always computed in full.
///
/// # Errors
/// Returns [`BuildError::NoRoom`], [`BuildError::TooLong`] or [`BuildError::MixedVersions`] (addresses
/// and message).
pub fn prepend_icmp<'a>(
    head: &mut impl Headroom,
    message: impl Into<IcmpMessage>,
    src: IpAddr,
    dst: IpAddr,
    payload: impl Iterator<Item = &'a [u8]>,
    payload_len: usize,
) -> Result<(), BuildError> {
    let message = message.into();
    let version = message.version();
    if IpVersion::of_addr(src) != version || IpVersion::of_addr(dst) != version {
        return Err(BuildError::MixedVersions);
    }
    let len = payload_len.saturating_add(icmp::HEADER_LEN + head.len());
    let len = u16::try_from(len).map_err(|_| BuildError::TooLong)?;
    let mut sum = match version {
        IpVersion::V4 => Checksum::new(),
        IpVersion::V6 => checksum::pseudo_header(src, dst, message.proto(), u32::from(len)),
    };
    sum.add_bytes(head.as_slice());
    let mut summed = 0;
    for piece in payload {
        sum.add_bytes(piece);
        summed += piece.len();
    }
    debug_assert_eq!(
        summed, payload_len,
        "payload_len is the length of the payload"
    );
    let header = message.to_bytes();
    let mut head_sum = Checksum::new();
    head_sum.add_bytes(&header);
    sum.add(head_sum);
    let out = head.prepend(icmp::HEADER_LEN).ok_or(BuildError::NoRoom)?;
    out.copy_from_slice(&header);
    if let Some(field) = out.get_mut(CHECKSUM_AT..CHECKSUM_AT + 2) {
        field.copy_from_slice(&sum.finish().to_be_bytes());
    }
    Ok(())
}

fn packet(
    fields: &IpFields,
    message: IcmpMessage,
    payload: Payload,
) -> Result<TxPacket, BuildError> {
    let mut head = Head::new();
    let fields = IpFields {
        proto: message.proto(),
        ..*fields
    };
    let pieces = [&payload[..]].into_iter();
    let len = payload.len();
    prepend_icmp(&mut head, message, fields.src, fields.dst, pieces, len)?;
    prepend_ip(&mut head, &fields, len)?;
    Ok(TxPacket {
        head,
        payload: Chunks::from(payload),
        offload: TxOffload::default(),
    })
}

/// Builds the packet that answers an echo request. `data` is the request's echo data, which the answer
/// shares instead of copying it. Source and destination in `fields` are those of the answer;
/// `fields.proto` is ignored.
///
/// # Errors
/// Returns the errors of [`prepend_icmp`] and [`prepend_ip`].
pub fn echo_reply(
    fields: &IpFields,
    ident: u16,
    seq: u16,
    data: Payload,
) -> Result<TxPacket, BuildError> {
    let message = match fields.src {
        IpAddr::V4(_) => IcmpMessage::V4(Icmpv4::EchoReply { ident, seq }),
        IpAddr::V6(_) => IcmpMessage::V6(Icmpv6::EchoReply { ident, seq }),
    };
    packet(fields, message, data)
}

/// Builds the packet that reports the error `message` about `original`, which begins with its IP header.
///
/// The packet quotes as much of the original as fits into 576 bytes (IPv4, RFC 1812 section 4.3.2.3) or
/// 1280 bytes (IPv6, RFC 4443 section 2.4 c), without its padding, and shares the quoted bytes
/// instead of copying them. `fields.proto` is ignored.
///
/// The caller decides whether to send an error at all, and how often.
///
/// # Errors
/// Returns the errors of [`prepend_icmp`] and [`prepend_ip`].
pub fn icmp_error(
    fields: &IpFields,
    message: impl Into<IcmpMessage>,
    original: &Payload,
) -> Result<TxPacket, BuildError> {
    let message = message.into();
    let version = message.version();
    let len = match Outline::read(original) {
        // A length shorter than the header does not tell where padding starts.
        Some(outline) if outline.total_len >= version.fixed_header_len() => {
            outline.total_len.min(original.len())
        }
        _ => original.len(),
    };
    let quoted = quote_len(version, len);
    packet(fields, message, original.slice(0..quoted))
}
