//! Scripts of packets and socket calls in real time: the same ones against this stack on virtual time, the kernel and a
//! daemon.

use std::fs;
use std::path::Path;

use tests::program;
use tests::world::in_namespace;
use tools::pktscript::report::{Against, Options, Report, report};

/// Scripts that are about what all three do, and need no timer that a busy machine could miss.
const SCRIPTS: [&str; 20] = [
    "rfc9293/3.5-passive-open",
    "rfc9293/3.5-passive-open-v6",
    "rfc9293/3.5-active-open",
    "rfc9293/3.5-active-open-v6",
    "rfc9293/3.5-blocking-accept",
    "rfc9293/3.5-blocking-connect",
    "rfc9293/3.5.2-syn-to-closed-port",
    "rfc9293/3.6-active-close",
    "rfc9293/3.6-passive-close",
    "rfc9293/3.6-passive-close-v6",
    "rfc9293/3.6-half-close",
    "rfc9293/3.9.1-read-parts",
    "rfc9293/3.10.7.3-refused",
    "rfc2018/4-one-block",
    "rfc768/0-boundaries",
    "rfc768/0-cut",
    "rfc768/0-empty-v6",
    "rfc768/0-send-v6",
    "rfc9293/3.9.1-poll-listener",
    "rfc9293/3.9.1-poll-waits",
];

/// Times have this much tolerance: no test is about times.
const TOLERANCE_MILLIS: u32 = 2_000;

/// Tries of a script in real time: a machine that has much else to do may be too late for it.
const TRIES: usize = 3;

fn run(name: &str, text: &str, against: Against) -> Report {
    let options = Options {
        against,
        seed: 1,
        daemon: Some(program!().to_owned()),
        tolerance_millis: Some(TOLERANCE_MILLIS),
        ..Options::default()
    };
    in_namespace(|| report(name, text, &options))
}

fn passes(name: &str, text: &str, against: Against) {
    let mut last = String::new();
    for _ in 0..TRIES {
        let report = run(name, text, against);
        if report.verdict == "pass" {
            return;
        }
        last = report.text(true);
    }
    panic!("against {against:?}: {last}");
}

/// Reads a script of this project.
fn script(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    fs::read_to_string(root.join(format!("{name}.pkt"))).expect("a script")
}

fn all_pass(against: Against) {
    for name in SCRIPTS {
        passes(name, &script(name), against);
    }
}

#[test]
fn a_daemon_refuses_an_address_in_use() {
    // The kernel refuses it when it is bound.
    let name = "rfc9293/3.9.1-addresses-in-use";
    for against in [Against::Ours, Against::Daemon] {
        passes(name, &script(name), against);
    }
}

#[test]
fn scripts_pass_on_virtual_time() {
    all_pass(Against::Ours);
}

#[test]
fn the_same_scripts_pass_against_the_kernel() {
    all_pass(Against::Kernel);
}

#[test]
fn the_same_scripts_pass_against_a_daemon() {
    all_pass(Against::Daemon);
}

#[test]
fn socket_options_work_against_a_daemon() {
    for name in [
        "rfc9293/3.6.1-linger-zero",
        "rfc9293/3.6.1-linger-zero-v6",
        "rfc9293/3.7.4-nodelay",
        "rfc9293/3.7.4-nodelay-v6",
        "rfc9293/3.8.4-keepalive",
        "rfc9293/3.8.4-keepalive-v6",
        "rfc9293/3.8.4-dead-peer",
        "rfc9293/3.9.2-tos",
        "rfc9293/3.9.2-tos-v6",
        "rfc9293/3.9.2-ttl",
        "rfc9293/3.9.2-ttl-v6",
        "rfc9293/3.9.2-ttl-of-syn",
        "rfc9293/3.9.2-ttl-of-syn-v6",
    ] {
        passes(name, &script(name), Against::Daemon);
    }
}

#[test]
fn options_of_a_listener_are_those_of_its_connections() {
    let text = OPEN.replace(
        "+0 bind",
        "+0 setsockopt(3, SOL_IP, IP_TTL, [9], 4) = 0\n+0 bind",
    );
    let text = text.replace("> S.", "> [ttl 9] S.");
    let text = format!(
        "{text}\
+0 write(4, ..., 1000) = 1000
+0 > [ttl 9] P. 1:1001(1000) ack 1
"
    );
    for against in [Against::Ours, Against::Daemon] {
        passes("listener", &text, against);
    }
}

#[test]
fn options_of_datagrams_are_kept_when_they_are_connected() {
    let text = "\
0 socket(..., SOCK_DGRAM, IPPROTO_UDP) = 3
+0 bind(3, ..., ...) = 0
+0 setsockopt(3, SOL_IP, IP_TTL, [9], 4) = 0
+0 connect(3, ..., ...) = 0
+0 write(3, ..., 10) = 10
+0 > [ttl 9] udp (10)
+0 setsockopt(3, SOL_IP, IP_TTL, [7], 4) = 0
+0 write(3, ..., 10) = 10
+0 > [ttl 7] udp (10)
";
    for against in [Against::Ours, Against::Daemon] {
        passes("datagrams", text, against);
    }
}

#[test]
fn a_value_out_of_range_is_refused_in_the_daemons_words() {
    let text = format!("{OPEN}+0 setsockopt(4, SOL_IP, IP_TTL, [0], 4) = 0\n");
    let report = run("range", &text, Against::Daemon);
    assert_eq!(report.verdict, "unsupported", "{}", report.text(true));
    let reason = report.reason.expect("a reason");
    assert!(reason.contains("set_ttl"), "{reason}");
}

/// A connection that is accepted as socket 4, and does not block.
const OPEN: &str = "\
0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0 setsockopt(3, SOL_SOCKET, SO_REUSEADDR, [1], 4) = 0
+0 bind(3, ..., ...) = 0
+0 listen(3, 5) = 0
+.1 < S 0:0(0) win 65535 <mss 1460>
+0 > S. 0:0(0) ack 1 <...>
+.1 < . 1:1(0) ack 1 win 65535
+0 accept(3, ..., ...) = 4
";

#[test]
fn tcp_info_is_told_by_all_three() {
    let text = format!(
        "{OPEN}\
+0 %{{ assert tcpi_state == 1; assert tcpi_unacked == 0; assert tcpi_snd_mss == 1460 }}%
+0 write(4, ..., 1000) = 1000
+0 > P. 1:1001(1000) ack 1
+0 %{{ assert tcpi_unacked == 1 }}%
+.1 < . 1:1(0) ack 1001 win 65535
+.1 %{{ assert tcpi_unacked == 0; assert tcpi_bytes_acked >= 1000; assert tcpi_rtt > 0 }}%
"
    );
    let wrong = format!("{OPEN}+0 %{{ assert tcpi_snd_cwnd == 77 }}%\n");
    for against in [Against::Ours, Against::Kernel, Against::Daemon] {
        passes("tcp_info", &text, against);
        let report = run("wrong", &wrong, against);
        assert_eq!(report.verdict, "fail", "{against:?}: {}", report.text(true));
    }
}

#[test]
fn poll_works_in_real_time() {
    let text = format!(
        "{OPEN}\
+0 poll([{{fd=4, events=POLLIN|POLLOUT, revents=POLLOUT}}], 1, 0) = 1
+0 poll([{{fd=4, events=POLLIN, revents=0}}], 1, 0) = 0
+0...0.2 poll([{{fd=4, events=POLLIN, revents=POLLIN}}], 1, 10000) = 1
+.2 < P. 1:11(10) ack 1 win 65535
+0 > . 1:1(0) ack 11
+0 read(4, ..., 100) = 10
"
    );
    for against in [Against::Ours, Against::Kernel, Against::Daemon] {
        passes("poll", &text, against);
    }
    let wrong = format!("{OPEN}+0 poll([{{fd=4, events=POLLIN, revents=POLLIN}}], 1, 0) = 1\n");
    for against in [Against::Kernel, Against::Daemon] {
        let report = run("wrong", &wrong, against);
        assert_eq!(report.verdict, "fail", "{}", report.text(true));
    }
}

#[test]
fn what_a_daemon_cannot_do_is_named() {
    for (line, name) in [
        (
            "+0 setsockopt(4, SOL_SOCKET, SO_SNDBUF, [4000], 4) = 0",
            "SO_SNDBUF against the daemon",
        ),
        (
            "+0 shutdown(4, SHUT_RD) = 0",
            "shutdown of reading against the daemon",
        ),
        (
            "+0 sendto(4, ..., 10, 0, ..., ...) = 10",
            "data with an address against the daemon",
        ),
    ] {
        let report = run("call", &format!("{OPEN}{line}\n"), Against::Daemon);
        assert_eq!(report.verdict, "unsupported", "{}", report.text(true));
        assert_eq!(report.reason.as_deref(), Some(name));
    }
    // The daemon's own reading is no silent pass, either.
    let text = format!(
        "{OPEN}+.1 < P. 1:11(10) ack 1 win 65535\n+0 > . 1:1(0) ack 11\n+.1 close(4) = 0\n"
    );
    let report = run("unread", &text, Against::Daemon);
    assert_eq!(report.verdict, "unsupported", "{}", report.text(true));
    let reason = report.reason.expect("a reason");
    assert!(reason.contains("data that stays unread"), "{reason}");
}

#[test]
fn a_daemon_that_is_none_is_named() {
    let options = Options {
        against: Against::Daemon,
        daemon: Some("/no/such/netstackd".into()),
        ..Options::default()
    };
    let report = in_namespace(|| report("script", OPEN, &options));
    assert_eq!(report.verdict, "fail");
    let reason = report.reason.expect("a reason");
    assert!(
        reason.contains("/no/such/netstackd cannot be started"),
        "{reason}"
    );
}
