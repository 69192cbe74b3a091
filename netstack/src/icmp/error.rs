//! Whether an ICMP error may be sent about a packet, and the message.
//!
//! * **Define.** A [`Permit`] is the permission to send one particular error about one packet.
//! * **Enforce.** [`permit`] is the only constructor and asks every question of RFC 1122 section
//!   3.2.2 and RFC 4443 section 2.4(e).
//! * **Consume.** [`Permit::build`] makes the packet. What remains to the caller is the rate: it
//!   asks [`super::IcmpLimiter`] between the two, so that a packet that may not be answered takes
//!   nothing from the bucket.
//!
//! The offending packet is read again here, leniently, so that no caller can forget a rule or bring
//! facts that are not the packet's.

use core::net::IpAddr;

use packet::build::{IpFields, icmp_error};
use packet::icmp::{
    IcmpMessage, Icmpv4, Icmpv4UnreachableCode, Icmpv6, Icmpv6UnreachableCode, Quote, QuotedPacket,
    TimeExceededCode,
};
use packet::ip::{Icmpv6ParameterProblemCode, IpVersion};
use packet::{IpProto, Payload, TxPacket};

use crate::ip::addresses::{AddressTable, Destination};

/// Why no error is sent about a packet. Silence is right then: it is not counted on its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Silence {
    /// Its headers cannot be read far enough to tell.
    Unreadable,
    /// Its source is not one host, or claims to be us.
    Source,
    /// It was sent to a broadcast or multicast address, or not to us.
    Destination,
    /// It is a fragment other than the first.
    LaterFragment,
    /// It is an ICMP error, or an ICMP message that might be one.
    IcmpError,
    /// The message is of the other version.
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

/// Port unreachable (RFC 1122 section 4.1.3.1, RFC 4443 section 3.1).
pub fn port_unreachable(version: IpVersion) -> IcmpMessage {
    match version {
        IpVersion::V4 => Icmpv4::DestinationUnreachable {
            code: Icmpv4UnreachableCode::Port,
            next_hop_mtu: 0,
        }
        .into(),
        IpVersion::V6 => Icmpv6::DestinationUnreachable {
            code: Icmpv6UnreachableCode::Port,
        }
        .into(),
    }
}

/// Fragment reassembly time exceeded (RFC 1122 section 3.3.2, RFC 8200 section 4.5).
pub fn reassembly_time_exceeded(version: IpVersion) -> IcmpMessage {
    let code = TimeExceededCode::Reassembly;
    match version {
        IpVersion::V4 => Icmpv4::TimeExceeded { code }.into(),
        IpVersion::V6 => Icmpv6::TimeExceeded { code }.into(),
    }
}

/// Whether `message` may be sent about `offending`, a packet as received from its first octet.
///
/// # Errors
/// The rule that forbids it.
pub fn permit(
    addresses: &AddressTable,
    message: IcmpMessage,
    offending: &Payload,
) -> Result<Permit, Silence> {
    let quote = Quote {
        original: offending,
        extensions: None,
    };
    let packet = quote.packet().ok_or(Silence::Unreadable)?;
    if IpVersion::of_addr(packet.src) != message.version() {
        return Err(Silence::Version);
    }
    addresses
        .check_source(packet.src)
        .map_err(|_| Silence::Source)?;
    if packet.fragment.is_some_and(|part| part.offset_bytes != 0) {
        return Err(Silence::LaterFragment);
    }
    let src = match addresses.classify(packet.dst) {
        Destination::Local => packet.dst,
        Destination::Multicast(_) if answers_multicast(message) => addresses
            .select_source(packet.src)
            .ok_or(Silence::Destination)?,
        _ => return Err(Silence::Destination),
    };
    if is_icmp_error(&packet) {
        return Err(Silence::IcmpError);
    }
    Ok(Permit {
        message,
        src,
        dst: packet.src,
        offending: offending.clone(),
    })
}

/// The exceptions of RFC 4443 section 2.4(e.3).
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

/// True for an ICMP message that is not known to be a query: two hosts that answer each other's
/// errors never stop.
fn is_icmp_error(packet: &QuotedPacket<'_>) -> bool {
    // Only the type and code are needed, and only they need be there.
    let mut octets = [0; 8];
    let there = packet.transport.len().min(octets.len());
    if let (Some(to), Some(from)) = (octets.get_mut(..there), packet.transport.get(..there)) {
        to.copy_from_slice(from);
    }
    match packet.proto {
        IpProto::ICMP => {
            there == 0
                || !matches!(
                    Icmpv4::from_octets(&octets),
                    Icmpv4::EchoRequest { .. }
                        | Icmpv4::EchoReply { .. }
                        | Icmpv4::Timestamp { .. }
                        | Icmpv4::TimestampReply { .. }
                )
        }
        IpProto::ICMPV6 => there == 0 || Icmpv6::from_octets(&octets).is_error(),
        _ => false,
    }
}

impl Permit {
    /// Who the error goes to.
    pub fn to(&self) -> IpAddr {
        self.dst
    }

    /// The packet: it quotes as much of the offending one as every node can receive (576 or 1280
    /// octets), shared, not copied. `None` only if the headers cannot be written.
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
        };
        icmp_error(&fields, self.message, &self.offending).ok()
    }
}
