//! The input and the results of the reassembly.

use core::net::IpAddr;
use core::ops::Range;

use packet::Payload;
use packet::ip::IpVersion;

use crate::base::DropReason;

/// One received fragment whose headers were parsed, of either family.
#[derive(Clone, Debug)]
pub struct FragmentIn<'a> {
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// Upper-layer protocol, from the IPv4 header or the IPv6 fragment header. It is part of the identity of
    /// an IPv4 datagram (RFC 791) but not of an IPv6 datagram (RFC 8200), which has the protocol of its
    /// first fragment.
    pub proto: u8,
    /// Identification: 16 bits for IPv4, 32 for IPv6.
    pub id: u32,
    /// Fragment offset, in bytes.
    pub offset: u16,
    /// True if more fragments follow.
    pub more: bool,
    /// The whole packet as received, without trailing padding.
    pub packet: &'a [u8],
    /// Range of the fragment's payload in `packet`. For IPv6 the fragment header is the 8 bytes in front of
    /// it.
    pub payload: Range<usize>,
}

/// The outcome for one fragment.
#[derive(Clone, Debug)]
pub enum FragmentStatus {
    /// The fragment was kept; others are missing.
    Pending,
    /// The fragment completed this packet. It has the first fragment's headers, with a correct length and
    /// IPv4 checksum, no fragment fields or header, and the ECN codepoint of all fragments (RFC 3168
    /// section 5.3). The caller parses it like a received packet.
    Complete(Payload),
    /// The fragment was discarded.
    Drop(DropReason),
    /// The fragment was discarded. An ICMP Parameter Problem should be sent about it, if `icmp::error`
    /// permits one (RFC 8200 section 4.5).
    ParameterProblem {
        /// Offset of the octet in the fragment's packet that the message points to.
        pointer: u32,
        /// ICMPv6 code: 0 erroneous field, 3 incomplete header chain (RFC 7112).
        code: u8,
    },
}

/// The result of [`Reassembly::on_fragment`](super::Reassembly::on_fragment).
#[derive(Clone, Debug)]
pub struct FragmentOutcome {
    /// The outcome for this fragment.
    pub status: FragmentStatus,
    /// Earlier fragments that it discarded.
    pub discarded: Option<Discarded>,
}

impl FragmentOutcome {
    /// Creates an outcome that discarded `fragments` earlier fragments for `reason`.
    pub(super) fn new(status: FragmentStatus, reason: DropReason, fragments: u32) -> Self {
        Self {
            status,
            discarded: (fragments > 0).then_some(Discarded { reason, fragments }),
        }
    }
}

/// Fragments that were kept and then discarded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Discarded {
    /// The reason, to be counted once per fragment.
    pub reason: DropReason,
    /// Number of fragments.
    pub fragments: u32,
}

/// A datagram that expired.
#[derive(Clone, Debug)]
pub struct TimedOut {
    /// The version of the datagram.
    pub version: IpVersion,
    /// Number of fragments discarded, each under [`DropReason::FragmentTimeout`].
    pub fragments: u32,
    /// The first fragment as received, if it has arrived, for the quote of a Time Exceeded message (code 1;
    /// RFC 1122 section 3.3.2). Without it no message is sent.
    pub first: Option<Payload>,
}
