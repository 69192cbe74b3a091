use super::*;
use crate::pktscript::ours::Ours;
use crate::pktscript::parser::parse;

fn verdict(text: &str) -> Verdict {
    let script = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let mut make = |settings: &mut Settings| -> Result<Box<dyn Host>, String> {
        Ok(Box::new(Ours::new(settings, 1)?))
    };
    run(&script, &mut make)
}

fn failure(text: &str) -> Failure {
    match verdict(text).outcome {
        Outcome::Failed(failure) => failure,
        other => panic!("{text}: {other:?}"),
    }
}

fn unsupported(text: &str) -> String {
    match verdict(text).outcome {
        Outcome::Unsupported { what, .. } => what,
        other => panic!("{text}: {other:?}"),
    }
}

const LISTEN: &str = "\
0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0 bind(3, ..., ...) = 0
+0 listen(3, 5) = 0
";

const OPEN: &str = "\
0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0 bind(3, ..., ...) = 0
+0 listen(3, 5) = 0
+.1 < S 0:0(0) win 65535 <mss 1000>
+0 > S. 0:0(0) ack 1 <mss 1460>
+.1 < . 1:1(0) ack 1 win 65535
+0 accept(3, ..., ...) = 4
+0 fcntl(4, F_SETFL, O_RDWR|O_NONBLOCK) = 0
";

fn open(rest: &str) -> String {
    format!("{OPEN}{rest}")
}

#[test]
fn a_script_that_holds_passes() {
    let verdict = verdict(&open(
        "+.1 < P. 1:11(10) ack 1 win 65535\n+0 > . 1:1(0) ack 11\n+0 read(4, ..., 99) = 10",
    ));
    assert_eq!(verdict.outcome, Outcome::Passed, "{:#?}", verdict.log);
    assert_eq!(
        verdict.log.last().map(String::as_str),
        Some("0.300000 read(4, ..., 99) = 10")
    );
}

#[test]
fn a_packet_that_differs_fails_with_its_fields() {
    let failure = failure(&open("+.1 write(4, ..., 10) = 10\n+0 > . 1:12(11) ack 1"));
    assert_eq!(failure.at.line, 10);
    let fields: Vec<_> = failure.differences.iter().map(|one| one.field).collect();
    assert_eq!(fields, ["flags", "payload bytes"]);
}

#[test]
fn a_packet_that_does_not_come_fails() {
    let failure = failure(&open("+.1 > . 1:1(0) ack 11"));
    assert!(failure.what.contains("but nothing came"), "{failure:?}");
}

#[test]
fn a_packet_that_comes_at_another_time_fails() {
    let late = failure(&open("+.1 write(4, ..., 10) = 10\n+.5 > P. 1:11(10) ack 1"));
    assert!(late.what.contains("but was expected at"), "{late:?}");
    let failed = failure(&open(
        "+.1 write(4, ..., 10) = 10\n+0 > P. 1:11(10) ack 1\n+0 > P. 1:11(10) ack 1",
    ));
    assert!(
        failed.what.contains("until > P. 1:11(10) ack 1"),
        "{failed:?}"
    );
}

#[test]
fn calls_that_return_something_else_fail() {
    for (text, what) in [
        ("+0 read(4, ..., 9) = 5", "read: expected 5, got -1 EAGAIN"),
        (
            "+0 read(4, ..., 9) = -1 EPIPE (Broken pipe)",
            "read: expected -1 EPIPE, got -1 EAGAIN",
        ),
        ("+0 write(4, ..., 10) = 9", "write: expected 9, got 10"),
        (
            "+0 getsockopt(4, SOL_SOCKET, SO_ERROR, [ECONNRESET], [4]) = 0",
            "getsockopt: expected the value [ECONNRESET], got [0]",
        ),
        (
            "+0 ioctl(4, FIONREAD, [3]) = 0",
            "ioctl: expected the count 3, got 0",
        ),
        (
            "+0 poll([{fd=4, events=POLLIN, revents=POLLIN}], 1, 0) = 1",
            "poll: expected 1 to be ready, got 0",
        ),
        ("+0 read(9, ..., 9) = 5", "the script has no socket 9"),
    ] {
        assert_eq!(failure(&open(text)).what, what);
    }
}

#[test]
fn a_call_that_blocks_returns_in_its_time() {
    let script = |end: &str, arrives: &str| {
        let open = OPEN.replace("+0 fcntl(4, F_SETFL, O_RDWR|O_NONBLOCK) = 0\n", "");
        format!(
            "{open}+0...{end} read(4, ..., 99) = 10\n+{arrives} < P. 1:11(10) ack 1 win 65535\n+0 > . 1:1(0) ack 11\n+.1 close(4) = 0"
        )
    };
    assert_eq!(verdict(&script("0.2", ".2")).outcome, Outcome::Passed);
    assert!(
        failure(&script("0.2", ".1"))
            .what
            .contains("but was expected to return at")
    );
    assert!(
        failure(&script("0.2", ".5"))
            .what
            .contains("but was expected to return at")
    );
}

#[test]
fn what_is_not_here_is_named() {
    for (text, what) in [
        ("--no_such_option\n0 close(3) = 0", "--no_such_option"),
        ("`reboot`\n0 close(3) = 0", "the command `reboot`"),
        ("0 splice(3) = 0", "the call splice"),
        ("0 < udp (10)/udp(1 > 2)", "TCP in UDP"),
        ("0 < gre: S 0:0(0) win 1", "gre around a packet"),
        ("0 < S 0:0(0) win 1 <md5 valid>", "TCP-MD5"),
    ] {
        assert_eq!(unsupported(text), what);
    }
    for (text, what) in [
        ("+0 recv(4, ..., 9, MSG_OOB) = 1", "MSG_OOB"),
        (
            "+0 setsockopt(4, SOL_TCP, TCP_CORK, [1], 4) = 0",
            "TCP_CORK",
        ),
        (
            "+0 read(4, NULL, 9) = -1 EFAULT (Bad address)",
            "NULL as a buffer",
        ),
        (
            "+0 %{ assert tcpi_new == 1 }%",
            "code: the value `tcpi_new`",
        ),
        (
            "+0 `sysctl -q net.ipv4.tcp_sack=0`\n+0 write(4, ..., 9) = 9",
            "net.ipv4.tcp_sack=0",
        ),
    ] {
        assert_eq!(unsupported(&open(text)), what);
    }
}

#[test]
fn a_missing_setting_is_told_whatever_the_outcome() {
    let script = |rest: &str| format!("`sysctl -q net.ipv4.tcp_unheard_of=1`\n{}", open(rest));
    let passes = verdict(&script("+0 close(4) = 0"));
    assert_eq!(passes.outcome, Outcome::Passed);
    assert!(
        passes
            .notes
            .contains(&"without net.ipv4.tcp_unheard_of=1".to_owned()),
        "{:?}",
        passes.notes
    );
    let fails = verdict(&script("+0 read(4, ..., 9) = 5"));
    assert!(
        matches!(
            fails.outcome,
            Outcome::Unsupported {
                failure: Some(_),
                ..
            }
        ),
        "{fails:?}"
    );
}

#[test]
fn assertions_see_the_connection() {
    let text = "+.1 write(4, ..., 3000) = 3000\n+0 > P. 1:3001(3000) ack 1\n+0 %{ assert tcpi_unacked == 3 and tcpi_state == TCP_ESTABLISHED }%";
    assert_eq!(verdict(&open(text)).outcome, Outcome::Passed);
    let failure = failure(&open("+0 %{ assert tcpi_unacked == 3 }%"));
    assert_eq!(failure.what, "assert tcpi_unacked == 3: tcpi_unacked = 0");
    assert_eq!(
        verdict(&format!(
            "{LISTEN}+0 %{{ assert tcpi_state == TCP_LISTEN }}%"
        ))
        .outcome,
        Outcome::Passed
    );
}

#[test]
fn segments_are_joined_unless_the_script_forbids_it() {
    let rest = "+.1 write(4, ..., 3000) = 3000\n+0 > P. 1:3001(3000) ack 1";
    let joined = verdict(&open(rest));
    assert_eq!(joined.outcome, Outcome::Passed);
    assert_eq!(joined.notes, ["segments joined that the script has as one"]);
    let failure = failure(&format!("--strict_segments\n{}", open(rest)));
    assert_eq!(failure.differences.len(), 2, "{failure:?}");
}

#[test]
fn joined_segments_are_cut_where_the_script_cuts_them() {
    let rest =
        "+.1 write(4, ..., 3000) = 3000\n+0 > . 1:1501(1500) ack 1\n+0 > P. 1501:3001(1500) ack 1";
    let verdict = verdict(&open(rest));
    assert_eq!(verdict.outcome, Outcome::Passed);
    assert_eq!(verdict.notes.len(), 2, "{:?}", verdict.notes);
}

#[test]
fn data_that_is_mixed_up_is_found() {
    // The script's peer sends the pattern of the stream; a read that got other bytes would fail.
    let rest = "+.1 < P. 11:21(10) ack 1 win 65535\n+0 > . 1:1(0) ack 1\n+.1 < P. 1:11(10) ack 1 win 65535\n+0 > . 1:1(0) ack 21\n+0 read(4, ..., 7) = 7\n+0 read(4, ..., 99) = 13";
    assert_eq!(verdict(&open(rest)).outcome, Outcome::Passed);
}
