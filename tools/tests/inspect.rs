//! `pcap-inspect` as people use it: lines as tcpdump has them, filters as tcpdump has them, flows, data, plots,
//! exit codes, and memory.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;
use support::lossy::{LossyPath, Wired, pcap};
use support::{pattern, temporary};

fn lossy() -> LossyPath {
    LossyPath {
        seed: 5,
        loss: 0.03,
        reorder: 0.02,
        delay: Duration::from_millis(10),
        v6: false,
    }
}

/// A capture that is removed afterwards.
struct File(PathBuf);

impl File {
    fn new(name: &str, bytes: &[u8]) -> Self {
        let path = temporary(name);
        std::fs::write(&path, bytes).expect("the capture");
        Self(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn inspect(arguments: &[&str], file: &Path, filter: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pcap-inspect"))
        .args(arguments)
        .arg(file)
        .args(filter)
        .output()
        .expect("pcap-inspect")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn tcpdump(file: &Path, filter: &str) -> Vec<String> {
    let output = Command::new("tcpdump")
        .env("TZ", "UTC")
        .args(["-n", "-r"])
        .arg(file)
        .arg(filter)
        .output()
        .expect("tcpdump");
    assert!(output.status.success(), "{filter}: {output:?}");
    text(&output).lines().map(str::to_owned).collect()
}

/// Returns our lines without what tcpdump does not say.
fn lines(file: &Path, filter: &str) -> Vec<String> {
    let output = inspect(&["-p"], file, &[filter]);
    assert!(output.status.success(), "{filter}: {output:?}");
    let text = text(&output);
    let all = text
        .lines()
        // Older versions of tcpdump do not know the flag of accurate ECN.
        .map(|line| {
            line.split("  # ")
                .next()
                .unwrap_or(line)
                .replace("e], ", "], ")
        });
    let mut all: Vec<String> = all.collect();
    let summary = all.pop().expect("the closing line");
    assert!(
        summary.starts_with(&format!("{} packets, ", all.len())),
        "{summary}"
    );
    all
}

#[test]
fn lines_and_filters_are_those_of_tcpdump() {
    for v6 in [false, true] {
        let file = File::new("lines.pcap", &LossyPath { v6, ..lossy() }.pcap());
        for filter in [
            "",
            "tcp",
            "udp",
            "tcp and src port 8000",
            "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0",
            "(tcp[13] & 2 != 0 or ip6) or greater 1000",
            "not port 8001 and not port 8002",
            "len < 100 and dst net 10.79.0.0/24",
            "host fd79::1 and tcp portrange 8000-8001",
            "ip[8] = 64",
            "ip6[7] = 64",
        ] {
            let (ours, theirs) = (lines(&file.0, filter), tcpdump(&file.0, filter));
            for (ours, theirs) in ours.iter().zip(&theirs) {
                assert_eq!(ours, theirs, "{filter}");
            }
            assert_eq!(ours.len(), theirs.len(), "{filter}");
        }
    }
}

#[test]
fn the_data_of_a_flow_is_whole_in_spite_of_loss_and_reordering() {
    let file = File::new("follow.pcap", &lossy().pcap());
    for (direction, expected) in [("a2b", pattern(1, 40_000)), ("b2a", pattern(2, 400_000))] {
        let arguments = ["--flow", "2", "--follow", "raw", "--direction", direction];
        let output = inspect(&arguments, &file.0, &[]);
        assert!(
            output.stdout == expected,
            "{direction}: {}",
            output.stdout.len()
        );
        let summary = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            summary.contains(&format!("{} bytes", expected.len())),
            "{summary}"
        );
    }
}

#[test]
fn a_plot_shows_both_directions_as_svg_and_png() {
    let file = File::new("plot.pcap", &lossy().pcap());
    for (extension, start) in [("svg", &b"<svg"[..]), ("png", b"\x89PNG")] {
        let plot = temporary(&format!("plot.{extension}"));
        let name = plot.display().to_string();
        let output = inspect(&["--flow", "1", "--plot", &name], &file.0, &[]);
        assert!(output.status.success(), "{output:?}");
        let mut found = 0;
        for line in text(&output).lines().filter(|line| line.contains(" → ")) {
            let path = line.split(": ").next().expect("a path");
            let bytes = std::fs::read(path).expect("the plot");
            assert!(bytes.starts_with(start), "{path}");
            assert!(bytes.len() > 5_000, "{path}: {} bytes", bytes.len());
            if extension == "svg" && path.contains("b2a") {
                let svg = String::from_utf8_lossy(&bytes);
                assert!(
                    svg.contains("sent again") && svg.contains("acknowledged"),
                    "{path}"
                );
            }
            std::fs::remove_file(path).expect("remove it");
            found += 1;
        }
        assert_eq!(found, 2, "{output:?}");
    }
}

#[test]
fn json_is_one_object_a_line_and_a_pipe_is_read() {
    let bytes = lossy().pcap();
    let file = File::new("json.pcap", &bytes);
    let command = format!(
        "{} --json - < {}",
        env!("CARGO_BIN_EXE_pcap-inspect"),
        file.0.display()
    );
    let output = Command::new("sh")
        .args(["-c", &command])
        .output()
        .expect("sh");
    let objects: Vec<Value> = text(&output)
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let flows = objects.iter().filter(|object| object["protocol"] == "TCP");
    assert_eq!(flows.count(), 3);
    let summary = objects.last().expect("a summary");
    assert_eq!(summary["type"], "summary");
    assert_eq!(summary["flows"]["tcp"], 3);
    let packets = inspect(&["-p", "--json"], &file.0, &[]);
    let packets = text(&packets).lines().count() as u64 - 1;
    assert_eq!(summary["totals"]["packets"], packets);
}

#[test]
fn a_full_table_counts_what_it_leaves_out() {
    let file = File::new("table.pcap", &lossy().pcap());
    let output = text(&inspect(&["--max-flows", "2"], &file.0, &[]));
    let summary = output.lines().last().expect("the closing line");
    assert!(summary.contains("left out (--max-flows 2)"), "{summary}");
}

#[test]
fn exit_codes_say_whether_the_capture_was_read() {
    let packets = lossy().packets();
    let mut bytes = pcap(&packets[..20]);
    let whole = File::new("whole.pcap", &bytes);
    assert_eq!(inspect(&[], &whole.0, &[]).status.code(), Some(0));
    let flow = inspect(&["--flow", "99"], &whole.0, &[]);
    assert_eq!(flow.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&flow.stderr).contains("choose one from 1 to 3"));
    bytes.extend([0xff; 16]);
    let damaged = File::new("damaged.pcap", &bytes);
    let output = inspect(&["-p"], &damaged.0, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output).lines().count(), 21);
    let filter = inspect(&[], &whole.0, &["gateway", "x"]);
    assert_eq!(filter.status.code(), Some(2));
    let cut = File::new("cut.pcap", &pcap(&packets[..20])[..500]);
    let output = inspect(&[], &cut.0, &[]);
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stderr).contains("ends in the middle of a packet"));
}

#[test]
fn memory_does_not_grow_with_the_file() {
    let packets: Vec<Wired> = lossy().packets();
    let once = pcap(&packets);
    let mut bytes = once.clone();
    for _ in 0..150 {
        bytes.extend(&once[24..]);
    }
    let file = File::new("large.pcap", &bytes);
    assert!(bytes.len() > 150 << 20, "{}", bytes.len());
    // Half of the file as address space: the program itself needs some of it.
    let limit = (bytes.len() / 2) >> 10;
    let command = format!(
        "ulimit -v {limit} && exec {} {}",
        env!("CARGO_BIN_EXE_pcap-inspect"),
        file.0.display()
    );
    let output = Command::new("bash")
        .args(["-c", &command])
        .output()
        .expect("bash");
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn each_tool_has_a_manual_page() {
    for (name, path) in [
        ("pcap-inspect", env!("CARGO_BIN_EXE_pcap-inspect")),
        ("pcap-replay", env!("CARGO_BIN_EXE_pcap-replay")),
        ("pktscript", env!("CARGO_BIN_EXE_pktscript")),
    ] {
        let output = Command::new(path).arg("--man").output().expect(name);
        assert!(output.status.success(), "{output:?}");
        let page = text(&output);
        assert!(page.contains(&format!(".TH {name} 1")), "{page}");
        assert!(page.contains("Examples:"), "{page}");
    }
}
