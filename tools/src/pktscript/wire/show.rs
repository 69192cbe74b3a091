//! Packets as scripts write them.

use std::fmt::Write as _;

use super::icmp::names;
use super::read::{Seen, SeenBody};
use crate::pktscript::ast::{Body, Direction, Ecn, IpInfo, Packet, Quote, Tcp, TcpOpt};

/// The letters of the control bits, in the order in which scripts write them.
const LETTERS: [(u16, char); 9] = [
    (0x01, 'F'),
    (0x02, 'S'),
    (0x04, 'R'),
    (0x08, 'P'),
    (0x20, 'U'),
    (0x40, 'E'),
    (0x80, 'W'),
    (0x100, 'A'),
    (0x10, '.'),
];

/// Returns control bits as letters.
pub fn flags(bits: u16) -> String {
    let letters: String = LETTERS
        .iter()
        .filter(|(bit, _)| bits & bit != 0)
        .map(|(_, letter)| letter)
        .collect();
    if letters.is_empty() {
        "-".to_owned()
    } else {
        letters
    }
}

/// Returns a list of options in angle brackets; nothing for an empty one.
pub fn options(options: Option<&[TcpOpt]>) -> String {
    match options {
        None => "<...>".to_owned(),
        Some([]) => String::new(),
        Some(list) => {
            let list: Vec<String> = list.iter().map(option).collect();
            format!("<{}>", list.join(","))
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Returns an option as scripts write it.
pub fn option(option: &TcpOpt) -> String {
    let with_bytes = |name: &str, bytes: &[u8]| match bytes {
        [] => name.to_owned(),
        bytes => format!("{name} {}", hex(bytes)),
    };
    match option {
        TcpOpt::Nop => "nop".to_owned(),
        TcpOpt::Eol => "eol".to_owned(),
        TcpOpt::Mss(mss) => format!("mss {mss}"),
        TcpOpt::WindowScale(shift) => format!("wscale {shift}"),
        TcpOpt::SackOk => "sackOK".to_owned(),
        TcpOpt::Sack(blocks) => blocks
            .iter()
            .fold("sack".to_owned(), |text, (left, right)| {
                format!("{text} {left}:{right}")
            }),
        TcpOpt::Timestamps { val, ecr } => format!("TS val {val} ecr {ecr}"),
        TcpOpt::Md5(None) => "md5 valid".to_owned(),
        TcpOpt::Md5(Some(signature)) => with_bytes("md5", signature),
        TcpOpt::FastOpen(cookie) => with_bytes("FO", cookie),
        TcpOpt::FastOpenExperimental(cookie) => with_bytes("FOEXP", cookie),
        TcpOpt::AccEcn {
            ect1_first,
            counters,
        } => {
            let order = if *ect1_first {
                ["e1b", "ceb", "e0b"]
            } else {
                ["e0b", "ceb", "e1b"]
            };
            order
                .iter()
                .zip(counters)
                .fold("ECN".to_owned(), |text, (name, counter)| {
                    format!("{text} {name} {counter}")
                })
        }
        TcpOpt::Other { kind, data } => with_bytes(&format!("kind {kind}"), data),
    }
}

/// Returns a segment as scripts write it.
pub fn tcp(segment: &Tcp) -> String {
    let end = segment.seq.wrapping_add(segment.len.into());
    let mut text = format!(
        "{} {}:{end}({})",
        flags(segment.flags),
        segment.seq,
        segment.len
    );
    if segment.is_any_seq {
        text = format!("{} ...({})", flags(segment.flags), segment.len);
    }
    if segment.is_absolute {
        text.push('!');
    }
    if let Some(ack) = segment.ack
        && (segment.flags & 0x10 != 0 || ack != 0)
    {
        let _ = write!(text, " ack {ack}");
    }
    if let Some(window) = segment.window {
        let _ = write!(text, " win {window}");
    }
    if let Some(urgent) = segment.urgent
        && urgent != 0
    {
        let _ = write!(text, " urg {urgent}");
    }
    let options = options(segment.options.as_deref());
    if !options.is_empty() {
        text.push(' ');
        text.push_str(&options);
    }
    text
}

fn ip_info(info: &IpInfo) -> String {
    let mut parts = Vec::new();
    match info.ecn {
        Some(Ecn::Bits(bits)) => parts.push(ecn(bits).to_owned()),
        Some(Ecn::AnyEct) => parts.push("ect01".to_owned()),
        None => {}
    }
    if let Some(tos) = info.tos {
        parts.push(format!("tos 0x{tos:x}"));
    }
    if let Some(ttl) = info.ttl {
        parts.push(format!("ttl {ttl}"));
    }
    if let Some(label) = info.flow_label {
        parts.push(format!("flowlabel 0x{label:x}"));
    }
    if parts.is_empty() {
        String::new()
    } else {
        format!("[{}] ", parts.join(","))
    }
}

/// Returns the name of the two bits of congestion notification.
pub fn ecn(bits: u8) -> &'static str {
    match bits & 3 {
        0 => "noecn",
        1 => "ect1",
        2 => "ect0",
        _ => "ce",
    }
}

/// Returns a packet of a script as the script writes it.
pub fn packet(packet: &Packet) -> String {
    let arrow = match packet.direction {
        Direction::In => "<",
        Direction::Out => ">",
    };
    let ports = packet
        .ports
        .map(|(from, to)| format!("{from} > {to} "))
        .unwrap_or_default();
    let body = match &packet.body {
        Body::Tcp(segment) => format!("{ports}{}", tcp(segment)),
        Body::Udp(len) => format!("udp {ports}({len})"),
        Body::Icmp(message) => {
            let mut text = format!("icmp {}", message.kind);
            if let Some(code) = &message.code {
                let _ = write!(text, " {code}");
            }
            if let Some(mtu) = message.mtu {
                let _ = write!(text, " mtu {mtu}");
            }
            if let Quote::Tcp(seq, len) = message.quote {
                let _ = write!(text, " [{seq}:{}({len})]", seq.wrapping_add(len.into()));
            }
            text
        }
    };
    format!("{arrow} {}{body}", ip_info(&packet.ip))
}

/// Returns a packet that the stack sent; the numbers of a segment are those of `segment`.
pub fn seen(seen: &Seen, segment: Option<&Tcp>) -> String {
    let mark = match seen.tos & 3 {
        0 => String::new(),
        bits => format!("[{}] ", ecn(bits)),
    };
    match &seen.body {
        SeenBody::Tcp { header, .. } => format!("> {mark}{}", tcp(segment.unwrap_or(header))),
        SeenBody::Udp { payload, .. } => format!("> {mark}udp ({})", payload.len()),
        SeenBody::Icmp { kind, code } => {
            format!("> {mark}icmp {}", names(*kind, *code, seen.src.is_ipv6()))
        }
        SeenBody::Other(what) => format!("> {mark}a packet that cannot be read: {what}"),
    }
}
