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

/// Returns a Port Unreachable message (RFC 1122 section 4.1.3.1, RFC 4443 section 3.1).
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
mod tests {
    use super::super::testing::{PEER4, PEER6, US4, US6, addresses, icmp, ip, packet};
    use super::*;
    use packet::RxChecksum;
    use packet::icmp::{Icmpv4View, Icmpv6View};
    use packet::ip::{FragmentInfo, IpPacket, Ipv4, Ipv6};

    /// Every error that this stack originates.
    fn messages(version: IpVersion) -> Vec<IcmpMessage> {
        let mut all = vec![port_unreachable(version), reassembly_time_exceeded(version)];
        match version {
            IpVersion::V4 => all.extend::<[IcmpMessage; 2]>([
                Icmpv4::DestinationUnreachable {
                    code: Icmpv4UnreachableCode::Protocol,
                    next_hop_mtu: 0,
                }
                .into(),
                Icmpv4::ParameterProblem {
                    code: 0,
                    pointer: 20,
                }
                .into(),
            ]),
            IpVersion::V6 => all.extend::<[IcmpMessage; 3]>(
                [0, 1, 3].map(|code| Icmpv6::ParameterProblem { code, pointer: 40 }.into()),
            ),
        }
        all
    }

    fn may(message: IcmpMessage, offending: &Payload) -> Result<(), Suppressed> {
        permit(&addresses(), message, offending).map(|_| ())
    }

    #[test]
    fn never_about_packets_to_many_or_to_others() {
        let v4 = [
            "10.77.0.255",
            "10.77.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "239.0.0.1",
            "10.77.0.3",
        ];
        let v6 = ["ff02::1", "ff02::1:ff00:2", "ff0e::1", "fd77::3", "::1"];
        for (src, dsts, version) in [
            (PEER4, &v4[..], IpVersion::V4),
            (PEER6, &v6[..], IpVersion::V6),
        ] {
            for dst in dsts {
                let offending = packet(src, dst, IpProto::UDP, &[0; 8], None);
                for message in messages(version) {
                    let answer = may(message, &offending);
                    assert_eq!(answer, Err(Suppressed::Destination), "{dst} {message:?}");
                }
            }
        }
    }

    #[test]
    fn multicast_has_two_exceptions_in_ipv6() {
        let option = Icmpv6::ParameterProblem {
            code: 2,
            pointer: 42,
        };
        for message in [option, Icmpv6::PacketTooBig { mtu: 1280 }] {
            for (dst, allowed) in [("ff02::1", true), ("ff0e::77", false), ("fd77::3", false)] {
                let offending = packet(PEER6, dst, IpProto::UDP, &[0; 8], None);
                assert_eq!(
                    may(message.into(), &offending).is_ok(),
                    allowed,
                    "{dst} {message:?}"
                );
            }
            // The answer comes from an address of ours, not from the group.
            let offending = packet(PEER6, "ff02::1", IpProto::UDP, &[0; 8], None);
            let sent = permit(&addresses(), message.into(), &offending)
                .expect("allowed")
                .build(64)
                .expect("built")
                .to_vec();
            let sent = IpPacket::<Ipv6>::parse(&sent).expect("v6");
            assert_eq!(IpAddr::from(sent.src()), ip(US6));
        }
    }

    #[test]
    fn never_about_sources_that_are_not_one_host() {
        let v4 = [
            "0.0.0.0",
            "127.0.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
            "10.77.0.255",
            US4,
        ];
        let v6 = ["::", "::1", "ff02::1", "::ffff:1.2.3.4", US6];
        for (dst, srcs, version) in [(US4, &v4[..], IpVersion::V4), (US6, &v6[..], IpVersion::V6)] {
            for src in srcs {
                let offending = packet(src, dst, IpProto::UDP, &[0; 8], None);
                for message in messages(version) {
                    let answer = may(message, &offending);
                    assert_eq!(answer, Err(Suppressed::Source), "{src} {message:?}");
                }
            }
        }
    }

    #[test]
    fn never_about_later_fragments() {
        for (src, dst, version) in [(PEER4, US4, IpVersion::V4), (PEER6, US6, IpVersion::V6)] {
            for (offset_bytes, allowed) in [(0, true), (8, false), (65_000, false)] {
                let info = FragmentInfo {
                    id: 1,
                    offset_bytes,
                    more: true,
                };
                let offending = packet(src, dst, IpProto::UDP, &[0; 8], Some(info));
                for message in messages(version) {
                    let about_it =
                        matches!(message, IcmpMessage::V6(Icmpv6::ParameterProblem { .. }));
                    let expected = if allowed || about_it {
                        Ok(())
                    } else {
                        Err(Suppressed::LaterFragment)
                    };
                    assert_eq!(may(message, &offending), expected, "{offset_bytes}");
                }
            }
        }
    }

    #[test]
    fn never_about_icmp_errors_or_what_might_be_one() {
        // IPv4: only what is known to be a query may be answered with an error.
        for kind in 0..=255u8 {
            let offending = packet(
                PEER4,
                US4,
                IpProto::ICMP,
                &[kind, 0, 0, 0, 0, 0, 0, 0],
                None,
            );
            let query = matches!(kind, 0 | 8 | 13 | 14);
            for message in messages(IpVersion::V4) {
                assert_eq!(may(message, &offending).is_ok(), query, "type {kind}");
            }
        }
        // IPv6: errors are the types below 128, and redirects.
        for kind in 0..=255u8 {
            let octets = [kind, 0, 0, 0, 0, 0, 0, 0];
            let offending = packet(PEER6, US6, IpProto::ICMPV6, &octets, None);
            let allowed = kind >= 128 && kind != 137;
            for message in messages(IpVersion::V6) {
                assert_eq!(may(message, &offending).is_ok(), allowed, "type {kind}");
            }
        }
        // Too short to tell.
        for (src, dst, proto, version) in [
            (PEER4, US4, IpProto::ICMP, IpVersion::V4),
            (PEER6, US6, IpProto::ICMPV6, IpVersion::V6),
        ] {
            let offending = packet(src, dst, proto, &[], None);
            for message in messages(version) {
                assert_eq!(may(message, &offending), Err(Suppressed::IcmpError));
            }
        }
    }

    #[test]
    fn unreadable_packets_and_wrong_versions() {
        let v6 = messages(IpVersion::V6)[0];
        let v4 = messages(IpVersion::V4)[0];
        for bytes in [&[][..], &[0x45][..], &[0x60; 39][..], &[0; 60][..]] {
            let offending = Payload::from(bytes::Bytes::copy_from_slice(bytes));
            assert_eq!(may(v4, &offending), Err(Suppressed::Unreadable));
        }
        let offending = packet(PEER4, US4, IpProto::UDP, &[0; 8], None);
        assert_eq!(may(v6, &offending), Err(Suppressed::Version));
        let offending = packet(PEER6, US6, IpProto::UDP, &[0; 8], None);
        assert_eq!(may(v4, &offending), Err(Suppressed::Version));
    }

    #[test]
    fn the_error_quotes_what_was_received() {
        for len in [0, 8, 520, 1_200, 9_000] {
            let data = vec![0xa5; len];
            let offending = packet(PEER4, US4, IpProto::UDP, &data, None);
            let permit =
                permit(&addresses(), port_unreachable(IpVersion::V4), &offending).expect("allowed");
            assert_eq!(permit.to(), ip(PEER4));
            let sent = permit.build(33).expect("built");
            assert!(sent.len() <= 576);
            let bytes = sent.to_vec();
            let packet = IpPacket::<Ipv4>::parse(&bytes).expect("v4");
            assert_eq!((packet.ttl(), packet.traffic_class()), (33, 0));
            assert_eq!(IpAddr::from(packet.src()), ip(US4));
            let view = Icmpv4View::parse(packet.payload(), RxChecksum::Unknown).expect("checksum");
            assert_eq!(view.body(), &offending[..offending.len().min(548)]);

            let offending = super::super::testing::packet(PEER6, US6, IpProto::UDP, &data, None);
            let sent = super::permit(&addresses(), port_unreachable(IpVersion::V6), &offending)
                .expect("allowed")
                .build(33)
                .expect("built");
            assert!(sent.len() <= 1280);
            let bytes = sent.to_vec();
            let packet = IpPacket::<Ipv6>::parse(&bytes).expect("v6");
            let (src, dst) = (packet.src(), packet.dst());
            let view = Icmpv6View::parse(src, dst, packet.payload(), RxChecksum::Unknown)
                .expect("checksum");
            assert_eq!(view.body(), &offending[..offending.len().min(1232)]);
        }
    }

    #[test]
    fn an_error_about_an_error_about_us_ends_there() {
        // What we send is never answered by what we send.
        let offending = packet(PEER4, US4, IpProto::UDP, &[0; 8], None);
        let quoted = icmp(PEER4, US4, port_unreachable(IpVersion::V4), &offending[..]);
        for message in messages(IpVersion::V4) {
            assert_eq!(may(message, &quoted), Err(Suppressed::IcmpError));
        }
    }
}
