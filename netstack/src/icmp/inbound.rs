//! ICMP messages that were sent to us: questions to answer, and errors about what we sent.
//!
//! * **Define.** A [`TransportError`] is about a packet that carries one of our addresses as its
//!   source, the very address that the error was sent to, and names a flow by both ends.
//! * **Enforce.** [`on_packet`] is the only constructor.
//! * **Consume.** The stack looks up the flow; the transport decides whether to believe it: TCP by
//!   the quoted sequence number (RFC 5927 section 4.1), UDP by having such a socket.
//!
//! An error is a hint from anybody who can guess a flow. Nothing here changes state.
//!
//! Silently ignored: Source Quench (RFC 6633), redirects (the one device has no other router to
//! choose; RFC 1122 section 3.2.2.2 is for hosts with several), timestamp and information requests
//! (RFC 1122 sections 3.2.2.7 and 3.2.2.8 leave them to us), neighbour and multicast listener
//! messages (a TUN device has no link layer), unknown queries (RFC 1122 section 3.2.2, RFC 4443
//! section 2.4(b)).

use core::net::{IpAddr, SocketAddr};
use core::ops::Range;

use packet::icmp::{
    HEADER_LEN, IcmpMessage, IcmpParseError, Icmpv4, Icmpv4UnreachableCode as V4, Icmpv4View,
    Icmpv6, Icmpv6UnreachableCode as V6, Icmpv6View, Quote,
};
use packet::ip::{Ip, IpPacket};
use packet::{Chunks, IpProto, Payload, RxChecksum};

use crate::base::DropReason;
use crate::ip::addresses::AddressTable;
use crate::ip::receive::Cast;
use crate::ip::send::{Packets, SendError, TxParams, icmp_packets};

/// Which echo requests are answered beyond those to our own addresses. None by default: an answer
/// to many is an amplifier (RFC 1122 section 3.2.2.6, RFC 4443 section 4.2 leave the choice).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct EchoPolicy {
    /// Answer pings to IPv4 broadcast addresses.
    pub broadcast: bool,
    /// Answer pings to the multicast groups that we are in.
    pub multicast: bool,
}

/// What an ICMP message means to us.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Inbound {
    /// A ping to answer: [`EchoRequest::reply`].
    EchoRequest(EchoRequest),
    /// An answer to a ping of ours.
    EchoReply {
        /// Who answered.
        from: IpAddr,
        /// Identifier of the request.
        ident: u16,
        /// Sequence number of the request.
        seq: u16,
        /// Range of the echo payload in the packet.
        payload: Range<usize>,
    },
    /// An error about something that we may have sent.
    Error(TransportError),
    /// Discard and count.
    Drop(DropReason),
}

/// A ping to answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EchoRequest {
    /// Our address, the source of the answer.
    pub local: IpAddr,
    /// Who asks.
    pub remote: IpAddr,
    /// Identifier, to be returned.
    pub ident: u16,
    /// Sequence number, to be returned.
    pub seq: u16,
    /// Range of the echo payload in the packet, to be returned.
    pub payload: Range<usize>,
}

/// What went wrong with a packet that we may have sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ErrorKind {
    /// Nobody listens on the port.
    PortUnreachable,
    /// The host knows no such protocol.
    ProtocolUnreachable,
    /// The host does not answer.
    HostUnreachable,
    /// No route to the network.
    NetUnreachable,
    /// Something on the way forbids it.
    AdminProhibited,
    /// The packet was larger than a link on the way carries.
    PacketTooBig {
        /// That link's MTU in bytes; 0 from a router that does not tell (RFC 1191 section 5).
        mtu: u32,
    },
    /// The packet lived too long, or not all of its fragments came in time.
    TimeExceeded,
    /// A header field was not understood.
    ParameterProblem,
    /// An ICMPv6 error of a type unknown here, which the transport is to be told all the same
    /// (RFC 4443 section 2.4(a)).
    Unknown {
        /// Its type: below 128.
        kind: u8,
        /// Its code.
        code: u8,
    },
}

impl ErrorKind {
    /// True for what may pass by itself: a connection must outlive it (RFC 1122 section 4.2.3.9,
    /// RFC 5461). The others may end a connection that is being opened, once their quote is
    /// believed (RFC 5927 section 5.2).
    pub fn is_soft(&self) -> bool {
        !matches!(self, Self::PortUnreachable | Self::ProtocolUnreachable)
    }
}

/// An error about a packet of one of our flows, if there is such a flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TransportError {
    /// TCP or UDP.
    pub proto: IpProto,
    /// Our side of the flow: source of the quoted packet.
    pub local: SocketAddr,
    /// The peer's side: its destination.
    pub remote: SocketAddr,
    /// What went wrong.
    pub kind: ErrorKind,
    /// Sequence number of the quoted TCP segment, if it was quoted that far: to be believed, it must
    /// lie between SND.UNA and SND.NXT (RFC 5927 section 4.1).
    pub tcp_seq: Option<u32>,
    /// Length of the quoted packet as its header says, in bytes: a Packet Too Big about a packet
    /// that would have fitted is a lie (RFC 5927 section 7.2).
    pub quoted_len: u32,
    /// Who sent the error: the peer, or a router on the way.
    pub reporter: IpAddr,
}

/// Reads an ICMP message: the payload of `packet`, which was delivered as [`Cast`].
pub fn on_packet<I: Ip>(
    packet: &IpPacket<'_, I>,
    cast: Cast,
    checksum: RxChecksum,
    addresses: &AddressTable,
    policy: EchoPolicy,
) -> Inbound {
    let (src, dst): (IpAddr, IpAddr) = (packet.src().into(), packet.dst().into());
    let echo = |ident, seq| {
        let local = match cast {
            Cast::Unicast => Some(dst),
            Cast::Broadcast if policy.broadcast => addresses.select_source(src),
            Cast::Multicast if policy.multicast => addresses.select_source(src),
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

/// Returns the range behind the ICMP header in the packet.
fn echo_payload<I: Ip>(packet: &IpPacket<'_, I>) -> Range<usize> {
    let payload = packet.payload_range();
    // The view was read, so the header is there.
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
    // An error goes to the source of what caused it. One sent to a broadcast or group never does.
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
        // Code 1 says that the host knows no such protocol.
        Icmpv6::ParameterProblem { code: 1, .. } => ErrorKind::ProtocolUnreachable,
        Icmpv6::ParameterProblem { .. } => ErrorKind::ParameterProblem,
        Icmpv6::Other { kind, code, .. } => ErrorKind::Unknown { kind, code },
        _ => return None,
    })
}

impl EchoRequest {
    /// The answer: the data that was asked with, whole, in as many fragments as the path needs.
    /// `packet` is the packet that [`on_packet`] read; its data is shared, not copied.
    ///
    /// # Errors
    /// A [`SendError`] if the path cannot carry it at all.
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
            // The request's DSCP may come back; its congestion marks say nothing about the way
            // back (RFC 3168 section 6).
            traffic_class: params.traffic_class & 0xfc,
            ..*params
        };
        icmp_packets(self.local, self.remote, message, payload, &params, ident)
    }
}

#[cfg(test)]
#[path = "inbound_tests.rs"]
mod tests;
