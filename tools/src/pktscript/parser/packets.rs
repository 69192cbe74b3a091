//! Packets: `< S 0:0(0) win 1000 <mss 1460>`, `> udp (10)`, `< icmp unreachable port_unreachable [1:1(0)]`.

use super::cursor::{Cursor, Meaning};
use super::{Parsed, SyntaxError};
use crate::pktscript::ast::{Body, Direction, Ecn, Icmp, IpInfo, Packet, Quote, Tcp, TcpOpt};

/// The letters of the control bits.
const FLAGS: [(char, u16); 9] = [
    ('F', 0x01),
    ('S', 0x02),
    ('R', 0x04),
    ('P', 0x08),
    ('.', 0x10),
    ('U', 0x20),
    ('E', 0x40),
    ('W', 0x80),
    ('A', 0x100),
];

/// Most options that a header has room for, one byte each.
const MAX_OPTIONS: usize = 40;

/// Reads a packet, if a direction is next.
pub(super) fn packet(cursor: &mut Cursor<'_>) -> Parsed<Option<Packet>> {
    let direction = if cursor.take("<")? {
        Direction::In
    } else if cursor.take(">")? {
        Direction::Out
    } else {
        return Ok(None);
    };
    let mut packet = Packet {
        direction,
        encapsulation: None,
        ip: IpInfo::default(),
        ports: None,
        udp_tunnel: None,
        body: Body::Udp(0),
    };
    encapsulation(cursor, &mut packet)?;
    ip_info(cursor, &mut packet.ip)?;
    if cursor.take_word("encap")? {
        packet.encapsulation = Some(cursor.word()?.to_owned());
        if cursor.take_word("spi")? {
            cursor.u32()?;
        }
    }
    packet.body = if cursor.take_word("icmp")? || cursor.take_word("icmp6")? {
        Body::Icmp(icmp(cursor)?)
    } else if cursor.take_word("udp")? {
        packet.ports = ports(cursor)?;
        cursor.need("(")?;
        let len = cursor.u16()?;
        cursor.need(")")?;
        Body::Udp(len)
    } else {
        packet.ports = ports(cursor)?;
        Body::Tcp(tcp(cursor)?)
    };
    if cursor.sees("/udp(")? {
        cursor.need("/udp(")?;
        packet.udp_tunnel = ports(cursor)?;
        cursor.need(")")?;
    }
    Ok(Some(packet))
}

/// Reads the headers of tunnels in front of the packet: `ipv4 1.2.3.4 > 5.6.7.8:`, `gre:`, `mpls (…):`.
fn encapsulation(cursor: &mut Cursor<'_>, packet: &mut Packet) -> Parsed<()> {
    loop {
        let name = cursor.peek_word()?;
        if !matches!(name, "ipv4" | "ipv6" | "gre" | "GREv0" | "mpls") {
            return Ok(());
        }
        packet.encapsulation = Some(name.to_owned());
        cursor.word()?;
        // What is inside is not understood, so only its end matters.
        while !cursor.take(": ")? {
            if cursor.at_end()? {
                return Err(cursor.expected("`:` after the header of a tunnel"));
            }
            let run = cursor.run()?;
            if run.ends_with(':') {
                break;
            }
        }
    }
}

/// Reads `[ect0]`, `(tos 0x10, flowlabel 0x1)`, `[ttl 5]`.
fn ip_info(cursor: &mut Cursor<'_>, info: &mut IpInfo) -> Parsed<()> {
    let close = if cursor.take("[")? {
        "]"
    } else if cursor.take("(")? {
        ")"
    } else {
        return Ok(());
    };
    loop {
        match cursor.word()? {
            "noecn" => info.ecn = Some(Ecn::Bits(0)),
            "ect1" => info.ecn = Some(Ecn::Bits(1)),
            "ect0" => info.ecn = Some(Ecn::Bits(2)),
            "ce" => info.ecn = Some(Ecn::Bits(3)),
            "ect01" => info.ecn = Some(Ecn::AnyEct),
            "tos" => info.tos = Some(cursor.u8()?),
            "class" => info.tos = Some(cursor.u8()?),
            "ttl" | "hlim" => info.ttl = Some(cursor.u8()?),
            "flowlabel" => info.flow_label = Some(cursor.number(0xf_ffff)? as u32),
            other => {
                return Err(cursor.error(format!(
                    "`{other}` says nothing about an IP header: use ect0, ect1, ce, noecn, ect01, tos, ttl or \
                     flowlabel"
                )));
            }
        }
        if !cursor.take(",")? {
            return cursor.need(close);
        }
    }
}

/// Reads `1000 > 2000`, if a number is next.
fn ports(cursor: &mut Cursor<'_>) -> Parsed<Option<(u16, u16)>> {
    // A digit alone may also be flags with a counter of accurate ECN, but never with a `>` behind it.
    if !cursor
        .peek_word()?
        .starts_with(|c: char| c.is_ascii_digit())
    {
        return Ok(None);
    }
    let from = cursor.u16()?;
    cursor.need(">")?;
    Ok(Some((from, cursor.u16()?)))
}

fn tcp(cursor: &mut Cursor<'_>) -> Parsed<Tcp> {
    let mut tcp = Tcp::default();
    flags(cursor, &mut tcp)?;
    if cursor.take("...(")? {
        tcp.is_any_seq = true;
        tcp.len = cursor.u16()?;
        cursor.need(")")?;
    } else {
        (tcp.seq, tcp.len) = sequence(cursor)?;
    }
    tcp.is_absolute = cursor.take("!")?;
    if cursor.take_word("ack")? {
        tcp.ack = Some(cursor.u32()?);
    }
    if cursor.take_word("win")? {
        tcp.window = Some(cursor.u16()?);
    }
    if cursor.take_word("urg")? {
        tcp.urgent = Some(cursor.u16()?);
    }
    tcp.options = options(cursor)?;
    Ok(tcp)
}

fn flags(cursor: &mut Cursor<'_>, tcp: &mut Tcp) -> Parsed<()> {
    let at = cursor.position()?;
    let text = cursor.run()?;
    for c in text.chars() {
        if let Some((_, bit)) = FLAGS.iter().find(|(letter, _)| *letter == c) {
            tcp.flags |= bit;
        } else if let Some(ace) = c.to_digit(8) {
            tcp.ace = Some(ace as u8);
        } else if text != "-" {
            let what = format!("expected flags (of `FSRP.UEWA` and one digit), found `{text}`");
            return Err(SyntaxError { at, what });
        }
    }
    // The dot may stand alone: `F .`.
    if tcp.flags & 0x10 == 0 && cursor.take(".")? {
        tcp.flags |= 0x10;
    }
    if let Some(ace) = tcp.ace {
        tcp.flags |= u16::from(ace) << 6;
    }
    Ok(())
}

/// Reads `1:1001(1000)`. Returns the first number and the length.
fn sequence(cursor: &mut Cursor<'_>) -> Parsed<(u32, u16)> {
    let at = cursor.position()?;
    let first = cursor.u32()?;
    cursor.need(":")?;
    let end = cursor.u32()?;
    cursor.need("(")?;
    let len = cursor.u16()?;
    cursor.need(")")?;
    if first.wrapping_add(len.into()) != end {
        let what = format!("{first} and {len} bytes do not end at {end}");
        return Err(SyntaxError { at, what });
    }
    Ok((first, len))
}

/// Reads the options of a segment; none are an empty list.
fn options(cursor: &mut Cursor<'_>) -> Parsed<Option<Vec<TcpOpt>>> {
    let mut options = Vec::new();
    // The direction of the next event is not an option list.
    if !cursor.take("<")? {
        return Ok(Some(options));
    }
    if cursor.take("...")? {
        cursor.need(">")?;
        return Ok(None);
    }
    loop {
        if options.len() >= MAX_OPTIONS {
            return Err(cursor.error("more options than a header has room for"));
        }
        options.push(option(cursor)?);
        if !cursor.take(",")? {
            cursor.need(">")?;
            return Ok(Some(options));
        }
    }
}

fn option(cursor: &mut Cursor<'_>) -> Parsed<TcpOpt> {
    let at = cursor.position()?;
    Ok(match cursor.word()? {
        "nop" => TcpOpt::Nop,
        "eol" => TcpOpt::Eol,
        "mss" => TcpOpt::Mss(cursor.u16()?),
        "wscale" => TcpOpt::WindowScale(cursor.u8()?),
        "sackOK" => TcpOpt::SackOk,
        "sack" => TcpOpt::Sack(sack_blocks(cursor)?),
        "TS" => timestamps(cursor)?,
        "md5" => {
            if cursor.take_word("valid")? {
                TcpOpt::Md5(None)
            } else {
                TcpOpt::Md5(Some(bytes(cursor)?))
            }
        }
        "FO" => TcpOpt::FastOpen(bytes(cursor)?),
        "FOEXP" => TcpOpt::FastOpenExperimental(bytes(cursor)?),
        "ECN" => acc_ecn(cursor)?,
        "kind" => {
            let kind = cursor.u8()?;
            let data = bytes(cursor)?;
            TcpOpt::Other { kind, data }
        }
        other => {
            let what = format!(
                "`{other}` is no option: use mss, wscale, sackOK, sack, TS, nop, eol, md5, FO, FOEXP, ECN or kind"
            );
            return Err(SyntaxError { at, what });
        }
    })
}

fn timestamps(cursor: &mut Cursor<'_>) -> Parsed<TcpOpt> {
    if !cursor.take_word("val")? {
        return Err(cursor.expected("`val`"));
    }
    let val = cursor.u32()?;
    if !cursor.take_word("ecr")? {
        return Err(cursor.expected("`ecr`"));
    }
    let ecr = cursor.u32()?;
    Ok(TcpOpt::Timestamps { val, ecr })
}

fn sack_blocks(cursor: &mut Cursor<'_>) -> Parsed<Vec<(u32, u32)>> {
    let mut blocks = Vec::new();
    while cursor
        .peek_word()?
        .starts_with(|c: char| c.is_ascii_digit())
    {
        let left = cursor.u32()?;
        cursor.need(":")?;
        blocks.push((left, cursor.u32()?));
        if blocks.len() > 4 {
            return Err(cursor.error("more SACK blocks than a header has room for"));
        }
    }
    Ok(blocks)
}

/// Reads bytes as hexadecimal digits; none are no bytes.
fn bytes(cursor: &mut Cursor<'_>) -> Parsed<Vec<u8>> {
    let at = cursor.position()?;
    let word = cursor.peek_word()?;
    if word.is_empty() {
        return Ok(Vec::new());
    }
    cursor.word()?;
    let digits = match cursor.meaning(word) {
        Some(Meaning::Word(digits) | Meaning::Text(digits)) => digits,
        Some(Meaning::Int(number)) => number.to_string(),
        None => word.to_owned(),
    };
    let values: Option<Vec<u8>> = digits
        .chars()
        .map(|c| c.to_digit(16).map(|digit| digit as u8))
        .collect();
    match values {
        Some(values) if values.len() % 2 == 0 && values.len() <= 2 * MAX_OPTIONS => Ok(values
            .chunks(2)
            .map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit))
            .collect()),
        _ => {
            let what =
                format!("`{digits}` is not an even number of hexadecimal digits, 80 at most");
            Err(SyntaxError { at, what })
        }
    }
}

/// Reads `e0b 1 ceb 0 e1b 1`, the counters of accurate ECN.
fn acc_ecn(cursor: &mut Cursor<'_>) -> Parsed<TcpOpt> {
    let ect1_first = cursor.peek_word()? == "e1b";
    let order = if ect1_first {
        ["e1b", "ceb", "e0b"]
    } else {
        ["e0b", "ceb", "e1b"]
    };
    let mut counters = Vec::new();
    for name in order {
        if !cursor.take_word(name)? {
            break;
        }
        counters.push(cursor.number(0xff_ffff)? as u32);
    }
    Ok(TcpOpt::AccEcn {
        ect1_first,
        counters,
    })
}

fn icmp(cursor: &mut Cursor<'_>) -> Parsed<Icmp> {
    let kind = cursor.word()?.to_owned();
    let mut code = None;
    let word = cursor.peek_word()?;
    let is_number = word.starts_with(|c: char| c.is_ascii_digit());
    if !word.is_empty() && !is_number && word != "mtu" && word != "id" {
        cursor.word()?;
        code = Some(match cursor.meaning(word) {
            Some(Meaning::Word(text) | Meaning::Text(text)) => text,
            _ => word.to_owned(),
        });
    }
    let mut mtu = None;
    if cursor.take_word("mtu")? {
        mtu = Some(cursor.u32()?);
    }
    let mut id = None;
    if cursor.take_word("id")? {
        id = Some(cursor.u16()?);
    }
    let (quote, quoted_tunnel) = quote(cursor)?;
    Ok(Icmp {
        kind,
        code,
        mtu,
        id,
        quote,
        quoted_tunnel,
    })
}

/// Reads what an error quotes, and the ports of a UDP header in front of a quoted segment.
fn quote(cursor: &mut Cursor<'_>) -> Parsed<(Quote, Option<(u16, u16)>)> {
    let mut tunnel = None;
    if !cursor.take("[")? {
        return Ok((Quote::Tcp(0, 0), tunnel));
    }
    let quote = if cursor.take_word("udp")? {
        cursor.need("(")?;
        let len = cursor.u16()?;
        cursor.need(")")?;
        Quote::Udp(len)
    } else if cursor.take_word("raw")? {
        cursor.need("(")?;
        let len = cursor.u16()?;
        cursor.need(")")?;
        Quote::Raw(len)
    } else {
        let (seq, len) = sequence(cursor)?;
        if cursor.sees("/udp(")? {
            cursor.need("/udp(")?;
            tunnel = ports(cursor)?;
            cursor.need(")")?;
        }
        Quote::Tcp(seq, len)
    };
    cursor.need("]")?;
    Ok((quote, tunnel))
}
