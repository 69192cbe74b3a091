use std::net::SocketAddr;

use super::compare::{Comparison, Rules, packets};
use super::flow::Flow;
use super::read::{SeenBody, read};
use super::*;
use crate::pktscript::ast::{Action, Body, Packet, Tcp, TcpOpt};
use crate::pktscript::parser::parse;

fn packet(text: &str) -> Packet {
    let script = parse(&format!("0 {text}")).unwrap_or_else(|error| panic!("{text}: {error}"));
    match script.events.into_iter().next().map(|event| event.action) {
        Some(Action::Packet(packet)) => *packet,
        other => panic!("{text}: {other:?}"),
    }
}

fn tcp(text: &str) -> Tcp {
    match packet(text).body {
        Body::Tcp(tcp) => tcp,
        other => panic!("{text}: {other:?}"),
    }
}

fn ends() -> (SocketAddr, SocketAddr) {
    (
        "192.168.0.1:8080".parse().unwrap(),
        "192.0.2.1:40000".parse().unwrap(),
    )
}

/// Builds a packet and reads it again.
fn on_the_wire(text: &str) -> (Packet, read::Seen) {
    let (from, to) = ends();
    let packet = packet(text);
    let bytes = match &packet.body {
        Body::Tcp(segment) => {
            let payload = bytes_at(0, segment.len.into());
            build::tcp(from, to, &packet.ip, segment, &payload)
        }
        Body::Udp(len) => build::udp(from, to, &packet.ip, &bytes_at(0, (*len).into())),
        Body::Icmp(message) => icmp::build(message, &packet.ip, from, to, 7),
    };
    let bytes = bytes.unwrap_or_else(|error| panic!("{text}: {error}"));
    (packet, read(&bytes).expect("an IP packet"))
}

fn compared(expected: &str, seen: &str, rules: Rules) -> Comparison {
    let (_, seen) = on_the_wire(seen);
    packets(&packet(expected), &seen, None, rules)
}

#[test]
fn what_is_built_is_read_back() {
    for text in [
        "> S 0:0(0) win 7 <mss 1460,sackOK,TS val 1 ecr 0,nop,wscale 8>",
        "> . 1:1(0) ack 5 win 0 <nop,nop,sack 10:20 30:40>",
        "> [ect0] P. 1:101(100) ack 1 win 65535",
        "> FPUEWA. 1:1(0) ack 1 win 1 urg 9 <FO 0102,ECN e1b 1 ceb 2 e0b 3,nop>",
        "> R 1000:1000(0)",
        "> [ttl 3] udp (10)",
        "> icmp unreachable port_unreachable [7:7(0)]",
    ] {
        let (packet, seen) = on_the_wire(text);
        let comparison = packets(&packet, &seen, None, Rules::default());
        assert_eq!(
            comparison.differences,
            [],
            "{text}: {}",
            show::seen(&seen, None)
        );
    }
}

#[test]
fn packets_are_shown_as_scripts_write_them() {
    for text in [
        "> S 0:0(0) win 7 <mss 1460,sackOK,TS val 1 ecr 0,nop,wscale 8>",
        "> [ce] FP. 1:11(10) ack 1 win 5 <nop,nop,sack 1:2 3:4>",
        "> . 1:1(0) ack 1 <...>",
        "> udp (9)",
    ] {
        let shown = show::packet(&packet(text));
        assert_eq!(packet(&shown), packet(text), "{shown}");
    }
}

#[test]
fn each_field_that_differs_is_named() {
    let seen = "> P. 1:11(10) ack 5 win 100 <nop,nop,TS val 1 ecr 2>";
    for (expected, fields) in [
        (
            "> P. 1:11(10) ack 5 win 100 <nop,nop,TS val 9 ecr 2>",
            vec![],
        ),
        ("> P. 1:11(10) ack 5 <...>", vec![]),
        ("> . 1:11(10) ack 5 <...>", vec!["flags"]),
        ("> P. 2:12(10) ack 5 <...>", vec!["sequence number"]),
        (
            "> P. 1:10(9) ack 6 win 1 <...>",
            vec!["payload bytes", "ack", "window"],
        ),
        ("> P. 1:11(10) ack 5", vec!["options"]),
        (
            "> P. 1:11(10) ack 5 <nop,nop,TS val 1 ecr 3>",
            vec!["options"],
        ),
        ("> [ect0] P. 1:11(10) ack 5 <...>", vec!["ECN"]),
        ("> [ttl 9] P. 1:11(10) ack 5 <...>", vec!["TTL"]),
        ("> udp (10)", vec!["packet"]),
    ] {
        let found: Vec<_> = compared(expected, seen, Rules::default())
            .differences
            .iter()
            .map(|one| one.field)
            .collect();
        assert_eq!(found, fields, "{expected}");
    }
}

#[test]
fn what_is_let_pass_is_told() {
    let rules = Rules {
        any_option_order: true,
        window_slack: 100,
        timestamp_ticks: None,
    };
    let seen = "> S. 0:0(0) ack 1 win 950 <mss 1460,nop,nop,sackOK>";
    let passes = compared(
        "> S. 0:0(0) ack 1 win 1000 <mss 1460,sackOK,eol,eol>",
        seen,
        rules,
    );
    assert_eq!((passes.differences.len(), passes.tolerated.len()), (0, 2));
    // Not a window that is too large, nor one that is smaller by a segment.
    for window in [949, 1_050] {
        let expected = format!("> S. 0:0(0) ack 1 win {window} <mss 1460,sackOK>");
        assert_eq!(
            compared(&expected, seen, rules).differences.len(),
            1,
            "{window}"
        );
    }
    let missing = compared(
        "> S. 0:0(0) ack 1 <mss 1460,sackOK,TS val 1 ecr 0>",
        seen,
        rules,
    );
    assert_eq!(missing.differences.len(), 1);
    let strict = compared(
        "> S. 0:0(0) ack 1 <mss 1460,sackOK,eol,eol>",
        seen,
        Rules::default(),
    );
    assert_eq!(strict.differences.len(), 1);
}

#[test]
fn numbers_count_from_the_first_ones() {
    let (local, remote) = ends();
    let mut flow = Flow::new(local, remote);
    flow.set_remote_isn(100);
    // The stack's SYN has number 5,000, and acknowledges 101.
    let mut syn_ack = tcp("> S. 5000:5000(0) ack 101 <mss 1,TS val 777 ecr 3>");
    let expected = tcp("> S. 0:0(0) ack 101 <mss 1,TS val 10 ecr 3>");
    let seen = flow.outbound(&syn_ack, Some(&expected));
    assert_eq!((seen.seq, seen.ack), (0, Some(101)));
    let stamp = TcpOpt::Timestamps { val: 10, ecr: 3 };
    assert!(
        seen.options
            .as_ref()
            .is_some_and(|list| list.contains(&stamp))
    );
    // Later ones count from there.
    syn_ack.flags = 0x10;
    syn_ack.seq = 5_001;
    let seen = flow.outbound(&syn_ack, None);
    assert_eq!((seen.seq, seen.ack), (1, Some(1)));
    let wire = flow
        .inbound(&tcp("< . 1:1(0) ack 1 <sack 11:21,TS val 4 ecr 12>"))
        .unwrap();
    assert_eq!((wire.seq, wire.ack), (101, Some(5_001)));
    let options = wire.options.unwrap();
    assert!(options.contains(&TcpOpt::Sack(vec![(5_011, 5_021)])));
    assert!(options.contains(&TcpOpt::Timestamps { val: 4, ecr: 779 }));
    // Without a timestamp of the stack there is nothing to echo.
    let fresh = Flow::new(local, remote);
    assert!(
        fresh
            .inbound(&tcp("< . 1:1(0) ack 1 <TS val 4 ecr 12>"))
            .is_err()
    );
}

#[test]
fn what_cannot_be_built_says_why() {
    let (from, to) = ends();
    let info = packet("> . 1:1(0)").ip;
    for (text, why) in [
        (
            "> . 1:1(0) <sack 1:2 3:4 5:6 7:8,TS val 1 ecr 1>",
            "the options take 44 bytes: a header has room for 40",
        ),
        (
            "> . 1:1(0) <md5 valid>",
            "a valid md5 signature needs a key",
        ),
    ] {
        assert_eq!(
            build::tcp(from, to, &info, &tcp(text), &[]).unwrap_err(),
            why
        );
    }
    let Body::Icmp(message) = packet("< icmp redirect no_such_code").body else {
        panic!("not ICMP");
    };
    let why = icmp::build(&message, &info, from, to, 0).unwrap_err();
    assert_eq!(why, "`no_such_code` is no code of ICMP redirect");
}

#[test]
fn bytes_that_are_no_packet_are_told_or_ignored() {
    assert_eq!(read(&[]), None);
    assert_eq!(read(&[0x45; 10]), None);
    let (from, to) = ends();
    let info = packet("> . 1:1(0)").ip;
    let mut bytes = build::tcp(from, to, &info, &tcp("> . 1:1(0) ack 1"), b"x").unwrap();
    if let Some(last) = bytes.last_mut() {
        *last ^= 1;
    }
    let seen = read(&bytes).expect("an IP packet");
    assert!(
        matches!(seen.body, SeenBody::Other(_)),
        "a wrong checksum: {seen:?}"
    );
}
