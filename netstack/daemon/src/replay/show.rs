//! A packet as one line, and the fields in which two packets differ. Reads packets of any content.

use std::fmt::Write as _;
use std::net::SocketAddr;

use packet::IpProto;
use packet::ip::Outline;
use packet::tcp::{TcpFlags, TcpOption, TcpUnverified};

/// Returns the ends of a packet's flow.
pub(super) fn flow(bytes: &[u8]) -> Option<String> {
    let outline = Outline::read(bytes)?;
    Some(match outline.ports() {
        Some((from, to)) => format!(
            "{} > {}",
            SocketAddr::new(outline.src, from),
            SocketAddr::new(outline.dst, to)
        ),
        None => format!("{} > {}", outline.src, outline.dst),
    })
}

/// Returns a packet as one line.
pub(super) fn line(bytes: &[u8]) -> String {
    let Some(flow) = flow(bytes) else {
        return format!("{} bytes that are no packet", bytes.len());
    };
    let mut line = flow;
    for (name, value) in fields(bytes) {
        // Writing to a String does not fail.
        let _ = write!(line, " {name}={value}");
    }
    line
}

/// Returns the fields in which two packets differ, or the first byte.
pub(super) fn differing(recorded: &[u8], replayed: &[u8]) -> String {
    let (before, now) = (fields(recorded), fields(replayed));
    let mut texts = Vec::new();
    if flow(recorded) != flow(replayed) {
        texts.push("another flow".to_owned());
    }
    for (name, value) in &now {
        match before.iter().find(|(other, _)| other == name) {
            Some((_, old)) if old == value => {}
            Some((_, old)) => texts.push(format!("{name}={value} instead of {old}")),
            None => texts.push(format!("{name}={value} is new")),
        }
    }
    for (name, _) in &before {
        if !now.iter().any(|(other, _)| other == name) {
            texts.push(format!("no {name}"));
        }
    }
    let same = recorded.iter().zip(replayed).take_while(|(a, b)| a == b);
    let at = same.count();
    texts.push(format!("the first byte that differs is {at}"));
    texts.join(", ")
}

type Fields = Vec<(&'static str, String)>;

fn fields(bytes: &[u8]) -> Fields {
    let Some(outline) = Outline::read(bytes) else {
        return Vec::new();
    };
    let mut fields = vec![("ip.len", outline.total_len.to_string())];
    match bytes {
        [0x40..=0x4f, dscp, _, _, id_high, id_low, _, _, ttl, ..] => {
            let id = u16::from_be_bytes([*id_high, *id_low]);
            fields.push(("ip.id", id.to_string()));
            fields.push(("ip.dscp", dscp.to_string()));
            fields.push(("ip.ttl", ttl.to_string()));
        }
        [a, b, c, d, _, _, _, hops, ..] => {
            let word = u32::from_be_bytes([*a, *b, *c, *d]);
            fields.push(("ip.dscp", (word >> 20 & 0xff).to_string()));
            fields.push(("ip.label", (word & 0xf_ffff).to_string()));
            fields.push(("ip.ttl", hops.to_string()));
        }
        _ => {}
    }
    if let Some(part) = outline.fragment {
        fields.push(("ip.offset", part.offset_bytes.to_string()));
    }
    let transport = outline.transport;
    if outline.is_later_fragment() {
        fields.push(("length", transport.len().to_string()));
        return fields;
    }
    match outline.proto {
        IpProto::TCP => tcp(transport, &mut fields),
        IpProto::UDP => {
            fields.push(("udp.len", transport.len().saturating_sub(8).to_string()));
        }
        proto => {
            fields.push(("proto", format!("{proto:?}")));
            if let [kind, code, ..] = transport {
                fields.push(("type", format!("{kind}/{code}")));
            }
            fields.push(("length", transport.len().to_string()));
        }
    }
    fields
}

fn tcp(transport: &[u8], fields: &mut Fields) {
    let Ok(segment) = TcpUnverified::parse(transport) else {
        fields.push(("tcp", "malformed".to_owned()));
        return;
    };
    let wire = segment.wire();
    let flags: String = TcpFlags::all()
        .iter_names()
        .filter(|(_, flag)| wire.control().contains(*flag))
        .map(|(name, _)| format!("{name}."))
        .collect();
    let header_len = usize::from(wire.data_offset >> 4) * 4;
    fields.push(("flags", flags.trim_end_matches('.').to_owned()));
    fields.push(("seq", wire.seq.get().to_string()));
    fields.push(("ack", wire.ack.get().to_string()));
    fields.push(("window", wire.window.get().to_string()));
    let options = segment.options().filter(|option| *option != TcpOption::Nop);
    let texts: Vec<String> = options.map(|option| format!("{option:?}")).collect();
    if !texts.is_empty() {
        fields.push(("options", format!("[{}]", texts.join(" "))));
    }
    let length = transport.len().saturating_sub(header_len);
    fields.push(("length", length.to_string()));
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYN: [u8; 44] = [
        0x45, 0, 0, 44, 0, 7, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0, 80, 0x9c, 0x40, 0,
        0, 0, 1, 0, 0, 0, 0, 0x60, 2, 1, 0, 0, 0, 0, 0, 2, 4, 5, 0xb4,
    ];

    #[test]
    fn a_packet_is_a_line_and_a_difference_names_its_fields() {
        let text = line(&SYN);
        assert!(
            text.starts_with("10.0.0.1:80 > 10.0.0.2:40000 ip.len=44 ip.id=7"),
            "{text}"
        );
        assert!(
            text.contains("flags=SYN seq=1 ack=0 window=256 options=["),
            "{text}"
        );
        let mut other = SYN;
        other[34] = 2;
        let text = differing(&SYN, &other);
        assert_eq!(
            text,
            "window=512 instead of 256, the first byte that differs is 34"
        );
    }

    #[test]
    fn anything_can_be_shown() {
        for len in 0..SYN.len() {
            let _ = (line(&SYN[..len]), differing(&SYN, &SYN[..len]));
        }
        for first in 0..=255 {
            let mut bytes = [first; 80];
            let _ = line(&bytes);
            bytes[..20].copy_from_slice(&SYN[..20]);
            let _ = line(&bytes);
        }
    }
}
