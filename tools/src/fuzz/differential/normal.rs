//! Packets of a host as lines that are the same for every host that does the same.
//!
//! Left out is what a host may choose: initial sequence numbers, IP identifiers, flow labels, the offset of its
//! timestamps, the size and scale of its windows, the order of options, and where it pushes.

use std::fmt::Write as _;
use std::net::IpAddr;

use packet::ip::AnyIpPacket;

use super::peer::{Flow, Peer};
use crate::pktscript::ast::{Tcp, TcpOpt};
use crate::pktscript::wire::read::{Seen, SeenBody};
use crate::pktscript::wire::show;

const PSH: u16 = 0x08;
const ACK: u16 = 0x10;
const RST: u16 = 0x04;
/// Packets of the peer that are the last moments.
const RECENT: u32 = 40;
/// Messages of the kernel's own accord: multicast listeners, router and neighbour solicitations.
const OWN_ACCORD: [u8; 6] = [131, 132, 133, 135, 136, 143];

/// Returns true for packets that a host sends without being asked.
pub(super) fn is_of_own_accord(seen: &Seen, bytes: &[u8]) -> bool {
    let kind = match &seen.body {
        SeenBody::Icmp { kind, .. } if seen.src.is_ipv6() => *kind,
        // Behind a hop-by-hop header with a router alert.
        _ if seen.src.is_ipv6() && bytes.get(6) == Some(&0) => return seen.dst.is_multicast(),
        _ => return seen.src.is_ipv4() && bytes.get(9) == Some(&2),
    };
    OWN_ACCORD.contains(&kind)
}

/// Returns a hash of bytes.
pub(super) fn digest(bytes: &[u8]) -> String {
    let hash = bytes.iter().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    });
    format!("{} bytes #{hash:08x}", bytes.len())
}

/// Returns the line for a packet; `arrived` is the one that it may answer.
pub(super) fn line(bytes: &[u8], seen: &Seen, peer: &Peer, arrived: &[u8]) -> String {
    let body = match &seen.body {
        SeenBody::Tcp {
            src_port,
            dst_port,
            header,
            payload,
        } => tcp(peer, (*src_port, *dst_port), header, payload),
        SeenBody::Udp {
            src_port,
            dst_port,
            payload,
        } => format!(
            "udp {}>{dst_port} {}",
            peer.place.name(*src_port),
            digest(payload)
        ),
        SeenBody::Icmp { kind, code } => icmp(*kind, *code, bytes, arrived),
        SeenBody::Other(what) => other(what, bytes),
    };
    let repeated = match &seen.body {
        SeenBody::Tcp {
            src_port,
            dst_port,
            header,
            ..
        } => duplicate(peer.flow(*src_port, *dst_port), header),
        _ => None,
    };
    let end = repeated.map(|(from, to)| format!(" (dsack {from}:{to})"));
    format!("{body}{}{}", ip(bytes, seen, peer), end.unwrap_or_default())
}

/// Returns what is unusual about the headers of IP.
fn ip(bytes: &[u8], seen: &Seen, peer: &Peer) -> String {
    let mut text = String::new();
    if seen.ttl != 64 {
        let _ = write!(text, " ttl {}", seen.ttl);
    }
    let v4 = match AnyIpPacket::parse(bytes) {
        Some(AnyIpPacket::V4(packet)) => Some(packet),
        _ => None,
    };
    if v4.as_ref().is_some_and(|packet| packet.dont_fragment()) {
        text.push_str(" df");
    }
    let path = peer.place.path;
    if seen.src != path.to {
        let _ = write!(text, " from {}", name(seen.src));
    }
    if seen.dst != path.from {
        let _ = write!(text, " to {}", name(seen.dst));
    }
    if seen.tos != 0 {
        let _ = write!(text, " tos 0x{:x}", seen.tos);
    }
    if let Some(packet) = v4.filter(|packet| packet.header_len() > 20) {
        let _ = write!(text, " options {:02x?}", &bytes[20..packet.header_len()]);
    }
    text
}

fn name(address: IpAddr) -> String {
    address.to_string()
}

fn other(what: &str, bytes: &[u8]) -> String {
    match AnyIpPacket::parse(bytes) {
        Some(packet) => format!(
            "{what} {} {}",
            packet.fragment().map_or_else(String::new, |part| format!(
                "at {}{}",
                part.offset_bytes,
                if part.more { " more" } else { "" }
            )),
            digest(packet.payload())
        ),
        None => format!("{what} {}", digest(bytes)),
    }
}

fn icmp(kind: u8, code: u8, bytes: &[u8], arrived: &[u8]) -> String {
    let payload = AnyIpPacket::parse(bytes).map(|packet| packet.payload().to_vec());
    let payload = payload.unwrap_or_default();
    let rest = payload.get(4..8).unwrap_or_default();
    let body = payload.get(8..).unwrap_or_default();
    let what = if !body.is_empty() && arrived.starts_with(body) {
        // The packet itself, or the whole of it.
        format!("quotes {}", body.len())
    } else {
        digest(body)
    };
    format!("icmp {kind}/{code} {rest:02x?} {what}")
}

fn tcp(peer: &Peer, ports: (u16, u16), header: &Tcp, payload: &[u8]) -> String {
    let flow = peer.flow(ports.0, ports.1);
    let mut text = format!(
        "tcp {}>{} {}",
        peer.place.name(ports.0),
        ports.1,
        show::flags(header.flags & !PSH)
    );
    let own = match flow.and_then(|flow| flow.host_isn) {
        // Of a reset for a segment that acknowledges nothing.
        _ if header.seq == 0 && header.flags & RST != 0 => "zero".to_owned(),
        Some(isn) => format!("{}", header.seq.wrapping_sub(isn).cast_signed()),
        None => format!("0x{:x}", header.seq),
    };
    let _ = write!(text, " seq {own}");
    let theirs = |number: u32| match flow {
        Some(flow) => flow
            .edges
            .get(&number)
            .cloned()
            .unwrap_or_else(|| number.wrapping_sub(flow.isn).cast_signed().to_string()),
        None => format!("0x{number:x}"),
    };
    let ack = header.ack.unwrap_or(0);
    if header.flags & ACK != 0 {
        let _ = write!(text, " ack {}", theirs(ack));
    } else if ack != 0 {
        let _ = write!(text, " ack field {ack:x}");
    }
    if header.window == Some(0) && header.flags & RST == 0 {
        text.push_str(" window 0");
    }
    if let Some(urgent) = header.urgent.filter(|urgent| *urgent != 0) {
        let _ = write!(text, " urgent {urgent}");
    }
    let options = header.options.as_deref().unwrap_or_default();
    let skip = usize::from(duplicate(flow, header).is_some());
    let names = options
        .iter()
        .filter_map(|one| option(one, skip, peer.clock, theirs));
    let mut names: Vec<String> = names.collect();
    names.sort();
    if !names.is_empty() {
        let _ = write!(text, " <{}>", names.join(","));
    }
    if !payload.is_empty() {
        let _ = write!(text, " {}", digest(payload));
    }
    text
}

/// Returns the block that reports data received twice (RFC 2883), if the segment has one: as numbers of the stream.
fn duplicate(flow: Option<&Flow>, header: &Tcp) -> Option<(i32, i32)> {
    let isn = flow?.isn;
    let blocks = header
        .options
        .iter()
        .flatten()
        .find_map(|option| match option {
            TcpOpt::Sack(blocks) => blocks.first(),
            _ => None,
        });
    let (from, to) = *blocks?;
    let place = |number: u32| number.wrapping_sub(isn).cast_signed();
    let is_known = header.ack.unwrap_or(0).wrapping_sub(to).cast_signed() >= 0;
    is_known.then(|| (place(from), place(to)))
}

/// Returns the name of an option, without the first `skip` blocks. An echo of a time stamp of the last moments is not
/// told from another one: which segments count is a matter of their order.
fn option(
    option: &TcpOpt,
    skip: usize,
    clock: u32,
    theirs: impl Fn(u32) -> String,
) -> Option<String> {
    Some(match option {
        TcpOpt::Nop | TcpOpt::Eol => return None,
        TcpOpt::WindowScale(_) => "scale".to_owned(),
        TcpOpt::Timestamps { ecr, .. } if clock.wrapping_sub(*ecr) < RECENT => "stamps".to_owned(),
        TcpOpt::Timestamps { ecr, .. } => format!("stamps ecr {ecr}"),
        TcpOpt::Sack(blocks) if blocks.len() <= skip => return None,
        TcpOpt::Sack(blocks) => {
            let blocks = blocks
                .iter()
                .skip(skip)
                .map(|(from, to)| format!("{}:{}", theirs(*from), theirs(*to)));
            format!("sack {}", blocks.collect::<Vec<_>>().join(" "))
        }
        other => show::option(other),
    })
}
