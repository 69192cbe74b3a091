//! ICMP messages by the names that scripts use.

use std::net::{IpAddr, SocketAddr};

use packet::IpProto;
use packet::build::{Head, prepend_icmp};
use packet::icmp::{IcmpMessage, Icmpv4, Icmpv6};

use super::build::{ip, tcp_segment};
use crate::pktscript::ast::{Icmp, IpInfo, Quote, Tcp};

/// Names of the codes of a type.
type Codes = &'static [(&'static str, u8)];

const V4_UNREACHABLE: Codes = &[
    ("net_unreachable", 0),
    ("host_unreachable", 1),
    ("protocol_unreachable", 2),
    ("port_unreachable", 3),
    ("frag_needed", 4),
    ("source_route_failed", 5),
    ("net_unknown", 6),
    ("host_unknown", 7),
    ("source_host_isolated", 8),
    ("net_prohibited", 9),
    ("host_prohibited", 10),
    ("net_unreachable_for_tos", 11),
    ("host_unreachable_for_tos", 12),
    ("packet_filtered", 13),
    ("precedence_violation", 14),
    ("precedence_cutoff", 15),
];
const V4_EXCEEDED: Codes = &[("ttl_exceeded_in_transit", 0), ("frag_reass_exceeded", 1)];

const V4: &[(&str, u8, Codes)] = &[
    ("echo_reply", 0, &[]),
    ("unreachable", 3, V4_UNREACHABLE),
    ("source_quench", 4, &[]),
    ("redirect", 5, &[]),
    ("echo_request", 8, &[]),
    ("time_exceeded", 11, V4_EXCEEDED),
    ("parameter_problem", 12, &[]),
    ("timestamp_request", 13, &[]),
    ("timestamp_reply", 14, &[]),
    ("information_request", 15, &[]),
    ("information_reply", 16, &[]),
    ("address_mask_request", 17, &[]),
    ("address_mask_reply", 18, &[]),
];

const V6_UNREACHABLE: Codes = &[
    ("no_route", 0),
    ("net_unreachable", 0),
    ("admin_prohibited", 1),
    ("not_neighbour", 2),
    ("address_unreachable", 3),
    // What scripts for both versions say.
    ("host_unreachable", 3),
    ("port_unreachable", 4),
];
const V6_EXCEEDED: Codes = &[("exceeded_hop_limit", 0), ("exceeded_frag_time", 1)];
const V6_PROBLEM: Codes = &[
    ("header_field", 0),
    ("unknown_next_header", 1),
    ("unknown_option", 2),
];

const V6: &[(&str, u8, Codes)] = &[
    ("unreachable", 1, V6_UNREACHABLE),
    ("packet_too_big", 2, &[]),
    ("time_exceeded", 3, V6_EXCEEDED),
    ("parameter_problem", 4, V6_PROBLEM),
    ("echo_request", 128, &[]),
    ("echo_reply", 129, &[]),
];

/// Returns type and code of a message.
///
/// # Errors
/// The name is not one of this IP version.
pub fn numbers(message: &Icmp, v6: bool) -> Result<(u8, u8), String> {
    let version = if v6 { "ICMPv6" } else { "ICMP" };
    let types = if v6 { V6 } else { V4 };
    let (_, kind, codes) = types
        .iter()
        .find(|(name, ..)| *name == message.kind)
        .ok_or_else(|| format!("`{}` is no type of {version}", message.kind))?;
    let Some(name) = &message.code else {
        return Ok((*kind, 0));
    };
    let listed = codes.iter().find(|(code, _)| code == name);
    let number = name
        .strip_prefix("code_")
        .and_then(|code| code.parse().ok());
    listed
        .map(|(_, code)| *code)
        .or(number)
        .map(|code| (*kind, code))
        .ok_or_else(|| format!("`{name}` is no code of {version} {}", message.kind))
}

/// Returns the script's names for type and code.
pub fn names(kind: u8, code: u8, v6: bool) -> String {
    let types = if v6 { V6 } else { V4 };
    match types.iter().find(|(_, number, _)| *number == kind) {
        Some((name, _, codes)) => match codes.iter().find(|(_, number)| *number == code) {
            Some((code, _)) => format!("{name} {code}"),
            None if code == 0 => (*name).to_owned(),
            None => format!("{name} code_{code}"),
        },
        None => format!("type {kind} code {code}"),
    }
}

/// Returns an ICMP message to `local` about a packet that it sent to `remote`, whose sequence number is
/// `seq` on the wire.
///
/// # Errors
/// The message has names that are not known, or it cannot be built.
pub fn build(
    message: &Icmp,
    info: &IpInfo,
    local: SocketAddr,
    remote: SocketAddr,
    seq: u32,
) -> Result<Vec<u8>, String> {
    let v6 = local.is_ipv6();
    let (kind, code) = numbers(message, v6)?;
    let is_echo = message.kind.starts_with("echo");
    let quote = if is_echo {
        Vec::new()
    } else {
        quoted(message, local, remote, seq)?
    };
    let mut header = [0; 8];
    header[0] = kind;
    header[1] = code;
    match (message.mtu, message.id) {
        (Some(mtu), _) if v6 => header[4..8].copy_from_slice(&mtu.to_be_bytes()),
        (Some(mtu), _) => {
            let mtu = u16::try_from(mtu).map_err(|_| format!("an MTU of {mtu} is too large"))?;
            header[6..8].copy_from_slice(&mtu.to_be_bytes());
        }
        (None, Some(id)) => header[4..6].copy_from_slice(&id.to_be_bytes()),
        (None, None) => {}
    }
    let parsed: IcmpMessage = if v6 {
        Icmpv6::from_bytes(&header).into()
    } else {
        Icmpv4::from_bytes(&header).into()
    };
    let (from, to) = (remote.ip(), local.ip());
    let mut head = Head::new();
    prepend_icmp(
        &mut head,
        parsed,
        from,
        to,
        [&quote[..]].into_iter(),
        quote.len(),
    )
    .map_err(|error| error.to_string())?;
    let bytes = [head.as_slice(), &quote].concat();
    ip(from, to, proto(to), info, &bytes)
}

fn proto(address: IpAddr) -> IpProto {
    if address.is_ipv6() {
        IpProto::ICMPV6
    } else {
        IpProto::ICMP
    }
}

/// Returns the beginning of the packet that an error is about: the IP header and the transport header.
fn quoted(
    message: &Icmp,
    local: SocketAddr,
    remote: SocketAddr,
    seq: u32,
) -> Result<Vec<u8>, String> {
    let info = IpInfo {
        ttl: Some(64),
        ..IpInfo::default()
    };
    let (from, to) = (local.ip(), remote.ip());
    let (proto, header, len) = match message.quote {
        Quote::Tcp(_, len) => {
            let segment = Tcp {
                flags: 0x10,
                seq,
                options: Some(Vec::new()),
                ..Tcp::default()
            };
            let header = tcp_segment(local, remote, &segment, &[])?;
            (IpProto::TCP, header, usize::from(len))
        }
        Quote::Udp(len) => {
            let mut header = Vec::new();
            header.extend(local.port().to_be_bytes());
            header.extend(remote.port().to_be_bytes());
            header.extend((len.saturating_add(8)).to_be_bytes());
            header.extend([0; 2]);
            (IpProto::UDP, header, usize::from(len))
        }
        Quote::Raw(len) => (IpProto(253), vec![0; 8], usize::from(len)),
    };
    // The IP header says how long the whole packet was; of its payload nothing more is quoted.
    let header_len = header.len();
    let whole = ip(from, to, proto, &info, &[header, vec![0; len]].concat())?;
    let ip_len = whole.len() - header_len - len;
    Ok(whole.get(..ip_len + header_len).unwrap_or(&whole).to_vec())
}
