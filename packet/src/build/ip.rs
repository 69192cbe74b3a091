//! IP headers.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use zerocopy::{FromBytes, IntoBytes};

use super::{BuildError, Headroom};
use crate::ip::{FragmentInfo, Ip, Ipv4, Ipv4Header, Ipv6, Ipv6FragmentHeader, Ipv6Header};
use crate::{IpProto, checksum};

/// The fields of an IP header of either version.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct IpFields {
    /// Source address.
    pub src: IpAddr,
    /// Destination address, of the same version.
    pub dst: IpAddr,
    /// Protocol of the payload.
    pub proto: IpProto,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// DSCP in the high 6 bits, ECN in the low 2.
    pub traffic_class: u8,
    /// IPv4 identification. Ignored in IPv6.
    pub ident: u16,
    /// `true` if routers must not fragment the packet. Ignored in IPv6, whose routers never do, and for
    /// fragments.
    pub dont_fragment: bool,
    /// IPv6 flow label (RFC 6437) in the low 20 bits; 0 for none. Ignored in IPv4.
    pub flow_label: u32,
}

/// Puts an IP header in front of `head`. `payload_len` bytes will follow the head.
///
/// # Errors
/// Returns [`BuildError::NoRoom`], [`BuildError::TooLong`] (IPv4 total length or IPv6 payload length
/// beyond 65,535 bytes) or [`BuildError::MixedVersions`].
#[inline]
pub fn prepend_ip(
    head: &mut impl Headroom,
    fields: &IpFields,
    payload_len: usize,
) -> Result<(), BuildError> {
    match (fields.src, fields.dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let flags = if fields.dont_fragment {
                Ipv4Header::DONT_FRAGMENT
            } else {
                0
            };
            prepend_v4(head, fields, src, dst, flags, payload_len)
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            prepend_v6(head, fields, src, dst, fields.proto, payload_len)
        }
        _ => Err(BuildError::MixedVersions),
    }
}

/// Puts the IP header of a fragment in front of `head`, and in IPv6 a fragment header after it.
///
/// `fields.proto` is the protocol of the whole packet's payload. `fields.ident` and
/// `fields.dont_fragment` are ignored. Otherwise this works as [`prepend_ip`] does.
///
/// # Errors
/// Returns the errors of [`prepend_ip`], and [`BuildError::Fragment`].
pub fn prepend_ip_fragment(
    head: &mut impl Headroom,
    fields: &IpFields,
    fragment: FragmentInfo,
    payload_len: usize,
) -> Result<(), BuildError> {
    let len = head.len().saturating_add(payload_len);
    let ends_well = !fragment.more || (len > 0 && len.is_multiple_of(8));
    if !fragment.offset_bytes.is_multiple_of(8) || !ends_well {
        return Err(BuildError::Fragment);
    }
    // The reassembled packet must fit its length field, which counts the fixed header in IPv4 only.
    let header_len = match fields.src {
        IpAddr::V4(_) => Ipv4::FIXED_HEADER_LEN,
        IpAddr::V6(_) => 0,
    };
    if len > usize::from(u16::MAX - fragment.offset_bytes).saturating_sub(header_len) {
        return Err(BuildError::TooLong);
    }
    match (fields.src, fields.dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let ident = u16::try_from(fragment.id).map_err(|_| BuildError::Fragment)?;
            let more = if fragment.more {
                Ipv4Header::MORE_FRAGMENTS
            } else {
                0
            };
            let flags = more | (fragment.offset_bytes >> 3);
            let fields = IpFields { ident, ..*fields };
            prepend_v4(head, &fields, src, dst, flags, payload_len)
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            if head.room() < FRAGMENT_LEN + Ipv6::FIXED_HEADER_LEN {
                return Err(BuildError::NoRoom);
            }
            if len + FRAGMENT_LEN > usize::from(u16::MAX) {
                return Err(BuildError::TooLong);
            }
            prepend_fragment_header(head, fields.proto, fragment)?;
            prepend_v6(head, fields, src, dst, IpProto::FRAGMENT, payload_len)
        }
        _ => Err(BuildError::MixedVersions),
    }
}

/// Length of an IPv6 fragment header, in bytes.
const FRAGMENT_LEN: usize = size_of::<Ipv6FragmentHeader>();

/// Puts an IPv6 fragment header in front of `head`, which begins with a header of protocol `next`. An
/// atomic fragment (RFC 6946) has offset zero and no more fragments.
///
/// The header that is put in front of this one must have the protocol [`IpProto::FRAGMENT`].
/// [`prepend_ip_fragment`] writes both headers.
///
/// # Errors
/// Returns [`BuildError::NoRoom`] or [`BuildError::Fragment`].
pub fn prepend_fragment_header(
    head: &mut impl Headroom,
    next: IpProto,
    fragment: FragmentInfo,
) -> Result<(), BuildError> {
    if !fragment.offset_bytes.is_multiple_of(8) {
        return Err(BuildError::Fragment);
    }
    let header = Ipv6FragmentHeader {
        next_header: next.0,
        reserved: 0,
        offset_more: (fragment.offset_bytes | u16::from(fragment.more)).into(),
        ident: fragment.id.into(),
    };
    head.prepend(FRAGMENT_LEN)
        .ok_or(BuildError::NoRoom)?
        .copy_from_slice(header.as_bytes());
    Ok(())
}

#[inline]
fn prepend_v4(
    head: &mut impl Headroom,
    fields: &IpFields,
    src: Ipv4Addr,
    dst: Ipv4Addr,
    flags_offset: u16,
    payload_len: usize,
) -> Result<(), BuildError> {
    let total_len = payload_len.saturating_add(head.len() + Ipv4::FIXED_HEADER_LEN);
    let total_len = u16::try_from(total_len).map_err(|_| BuildError::TooLong)?;
    let out = head
        .prepend(Ipv4::FIXED_HEADER_LEN)
        .ok_or(BuildError::NoRoom)?;
    let mut header = Ipv4Header {
        version_ihl: 0x45,
        traffic_class: fields.traffic_class,
        total_len: total_len.into(),
        ident: fields.ident.into(),
        flags_offset: flags_offset.into(),
        ttl: fields.ttl,
        proto: fields.proto.0,
        checksum: 0.into(),
        src: src.octets(),
        dst: dst.octets(),
    };
    header.checksum = checksum::of(header.as_bytes()).into();
    out.copy_from_slice(header.as_bytes());
    Ok(())
}

#[inline]
fn prepend_v6(
    head: &mut impl Headroom,
    fields: &IpFields,
    src: Ipv6Addr,
    dst: Ipv6Addr,
    next_header: IpProto,
    payload_len: usize,
) -> Result<(), BuildError> {
    let payload_len =
        u16::try_from(payload_len.saturating_add(head.len())).map_err(|_| BuildError::TooLong)?;
    let out = head
        .prepend(Ipv6::FIXED_HEADER_LEN)
        .ok_or(BuildError::NoRoom)?;
    let header = Ipv6Header {
        version_class_flow: (6 << 28
            | u32::from(fields.traffic_class) << 20
            | fields.flow_label & Ipv6Header::FLOW_LABEL_MASK)
            .into(),
        payload_len: payload_len.into(),
        next_header: next_header.0,
        hop_limit: fields.ttl,
        src: src.octets(),
        dst: dst.octets(),
    };
    out.copy_from_slice(header.as_bytes());
    Ok(())
}

/// Puts an IPv6 hop-by-hop or destination options header in front of `head`, which begins with a
/// header of protocol `next`. `options` are in wire format and are padded to a multiple of 8 bytes.
///
/// The header that is put in front of this one must have the protocol [`IpProto::HOP_BY_HOP`] or
/// [`IpProto::DEST_OPTS`].
///
/// # Errors
/// Returns [`BuildError::NoRoom`] or [`BuildError::Options`].
pub fn prepend_options_header(
    head: &mut impl Headroom,
    next: IpProto,
    options: &[u8],
) -> Result<(), BuildError> {
    let len = options
        .len()
        .saturating_add(2)
        .checked_next_multiple_of(8)
        .ok_or(BuildError::Options)?;
    let units = u8::try_from(len / 8 - 1).map_err(|_| BuildError::Options)?;
    if !crate::ip::are_ipv6_options(options, len - options.len() - 2) {
        return Err(BuildError::Options);
    }
    let header = head.prepend(len).ok_or(BuildError::NoRoom)?;
    if let [next_header, ext_len, behind @ ..] = header
        && let Some((out, padding)) = behind.split_at_mut_checked(options.len())
    {
        *next_header = next.0;
        *ext_len = units;
        out.copy_from_slice(options);
        // One byte of padding is a Pad1 option, a zero; more are a PadN option, type 1.
        if let [kind, padding_len, zeros @ ..] = padding {
            *kind = 1;
            *padding_len = zeros.len() as u8;
        }
    }
    Ok(())
}

/// Puts an IPv4 header with options in front of `head`, as [`prepend_ip`] does without options.
/// `options` are in wire format and are padded with zeros to a multiple of 4 bytes.
///
/// # Errors
/// Returns the errors of [`prepend_ip`], and [`BuildError::Options`] for options that are malformed or
/// longer than 40 bytes.
pub fn prepend_ipv4_with_options(
    head: &mut impl Headroom,
    fields: &IpFields,
    options: &[u8],
    payload_len: usize,
) -> Result<(), BuildError> {
    let padded = options.len().saturating_add(3) & !3;
    if padded > 40 || !crate::ip::are_ipv4_options(options) {
        return Err(BuildError::Options);
    }
    if !(fields.src.is_ipv4() && fields.dst.is_ipv4()) {
        return Err(BuildError::MixedVersions);
    }
    if head.room() < padded + Ipv4::FIXED_HEADER_LEN {
        return Err(BuildError::NoRoom);
    }
    let behind = payload_len.saturating_add(head.len() + padded + Ipv4::FIXED_HEADER_LEN);
    if behind > usize::from(u16::MAX) {
        return Err(BuildError::TooLong);
    }
    let out = head.prepend(padded).ok_or(BuildError::NoRoom)?;
    if let Some(out) = out.get_mut(..options.len()) {
        out.copy_from_slice(options);
    }
    prepend_ip(head, fields, payload_len)?;
    // Correct the header length, and the checksum, which covers the options too.
    let header_len = Ipv4::FIXED_HEADER_LEN + padded;
    let Some(bytes) = head.as_mut_slice().get_mut(..header_len) else {
        return Err(BuildError::NoRoom);
    };
    if let Ok((header, _)) = Ipv4Header::mut_from_prefix(bytes) {
        header.version_ihl = 0x40 | (header_len / 4) as u8;
        header.checksum = 0.into();
    }
    let sum = checksum::of(bytes);
    if let Ok((header, _)) = Ipv4Header::mut_from_prefix(bytes) {
        header.checksum = sum.into();
    }
    Ok(())
}
