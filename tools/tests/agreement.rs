//! `pcap-inspect` and tshark agree on the flows of a capture: packets, bytes and times of each direction, and
//! what is wrong with the segments of a connection.
//!
//! Captures are generated from seeds. `CAPTURES=DIR` compares the captures of a directory, too
//! (`tools/agreement DIR` does that).

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use support::lossy::LossyPath;
use support::temporary;

/// The values by which one direction of a flow is compared.
#[derive(Clone, PartialEq, Debug, Default)]
struct Side {
    packets: u64,
    wire_bytes: u64,
    payload_bytes: u64,
    marks: BTreeMap<&'static str, u64>,
}

/// A flow: its two ends in order, and what each of them sent.
#[derive(Clone, PartialEq, Debug, Default)]
struct Flow {
    sides: BTreeMap<String, Side>,
    first: f64,
    last: f64,
}

/// The flows between two ends, in the order of their first packets.
type Flows = BTreeMap<(String, Vec<String>), Vec<Flow>>;

/// Our names of what tshark marks, and its names.
const MARKS: [(&str, &str); 10] = [
    ("retransmissions", "tcp.analysis.retransmission"),
    ("fast_retransmissions", "tcp.analysis.fast_retransmission"),
    (
        "spurious_retransmissions",
        "tcp.analysis.spurious_retransmission",
    ),
    ("out_of_order", "tcp.analysis.out_of_order"),
    ("duplicate_acks", "tcp.analysis.duplicate_ack"),
    ("zero_windows", "tcp.analysis.zero_window"),
    ("zero_window_probes", "tcp.analysis.zero_window_probe"),
    ("lost_segments", "tcp.analysis.lost_segment"),
    ("keep_alives", "tcp.analysis.keep_alive"),
    ("window_fulls", "tcp.analysis.window_full"),
];

const FIELDS: [&str; 17] = [
    "frame.len",
    "frame.time_epoch",
    "ip.src",
    "ip.dst",
    "ipv6.src",
    "ipv6.dst",
    "ip.proto",
    "icmp.type",
    "icmpv6.type",
    "tcp.stream",
    "tcp.srcport",
    "tcp.dstport",
    "tcp.len",
    "udp.stream",
    "udp.srcport",
    "udp.dstport",
    "udp.length",
];

/// Returns the flows as tshark sees them; `None` if it cannot read the file.
fn tshark(path: &Path) -> Option<Flows> {
    let mut command = Command::new("tshark");
    command
        .arg("-r")
        .arg(path)
        .args(["-n", "-T", "fields", "-E", "occurrence=l"]);
    // Only the transports: what is above can hide segments of a stream.
    command.args(["-o", "tcp.desegment_tcp_streams:FALSE"]);
    for field in FIELDS.into_iter().chain(MARKS.map(|(_, theirs)| theirs)) {
        command.args(["-e", field]);
    }
    let output = command.output().expect("tshark");
    let text = String::from_utf8_lossy(&output.stdout);
    if text.is_empty() && !output.status.success() {
        return None;
    }
    let mut flows: BTreeMap<(String, u64), Flow> = BTreeMap::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let field = |at: usize| fields.get(at).copied().unwrap_or_default();
        let number = |at: usize| field(at).parse::<u64>().unwrap_or(0);
        // An error quotes a packet.
        if !field(7).is_empty() || !field(8).is_empty() {
            continue;
        }
        let (protocol, at) = match (field(9), field(13)) {
            ("", "") => continue,
            (_, "") => ("TCP", 9),
            _ => ("UDP", 13),
        };
        let v6 = field(2).is_empty() || (field(6) == "41" && !field(4).is_empty());
        let (from, to) = if v6 { (4, 5) } else { (2, 3) };
        let ends = [
            format!("{} {}", field(from), field(at + 1)),
            format!("{} {}", field(to), field(at + 2)),
        ];
        let time: f64 = field(1).parse().unwrap_or(0.0);
        let flow = flows
            .entry((protocol.to_owned(), number(at)))
            .or_insert_with(|| Flow {
                first: time,
                last: time,
                ..Flow::default()
            });
        flow.first = flow.first.min(time);
        flow.last = flow.last.max(time);
        let [from, to] = ends;
        flow.sides.entry(to).or_default();
        let side = flow.sides.entry(from).or_default();
        side.packets += 1;
        side.wire_bytes += number(0);
        if protocol == "TCP" {
            side.payload_bytes += number(12);
            for (mark, at) in MARKS.iter().zip(FIELDS.len()..) {
                *side.marks.entry(mark.0).or_default() += u64::from(!field(at).is_empty());
            }
        } else {
            side.payload_bytes += number(16).saturating_sub(8);
        }
    }
    let mut found = Flows::new();
    for ((protocol, _), flow) in flows {
        let ends = flow.sides.keys().cloned().collect();
        found.entry((protocol, ends)).or_default().push(flow);
    }
    Some(found)
}

/// Returns the flows as `pcap-inspect` sees them, and its exit code.
fn ours(path: &Path) -> (Flows, Option<i32>) {
    let output = Command::new(env!("CARGO_BIN_EXE_pcap-inspect"))
        .arg("--json")
        .arg(path)
        .output()
        .expect("pcap-inspect");
    let mut found = Flows::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let object: Value = serde_json::from_str(line).expect("JSON");
        let protocol = object["protocol"].as_str().unwrap_or_default();
        if object["type"] != "flow" || protocol == "ICMP" {
            continue;
        }
        let float = |name: &str| object[name].as_str().and_then(|t| t.parse::<f64>().ok());
        let mut flow = Flow {
            first: float("start").expect("a time"),
            ..Flow::default()
        };
        flow.last = flow.first + float("duration").expect("a time");
        for end in object["ends"].as_array().expect("two ends") {
            let name = format!("{} {}", end["address"].as_str().expect("text"), end["port"]);
            let count = |value: &Value| value.as_u64().unwrap_or(0);
            let side = flow.sides.entry(name).or_default();
            side.packets += count(&end["packets"]);
            side.wire_bytes += count(&end["wire_bytes"]);
            side.payload_bytes += count(&end["payload_bytes"]);
            if protocol == "TCP" && side.packets > 0 {
                for (mark, _) in MARKS {
                    *side.marks.entry(mark).or_default() += count(&end["tcp"][mark]);
                }
            }
        }
        let ends = flow.sides.keys().cloned().collect();
        let key = (protocol.to_owned(), ends);
        found.entry(key).or_default().push(flow);
    }
    (found, output.status.code())
}

/// Returns where the two differ, one sentence each.
fn differences(path: &Path) -> Vec<String> {
    let (ours, code) = ours(path);
    let Some(theirs) = tshark(path) else {
        return match code {
            Some(1 | 2) => Vec::new(),
            other => vec![format!("tshark refuses it, we do not: {other:?}")],
        };
    };
    if code == Some(2) && theirs.is_empty() {
        return Vec::new();
    }
    let mut found = Vec::new();
    let keys: std::collections::BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
    for key in keys {
        let none = Vec::new();
        let (a, b) = (
            ours.get(key).unwrap_or(&none),
            theirs.get(key).unwrap_or(&none),
        );
        if a.len() != b.len() {
            found.push(format!(
                "{key:?}: {} flows, tshark has {}",
                a.len(),
                b.len()
            ));
            continue;
        }
        for (a, b) in a.iter().zip(b) {
            // Far beyond any calendar, tshark's seconds wrap.
            let near = |x: f64, y: f64| (x - y).abs() < 1e-5 || x.abs() > 1e15;
            if !near(a.first, b.first) || !near(a.last, b.last) {
                found.push(format!("{key:?}: times {a:?} {b:?}"));
            }
            if a.sides != b.sides {
                found.push(format!(
                    "{key:?}:\n  ours   {:?}\n  tshark {:?}",
                    a.sides, b.sides
                ));
            }
        }
    }
    found
}

/// Returns the captures in a directory and those below it.
fn captures(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in std::fs::read_dir(&directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                waiting.push(path);
            } else if !path.extension().is_some_and(|e| e == "md" || e == "txt") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

#[test]
fn generated_captures_have_the_same_flows_as_in_tshark() {
    let mut worst = Vec::new();
    for seed in 1..=12 {
        let path = LossyPath {
            seed,
            loss: [0.0, 0.01, 0.03, 0.1][seed as usize % 4],
            reorder: [0.0, 0.02, 0.2][seed as usize % 3],
            delay: Duration::from_millis([1, 10, 50][seed as usize % 9 / 3]),
            v6: seed % 2 == 0,
        };
        let file = temporary("agreement.pcap");
        std::fs::write(&file, path.pcap()).expect("the capture");
        let found = differences(&file);
        assert!(!ours(&file).0.is_empty(), "{path:?}");
        std::fs::remove_file(&file).expect("remove it");
        for difference in found {
            worst.push(format!("{path:?}: {difference}"));
        }
    }
    assert!(worst.is_empty(), "{}", worst.join("\n"));
}

#[test]
fn captures_of_a_directory_have_the_same_flows_as_in_tshark() {
    let Ok(directory) = std::env::var("CAPTURES") else {
        return;
    };
    let files = captures(directory.as_ref());
    let mut different = 0;
    for file in &files {
        let found = differences(file);
        different += usize::from(!found.is_empty());
        for difference in found {
            println!("{}: {difference}", file.display());
        }
    }
    println!("{} captures, {different} different", files.len());
    assert_eq!(different, 0, "of {}", files.len());
}
