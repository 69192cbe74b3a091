//! A capture says of each discarded packet why: the same reasons, as often, as the counters.

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::forge::*;
use tests::hostile::Family;
use tests::program;
use tests::world::{Running, Scratch, V4, eventually, in_namespace, port};

use super::wire::Wire;
use super::{ACK, RST, quiet_daemon, v4, v6};

/// Returns data without the timestamp that a connection of the kernel has, and resets of which at least one is outside of
/// its window, whatever that is.
fn strange_segments(stream: &TcpStream) -> Vec<Vec<u8>> {
    let from = stream.local_addr().expect("an address").port();
    let segments = [(0, ACK), (0, RST), (1 << 31, RST)];
    let packet = |(seq, flags)| {
        let segment = tcp(from, port::ECHO, seq, 0, flags, b"data");
        sealed(packet_to(Family::V4.kernel(), V4.into(), TCP, &segment))
    };
    segments.map(packet).to_vec()
}

/// Returns the direction and the comment of each packet that has one, as tshark reads them.
fn comments(path: &str) -> Vec<(String, String)> {
    let output = Command::new("tshark")
        .args(["-r", path, "-Y", "frame.comment", "-T", "fields"])
        .args(["-e", "frame.packet_flags_direction", "-e", "frame.comment"])
        .output()
        .expect("tshark");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    let split = |line: &str| {
        line.split_once('\t')
            .map(|(a, b)| (a.to_owned(), b.to_owned()))
    };
    text.lines().filter_map(split).collect()
}

/// Returns how often each reason is named.
fn reasons(comments: &[(String, String)]) -> BTreeMap<String, u64> {
    let mut reasons = BTreeMap::new();
    for (direction, comment) in comments {
        // Inbound.
        assert!(direction.ends_with('1'), "{direction}: {comment}");
        let dropped = comment.strip_prefix("dropped: ").expect("its form");
        let (reason, times) = match dropped.split_once(", counted ") {
            None => (dropped, 1),
            Some((reason, times)) => {
                let times = times.strip_suffix(" times").expect("its form");
                (reason, times.parse().expect("a number"))
            }
        };
        *reasons.entry(reason.to_owned()).or_default() += times;
    }
    reasons
}

#[test]
fn a_capture_names_the_reasons_that_the_counters_count() {
    let scratch = Scratch::new("captured");
    let control = scratch.path("control.sock").display().to_string();
    let path = scratch.path("run.pcapng").display().to_string();
    in_namespace(|| {
        let daemon = quiet_daemon(&["--control", &control]);
        let mut wire = Wire::open();
        let capture = Command::new(program!())
            .args(["capture", "-w", &path, "--control", &control])
            .stderr(Stdio::null())
            .spawn();
        let mut capture = Running(capture.expect("the program runs"));
        eventually("the capture has begun", || {
            fs::metadata(&path).is_ok_and(|file| file.len() > 0)
        });
        let stream = TcpStream::connect(SocketAddr::from((V4, port::ECHO))).expect("connected");
        let before = daemon.counters().expect("counters");
        let mut sent = 0;
        let cases = v4::cases().into_iter().chain(v6::cases());
        let packets = cases.flat_map(|case| case.packets);
        for packet in packets.chain(strange_segments(&stream)) {
            wire.send(&packet);
            sent += 1;
            // An answer to the mark: the packet was read before it.
            wire.answers(sent);
        }
        let counted = daemon.counters().expect("counters").drops_since(&before);
        let pid = i32::try_from(capture.0.id()).expect("a process id");
        kill(Pid::from_raw(pid), Signal::SIGINT).expect("it runs");
        assert!(capture.0.wait().expect("it ends").success());
        let comments = comments(&path);
        println!("{sent} packets, {} with comments", comments.len());
        let counted: BTreeMap<String, u64> = counted.into_iter().collect();
        assert_eq!(reasons(&comments), counted);
        for reason in [
            "ip_header_checksum",
            "ip_protocol_unknown",
            "ip_source_invalid",
            "fragment_overlap",
            "icmp_checksum",
            "udp_checksum",
            "udp_no_socket",
            "tcp_checksum",
            "tcp_no_listener",
            "tcp_not_acceptable",
            "tcp_paws",
        ] {
            assert!(counted.contains_key(reason), "{reason} is not tried");
        }
    });
}
