//! Packets that the stack sent, with the fields that scripts name.

use std::net::{IpAddr, SocketAddr};

use packet::icmp::{Icmpv4View, Icmpv6View};
use packet::ip::AnyIpPacket;
use packet::tcp::{TcpOption, TcpView};
use packet::udp::UdpView;
use packet::{IpProto, RxChecksum};

use crate::pktscript::ast::{Tcp, TcpOpt};

/// A packet that the stack sent.
#[derive(Clone, PartialEq, Debug)]
pub struct Seen {
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// Type of service or traffic class.
    pub tos: u8,
    /// Time to live or hop limit.
    pub ttl: u8,
    /// Flow label; 0 in IPv4.
    pub flow_label: u32,
    /// The payload.
    pub body: SeenBody,
}

/// The payload of a packet that the stack sent.
#[derive(Clone, PartialEq, Debug)]
pub enum SeenBody {
    /// A TCP segment, with the numbers of the wire.
    Tcp {
        /// Source port.
        src_port: u16,
        /// Destination port.
        dst_port: u16,
        /// The header.
        header: Tcp,
        /// The payload.
        payload: Vec<u8>,
    },
    /// A UDP datagram.
    Udp {
        /// Source port.
        src_port: u16,
        /// Destination port.
        dst_port: u16,
        /// The payload.
        payload: Vec<u8>,
    },
    /// An ICMP message.
    Icmp {
        /// Its type.
        kind: u8,
        /// Its code.
        code: u8,
    },
    /// A packet that cannot be read, with the reason.
    Other(String),
}

impl Seen {
    /// Returns the source with its port, if there is one.
    pub fn source(&self) -> SocketAddr {
        let port = match &self.body {
            SeenBody::Tcp { src_port, .. } | SeenBody::Udp { src_port, .. } => *src_port,
            _ => 0,
        };
        SocketAddr::new(self.src, port)
    }

    /// Returns the destination with its port, if there is one.
    pub fn destination(&self) -> SocketAddr {
        let port = match &self.body {
            SeenBody::Tcp { dst_port, .. } | SeenBody::Udp { dst_port, .. } => *dst_port,
            _ => 0,
        };
        SocketAddr::new(self.dst, port)
    }
}

/// Reads a packet; `None` if it is no IP packet.
pub fn read(bytes: &[u8]) -> Option<Seen> {
    let packet = AnyIpPacket::parse(bytes)?;
    let (tos, ttl, flow_label) = match &packet {
        AnyIpPacket::V4(packet) => (packet.traffic_class(), packet.ttl(), 0),
        AnyIpPacket::V6(packet) => (packet.traffic_class(), packet.ttl(), packet.flow_label()),
    };
    let (src, dst) = (packet.src(), packet.dst());
    let payload = packet.payload();
    let body = if packet.fragment().is_some() {
        Ok(SeenBody::Other("a fragment".to_owned()))
    } else {
        match packet.proto() {
            IpProto::TCP => tcp(src, dst, payload),
            IpProto::UDP => udp(src, dst, payload),
            IpProto::ICMP => icmp_v4(payload),
            IpProto::ICMPV6 => icmp_v6(src, dst, payload),
            proto => Ok(SeenBody::Other(format!("protocol {}", proto.0))),
        }
    };
    Some(Seen {
        src,
        dst,
        tos,
        ttl,
        flow_label,
        body: body.unwrap_or_else(SeenBody::Other),
    })
}

fn tcp(src: IpAddr, dst: IpAddr, bytes: &[u8]) -> Result<SeenBody, String> {
    let view =
        TcpView::parse(src, dst, bytes, RxChecksum::Unknown).map_err(|error| error.to_string())?;
    let wire = view.wire();
    let flags = wire.control().bits();
    let payload = view.payload().to_vec();
    let option_bytes = bytes.get(20..view.header_len()).unwrap_or_default();
    let header = Tcp {
        flags,
        seq: wire.seq.get(),
        len: u16::try_from(payload.len()).unwrap_or(u16::MAX),
        ack: Some(wire.ack.get()),
        window: Some(wire.window.get()),
        urgent: Some(wire.urgent.get()),
        options: Some(options(&view, option_bytes)),
        ..Tcp::default()
    };
    Ok(SeenBody::Tcp {
        src_port: wire.src_port.get(),
        dst_port: wire.dst_port.get(),
        header,
        payload,
    })
}

/// Returns the options in their order, those at the end of the list included.
fn options(view: &TcpView<'_>, bytes: &[u8]) -> Vec<TcpOpt> {
    let mut found = Vec::new();
    let mut len = 0;
    for option in view.all_options() {
        let (read, taken) = one(option);
        len += taken;
        found.push(read);
    }
    // What follows the end of the list is padding.
    let rest = bytes.get(len..).unwrap_or_default();
    found.extend(rest.iter().map(|_| TcpOpt::Eol));
    found
}

/// Returns an option as scripts have it, and its length.
fn one(option: TcpOption<'_>) -> (TcpOpt, usize) {
    match option {
        TcpOption::Nop => (TcpOpt::Nop, 1),
        TcpOption::Mss(mss) => (TcpOpt::Mss(mss), 4),
        TcpOption::WindowScale(shift) => (TcpOpt::WindowScale(shift), 3),
        TcpOption::SackPermitted => (TcpOpt::SackOk, 2),
        TcpOption::Sack(blocks) => (
            TcpOpt::Sack(blocks.as_slice().to_vec()),
            2 + 8 * blocks.len(),
        ),
        TcpOption::Timestamps(stamps) => (
            TcpOpt::Timestamps {
                val: stamps.val,
                ecr: stamps.ecr,
            },
            10,
        ),
        TcpOption::UserTimeout { minutes, value } => {
            let word = u16::from(minutes) << 15 | value;
            let data = word.to_be_bytes().to_vec();
            (TcpOpt::Other { kind: 28, data }, 4)
        }
        TcpOption::FastOpenExperimental(cookie) => (
            TcpOpt::FastOpenExperimental(cookie.to_vec()),
            4 + cookie.len(),
        ),
        TcpOption::FastOpen(cookie) => (TcpOpt::FastOpen(cookie.to_vec()), 2 + cookie.len()),
        TcpOption::AccEcn(counters) => {
            let (first, last) = if counters.is_ect1_first() {
                (counters.ect1(), counters.ect0())
            } else {
                (counters.ect0(), counters.ect1())
            };
            let list: Vec<u32> = [first, counters.ce(), last].into_iter().flatten().collect();
            let len = 2 + 3 * list.len();
            let option = TcpOpt::AccEcn {
                ect1_first: counters.is_ect1_first(),
                counters: list,
            };
            (option, len)
        }
        TcpOption::Md5(signature) => (TcpOpt::Md5(Some(signature.to_vec())), 2 + signature.len()),
        TcpOption::Authentication {
            key_id,
            next_key_id,
            code,
        } => {
            let data = [&[key_id, next_key_id], code].concat();
            let len = 2 + data.len();
            (TcpOpt::Other { kind: 29, data }, len)
        }
        TcpOption::Unknown { kind, data } => {
            let len = 2 + data.len();
            let experimental = data.strip_prefix(&[0xf9, 0x89]).filter(|_| kind == 254);
            let option = match experimental {
                Some(cookie) => TcpOpt::FastOpenExperimental(cookie.to_vec()),
                // A cookie of a length that is not valid.
                None if kind == 34 => TcpOpt::FastOpen(data.to_vec()),
                None => TcpOpt::Other {
                    kind,
                    data: data.to_vec(),
                },
            };
            (option, len)
        }
        _ => (
            TcpOpt::Other {
                kind: 255,
                data: Vec::new(),
            },
            2,
        ),
    }
}

fn udp(src: IpAddr, dst: IpAddr, bytes: &[u8]) -> Result<SeenBody, String> {
    let view =
        UdpView::parse(src, dst, bytes, RxChecksum::Unknown).map_err(|error| error.to_string())?;
    Ok(SeenBody::Udp {
        src_port: view.src_port(),
        dst_port: view.dst_port(),
        payload: view.payload().to_vec(),
    })
}

fn icmp_v4(bytes: &[u8]) -> Result<SeenBody, String> {
    Icmpv4View::parse(bytes, RxChecksum::Unknown).map_err(|error| error.to_string())?;
    icmp(bytes)
}

fn icmp_v6(src: IpAddr, dst: IpAddr, bytes: &[u8]) -> Result<SeenBody, String> {
    let (IpAddr::V6(src), IpAddr::V6(dst)) = (src, dst) else {
        return Err("ICMPv6 in IPv4".to_owned());
    };
    Icmpv6View::parse(src, dst, bytes, RxChecksum::Unknown).map_err(|error| error.to_string())?;
    icmp(bytes)
}

fn icmp(bytes: &[u8]) -> Result<SeenBody, String> {
    match bytes {
        [kind, code, ..] => Ok(SeenBody::Icmp {
            kind: *kind,
            code: *code,
        }),
        _ => Err("an ICMP message without a code".to_owned()),
    }
}
