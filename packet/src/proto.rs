//! IP protocol numbers.

use core::fmt;

/// An IP protocol number, or IPv6 next header value (IANA "Protocol Numbers").
///
/// ```
/// use packet::IpProto;
/// assert_eq!(IpProto(6), IpProto::TCP);
/// assert!(IpProto::ROUTING.is_extension_header());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct IpProto(pub u8);

impl IpProto {
    /// IPv6 hop-by-hop options (RFC 8200 section 4.3), allowed only directly after the fixed header.
    pub const HOP_BY_HOP: Self = Self(0);
    /// ICMP for IPv4 (RFC 792).
    pub const ICMP: Self = Self(1);
    /// IGMP (RFC 9776).
    pub const IGMP: Self = Self(2);
    /// An encapsulated IPv4 packet (RFC 2003).
    pub const IPV4: Self = Self(4);
    /// TCP (RFC 9293).
    pub const TCP: Self = Self(6);
    /// UDP (RFC 768).
    pub const UDP: Self = Self(17);
    /// DCCP (RFC 4340).
    pub const DCCP: Self = Self(33);
    /// An encapsulated IPv6 packet (RFC 2473).
    pub const IPV6: Self = Self(41);
    /// IPv6 routing header (RFC 8200 section 4.4).
    pub const ROUTING: Self = Self(43);
    /// IPv6 fragment header (RFC 8200 section 4.5).
    pub const FRAGMENT: Self = Self(44);
    /// GRE (RFC 2784).
    pub const GRE: Self = Self(47);
    /// Encapsulating security payload (RFC 4303): recognised, not parsed.
    pub const ESP: Self = Self(50);
    /// Authentication header (RFC 4302): recognised, not parsed.
    pub const AH: Self = Self(51);
    /// ICMP for IPv6 (RFC 4443).
    pub const ICMPV6: Self = Self(58);
    /// IPv6 no next header (RFC 8200 section 4.7): the packet has no payload to deliver.
    pub const NO_NEXT: Self = Self(59);
    /// IPv6 destination options (RFC 8200 section 4.6).
    pub const DEST_OPTS: Self = Self(60);
    /// SCTP (RFC 9260).
    pub const SCTP: Self = Self(132);
    /// UDP-Lite (RFC 3828).
    pub const UDP_LITE: Self = Self(136);

    /// Returns `true` for the extension headers that the IPv6 parser reads.
    pub const fn is_extension_header(self) -> bool {
        matches!(
            self,
            Self::HOP_BY_HOP | Self::ROUTING | Self::FRAGMENT | Self::DEST_OPTS
        )
    }

    /// Returns the protocol's name if it is one of the constants above.
    pub const fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::HOP_BY_HOP => "hop-by-hop options",
            Self::ICMP => "ICMP",
            Self::IGMP => "IGMP",
            Self::IPV4 => "IPv4",
            Self::TCP => "TCP",
            Self::UDP => "UDP",
            Self::DCCP => "DCCP",
            Self::IPV6 => "IPv6",
            Self::ROUTING => "routing",
            Self::FRAGMENT => "fragment",
            Self::GRE => "GRE",
            Self::ESP => "ESP",
            Self::AH => "AH",
            Self::ICMPV6 => "ICMPv6",
            Self::NO_NEXT => "no next header",
            Self::DEST_OPTS => "destination options",
            Self::SCTP => "SCTP",
            Self::UDP_LITE => "UDP-Lite",
            _ => return None,
        })
    }
}

impl From<u8> for IpProto {
    fn from(number: u8) -> Self {
        Self(number)
    }
}

impl From<IpProto> for u8 {
    fn from(proto: IpProto) -> u8 {
        proto.0
    }
}

impl fmt::Debug for IpProto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for IpProto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "protocol {}", self.0),
        }
    }
}
