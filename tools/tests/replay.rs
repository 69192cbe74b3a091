//! Captured sessions between two kernel endpoints are replayed with this project's stack as the server:
//! both ends receive the same bytes.

mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;

use support::{Script, Wire, capture, captured, pattern, receive, send};
use tools::replay::{Ours, Part, Which, prepare, run};

fn upload(stream: TcpStream) {
    send(&stream, &pattern(1, 3_000_000));
    assert!(receive(&stream) == b"thank you");
}

fn take_upload(stream: TcpStream) {
    assert!(receive(&stream) == pattern(1, 3_000_000));
    send(&stream, b"thank you");
}

fn download(stream: TcpStream) {
    send(&stream, b"please");
    assert!(receive(&stream) == pattern(2, 3_000_000));
}

fn give_download(stream: TcpStream) {
    assert!(receive(&stream) == b"please");
    send(&stream, &pattern(2, 3_000_000));
}

/// Requests and answers of many sizes, one after the other.
fn sizes() -> impl Iterator<Item = usize> {
    (0..60).map(|n| 1 + n * n * 17)
}

fn ask(mut stream: TcpStream) {
    for len in sizes() {
        stream.write_all(&pattern(3, len)).expect("a request");
        let mut answer = vec![0; len];
        stream.read_exact(&mut answer).expect("an answer");
        assert!(answer == pattern(4, len));
    }
    send(&stream, b"");
    assert!(receive(&stream).is_empty());
}

fn answer(mut stream: TcpStream) {
    for len in sizes() {
        let mut request = vec![0; len];
        stream.read_exact(&mut request).expect("a request");
        assert!(request == pattern(3, len));
        stream.write_all(&pattern(4, len)).expect("an answer");
    }
    assert!(receive(&stream).is_empty());
}

/// The client's part of a session in which the server closes first and the client goes on sending.
fn half_closed_client(stream: TcpStream) {
    assert!(receive(&stream) == b"only this");
    send(&stream, &pattern(7, 100_000));
}

fn half_closing_server(stream: TcpStream) {
    send(&stream, b"only this");
    assert!(receive(&stream) == pattern(7, 100_000));
}

const SCRIPTS: [(&str, Script, Script); 4] = [
    ("upload", upload, take_upload),
    ("download", download, give_download),
    ("requests", ask, answer),
    ("half-close", half_closed_client, half_closing_server),
];

#[test]
fn the_same_bytes_come_out() {
    for (name, client, server) in SCRIPTS {
        for (wire, v6) in [
            (Wire::Loopback, true),
            (Wire::Veth, false),
            (Wire::Veth, true),
        ] {
            let packets = captured(wire, v6, client, server);
            for which in [Which::Servers, Which::Clients] {
                let mut found = prepare(&packets, which);
                let part = found.remove(0).part.expect("a whole session");
                let Part::Tcp(plan) = part else {
                    panic!("{name}: no TCP session first");
                };
                for seed in 1..=3 {
                    let mut ours = Ours::new(seed, plan.largest_window()).expect("a stack");
                    let report = run(&plan, &mut ours);
                    let about = format!("{name}, {wire:?}, v6={v6}, {which:?}, {seed}:\n{report}");
                    assert!(report.is_same(), "{about}");
                    assert_eq!(report.played, plan.packets(), "{about}");
                    assert_eq!(report.peer_bytes, plan.peer_bytes.len() as u64);
                    assert_eq!(report.our_bytes, plan.our_bytes.len() as u64);
                }
            }
        }
    }
}

#[test]
fn the_command_reports_the_result_and_what_is_wrong_with_bad_files() {
    let path = capture(Wire::Veth, false, ask, answer);
    let replay = |file: &std::path::Path| {
        let output = Command::new(env!("CARGO_BIN_EXE_pcap-replay"))
            .arg(file)
            .output()
            .expect("pcap-replay");
        let text = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        (output.status.code(), text)
    };
    let (code, text) = replay(&path);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("1 files: 1 sessions same"), "{text}");

    let whole = std::fs::read(&path).expect("the capture");
    std::fs::write(&path, &whole[..whole.len() - 3]).expect("cut it");
    let (code, text) = replay(&path);
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("the file ends in the middle of a packet"),
        "{text}"
    );

    std::fs::write(&path, "not a capture").expect("replace it");
    let (code, text) = replay(&path);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("neither pcap nor pcapng"), "{text}");

    std::fs::remove_file(&path).expect("remove it");
    let (code, text) = replay(&path);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("name a readable capture file"), "{text}");
}

#[test]
fn a_reader_that_has_gone_ends_the_tools_quietly() {
    let path = capture(Wire::Veth, false, ask, answer);
    for tool in [
        env!("CARGO_BIN_EXE_pcap-inspect"),
        env!("CARGO_BIN_EXE_pcap-replay"),
    ] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = Command::new(tool)
            .arg(&path)
            .stdout(writer)
            .output()
            .expect("the tool");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(errors, "", "{tool}");
        assert_eq!(output.status.code(), Some(141), "{tool}");
    }
    std::fs::remove_file(&path).expect("remove the capture");
}
