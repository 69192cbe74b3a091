//! The permission to send an ICMP error about a packet, and the error.
//!
//! * **Define.** A [`Permit`] is the permission to send one particular error about one packet.
//! * **Enforce.** [`permit`] is the only constructor and checks all rules of RFC 1122 section 3.2.2 and
//!   RFC 4443 section 2.4(e).
//! * **Consume.** [`Permit::build`] builds the packet. The caller limits the rate: it calls
//!   [`super::IcmpLimiter`] in between, so that a suppressed error takes no tokens.
//!
//! The offending packet is parsed again here, leniently, so that no caller can skip a rule or pass values
//! that are not the packet's.

use core::net::IpAddr;

use packet::build::{IpFields, icmp_error};
use packet::icmp::{
    IcmpMessage, Icmpv4, Icmpv4UnreachableCode, Icmpv6, Icmpv6UnreachableCode, TimeExceededCode,
};
use packet::ip::{Icmpv6ParameterProblemCode, IpVersion, Outline};
use packet::{IpProto, Payload, TxPacket};

use crate::ip::addresses::{AddressTable, Destination};

/// The rule that suppresses an error about a packet. It is not counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Suppressed {
    /// The headers cannot be parsed.
    Unreadable,
    /// The source is not a single host, or is one of the host's own addresses.
    Source,
    /// The destination is a broadcast or multicast address, or not one of the host's.
    Destination,
    /// The packet is a fragment other than the first.
    LaterFragment,
    /// The packet is an ICMP error, or an ICMP message that may be one.
    IcmpError,
    /// The message is of the other IP version.
    Version,
}

/// Permission to send one error about one packet.
#[derive(Clone, Debug)]
pub struct Permit {
    message: IcmpMessage,
    src: IpAddr,
    dst: IpAddr,
    offending: Payload,
}

/// The reason why a destination cannot be reached, as an ICMP error says it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Unreachable {
    /// The network of the destination cannot be reached.
    Network,
    /// The destination cannot be reached.
    Host,
    /// The port is closed.
    Port,
    /// A filter prohibits it.
    Prohibited,
}

/// Returns a Destination Unreachable message (RFC 1812 section 5.2.7.1, RFC 4443 section 3.1).
pub fn unreachable(version: IpVersion, reason: Unreachable) -> IcmpMessage {
    use Icmpv4UnreachableCode as V4;
    use Icmpv6UnreachableCode as V6;
    let (v4, v6) = match reason {
        Unreachable::Network => (V4::Network, V6::NoRoute),
        Unreachable::Host => (V4::Host, V6::Address),
        Unreachable::Port => (V4::Port, V6::Port),
        Unreachable::Prohibited => (V4::CommunicationProhibited, V6::Prohibited),
    };
    match version {
        IpVersion::V4 => Icmpv4::DestinationUnreachable {
            code: v4,
            next_hop_mtu: 0,
        }
        .into(),
        IpVersion::V6 => Icmpv6::DestinationUnreachable { code: v6 }.into(),
    }
}

/// Returns a Port Unreachable message (RFC 1122 section 4.1.3.1, RFC 4443 section 3.1).
pub fn port_unreachable(version: IpVersion) -> IcmpMessage {
    unreachable(version, Unreachable::Port)
}

/// Returns a Fragment Reassembly Time Exceeded message (RFC 1122 section 3.3.2, RFC 8200 section 4.5).
pub fn reassembly_time_exceeded(version: IpVersion) -> IcmpMessage {
    let code = TimeExceededCode::Reassembly;
    match version {
        IpVersion::V4 => Icmpv4::TimeExceeded { code }.into(),
        IpVersion::V6 => Icmpv6::TimeExceeded { code }.into(),
    }
}

/// Permits `message` about `offending`, a whole packet as received.
///
/// ```
/// use netstack::icmp::error::{Suppressed, permit, port_unreachable};
/// use netstack::ip::addresses::AddressTable;
/// use packet::Payload;
/// use packet::ip::IpVersion;
///
/// // 28 bytes from 10.0.0.9 to the broadcast address.
/// let mut bytes = vec![0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 9, 255, 255, 255, 255];
/// bytes.extend([0; 8]);
/// let offending = Payload::from(bytes::Bytes::from(bytes));
/// let mut addresses = AddressTable::new();
/// addresses.add("10.0.0.1/24".parse()?)?;
/// let refused = permit(&addresses, port_unreachable(IpVersion::V4), &offending);
/// assert_eq!(refused.err(), Some(Suppressed::Destination));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// The rule that suppresses it.
pub fn permit(
    addresses: &AddressTable,
    message: IcmpMessage,
    offending: &Payload,
) -> Result<Permit, Suppressed> {
    let packet = Outline::read(offending).ok_or(Suppressed::Unreadable)?;
    if IpVersion::of_addr(packet.src) != message.version() {
        return Err(Suppressed::Version);
    }
    addresses
        .check_source(packet.src)
        .map_err(|_| Suppressed::Source)?;
    if packet.is_later_fragment() && !answers_later_fragment(message, packet.proto) {
        return Err(Suppressed::LaterFragment);
    }
    let src = match addresses.classify(packet.dst) {
        Destination::Local => packet.dst,
        Destination::Multicast(_) if answers_multicast(message) => addresses
            .select_source(packet.src)
            .ok_or(Suppressed::Destination)?,
        _ => return Err(Suppressed::Destination),
    };
    if packet.is_icmp_error() {
        return Err(Suppressed::IcmpError);
    }
    Ok(Permit {
        message,
        src,
        dst: packet.src,
        offending: offending.clone(),
    })
}

/// Returns `true` for the messages that may be sent about multicast packets (RFC 4443 section 2.4(e.3)).
fn answers_multicast(message: IcmpMessage) -> bool {
    const UNRECOGNIZED_OPTION: u8 = Icmpv6ParameterProblemCode::UnrecognizedOption as u8;
    matches!(
        message,
        IcmpMessage::V6(
            Icmpv6::PacketTooBig { .. }
                | Icmpv6::ParameterProblem {
                    code: UNRECOGNIZED_OPTION,
                    ..
                }
        )
    )
}

/// Returns `true` for the messages that may be sent about later fragments. RFC 1122 section 3.2.2 forbids
/// all; IPv6 requires one about a fragment that ends beyond the largest datagram (RFC 8200 section 4.5),
/// unless the datagram may be an ICMP error.
fn answers_later_fragment(message: IcmpMessage, proto: IpProto) -> bool {
    matches!(message, IcmpMessage::V6(Icmpv6::ParameterProblem { .. }))
        && proto != IpProto::ICMPV6
        && !proto.is_extension_header()
}

impl Permit {
    /// Returns the destination of the error.
    pub fn to(&self) -> IpAddr {
        self.dst
    }

    /// Builds the error. It quotes as much of the offending packet as fits 576 bytes (IPv4) or 1,280 bytes
    /// (IPv6), which every node can receive; the quote is shared, not copied. Returns `None` only if the
    /// headers cannot be written.
    pub fn build(self, ttl: u8) -> Option<TxPacket> {
        let fields = IpFields {
            src: self.src,
            dst: self.dst,
            proto: self.message.proto(),
            ttl,
            // RFC 1122 section 3.2.2: normal service.
            traffic_class: 0,
            ident: 0,
            dont_fragment: true,
            flow_label: 0,
        };
        icmp_error(&fields, self.message, &self.offending).ok()
    }
}

#[cfg(test)]
#[path = "error_tests.rs"]
mod tests;
