//! Received ICMP messages: echo requests to answer, echo replies, and errors about sent packets.
//!
//! A [`TransportError`] quotes a packet whose source is the address that the error was sent to, which is one
//! of the host's, and identifies a flow. The stack looks up the flow, and the transport validates the error:
//! TCP by the quoted sequence number (RFC 5927 section 4.1), UDP by the existence of the socket. Any peer
//! that guesses a flow can send such an error, so nothing here changes state.
//!
//! Ignored without an answer: Source Quench (RFC 6633), redirects (RFC 1122 section 3.2.2.2; the host has
//! one device and no choice of routers), timestamp and information requests (optional, RFC 1122 sections
//! 3.2.2.7 and 3.2.2.8), neighbour discovery (a TUN device has no link layer), and unknown queries (RFC 1122
//! section 3.2.2, RFC 4443 section 2.4(b)). Multicast listener messages go to [`crate::ip::multicast`].

use core::net::{IpAddr, SocketAddr};
use core::ops::Range;

use packet::icmp::{
    HEADER_LEN, IcmpMessage, IcmpParseError, Icmpv4, Icmpv4UnreachableCode as V4, Icmpv4View,
    Icmpv6, Icmpv6UnreachableCode as V6, Icmpv6View, Quote,
};
use packet::ip::{Ip, IpPacket};
use packet::membership::Membership;
use packet::{Chunks, IpProto, Payload, RxChecksum};

use crate::base::{DropReason, EchoPolicy};
use crate::ip::addresses::AddressTable;
use crate::ip::multicast::envelope::{is_believable, is_believable_report};
use crate::ip::receive::Cast;
use crate::ip::send::{Packets, SendError, TxParams, icmp_packets};

/// The meaning of a received ICMP message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Inbound {
    /// An echo request to answer with [`EchoRequest::reply`].
    EchoRequest(EchoRequest),
    /// A reply to an echo request.
    EchoReply {
        /// The sender of the reply.
        from: IpAddr,
        /// Identifier of the request.
        ident: u16,
        /// Sequence number of the request.
        seq: u16,
        /// Range of the echo payload in the packet.
        payload: Range<usize>,
    },
    /// An error about a packet that this host may have sent.
    Error(TransportError),
    /// A message of multicast listener discovery, which [`mld`] reads.
    Mld,
    /// A message to discard and count.
    Drop(DropReason),
}

/// An echo request to answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EchoRequest {
    /// The source address of the reply, one of the host's.
    pub local: IpAddr,
    /// The sender of the request.
    pub remote: IpAddr,
    /// Identifier, to be returned.
    pub ident: u16,
    /// Sequence number, to be returned.
    pub seq: u16,
    /// Range of the echo payload in the packet, to be returned.
    pub payload: Range<usize>,
}

/// The kind of an error about a packet that this host may have sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ErrorKind {
    /// No socket listens on the port.
    PortUnreachable,
    /// The host does not support the protocol.
    ProtocolUnreachable,
    /// The host cannot be reached.
    HostUnreachable,
    /// The network cannot be reached.
    NetUnreachable,
    /// A router or the host prohibits it.
    AdminProhibited,
    /// The packet exceeded the MTU of a link on its path.
    PacketTooBig {
        /// The MTU of that link in bytes; 0 from a router that does not report it (RFC 1191 section 5).
        mtu: u32,
    },
    /// The packet's time to live or its reassembly timeout expired.
    TimeExceeded,
    /// A header field was not understood.
    ParameterProblem,
    /// An ICMPv6 error of an unknown type, which is passed to the transport, too (RFC 4443 section
    /// 2.4(a)).
    Unknown {
        /// Its type: below 128.
        kind: u8,
        /// Its code.
        code: u8,
    },
}

impl ErrorKind {
    /// Returns `true` for a soft error, which may be transient: it must not abort a connection (RFC 1122
    /// section 4.2.3.9, RFC 5461). A hard error may abort a connection that is being opened, if its quote is
    /// valid (RFC 5927 section 5.2). A prohibition is one of policy, and lasts (RFC 5927 section 5.1).
    pub fn is_soft(&self) -> bool {
        !matches!(
            self,
            Self::PortUnreachable | Self::ProtocolUnreachable | Self::AdminProhibited
        )
    }
}

/// An error about a packet of a flow, which may or may not exist.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TransportError {
    /// TCP or UDP.
    pub proto: IpProto,
    /// Local address and port of the flow: the source of the quoted packet.
    pub local: SocketAddr,
    /// Remote address and port of the flow: the destination of the quoted packet.
    pub remote: SocketAddr,
    /// The kind of the error.
    pub kind: ErrorKind,
    /// Sequence number of the quoted TCP segment, if the quote is long enough. It must be between SND.UNA
    /// and SND.NXT for the error to be valid (RFC 5927 section 4.1).
    pub tcp_seq: Option<u32>,
    /// Length of the quoted packet in its header, in bytes. A Packet Too Big is not valid if the reported MTU
    /// is not less than that (RFC 5927 section 7.2).
    pub quoted_len: u32,
    /// The sender of the error: the peer, or a router on the path.
    pub reporter: IpAddr,
}

/// Parses the ICMP message in `packet`, whose destination was of the kind `cast`.
pub fn on_packet<I: Ip>(
    packet: &IpPacket<'_, I>,
    cast: Cast,
    checksum: RxChecksum,
    addresses: &AddressTable,
    policy: EchoPolicy,
) -> Inbound {
    let (src, dst): (IpAddr, IpAddr) = (packet.src().into(), packet.dst().into());
    let answers_groups = if src.is_ipv4() {
        policy.multicast_v4
    } else {
        policy.multicast_v6
    };
    let echo = |ident, seq| {
        let local = match cast {
            Cast::Unicast => Some(dst),
            Cast::Broadcast if policy.broadcast => addresses.select_source(src),
            Cast::Multicast if answers_groups => addresses.select_source(src),
            _ => None,
        };
        match local {
            Some(local) => Inbound::EchoRequest(EchoRequest {
                local,
                remote: src,
                ident,
                seq,
                payload: echo_payload(packet),
            }),
            None => Inbound::Drop(DropReason::IcmpIgnored),
        }
    };
    let reply = |ident, seq| Inbound::EchoReply {
        from: src,
        ident,
        seq,
        payload: echo_payload(packet),
    };
    match (src, dst) {
        (IpAddr::V6(src6), IpAddr::V6(dst6)) => {
            match Icmpv6View::parse(src6, dst6, packet.payload(), checksum) {
                Err(error) => Inbound::Drop(malformed(error)),
                Ok(view) => match (view.message(), view.quote()) {
                    (Icmpv6::EchoRequest { ident, seq }, _) => echo(ident, seq),
                    (Icmpv6::EchoReply { ident, seq }, _) => reply(ident, seq),
                    (message, Some(quote)) => on_error(src, dst, kind_v6(message), &quote),
                    // Read again where it is taken in: such messages are rare.
                    _ if mld(packet, &view).is_some() => Inbound::Mld,
                    _ => Inbound::Drop(DropReason::IcmpIgnored),
                },
            }
        }
        _ => match Icmpv4View::parse(packet.payload(), checksum) {
            Err(error) => Inbound::Drop(malformed(error)),
            Ok(view) => match (view.message(), view.quote()) {
                (Icmpv4::EchoRequest { ident, seq }, _) => echo(ident, seq),
                (Icmpv4::EchoReply { ident, seq }, _) => reply(ident, seq),
                (message, Some(quote)) => on_error(src, dst, kind_v4(message), &quote),
                _ => Inbound::Drop(DropReason::IcmpIgnored),
            },
        },
    }
}

/// Reads the message of multicast listener discovery in `packet`. Returns `None` for any other message, and for
/// what a host ignores: messages for routers, queries and reports that came from elsewhere, impossible lengths (RFC
/// 9777 sections 5.1.14, 6 and 6.2, RFC 2710 section 4).
pub fn mld<'a, I: Ip>(packet: &IpPacket<'a, I>, view: &Icmpv6View<'a>) -> Option<Membership<'a>> {
    match Membership::of_mld(view)?.ok()? {
        Membership::Query(query) if is_believable(packet, &query) => Some(Membership::Query(query)),
        Membership::Report(group) if is_believable_report(packet, group) => {
            Some(Membership::Report(group))
        }
        _ => None,
    }
}

/// Returns the range behind the ICMP header in the packet.
fn echo_payload<I: Ip>(packet: &IpPacket<'_, I>) -> Range<usize> {
    let payload = packet.payload_range();
    // The message was parsed, so the header is complete.
    (payload.start + HEADER_LEN).min(payload.end)..payload.end
}

fn malformed(error: IcmpParseError) -> DropReason {
    match error {
        IcmpParseError::TooShort => DropReason::IcmpMalformed,
        IcmpParseError::Checksum => DropReason::IcmpChecksum,
    }
}

fn on_error(src: IpAddr, dst: IpAddr, kind: Option<ErrorKind>, quote: &Quote<'_>) -> Inbound {
    let Some(kind) = kind else {
        return Inbound::Drop(DropReason::IcmpIgnored);
    };
    let Some(packet) = quote.packet() else {
        return Inbound::Drop(DropReason::IcmpMalformed);
    };
    // An error goes to the source of the packet that caused it, never to a broadcast or multicast address.
    let Some((local_port, remote_port)) = packet.ports().filter(|_| packet.src == dst) else {
        return Inbound::Drop(DropReason::IcmpUnmatched);
    };
    Inbound::Error(TransportError {
        proto: packet.proto,
        local: SocketAddr::new(packet.src, local_port),
        remote: SocketAddr::new(packet.dst, remote_port),
        kind,
        tcp_seq: packet.tcp_seq(),
        // At most 65,575.
        quoted_len: packet.total_len as u32,
        reporter: src,
    })
}

fn kind_v4(message: Icmpv4) -> Option<ErrorKind> {
    Some(match message {
        Icmpv4::DestinationUnreachable { code, next_hop_mtu } => match code {
            V4::Network | V4::NetworkUnknown | V4::NetworkTypeOfService => {
                ErrorKind::NetUnreachable
            }
            V4::Host
            | V4::SourceRouteFailed
            | V4::HostUnknown
            | V4::SourceIsolated
            | V4::HostTypeOfService
            | V4::HostPrecedenceViolation
            | V4::PrecedenceCutoff => ErrorKind::HostUnreachable,
            V4::Protocol => ErrorKind::ProtocolUnreachable,
            V4::Port => ErrorKind::PortUnreachable,
            V4::FragmentationNeeded => ErrorKind::PacketTooBig {
                mtu: u32::from(next_hop_mtu),
            },
            V4::NetworkProhibited | V4::HostProhibited | V4::CommunicationProhibited => {
                ErrorKind::AdminProhibited
            }
            V4::Other(_) => return None,
        },
        Icmpv4::TimeExceeded { .. } => ErrorKind::TimeExceeded,
        Icmpv4::ParameterProblem { .. } => ErrorKind::ParameterProblem,
        _ => return None,
    })
}

fn kind_v6(message: Icmpv6) -> Option<ErrorKind> {
    Some(match message {
        Icmpv6::DestinationUnreachable { code } => match code {
            V6::NoRoute | V6::RejectRoute => ErrorKind::NetUnreachable,
            V6::Prohibited | V6::SourcePolicy => ErrorKind::AdminProhibited,
            V6::BeyondScope | V6::Address => ErrorKind::HostUnreachable,
            V6::Port => ErrorKind::PortUnreachable,
            V6::Other(code) => ErrorKind::Unknown { kind: 1, code },
        },
        Icmpv6::PacketTooBig { mtu } => ErrorKind::PacketTooBig { mtu },
        Icmpv6::TimeExceeded { .. } => ErrorKind::TimeExceeded,
        // Code 1: the host does not recognise the next header.
        Icmpv6::ParameterProblem { code: 1, .. } => ErrorKind::ProtocolUnreachable,
        Icmpv6::ParameterProblem { .. } => ErrorKind::ParameterProblem,
        Icmpv6::Other { kind, code, .. } => ErrorKind::Unknown { kind, code },
        _ => return None,
    })
}

impl EchoRequest {
    /// Builds the reply, with the whole payload of the request, in fragments if it exceeds the path MTU.
    /// `packet` is the packet that [`on_packet`] parsed; its payload is shared, not copied.
    ///
    /// # Errors
    /// A [`SendError`] if the reply cannot be built.
    pub fn reply(
        &self,
        packet: &Payload,
        params: &TxParams,
        ident: impl FnOnce() -> u32,
    ) -> Result<Packets, SendError> {
        let (ident_field, seq) = (self.ident, self.seq);
        let message: IcmpMessage = match self.local {
            IpAddr::V4(_) => Icmpv4::EchoReply {
                ident: ident_field,
                seq,
            }
            .into(),
            IpAddr::V6(_) => Icmpv6::EchoReply {
                ident: ident_field,
                seq,
            }
            .into(),
        };
        let payload = Chunks::from(packet.slice(self.payload.clone()));
        let params = TxParams {
            // The reply may have the request's DSCP, but not its ECN codepoint (RFC 3168 section 6).
            traffic_class: params.traffic_class & 0xfc,
            ..*params
        };
        icmp_packets(self.local, self.remote, message, payload, &params, ident)
    }
}

#[cfg(test)]
#[path = "inbound_tests.rs"]
mod tests;
