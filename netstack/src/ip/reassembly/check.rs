//! The checks of a fragment by itself: lengths, offset, and the headers of a first fragment.

use packet::IpProto;

use super::{FragmentIn, FragmentStatus};
use crate::base::DropReason;
use crate::ip::fragment::{FRAGMENT_HEADER, IPV4_HEADER, IPV6_HEADER};

/// Longest headers of a first fragment, in bytes. IPv4 headers have at most 60; a longer IPv6 chain in
/// front of the fragment header has no use.
pub(super) const MAX_HEADER: usize = 512;

/// Checks a fragment by itself.
pub(super) fn check(fragment: &FragmentIn<'_>) -> Result<(), FragmentStatus> {
    const INVALID: FragmentStatus = FragmentStatus::Drop(DropReason::FragmentInvalid);
    let ipv6 = fragment.src.is_ipv6();
    let len = match fragment.packet.get(fragment.payload.clone()) {
        Some(payload) => payload.len(),
        None => return Err(INVALID),
    };
    let header_len = fragment.payload.start;
    let least_header = if ipv6 {
        IPV6_HEADER + FRAGMENT_HEADER
    } else {
        IPV4_HEADER
    };
    if !fragment.offset.is_multiple_of(8)
        || header_len < least_header
        || fragment.packet.len() > 65_575
    {
        return Err(INVALID);
    }
    if fragment.more && len % 8 != 0 {
        // RFC 8200 section 4.5: the pointer is the Payload Length field.
        return Err(parameter_problem(ipv6, 4, 0));
    }
    if len == 0 {
        return Err(INVALID);
    }
    // IPv4's total length includes the header, IPv6's payload length the extension headers.
    let header_counted = if ipv6 {
        header_len - IPV6_HEADER - FRAGMENT_HEADER
    } else {
        header_len
    };
    if usize::from(fragment.offset) + len + header_counted > usize::from(u16::MAX) {
        // RFC 8200 section 4.5: the pointer is the Fragment Offset field.
        let offset_field = (header_len - FRAGMENT_HEADER + 2) as u32;
        return Err(parameter_problem(ipv6, offset_field, 0));
    }
    if fragment.offset == 0 {
        if header_len > MAX_HEADER {
            return Err(INVALID);
        }
        if len < least_upper_header(fragment.proto) {
            // IPv6: RFC 7112 section 5. IPv4: the tiny fragment attack (RFC 1858 section 3.1).
            return Err(parameter_problem(ipv6, 0, 3));
        }
    }
    Ok(())
}

/// Returns the Parameter Problem that RFC 8200 requires of IPv6, or a drop for IPv4, which has no such rule.
fn parameter_problem(ipv6: bool, pointer: u32, code: u8) -> FragmentStatus {
    if ipv6 {
        FragmentStatus::ParameterProblem { pointer, code }
    } else {
        FragmentStatus::Drop(DropReason::FragmentInvalid)
    }
}

/// Returns the least number of bytes of an upper-layer header in a first fragment. A first fragment without
/// all of TCP's fixed fields hides the flags from packet filters; the other headers are no longer than the
/// shortest fragment.
fn least_upper_header(proto: u8) -> usize {
    match IpProto(proto) {
        IpProto::TCP => 20,
        IpProto::UDP | IpProto::ICMP | IpProto::ICMPV6 => 8,
        _ => 1,
    }
}
