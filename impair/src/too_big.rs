//! The fate of a packet that is longer than the MTU of the link: the answer of a router (RFC 1191, RFC 8201), or
//! fragments (RFC 791 section 3.2).
//!
//! The answer comes from the address that the packet was for: the link has none of its own, and a host that checks where
//! packets come from expects that one on this side.

use bytes::Bytes;
use packet::Payload;
use packet::build::{IpFields, icmp_error};
use packet::icmp::{IcmpMessage, Icmpv4, Icmpv4UnreachableCode, Icmpv6};
use packet::ip::Outline;

use crate::frame::Frame;
use crate::settings::TooBig;

const V4_LEN: usize = 20;
const DONT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET_BITS: u16 = 0x1fff;
const HOPS: u8 = 64;

/// The fate of a frame with a segment longer than the MTU.
pub(crate) enum Fate {
    /// It is dropped; the sender gets this answer, if any.
    Dropped(Option<Frame>),
    /// It goes on as these fragments.
    Fragments(Vec<Frame>),
}

/// Decides about a frame of which at least the first segment is longer than `mtu`.
pub(crate) fn judge(frame: &Frame, mtu: u16, policy: TooBig) -> Fate {
    if policy == TooBig::Silent {
        return Fate::Dropped(None);
    }
    let is_v4 = frame.bytes().first().is_some_and(|byte| byte >> 4 == 4);
    if is_v4 && flags(frame.bytes()).is_some_and(|flags| flags & DONT_FRAGMENT == 0) {
        let mut fragments = Vec::new();
        for index in 0..frame.segments() {
            let mut segment = frame.run(index..index + 1);
            segment.finish();
            if fragment(segment.bytes(), mtu.into(), &mut fragments).is_none() {
                return Fate::Dropped(None);
            }
        }
        return Fate::Fragments(fragments);
    }
    Fate::Dropped(answer(frame, mtu))
}

fn flags(bytes: &[u8]) -> Option<u16> {
    let field = bytes.get(6..8)?;
    Some(u16::from_be_bytes([field[0], field[1]]))
}

/// Returns the ICMP error about the first segment, if one may be sent.
fn answer(frame: &Frame, mtu: u16) -> Option<Frame> {
    let mut segment = frame.run(0..1);
    segment.finish();
    let original = segment.into_bytes();
    let outline = Outline::read(&original)?;
    let is_group = outline.dst.is_multicast()
        || matches!(outline.dst, std::net::IpAddr::V4(dst) if dst.is_broadcast());
    // A packet that is too big is answered in IPv6 even if it was for a group (RFC 4443 section 2.4 e.3), but from which
    // address is anybody's guess here.
    if is_group || !outline.may_be_answered() {
        return None;
    }
    let message = if outline.src.is_ipv4() {
        IcmpMessage::V4(Icmpv4::DestinationUnreachable {
            code: Icmpv4UnreachableCode::FragmentationNeeded,
            next_hop_mtu: mtu,
        })
    } else {
        IcmpMessage::V6(Icmpv6::PacketTooBig { mtu: mtu.into() })
    };
    let fields = IpFields {
        src: outline.dst,
        dst: outline.src,
        proto: message.proto(),
        ttl: HOPS,
        traffic_class: 0,
        ident: 0,
        dont_fragment: true,
        flow_label: 0,
    };
    let error = icmp_error(&fields, message, &Payload::from(Bytes::from(original))).ok()?;
    Some(Frame::bare(error.to_vec()))
}

/// Cuts an IPv4 packet, which may be a fragment itself, into fragments of at most `mtu` bytes. Returns `None` if that
/// cannot be done.
fn fragment(packet: &[u8], mtu: usize, out: &mut Vec<Frame>) -> Option<()> {
    if packet.len() <= mtu {
        out.push(Frame::bare(packet.to_vec()));
        return Some(());
    }
    let header_len = usize::from(packet.first()? & 0xf) * 4;
    let (header, payload) = packet.split_at_checked(header_len)?;
    let first_flags = flags(header)?;
    let piece = mtu.checked_sub(header_len)? / 8 * 8;
    if header_len < V4_LEN || piece == 0 {
        return None;
    }
    let mut at = 0;
    while at < payload.len() {
        let end = (at + piece).min(payload.len());
        let mut bytes = Vec::with_capacity(header_len + end - at);
        bytes.extend_from_slice(header);
        if at > 0 {
            keep_copied_options(&mut bytes);
        }
        bytes.extend_from_slice(payload.get(at..end)?);
        let more = if end < payload.len() {
            MORE_FRAGMENTS
        } else {
            first_flags & MORE_FRAGMENTS
        };
        let offset = (first_flags & OFFSET_BITS).checked_add(u16::try_from(at / 8).ok()?)?;
        let field = (first_flags & !(MORE_FRAGMENTS | OFFSET_BITS)) | more | (offset & OFFSET_BITS);
        let len = u16::try_from(bytes.len()).ok()?;
        bytes.get_mut(2..4)?.copy_from_slice(&len.to_be_bytes());
        bytes.get_mut(6..8)?.copy_from_slice(&field.to_be_bytes());
        bytes.get_mut(10..12)?.fill(0);
        let sum = packet::checksum::of(bytes.get(..header_len)?);
        bytes.get_mut(10..12)?.copy_from_slice(&sum.to_be_bytes());
        out.push(Frame::bare(bytes));
        at = end;
    }
    Some(())
}

/// Replaces the options that only the first fragment has (RFC 791 section 3.1) by padding.
fn keep_copied_options(header: &mut [u8]) {
    const COPIED: u8 = 0x80;
    const NO_OPERATION: u8 = 1;
    let mut at = V4_LEN;
    while let Some(&kind) = header.get(at) {
        let len = match kind {
            0 => return,
            NO_OPERATION => 1,
            _ => usize::from(header.get(at + 1).copied().unwrap_or_default()).max(2),
        };
        let end = (at + len).min(header.len());
        if let Some(option) = header.get_mut(at..end)
            && kind & COPIED == 0
        {
            option.fill(NO_OPERATION);
        }
        at = end;
    }
}
