//! IP packets: addresses, ports and headers, also of packets that were cut, and inside of tunnels.

mod header;

use std::net::IpAddr;

use etherparse::{TcpHeaderSlice, TcpOptionElement};

use self::header::IpHeader;
use super::link::{IPV4, IPV6, be16};
use super::{Frame, link::Network};

/// Protocol number of ICMP.
pub const ICMP: u8 = 1;
/// Protocol number of TCP.
pub const TCP: u8 = 6;
/// Protocol number of UDP.
pub const UDP: u8 = 17;
/// Protocol number of ICMPv6.
pub const ICMPV6: u8 = 58;
const IPV4_IN_IP: u8 = 4;
const IPV6_IN_IP: u8 = 41;
/// Protocol number of GRE.
pub const GRE: u8 = 47;

/// Most tunnels inside each other.
const MAX_TUNNELS: usize = 8;

/// The flags of a TCP segment.
pub mod flags {
    /// FIN.
    pub const FIN: u16 = 1;
    /// SYN.
    pub const SYN: u16 = 2;
    /// RST.
    pub const RST: u16 = 4;
    /// PSH.
    pub const PSH: u16 = 8;
    /// ACK.
    pub const ACK: u16 = 16;
    /// URG.
    pub const URG: u16 = 32;
    /// ECN-echo.
    pub const ECE: u16 = 64;
    /// Congestion window reduced.
    pub const CWR: u16 = 128;
    /// Accurate ECN, formerly nonce sum.
    pub const AE: u16 = 256;
}

/// The place of a fragment in its datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fragment {
    /// Offset in bytes.
    pub offset: u32,
    /// True if another fragment follows.
    pub more: bool,
    /// The identification of the datagram.
    pub id: u32,
}

/// One IP packet.
#[derive(Clone, Debug)]
pub struct Packet<'a> {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// Type of service, or traffic class.
    pub traffic_class: u8,
    /// The fragment that it is, if the datagram is fragmented.
    pub fragment: Option<Fragment>,
    /// The protocol of the payload, behind extension headers.
    pub protocol: u8,
    /// The packet as captured, from its first header on, without link padding.
    pub ip: &'a [u8],
    /// Offset of the payload in `ip`.
    pub payload_at: usize,
    /// Bytes of the payload on the wire.
    pub payload_len: u32,
    /// The header of the transport.
    pub transport: Transport<'a>,
}

/// The header and the payload of the transport.
#[derive(Clone, Debug)]
pub enum Transport<'a> {
    /// A TCP segment.
    Tcp(Tcp<'a>),
    /// A UDP datagram.
    Udp(Udp<'a>),
    /// An ICMP message.
    Icmp(Icmp<'a>),
    /// A fragment that is not the first one.
    LaterFragment,
    /// Another protocol.
    Other,
    /// A header that is malformed, or not captured whole.
    Malformed,
}

/// The options of a TCP segment that say something about the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// Maximum segment size.
    pub mss: Option<u16>,
    /// Window scale.
    pub window_scale: Option<u8>,
    /// SACK permitted.
    pub sack_permitted: bool,
    /// Time stamps: value and echo.
    pub timestamps: Option<(u32, u32)>,
    /// Blocks of a selective acknowledgment.
    pub sack: [Option<(u32, u32)>; 4],
}

/// A TCP segment.
#[derive(Clone, Debug)]
pub struct Tcp<'a> {
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgment number, meaningful with ACK.
    pub ack: u32,
    /// See [`flags`].
    pub flags: u16,
    /// The window as in the header, not scaled.
    pub window: u16,
    /// The urgent pointer.
    pub urgent: u16,
    /// Its options.
    pub options: Options,
    /// The bytes of the header.
    pub header: &'a [u8],
    /// The payload as captured.
    pub payload: &'a [u8],
    /// Bytes of the payload on the wire.
    pub payload_len: u32,
}

impl Tcp<'_> {
    /// Returns true if all of `mask` are set.
    pub fn has(&self, mask: u16) -> bool {
        self.flags & mask == mask
    }

    /// Returns the number of sequence numbers that it takes.
    pub fn sequence_len(&self) -> u32 {
        self.payload_len + u32::from(self.has(flags::SYN)) + u32::from(self.has(flags::FIN))
    }
}

/// A UDP datagram.
#[derive(Clone, Debug)]
pub struct Udp<'a> {
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// The payload as captured.
    pub payload: &'a [u8],
    /// Bytes of the payload on the wire.
    pub payload_len: u32,
}

/// An ICMP or ICMPv6 message.
#[derive(Clone, Debug)]
pub struct Icmp<'a> {
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// Identifier and sequence number, of an echo request or reply.
    pub echo: Option<(u16, u16)>,
    /// The message as captured, from its type on.
    pub message: &'a [u8],
    /// Bytes of the message on the wire.
    pub message_len: u32,
}

/// Returns the frame without its check sequence, as far as it was captured.
pub fn without_fcs<'a>(frame: &Frame<'a>) -> (&'a [u8], u32) {
    let wire = frame
        .wire_len
        .saturating_sub(u32::from(frame.link.fcs_bytes));
    let kept = frame.data.len().min(wire as usize);
    (frame.data.get(..kept).unwrap_or_default(), wire)
}

/// Returns the IP packet of a frame; `None` if the frame carries none.
pub fn of_frame<'a>(frame: &Frame<'a>) -> Option<Packet<'a>> {
    let network = frame.link.network(frame.data)?;
    of_network(frame, &network)
}

/// Returns the IP packet of a frame whose network packet is known.
pub fn of_network<'a>(frame: &Frame<'a>, network: &Network) -> Option<Packet<'a>> {
    let (data, wire) = without_fcs(frame);
    if network.ethertype != IPV4 && network.ethertype != IPV6 {
        return None;
    }
    let wire = wire.saturating_sub(network.at as u32);
    Packet::parse(data.get(network.at..)?, wire)
}

impl<'a> Packet<'a> {
    /// Parses an IP packet with `wire` bytes on the wire, link padding included.
    pub fn parse(bytes: &'a [u8], wire: u32) -> Option<Self> {
        let header = IpHeader::parse(bytes, wire)?;
        let mut packet = Self {
            source: header.source,
            destination: header.destination,
            ttl: header.ttl,
            traffic_class: header.traffic_class,
            fragment: header.fragment,
            protocol: header.protocol,
            ip: bytes.get(..header.total.min(bytes.len()))?,
            payload_at: header.payload_at,
            payload_len: header.total.saturating_sub(header.payload_at) as u32,
            transport: Transport::Other,
        };
        packet.transport = packet.parse_transport();
        Some(packet)
    }

    /// Returns the payload as captured.
    pub fn payload(&self) -> &'a [u8] {
        self.ip.get(self.payload_at..).unwrap_or_default()
    }

    fn parse_transport(&self) -> Transport<'a> {
        if self.fragment.is_some_and(|fragment| fragment.offset > 0) {
            return Transport::LaterFragment;
        }
        transport(self.protocol, self.payload(), self.payload_len)
    }

    /// Returns the packet inside, if this is a tunnel's.
    pub fn inside(&self) -> Option<Packet<'a>> {
        if self.fragment.is_some() {
            return None;
        }
        let payload = self.payload();
        let at = match self.protocol {
            IPV4_IN_IP | IPV6_IN_IP => 0,
            GRE => gre_payload(payload)?,
            _ => return None,
        };
        Packet::parse(payload.get(at..)?, self.payload_len.checked_sub(at as u32)?)
    }

    /// Returns the packet inside of all tunnels.
    pub fn innermost(self) -> Self {
        let mut packet = self;
        for _ in 0..MAX_TUNNELS {
            match packet.inside() {
                Some(inside) => packet = inside,
                None => break,
            }
        }
        packet
    }

    /// Returns source and destination port, if the transport has ports.
    pub fn ports(&self) -> Option<(u16, u16)> {
        match &self.transport {
            Transport::Tcp(tcp) => Some((tcp.source_port, tcp.destination_port)),
            Transport::Udp(udp) => Some((udp.source_port, udp.destination_port)),
            _ => None,
        }
    }
}

/// Parses what an IP packet or a whole datagram carries: `bytes` as captured, `wire` bytes long.
pub fn transport(protocol: u8, bytes: &[u8], wire: u32) -> Transport<'_> {
    let parsed = match protocol {
        TCP => tcp(bytes, wire).map(Transport::Tcp),
        UDP => udp(bytes, wire).map(Transport::Udp),
        ICMP | ICMPV6 => icmp(protocol, bytes, wire).map(Transport::Icmp),
        _ => Some(Transport::Other),
    };
    parsed.unwrap_or(Transport::Malformed)
}

fn tcp(bytes: &[u8], wire: u32) -> Option<Tcp<'_>> {
    let header = TcpHeaderSlice::from_slice(bytes).ok()?;
    let header_len = header.slice().len();
    let mut options = Options::default();
    for option in header.options_iterator() {
        match option {
            Ok(TcpOptionElement::MaximumSegmentSize(mss)) => options.mss = Some(mss),
            Ok(TcpOptionElement::WindowScale(scale)) => options.window_scale = Some(scale),
            Ok(TcpOptionElement::SelectiveAcknowledgementPermitted) => {
                options.sack_permitted = true;
            }
            Ok(TcpOptionElement::Timestamp(value, echo)) => {
                options.timestamps = Some((value, echo));
            }
            Ok(TcpOptionElement::SelectiveAcknowledgement(first, rest)) => {
                options.sack = [Some(first), rest[0], rest[1], rest[2]];
            }
            Ok(_) => {}
            Err(_) => break,
        }
    }
    let flags = be16(bytes, 12)? & 0x1ff;
    Some(Tcp {
        source_port: header.source_port(),
        destination_port: header.destination_port(),
        seq: header.sequence_number(),
        ack: header.acknowledgment_number(),
        flags,
        window: header.window_size(),
        urgent: header.urgent_pointer(),
        options,
        header: header.slice(),
        payload: bytes.get(header_len..)?,
        payload_len: wire.checked_sub(header_len as u32)?,
    })
}

fn udp(bytes: &[u8], wire: u32) -> Option<Udp<'_>> {
    let length = u32::from(be16(bytes, 4)?);
    bytes.get(..8)?;
    // A length of 0 is one that does not fit.
    let length = if length < 8 { wire } else { length.min(wire) };
    let payload_len = length.checked_sub(8)?;
    let payload = bytes.get(8..)?;
    Some(Udp {
        source_port: be16(bytes, 0)?,
        destination_port: be16(bytes, 2)?,
        payload: payload.get(..payload_len as usize).unwrap_or(payload),
        payload_len,
    })
}

fn icmp(protocol: u8, bytes: &[u8], wire: u32) -> Option<Icmp<'_>> {
    let kind = *bytes.first()?;
    let is_echo = match protocol {
        ICMP => matches!(kind, 0 | 8 | 13 | 14),
        _ => matches!(kind, 128 | 129),
    };
    let echo = match (be16(bytes, 4), be16(bytes, 6)) {
        (Some(id), Some(seq)) if is_echo => Some((id, seq)),
        _ => None,
    };
    Some(Icmp {
        kind,
        code: *bytes.get(1)?,
        echo,
        message: bytes,
        message_len: wire,
    })
}

/// Returns the offset of the IP packet in a GRE packet (RFC 2784, RFC 2890), or in PPP inside of it.
fn gre_payload(bytes: &[u8]) -> Option<usize> {
    let (flags, ethertype) = (be16(bytes, 0)?, be16(bytes, 2)?);
    let optional = |bit: u16| if flags & bit != 0 { 4 } else { 0 };
    let mut at = 4 + optional(0x8000) + optional(0x2000) + optional(0x1000);
    match ethertype {
        IPV4 | IPV6 => Some(at),
        // Ethernet inside.
        0x6558 => match be16(bytes, at + 12)? {
            IPV4 | IPV6 => Some(at + 14),
            _ => None,
        },
        // PPP of the enhanced version, whose acknowledgment number is optional.
        0x880b => {
            at = 8 + optional(0x1000) + optional(0x0080);
            let at = match bytes.get(at..at + 2)? {
                [0xff, 3] => at + 2,
                _ => at,
            };
            match (bytes.get(at)?, be16(bytes, at)?) {
                (0x21 | 0x57, _) => Some(at + 1),
                (_, 0x21 | 0x57) => Some(at + 2),
                _ => None,
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
