//! What goes into a reassembly and what comes out of it.

use core::net::IpAddr;
use core::ops::Range;

use packet::Payload;

use crate::base::DropReason;

/// One fragment as received. Its packet was header-checked; both families.
#[derive(Clone, Debug)]
pub struct FragmentIn<'a> {
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// Upper-layer protocol: the IPv4 header's, or what the IPv6 fragment header says. It is part
    /// of what identifies an IPv4 datagram (RFC 791), not of an IPv6 one (RFC 8200), for which only
    /// that of the first fragment counts.
    pub proto: u8,
    /// Identification: 16 bits of IPv4, 32 of IPv6.
    pub id: u32,
    /// Where this fragment's bytes belong in the datagram, in bytes.
    pub offset: u16,
    /// Whether more fragments follow.
    pub more: bool,
    /// The whole packet as received, trailing padding cut off.
    pub packet: &'a [u8],
    /// Where in `packet` the fragment's bytes are. For IPv6 the fragment header is the 8 bytes
    /// before it.
    pub payload: Range<usize>,
}

/// What became of one fragment.
#[derive(Clone, Debug)]
pub enum FragmentStatus {
    /// Kept; others are missing.
    Pending,
    /// It was the last one missing: the whole packet, with the first fragment's headers set right
    /// (length, no fragment fields or header, IPv4 checksum) and its ECN field combined from all
    /// (RFC 3168 section 5.3). It is to be parsed like a received one.
    Complete(Payload),
    /// Discarded.
    Drop(DropReason),
    /// Discarded, and an ICMP Parameter Problem that points at this octet of the packet should be
    /// sent, if the general rules allow one (RFC 8200 section 4.5).
    ParameterProblem {
        /// Octet of the fragment's packet.
        pointer: u32,
        /// ICMPv6 code: 0 erroneous field, 3 incomplete header chain (RFC 7112).
        code: u8,
    },
}

/// What [`Reassembly::on_fragment`] answers.
#[derive(Clone, Debug)]
pub struct FragmentOutcome {
    /// This fragment's fate.
    pub status: FragmentStatus,
    /// Earlier fragments that were discarded because of it.
    pub discarded: Option<Discarded>,
}

/// Packets kept until now and discarded without becoming a datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Discarded {
    /// Why; count it once for each.
    pub reason: DropReason,
    /// How many fragments.
    pub fragments: u32,
}

/// A datagram whose time was up.
#[derive(Clone, Debug)]
pub struct TimedOut {
    /// How many fragments are discarded, each under [`DropReason::FragmentTimeout`].
    pub fragments: u32,
    /// The first fragment as received, if it came: what a Time Exceeded message (code 1) quotes
    /// (RFC 1122 section 3.3.2). Without it no message is sent.
    pub first: Option<Payload>,
}
