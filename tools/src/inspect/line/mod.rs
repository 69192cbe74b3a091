//! A packet as one line, in the manner of tcpdump.

mod transport;

use std::fmt::Write as _;
use std::net::IpAddr;

use chrono::DateTime;
use serde_json::{Value, json};

use self::transport::transport;
use super::Seen;
use super::flow::Flow;
use super::table::Table;
use crate::capture::link::{ARP, IPV4, IPV6, be16};
use crate::capture::packet::{GRE, Packet, Transport, flags};

pub use self::transport::flag_letters;

/// How the time of a packet is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub enum TimeFormat {
    /// Time of day, UTC.
    #[default]
    Clock,
    /// Date and time of day, UTC.
    Date,
    /// Seconds since 1970.
    Epoch,
    /// Seconds since the first packet.
    Relative,
    /// Seconds since the packet before.
    Delta,
}

/// Writes packets as lines; knows the times of the first and the last one.
#[derive(Clone, Debug)]
pub struct Lines {
    format: TimeFormat,
    digits: usize,
    first_nanos: Option<i128>,
    last_nanos: i128,
}

impl Lines {
    /// Creates a writer. With `nanos`, times have nine digits behind the point, not six.
    pub fn new(format: TimeFormat, nanos: bool) -> Self {
        Self {
            format,
            digits: if nanos { 9 } else { 6 },
            first_nanos: None,
            last_nanos: 0,
        }
    }

    /// Returns the line of a packet.
    pub fn line(&mut self, seen: &Seen<'_>, table: &Table) -> String {
        let mut line = self.time(seen.now_nanos);
        line.push(' ');
        describe(&mut line, seen, table);
        if let Some(noted) = &seen.noted
            && !noted.marks.all().is_empty()
        {
            let marks: Vec<&str> = noted.marks.all().iter().map(|mark| mark.name()).collect();
            let _ = write!(line, "  # {}", marks.join(", "));
        }
        if let Some(comment) = seen.frame.comment {
            let _ = write!(line, "  # {}", one_line(comment));
        }
        line
    }

    fn time(&mut self, nanos: i128) -> String {
        let first = *self.first_nanos.get_or_insert(nanos);
        let before = std::mem::replace(&mut self.last_nanos, nanos);
        let before = if first == nanos && before == 0 {
            nanos
        } else {
            before
        };
        match self.format {
            TimeFormat::Clock => clock(nanos, "%H:%M:%S", self.digits),
            TimeFormat::Date => clock(nanos, "%Y-%m-%d %H:%M:%S", self.digits),
            TimeFormat::Epoch => seconds(nanos, self.digits),
            TimeFormat::Relative => seconds(nanos.saturating_sub(first), self.digits),
            TimeFormat::Delta => seconds(nanos.saturating_sub(before), self.digits),
        }
    }
}

/// Returns a time as UTC; as seconds, if no calendar reaches so far.
pub fn clock(nanos: i128, format: &str, digits: usize) -> String {
    const SECOND: i128 = 1_000_000_000;
    let whole = i64::try_from(nanos.div_euclid(SECOND)).ok();
    match whole.and_then(|seconds| DateTime::from_timestamp(seconds, 0)) {
        Some(time) => {
            let fraction = fraction(nanos.rem_euclid(SECOND), digits);
            format!("{}.{fraction}", time.format(format))
        }
        None => seconds(nanos, digits),
    }
}

/// Returns a time in seconds with `digits` digits behind the point.
pub fn seconds(nanos: i128, digits: usize) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let nanos = nanos.unsigned_abs();
    let fraction = fraction((nanos % 1_000_000_000) as i128, digits);
    format!("{sign}{}.{fraction}", nanos / 1_000_000_000)
}

fn fraction(nanos: i128, digits: usize) -> String {
    let mut text = format!("{nanos:09}");
    text.truncate(digits);
    text
}

/// Returns a text without control characters, so that a file cannot draw on the terminal.
pub fn one_line(text: &str) -> String {
    let harmless = |c: char| if c.is_control() { '.' } else { c };
    text.chars().map(harmless).collect()
}

fn describe(line: &mut String, seen: &Seen<'_>, table: &Table) {
    match (&seen.outer, &seen.network) {
        (Some(outer), _) => {
            let flow = seen.noted.as_ref().and_then(|noted| table.flow(noted.flow));
            let side = seen.noted.as_ref().map_or(0, |noted| noted.side);
            ip(line, outer, flow.map(|flow| (flow, side)), seen);
        }
        (None, Some(network)) if network.ethertype == ARP => {
            let rest = seen.frame.data.get(network.at..).unwrap_or_default();
            arp(line, rest);
        }
        (None, Some(network)) if matches!(network.ethertype, IPV4 | IPV6) => {
            line.push_str("IP [malformed or cut]");
        }
        (None, Some(network)) if network.ethertype > 1_500 => {
            let _ = write!(line, "ethertype 0x{:04x}", network.ethertype);
        }
        (None, _) => {
            let _ = write!(line, "link type {}", seen.frame.link.name());
        }
    }
    if seen.outer.is_none() {
        let _ = write!(line, ", length {}", seen.frame.wire_len);
    }
}

fn arp(line: &mut String, bytes: &[u8]) {
    let ip = |at: usize| {
        let four: Option<[u8; 4]> = bytes.get(at..at + 4).and_then(|b| b.try_into().ok());
        four.map(|four| IpAddr::from(four).to_string())
    };
    line.push_str("ARP");
    match (be16(bytes, 6), ip(14), ip(24)) {
        (Some(1), Some(from), Some(to)) => {
            let _ = write!(line, ", Request who-has {to} tell {from}");
        }
        (Some(2), Some(from), Some(_)) => {
            let mac: Vec<String> = bytes
                .get(8..14)
                .unwrap_or_default()
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            let _ = write!(line, ", Reply {from} is-at {}", mac.join(":"));
        }
        _ => line.push_str(", other"),
    }
}

/// Writes an IP packet, and the packets in its tunnels.
fn ip(line: &mut String, packet: &Packet<'_>, flow: Option<(&Flow, usize)>, seen: &Seen<'_>) {
    let (mut packet, mut inside) = (packet.clone(), packet.inside());
    // As many as were looked through.
    while let Some(inner) = inside {
        head(line, &packet, None);
        if packet.protocol == GRE {
            let _ = write!(line, "GREv0, length {}: ", packet.payload_len);
        }
        inside = inner.inside();
        packet = inner;
    }
    if packet.fragment.is_some() {
        return fragment(line, &packet, flow, seen.datagram.is_some());
    }
    head(line, &packet, packet.ports());
    transport(line, &packet, flow);
}

/// Writes a fragment: IPv6 names its place, IPv4 only that of the first one by its ports.
fn fragment(line: &mut String, packet: &Packet<'_>, flow: Option<(&Flow, usize)>, last: bool) {
    let Some(fragment) = packet.fragment else {
        return;
    };
    let v6 = packet.source.is_ipv6();
    let ports = packet.ports();
    head(line, packet, ports.filter(|_| !v6));
    if v6 {
        let _ = write!(line, "frag ({}|{})", fragment.offset, packet.payload_len);
    }
    match ports {
        Some((from, to)) => {
            if v6 {
                let _ = write!(line, " {from} > {to}: ");
            }
            transport(line, packet, flow);
            line.push_str("  # first fragment");
        }
        None if v6 => {}
        None => {
            let _ = write!(line, "ip-proto-{}", packet.protocol);
        }
    }
    if last {
        line.push_str("  # last missing fragment");
    }
}

fn head(line: &mut String, packet: &Packet<'_>, ports: Option<(u16, u16)>) {
    let version = if packet.source.is_ipv4() { "IP" } else { "IP6" };
    let (source, destination) = (packet.source, packet.destination);
    let _ = match ports {
        Some((from, to)) => write!(line, "{version} {source}.{from} > {destination}.{to}: "),
        None => write!(line, "{version} {source} > {destination}: "),
    };
}

/// Returns a packet as JSON.
pub fn json(seen: &Seen<'_>, table: &Table) -> Value {
    let mut object = json!({
        "type": "packet",
        "number": seen.frame.number,
        "time": seconds(seen.now_nanos, 9),
        "interface": seen.frame.interface,
        "wire_bytes": seen.frame.wire_len,
        "captured_bytes": seen.frame.data.len(),
    });
    if let Some(comment) = seen.frame.comment {
        object["comment"] = comment.into();
    }
    if let Some(network) = &seen.network {
        object["ethertype"] = network.ethertype.into();
    }
    let Some(outer) = &seen.outer else {
        return object;
    };
    let packet = outer.clone().innermost();
    object["source"] = packet.source.to_string().into();
    object["destination"] = packet.destination.to_string().into();
    object["protocol"] = packet.protocol.into();
    object["ttl"] = packet.ttl.into();
    if let Some((from, to)) = packet.ports() {
        object["source_port"] = from.into();
        object["destination_port"] = to.into();
    }
    if let Some(fragment) = packet.fragment {
        object["fragment_offset"] = fragment.offset.into();
        object["more_fragments"] = fragment.more.into();
    }
    match &packet.transport {
        Transport::Tcp(tcp) => {
            object["flags"] = flag_letters(tcp.flags).into();
            object["seq"] = tcp.seq.into();
            object["ack"] = tcp.has(flags::ACK).then_some(tcp.ack).into();
            object["window"] = tcp.window.into();
            object["payload_bytes"] = tcp.payload_len.into();
        }
        Transport::Udp(udp) => object["payload_bytes"] = udp.payload_len.into(),
        Transport::Icmp(icmp) => {
            object["icmp_type"] = icmp.kind.into();
            object["icmp_code"] = icmp.code.into();
        }
        _ => {}
    }
    if let Some(noted) = &seen.noted
        && let Some(flow) = table.flow(noted.flow)
    {
        object["flow"] = format!("{} {}", flow.protocol.name(), flow.number).into();
        object["marks"] = json!(noted.marks.all());
    }
    object
}
