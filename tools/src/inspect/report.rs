//! The flows of a capture as text and as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::Inspector;
use super::flow::{Detail, Flow, Protocol};
use super::line::{clock, seconds};
use super::tcp::Counts;

/// Returns the first lines: the file and its counts.
pub fn head(name: &str, inspector: &Inspector) -> String {
    let totals = &inspector.totals;
    let mut text = format!("{name}: {} packets", totals.packets);
    if totals.selected != totals.packets {
        let _ = write!(text, ", {} selected", totals.selected);
    }
    let _ = write!(text, ", {} bytes", totals.wire_bytes);
    if let (Some(first), Some(last)) = (totals.first_nanos, totals.last_nanos) {
        let _ = write!(
            text,
            ", {} s from {} UTC on",
            seconds(last.saturating_sub(first), 6),
            clock(first, "%Y-%m-%d %H:%M:%S", 6)
        );
    }
    let parts = [
        ("IPv4", totals.ipv4),
        ("IPv6", totals.ipv6),
        ("ARP", totals.arp),
        ("other", totals.other),
        ("TCP", totals.tcp),
        ("UDP", totals.udp),
        ("ICMP", totals.icmp),
        ("other protocols", totals.other_protocols),
        ("in tunnels", totals.tunnelled),
        ("fragments", totals.fragments),
        ("malformed or cut", totals.malformed),
    ];
    let parts: Vec<String> = parts
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    if !parts.is_empty() {
        let _ = write!(text, "\n  {}", parts.join(", "));
    }
    text
}

/// Returns the closing line.
pub fn summary(inspector: &Inspector) -> String {
    let table = &inspector.table;
    let [tcp, udp, icmp] = Protocol::ALL.map(|protocol| table.flows(protocol).count());
    let mut text = format!(
        "{} packets, {tcp} TCP connections, {udp} UDP flows, {icmp} ICMP flows",
        inspector.totals.selected
    );
    if table.left_out() > 0 {
        let _ = write!(
            text,
            "; {} packets of further flows left out (--max-flows {})",
            table.left_out(),
            table.len()
        );
    }
    text
}

/// Returns the table of a protocol's flows; `None` if there are none.
pub fn flow_table(inspector: &Inspector, protocol: Protocol) -> Option<String> {
    let start = inspector.totals.first_nanos.unwrap_or(0);
    let mut rows: Vec<Vec<String>> = Vec::new();
    for flow in inspector.table.flows(protocol) {
        let [a, b] = &flow.traffic;
        let mut row = vec![
            flow.number.to_string(),
            flow.end(0),
            flow.end(1),
            seconds(flow.first_nanos.saturating_sub(start), 6),
            format!("{:.6}", flow.seconds()),
            pair(a.packets, b.packets),
            pair(a.wire_bytes, b.wire_bytes),
            pair(a.payload_bytes, b.payload_bytes),
            format!("{}/{}", rate(flow, 0), rate(flow, 1)),
        ];
        match &flow.detail {
            Detail::Tcp(analysis) => {
                let [a, b] = analysis.counts();
                row.push(round_trips(&a.round_trips, &b.round_trips));
                row.push(pair(a.retransmissions, b.retransmissions));
                row.push(pair(a.out_of_order, b.out_of_order));
                row.push(pair(a.duplicate_acks, b.duplicate_acks));
                row.push(pair(a.zero_windows, b.zero_windows));
                row.push(pair(a.missing_bytes, b.missing_bytes));
                row.push(state(&[a, b]));
            }
            Detail::Echoes(echoes) => {
                row.push(milliseconds(&echoes.round_trips));
                row.push(pair(echoes.requests, echoes.replies));
            }
            Detail::None => {}
        }
        rows.push(row);
    }
    if rows.is_empty() {
        return None;
    }
    let common = [
        "#",
        "from (a)",
        "to (b)",
        "start s",
        "duration s",
        "packets a/b",
        "bytes a/b",
        "payload a/b",
        "bit/s a/b",
    ];
    let more: &[&str] = match protocol {
        Protocol::Tcp => &[
            "RTT ms a/b",
            "sent again",
            "reordered",
            "dup ACKs",
            "zero win",
            "missing",
            "state",
        ],
        Protocol::Udp => &[],
        Protocol::Icmp => &["RTT ms", "requests/replies"],
    };
    let names: Vec<String> = common
        .iter()
        .chain(more)
        .map(|&name| name.to_owned())
        .collect();
    let mut text = format!("{} flows", protocol.name());
    rows.insert(0, names);
    columns(&mut text, &rows);
    Some(text)
}

fn columns(text: &mut String, rows: &[Vec<String>]) {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    for row in rows {
        text.push('\n');
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "  {cell:<width$}");
        }
        text.push_str(line.trim_end());
    }
}

fn pair(a: u64, b: u64) -> String {
    format!("{a}/{b}")
}

fn rate(flow: &Flow, side: usize) -> String {
    let Some(rate) = flow.payload_bits_per_second(side) else {
        return "-".to_owned();
    };
    for (unit, name) in [(1e9, "G"), (1e6, "M"), (1e3, "k")] {
        if rate >= unit {
            return format!("{:.1}{name}", rate / unit);
        }
    }
    format!("{rate:.0}")
}

fn milliseconds(times: &super::rtt::RoundTrips) -> String {
    match times.min_mean_max_nanos() {
        Some((_, mean, _)) => format!("{:.3}", mean as f64 / 1e6),
        None => "-".to_owned(),
    }
}

fn round_trips(a: &super::rtt::RoundTrips, b: &super::rtt::RoundTrips) -> String {
    format!("{}/{}", milliseconds(a), milliseconds(b))
}

/// Returns how a connection began and ended.
fn state(counts: &[Counts; 2]) -> String {
    let [a, b] = counts;
    let begin = match (a.syns > 0, b.syns > 0) {
        (true, true) => "",
        (true, false) | (false, true) => "unanswered SYN, ",
        (false, false) => "no handshake, ",
    };
    let end = if a.resets + b.resets > 0 {
        "reset"
    } else if a.fins > 0 && b.fins > 0 {
        "closed"
    } else if a.fins + b.fins > 0 {
        "half closed"
    } else {
        "open"
    };
    format!("{begin}{end}")
}

/// Returns everything that is known of a flow, in the manner of tcptrace.
pub fn long(flow: &Flow, start_nanos: i128) -> String {
    let mut text = format!(
        "{} {}: {} (a) → {} (b)",
        flow.protocol.name(),
        flow.number,
        flow.end(0),
        flow.end(1)
    );
    let _ = write!(
        text,
        "\n  first packet {}, start {} s, duration {:.6} s",
        flow.first_frame,
        seconds(flow.first_nanos.saturating_sub(start_nanos), 6),
        flow.seconds()
    );
    let [a, b] = &flow.traffic;
    let mut rows = vec![
        vec![String::new(), "a → b".to_owned(), "b → a".to_owned()],
        row("packets", a.packets, b.packets),
        row("bytes on the wire", a.wire_bytes, b.wire_bytes),
        row("payload bytes", a.payload_bytes, b.payload_bytes),
        vec!["payload bit/s".to_owned(), rate(flow, 0), rate(flow, 1)],
    ];
    match &flow.detail {
        Detail::Tcp(analysis) => {
            if let Some(nanos) = analysis.handshake_nanos() {
                let _ = write!(text, ", handshake {} s", seconds(nanos, 6));
            }
            let counts = analysis.counts();
            let _ = write!(text, ", {}", state(&counts));
            long_tcp(&mut rows, &counts);
        }
        Detail::Echoes(echoes) => {
            let _ = write!(
                text,
                ", {} echo requests, {} replies, RTT {} ms",
                echoes.requests,
                echoes.replies,
                milliseconds(&echoes.round_trips)
            );
        }
        Detail::None => {}
    }
    columns(&mut text, &rows);
    text
}

fn row(name: &str, a: impl ToString, b: impl ToString) -> Vec<String> {
    vec![name.to_owned(), a.to_string(), b.to_string()]
}

fn long_tcp(rows: &mut Vec<Vec<String>>, counts: &[Counts; 2]) {
    let [a, b] = counts;
    let count = |name: &str, of: fn(&Counts) -> u64| row(name, of(a), of(b));
    let optional = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |v| v.to_string());
    let yes = |value: bool| if value { "yes" } else { "no" };
    let times = |counts: &Counts| match counts.round_trips.min_mean_max_nanos() {
        Some((min, mean, max)) => {
            let [min, mean, max] = [min, mean, max].map(|nanos| nanos as f64 / 1e6);
            format!(
                "{min:.3} / {mean:.3} / {max:.3} ({})",
                counts.round_trips.count()
            )
        }
        None => "-".to_owned(),
    };
    rows.extend([
        count("segments with data", |c| c.data_segments),
        row("RTT min / mean / max ms (samples)", times(a), times(b)),
        count("sent again: segments", |c| c.retransmissions),
        count("  bytes", |c| c.retransmitted_bytes),
        count("  after duplicate ACKs", |c| c.fast_retransmissions),
        count("  though acknowledged", |c| c.spurious_retransmissions),
        count("out of order", |c| c.out_of_order),
        count("duplicate ACKs", |c| c.duplicate_acks),
        count("selective ACKs", |c| c.sacks),
        count("previous segment not captured", |c| c.lost_segments),
        count("bytes never captured", |c| c.missing_bytes),
        count("ACKs of what was not captured", |c| c.acked_unseen),
        count("zero windows", |c| c.zero_windows),
        count("zero window probes", |c| c.zero_window_probes),
        count("window full", |c| c.window_fulls),
        row(
            "smallest window",
            optional(a.window_min),
            optional(b.window_min),
        ),
        count("largest window", |c| c.window_max),
        count("most bytes in flight", |c| c.flight_max),
        count("keep-alives", |c| c.keep_alives),
        count("SYNs", |c| c.syns),
        count("FINs", |c| c.fins),
        count("resets", |c| c.resets),
        row(
            "MSS",
            optional(a.mss.map(u64::from)),
            optional(b.mss.map(u64::from)),
        ),
        row(
            "window scale",
            optional(a.window_scale.map(u64::from)),
            optional(b.window_scale.map(u64::from)),
        ),
        row(
            "SACK permitted",
            yes(a.sack_permitted),
            yes(b.sack_permitted),
        ),
        row("time stamps", yes(a.timestamps), yes(b.timestamps)),
    ]);
}

/// Returns a flow as JSON.
pub fn flow_json(flow: &Flow, start_nanos: i128) -> Value {
    let ends = [0, 1].map(|side: usize| {
        let traffic = &flow.traffic[side];
        let end = flow.ends[side];
        let mut object = json!({
            "address": end.ip().to_string(),
            "port": end.port(),
            "packets": traffic.packets,
            "wire_bytes": traffic.wire_bytes,
            "payload_bytes": traffic.payload_bytes,
            "payload_bits_per_second": flow.payload_bits_per_second(side),
        });
        if let Detail::Tcp(analysis) = &flow.detail {
            object["tcp"] = json!(analysis.counts()[side]);
        }
        object
    });
    let mut object = json!({
        "type": "flow",
        "protocol": flow.protocol.name(),
        "number": flow.number,
        "first_packet": flow.first_frame,
        "start": seconds(flow.first_nanos, 9),
        "start_relative": seconds(flow.first_nanos.saturating_sub(start_nanos), 9),
        "duration": seconds(flow.last_nanos.saturating_sub(flow.first_nanos), 9),
        "ends": ends,
    });
    match &flow.detail {
        Detail::Tcp(analysis) => {
            object["state"] = state(&analysis.counts()).into();
            object["handshake_ms"] = analysis
                .handshake_nanos()
                .map(|nanos| nanos as f64 / 1e6)
                .into();
        }
        Detail::Echoes(echoes) => {
            object["requests"] = echoes.requests.into();
            object["replies"] = echoes.replies.into();
            object["round_trips"] = json!(echoes.round_trips);
        }
        Detail::None => {}
    }
    object
}

/// Returns the closing object.
pub fn summary_json(name: &str, inspector: &Inspector, warnings: &[String]) -> Value {
    let [tcp, udp, icmp] = Protocol::ALL.map(|protocol| inspector.table.flows(protocol).count());
    let totals = &inspector.totals;
    json!({
        "type": "summary",
        "file": name,
        "totals": totals,
        "start": totals.first_nanos.map(|nanos| seconds(nanos, 9)),
        "end": totals.last_nanos.map(|nanos| seconds(nanos, 9)),
        "flows": { "tcp": tcp, "udp": udp, "icmp": icmp },
        "packets_left_out": inspector.table.left_out(),
        "warnings": warnings,
    })
}
