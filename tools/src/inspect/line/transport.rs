//! The transport's part of a line.

use std::fmt::Write as _;

use crate::capture::link::be16;
use crate::capture::packet::{ICMP, Icmp, Packet, TCP, Tcp, Transport, UDP, flags};
use crate::inspect::flow::{Detail, Flow};

/// Writes the transport's header.
pub(super) fn transport(line: &mut String, packet: &Packet<'_>, flow: Option<(&Flow, usize)>) {
    match &packet.transport {
        Transport::Tcp(segment) => tcp(line, segment, flow),
        Transport::Udp(udp) => {
            // The first fragment has the length of the whole datagram.
            let length = match (packet.fragment, be16(packet.payload(), 4)) {
                (Some(_), Some(length)) => u32::from(length).saturating_sub(8),
                _ => udp.payload_len,
            };
            let _ = write!(line, "UDP, length {length}");
        }
        Transport::Icmp(message) => icmp(line, packet, message),
        Transport::Malformed => {
            let name = match packet.protocol {
                TCP => "tcp",
                UDP => "udp",
                _ => "icmp",
            };
            let _ = write!(line, "[|{name}]");
        }
        Transport::Other | Transport::LaterFragment => {
            let _ = write!(
                line,
                "ip-proto-{}, length {}",
                packet.protocol, packet.payload_len
            );
        }
    }
}

/// Returns the flags of a segment as tcpdump's letters.
pub fn flag_letters(bits: u16) -> String {
    const LETTERS: [(u16, char); 9] = [
        (flags::FIN, 'F'),
        (flags::SYN, 'S'),
        (flags::RST, 'R'),
        (flags::PSH, 'P'),
        (flags::ACK, '.'),
        (flags::URG, 'U'),
        (flags::ECE, 'E'),
        (flags::CWR, 'W'),
        (flags::AE, 'e'),
    ];
    let text: String = LETTERS
        .iter()
        .filter(|(bit, _)| bits & bit != 0)
        .map(|(_, letter)| letter)
        .collect();
    if text.is_empty() {
        "none".to_owned()
    } else {
        text
    }
}

/// Writes a segment, with sequence numbers relative to the connection's first ones.
fn tcp(line: &mut String, tcp: &Tcp<'_>, flow: Option<(&Flow, usize)>) {
    let [ours, theirs] = starts(tcp, flow);
    let _ = write!(line, "Flags [{}]", flag_letters(tcp.flags));
    let seq = tcp.seq.wrapping_sub(ours);
    if tcp.payload_len > 0 {
        let _ = write!(line, ", seq {seq}:{}", seq.wrapping_add(tcp.payload_len));
    } else if tcp.flags & (flags::SYN | flags::FIN | flags::RST) != 0 {
        let _ = write!(line, ", seq {seq}");
    }
    if tcp.has(flags::ACK) {
        let _ = write!(line, ", ack {}", tcp.ack.wrapping_sub(theirs));
    }
    let _ = write!(line, ", win {}", tcp.window);
    if tcp.has(flags::URG) {
        let _ = write!(line, ", urg {}", tcp.urgent);
    }
    options(line, tcp, theirs);
    let _ = write!(line, ", length {}", tcp.payload_len);
}

/// Returns the numbers that the segment's are relative to: none for a SYN, and without an acknowledgment.
fn starts(tcp: &Tcp<'_>, flow: Option<(&Flow, usize)>) -> [u32; 2] {
    let Some((flow, side)) = flow.filter(|_| tcp.flags & (flags::SYN | flags::ACK) == flags::ACK)
    else {
        return [0, 0];
    };
    match &flow.detail {
        Detail::Tcp(analysis) => [side, 1 - side].map(|side| analysis.first_seq(side).unwrap_or(0)),
        _ => [0, 0],
    }
}

fn options(line: &mut String, tcp: &Tcp<'_>, theirs: u32) {
    let Some(mut rest) = tcp.header.get(20..).filter(|rest| !rest.is_empty()) else {
        return;
    };
    let mut texts: Vec<String> = Vec::new();
    while let Some((&kind, after)) = rest.split_first() {
        match kind {
            0 => {
                texts.push("eol".to_owned());
                break;
            }
            1 => {
                texts.push("nop".to_owned());
                rest = after;
                continue;
            }
            _ => {}
        }
        let len = after.first().copied().map_or(0, usize::from);
        let Some(value) = rest.get(2..len) else {
            texts.push(format!("[malformed option {kind}]"));
            break;
        };
        texts.push(option(kind, value, theirs));
        rest = rest.get(len..).unwrap_or_default();
    }
    let _ = write!(line, ", options [{}]", texts.join(","));
}

fn option(kind: u8, value: &[u8], theirs: u32) -> String {
    let word = |at: usize| -> u32 {
        let four: Option<[u8; 4]> = value.get(at..at + 4).and_then(|b| b.try_into().ok());
        four.map_or(0, u32::from_be_bytes)
    };
    match (kind, value.len()) {
        (2, 2) => format!("mss {}", be16(value, 0).unwrap_or(0)),
        (3, 1) => format!("wscale {}", value.first().copied().unwrap_or(0)),
        (4, 0) => "sackOK".to_owned(),
        (5, len) if len % 8 == 0 => {
            let blocks: Vec<String> = (0..len / 8)
                .map(|block| {
                    let edge = |at| word(block * 8 + at).wrapping_sub(theirs);
                    format!("{{{}:{}}}", edge(0), edge(4))
                })
                .collect();
            format!("sack {} {}", blocks.len(), blocks.join(""))
        }
        (8, 8) => format!("TS val {} ecr {}", word(0), word(4)),
        (34, _) => {
            let cookie = hex(value);
            if cookie.is_empty() {
                "tfo cookiereq".to_owned()
            } else {
                format!("tfo cookie {cookie}")
            }
        }
        (_, 0) => format!("unknown-{kind}"),
        _ => format!("unknown-{kind} 0x{}", hex(value)),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn icmp(line: &mut String, packet: &Packet<'_>, icmp: &Icmp<'_>) {
    let v4 = packet.protocol == ICMP;
    line.push_str(if v4 { "ICMP " } else { "ICMP6, " });
    let length = icmp.message_len;
    let quoted = icmp.message.get(8..).unwrap_or_default();
    let quoted = Packet::parse(quoted, quoted.len() as u32);
    let to = quoted
        .as_ref()
        .map_or_else(|| "?".to_owned(), |quoted| quoted.destination.to_string());
    let text = match (v4, icmp.kind, icmp.code) {
        (true, 8, _) | (false, 128, _) => echo("echo request", icmp),
        (true, 0, _) | (false, 129, _) => echo("echo reply", icmp),
        (true, 3, 0) => format!("net {to} unreachable"),
        (true, 3, 1) => format!("host {to} unreachable"),
        (true, 3, 2) => format!("{to} protocol unreachable"),
        (true, 3, 3) | (false, 1, 4) => match quoted.as_ref().and_then(Packet::ports) {
            Some((_, port)) => {
                let name = match quoted.as_ref().map(|quoted| quoted.protocol) {
                    Some(TCP) => "tcp",
                    _ => "udp",
                };
                if v4 {
                    format!("{to} {name} port {port} unreachable")
                } else {
                    format!("destination unreachable, unreachable port, {to} {name} port {port}")
                }
            }
            None => format!("{to} port unreachable"),
        },
        (true, 3, 4) => {
            let mtu = be16(icmp.message, 6).unwrap_or(0);
            format!("{to} unreachable - need to frag (mtu {mtu})")
        }
        (false, 2, _) => {
            let high = u32::from(be16(icmp.message, 4).unwrap_or(0));
            let mtu = (high << 16) | u32::from(be16(icmp.message, 6).unwrap_or(0));
            format!("packet too big, mtu {mtu}")
        }
        (true, 11, 0) => "time exceeded in-transit".to_owned(),
        (true, 11, _) => "ip reassembly time exceeded".to_owned(),
        (false, 3, _) => format!("time exceeded in-transit for {to}"),
        (false, 133, _) => "router solicitation".to_owned(),
        (false, 134, _) => "router advertisement".to_owned(),
        (false, 135, _) => "neighbor solicitation".to_owned(),
        (false, 136, _) => "neighbor advertisement".to_owned(),
        (false, 143, _) => "multicast listener report v2".to_owned(),
        (_, kind, code) => format!("type-#{kind} code-#{code}"),
    };
    let _ = write!(line, "{text}, length {length}");
}

fn echo(name: &str, icmp: &Icmp<'_>) -> String {
    match icmp.echo {
        Some((id, seq)) => format!("{name}, id {id}, seq {seq}"),
        None => name.to_owned(),
    }
}
