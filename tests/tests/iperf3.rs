//! The service iperf3, with the client that people have.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, TcpStream};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use netstackd::child::Daemon;
use netstackd::probe::stream;
use serde_json::Value;
use tests::program;
use tests::world::{BOTH, Running, V4, eventually, in_namespace, port, serve, targets};

/// Bytes that a test moves, where the test says how many.
const BYTES: f64 = 3_000_000.0;

fn server() -> Daemon {
    serve(program!(), &["--services", "iperf3"])
}

fn run(address: IpAddr, words: &[&str]) -> Output {
    let output = Command::new("timeout")
        .args(["120", "iperf3", "-c", &address.to_string()])
        .args(words)
        .output();
    output.expect("this test needs `iperf3`: apt-get install iperf3")
}

/// Runs a test that must succeed, and returns its results.
fn measured(address: IpAddr, words: &[&str]) -> Value {
    let output = run(address, &[&["-J"], words].concat());
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{words:?}: {text}");
    let json: Value = serde_json::from_str(&text).expect("JSON");
    assert!(json["error"].is_null(), "{words:?}: {text}");
    json["end"].clone()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value}"))
}

/// Checks that both sides of a direction counted data, and about the same.
fn flowed(end: &Value, sent: &str, received: &str) {
    let (sent, received) = (number(&end[sent]["bytes"]), number(&end[received]["bytes"]));
    assert!(received > 0.0 && received <= sent, "{received} of {sent}");
}

#[test]
fn data_flows_from_the_client_and_to_it_over_both_families() {
    in_namespace(|| {
        let _daemon = server();
        for address in BOTH {
            let bytes = ["-n", "3000000"];
            let end = measured(address, &bytes);
            flowed(&end, "sum_sent", "sum_received");
            assert!(number(&end["sum_sent"]["bytes"]) >= BYTES);
            let end = measured(address, &[&bytes[..], &["-R"]].concat());
            flowed(&end, "sum_sent", "sum_received");
            assert!(number(&end["sum_received"]["bytes"]) >= BYTES);
            // The sender, which is this server, counts what it repeats.
            assert!(end["sum_sent"]["retransmits"].is_number(), "{end}");
        }
    });
}

#[test]
fn streams_run_beside_one_another_and_both_ways_at_once() {
    in_namespace(|| {
        let _daemon = server();
        let end = measured(V4.into(), &["-P", "5", "-t", "1"]);
        let streams = end["streams"].as_array().expect("streams");
        assert_eq!(streams.len(), 5);
        for stream in streams {
            let (sent, received) = (&stream["sender"]["bytes"], &stream["receiver"]["bytes"]);
            assert!(number(received) > 0.0 && number(received) <= number(sent));
        }
        let end = measured(V4.into(), &["--bidir", "-P", "2", "-t", "1"]);
        flowed(&end, "sum_sent", "sum_received");
        flowed(&end, "sum_sent_bidir_reverse", "sum_received_bidir_reverse");
        assert_eq!(end["streams"].as_array().map(Vec::len), Some(4));
    });
}

#[test]
fn time_blocks_pace_and_the_beginning_are_as_asked() {
    in_namespace(|| {
        let _daemon = server();
        for words in [
            &["-t", "1"][..],
            &["-k", "20", "-l", "20000"],
            &["-n", "200000", "-l", "100", "-N"],
            &["-t", "1", "-S", "32", "-M", "1000", "-w", "100000"],
            &["-n", "1000000", "-C", "cubic", "-R"],
        ] {
            let end = measured(V4.into(), words);
            flowed(&end, "sum_sent", "sum_received");
        }
        // Each side leaves the beginning out by its own clock.
        for words in [&["-t", "1", "-O", "1"][..], &["-t", "1", "-O", "1", "-R"]] {
            let end = measured(V4.into(), words);
            for side in ["sum_sent", "sum_received"] {
                assert!(number(&end[side]["bytes"]) > 0.0, "{words:?}: {end}");
            }
        }
        // No faster than it may, and not much slower: a second of 8 Mbit/s is a megabyte.
        for words in [&["-b", "8M", "-t", "1"][..], &["-b", "8M", "-t", "1", "-R"]] {
            let end = measured(V4.into(), words);
            let bits = number(&end["sum_sent"]["bits_per_second"]);
            assert!(bits < 12e6, "{words:?}: {bits}");
        }
    });
}

#[test]
fn datagrams_are_counted_with_their_losses_and_jitter() {
    in_namespace(|| {
        let _daemon = server();
        for address in BOTH {
            for words in [
                &["-u", "-b", "4M", "-t", "1"][..],
                &["-u", "-b", "4M", "-t", "1", "-l", "500", "-P", "2"],
                &["-u", "-b", "4M", "-t", "1", "--udp-counters-64bit"],
                &["-u", "-b", "4M", "-t", "1", "-R"],
                &["-u", "-b", "4M", "-t", "1", "-R", "--udp-counters-64bit"],
            ] {
                let end = measured(address, words);
                let sum = &end["sum"];
                assert!(number(&sum["packets"]) > 0.0, "{words:?}: {sum}");
                assert!(number(&sum["bytes"]) > 0.0, "{words:?}: {sum}");
                let lost = number(&sum["lost_packets"]);
                assert!(lost >= 0.0 && lost <= number(&sum["packets"]), "{sum}");
                assert!(number(&sum["jitter_ms"]) >= 0.0, "{words:?}: {sum}");
            }
        }
        let end = measured(V4.into(), &["-u", "--bidir", "-b", "1M", "-t", "1"]);
        assert_eq!(end["streams"].as_array().map(Vec::len), Some(2));
    });
}

#[test]
fn losses_on_the_link_are_in_the_results() {
    in_namespace(|| {
        let _daemon = server();
        // Of the client's datagrams those get lost whose number is a multiple of four: nobody is at that address.
        tests::world::nft(
            "table inet lossy { chain out { type filter hook output priority 0; \
             udp length > 500 @th,152,8 & 3 == 0 ip daddr set 10.77.0.77; }; }",
        );
        let end = measured(V4.into(), &["-u", "-b", "4M", "-t", "1", "-l", "1000"]);
        let sum = &end["sum"];
        let (lost, packets) = (number(&sum["lost_packets"]), number(&sum["packets"]));
        assert!(packets > 50.0, "{sum}");
        // The last one that came may have any number.
        assert!((lost - packets / 4.0).abs() <= 1.0, "{sum}");
    });
}

#[test]
fn the_servers_report_is_shown_on_request() {
    in_namespace(|| {
        let _daemon = server();
        let output = run(V4.into(), &["-n", "1000000", "--get-server-output"]);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}");
        assert!(text.contains("as a server of iperf3"), "{text}");
        assert!(text.contains("receiver"), "{text}");
    });
}

/// Begins a test by hand, as far as the server's parameters.
fn begin(cookie: u8) -> TcpStream {
    let mut control = stream::connect(targets(port::IPERF3)[0]).expect("connected");
    control.write_all(&[cookie; 37]).expect("sent");
    control
}

fn state(control: &mut TcpStream) -> i8 {
    let mut byte = [0; 1];
    control.read_exact(&mut byte).expect("a state");
    byte[0] as i8
}

fn say(control: &mut TcpStream, json: &str) {
    let len = u32::try_from(json.len()).expect("short").to_be_bytes();
    control
        .write_all(&[&len, json.as_bytes()].concat())
        .expect("sent");
}

const PARAM_EXCHANGE: i8 = 9;
const CREATE_STREAMS: i8 = 10;
const ACCESS_DENIED: i8 = -1;
const SERVER_ERROR: i8 = -2;

#[test]
fn one_test_runs_at_a_time_and_its_end_makes_room() {
    in_namespace(|| {
        let _daemon = server();
        let mut control = begin(1);
        assert_eq!(state(&mut control), PARAM_EXCHANGE);
        // Another client is turned away, in its own words.
        let output = run(V4.into(), &["-n", "1000"]);
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && text.contains("busy"), "{text}");
        assert_eq!(state(&mut begin(2)), ACCESS_DENIED);
        // The client vanishes: in the middle of a conversation, and in the middle of a test.
        say(&mut control, "{\"tcp\":true,\"parallel\":1}");
        assert_eq!(state(&mut control), CREATE_STREAMS);
        drop(control);
        let free = || run(V4.into(), &["-n", "1000"]).status.success();
        eventually("room for a test", free);
        // A client that has ended leaves the place free: this one gets it.
        let killed = Command::new("iperf3")
            .args(["-c", &V4.to_string(), "-t", "60", "-P", "3"])
            .args(["-i", "0.1", "--forceflush"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut killed = Running(killed.expect("it starts"));
        let output = BufReader::new(killed.0.stdout.take().expect("piped"));
        let mut lines = output.lines().map_while(io::Result::ok);
        assert!(lines.any(|line| line.contains("bits/sec")), "it runs");
        assert!(!free(), "a test that runs");
        drop(killed);
        eventually("room for a test", free);
    });
}

#[test]
fn what_is_no_client_is_told_so_and_ends_no_test_of_others() {
    in_namespace(|| {
        let _daemon = server();
        for (json, fault) in [
            ("{\"tcp\":true,\"parallel\":1000}", 6),
            ("{\"tcp\":true,\"len\":1e9}", 7),
            ("{\"sctp\":true}", 18),
            ("{\"tcp\":", 114),
            ("[]", 114),
        ] {
            let mut control = begin(3);
            assert_eq!(state(&mut control), PARAM_EXCHANGE);
            say(&mut control, json);
            assert_eq!(state(&mut control), SERVER_ERROR, "{json}");
            let mut numbers = [0; 8];
            control.read_exact(&mut numbers).expect("two numbers");
            assert_eq!(numbers[..4], u32::to_be_bytes(fault), "{json}");
        }
        // More is promised than may come.
        let mut control = begin(4);
        assert_eq!(state(&mut control), PARAM_EXCHANGE);
        control.write_all(&[0xff; 4]).expect("sent");
        assert_eq!(state(&mut control), SERVER_ERROR);
        drop(control);
        // Connections without a cookie, and datagrams to nobody.
        let silent = stream::connect(targets(port::IPERF3)[0]).expect("connected");
        let socket = std::net::UdpSocket::bind("0.0.0.0:0").expect("a socket");
        socket.connect(targets(port::IPERF3)[0]).expect("connected");
        socket.send(b"9876").expect("sent");
        socket
            .set_read_timeout(Some(Duration::from_millis(100)))
            .expect("a timeout");
        assert!(socket.recv(&mut [0; 8]).is_err(), "no test is there");
        let end = measured(V4.into(), &["-n", "3000000"]);
        flowed(&end, "sum_sent", "sum_received");
        drop(silent);
    });
}
