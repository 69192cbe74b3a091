use super::*;
use crate::pktscript::ast::{Body, Call, Direction, Ecn, Expr, Packet, Quote, TcpOpt};

fn one(text: &str) -> Event {
    let script = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    script.events.into_iter().next().expect("an event")
}

fn packet(text: &str) -> Packet {
    match one(text).action {
        Action::Packet(packet) => *packet,
        other => panic!("{text}: {other:?}"),
    }
}

fn tcp(text: &str) -> crate::pktscript::ast::Tcp {
    match packet(text).body {
        Body::Tcp(tcp) => tcp,
        other => panic!("{text}: {other:?}"),
    }
}

fn call(text: &str) -> Call {
    match one(text).action {
        Action::Call(call) => *call,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn times_of_every_form() {
    let time = |text: &str| one(&format!("{text} > . 1:1(0) ack 1")).time;
    assert_eq!(time("0"), Time::Absolute(0));
    assert_eq!(time("1.25"), Time::Absolute(1_250_000));
    assert_eq!(time("+.1"), Time::Relative(100_000));
    assert_eq!(time("+ 0.5"), Time::Relative(500_000));
    assert_eq!(time("*"), Time::Any);
    assert_eq!(time(".1~0.2"), Time::AbsoluteRange(100_000, 200_000));
    assert_eq!(time("+0~+1"), Time::RelativeRange(0, 1_000_000));
}

#[test]
fn a_segment_with_everything() {
    let segment =
        tcp("0 < [ce] 5 > 6 SEW. 1:11(10) ack 4294967295 win 7 urg 3 <mss 9,nop,wscale 8,sackOK>");
    assert_eq!(segment.flags, 0x02 | 0x40 | 0x80 | 0x10);
    assert_eq!(
        (segment.seq, segment.len, segment.ack),
        (1, 10, Some(u32::MAX))
    );
    assert_eq!((segment.window, segment.urgent), (Some(7), Some(3)));
    let options = segment.options.expect("a list");
    assert_eq!(
        options,
        [
            TcpOpt::Mss(9),
            TcpOpt::Nop,
            TcpOpt::WindowScale(8),
            TcpOpt::SackOk
        ]
    );
    let whole = packet("0 < [ce] 5 > 6 . 1:1(0)");
    assert_eq!(whole.ports, Some((5, 6)));
    assert_eq!(
        (whole.direction, whole.ip.ecn),
        (Direction::In, Some(Ecn::Bits(3)))
    );
}

#[test]
fn options_with_values() {
    let options = |text: &str| tcp(&format!("0 > . 1:1(0) ack 1 <{text}>")).options;
    let list = |one| Some(vec![one]);
    assert_eq!(options("..."), None);
    assert_eq!(
        options("TS val 1 ecr 2"),
        list(TcpOpt::Timestamps { val: 1, ecr: 2 })
    );
    assert_eq!(
        options("sack 1:2 3:4"),
        list(TcpOpt::Sack(vec![(1, 2), (3, 4)]))
    );
    assert_eq!(options("FO 01fe"), list(TcpOpt::FastOpen(vec![1, 0xfe])));
    assert_eq!(options("FO"), list(TcpOpt::FastOpen(vec![])));
    assert_eq!(options("md5 valid"), list(TcpOpt::Md5(None)));
    let counters = vec![7, 8];
    assert_eq!(
        options("ECN e1b 7 ceb 8"),
        list(TcpOpt::AccEcn {
            ect1_first: true,
            counters
        })
    );
    // Without a list there must be no options.
    assert_eq!(tcp("0 > . 1:1(0) ack 1").options, Some(vec![]));
}

#[test]
fn datagrams_and_errors_of_the_network() {
    assert_eq!(packet("0 > udp (100)").body, Body::Udp(100));
    let Body::Icmp(icmp) = packet("0 < icmp unreachable frag_needed mtu 600 [1:101(100)]").body
    else {
        panic!("not ICMP");
    };
    assert_eq!((icmp.mtu, icmp.quote), (Some(600), Quote::Tcp(1, 100)));
    assert_eq!(icmp.code.as_deref(), Some("frag_needed"));
    assert_eq!(
        packet("0 > . 1:1(0) ack 1/udp(9811 > 1)").udp_tunnel,
        Some((9_811, 1))
    );
}

#[test]
fn calls_with_results_errors_and_structures() {
    let read = call("0...0.25 read(4, ..., 100) = -1 EAGAIN (Resource temporarily unavailable)");
    assert_eq!((read.name.as_str(), read.end), ("read", Some(250_000)));
    assert_eq!(
        read.arguments,
        [Expr::Int(4), Expr::Ellipsis, Expr::Int(100)]
    );
    assert_eq!(
        (read.result, read.error.as_deref()),
        (Expr::Int(-1), Some("EAGAIN"))
    );
    let poll = call("0 poll([{fd=4, events=POLLIN|POLLOUT, revents=0}], 1, 0) = 1");
    let Some(Expr::List(list)) = poll.arguments.first() else {
        panic!("no list");
    };
    assert_eq!(
        list.first().and_then(|one| one.field("fd")),
        Some(&Expr::Int(4))
    );
    let bind = call(
        "0 bind(3, {sa_family = AF_INET, sin_port = htons(80), sin_addr = inet_addr(\"1.2.3.4\")}, ...) = 0",
    );
    let port = bind
        .arguments
        .get(1)
        .and_then(|address| address.field("sin_port"));
    assert_eq!(
        port,
        Some(&Expr::Apply("htons".to_owned(), vec![Expr::Int(80)]))
    );
}

#[test]
fn options_commands_code_and_comments() {
    let text = "--ip_version=ipv6 --define=N=7\n/* a\ncomment */ `setup`\n// one\n0 close(N) = 0\n+0 %{ assert 1 }%\n`end`";
    let script = parse(text).expect("a script");
    assert_eq!(script.options.len(), 2);
    assert_eq!(
        script.setup.first().map(|one| one.text.as_str()),
        Some("setup")
    );
    assert_eq!(script.cleanup.len(), 1);
    let [close, code] = &script.events[..] else {
        panic!("two events");
    };
    assert!(matches!(&close.action, Action::Call(call) if call.arguments == [Expr::Int(7)]));
    assert_eq!(code.action, Action::Code("assert 1".to_owned()));
    assert_eq!(code.at, Position { line: 6, column: 1 });
}

#[test]
fn errors_say_where_and_what() {
    for (text, message) in [
        ("", "1:1: the script has no event"),
        ("// nothing\n", "2:1: the script has no event"),
        ("x", "1:1: expected a time in seconds, found `x`"),
        (
            "0 ",
            "1:3: expected a packet, a call, a command or code, found the end of the script",
        ),
        ("0 > S 0:1(0)", "1:7: 0 and 0 bytes do not end at 1"),
        (
            "0 > Q 0:0(0)",
            "1:5: expected flags (of `FSRP.UEWA` and one digit), found `Q`",
        ),
        (
            "0 < S 0:0(0) win 65536",
            "1:18: 65536 is out of range: use 0 to 65535",
        ),
        (
            "* close(3) = 0",
            "1:1: `*` is a time for packets that the stack sends",
        ),
        (
            "2~1 > . 1:1(0)",
            "1:1: the range of times ends before it begins",
        ),
        ("0 close(3 = 0", "1:11: expected `)`, found `= 0`"),
        (
            "0 > . 1:1(0) <FO 123>",
            "1:18: `123` is not an even number of hexadecimal digits, 80 at most",
        ),
        ("/* never", "1:1: this comment does not end: add `*/`"),
        ("`never", "1:1: this ` has no second one"),
        (
            "0 close(3) = 99999999999999999999",
            "1:14: 99999999999999999999 is too large a number",
        ),
    ] {
        let error = parse(text).expect_err(text);
        assert_eq!(error.to_string(), message, "{text}");
    }
}

#[test]
fn conditions_leave_lines_out_and_keep_their_numbers() {
    let text = "#ifdef A\n0 close(1) = 0\n#else\n0 close(2) = 0\n#endif\n0 close(3) = x(";
    let line =
        |symbols: &[(String, String)]| parse_with(text, symbols).expect_err("an error").at.line;
    assert_eq!(line(&[]), 6);
    let text = text.replace("x(", "0");
    let first = |symbols: &[(String, String)]| {
        parse_with(&text, symbols)
            .expect("a script")
            .events
            .remove(0)
    };
    assert_eq!(first(&[]).at.line, 4);
    assert_eq!(first(&[("A".to_owned(), String::new())]).at.line, 2);
    for (text, message) in [
        (
            "#ifdef A\n0 close(1) = 0",
            "1:1: this condition does not end: add `#endif`",
        ),
        ("0 close(1) = 0\n#endif", "2:1: `#endif` without `#ifdef`"),
        ("#ifdef", "1:1: `#ifdef` needs a name"),
    ] {
        assert_eq!(parse(text).expect_err(text).to_string(), message);
    }
}

#[test]
fn hostile_text_ends_with_an_error() {
    let deep = format!("0 f({}", "[".repeat(100_000));
    let long = format!("0 > . 1:1(0) <{}", "nop,".repeat(100_000));
    let many = format!("0 f({}", "1,".repeat(100_000));
    for text in [deep, long, many, "x".repeat(MAX_SCRIPT_BYTES + 1)] {
        let error = parse(&text).expect_err("an error");
        assert!(error.to_string().len() < 200, "{error}");
    }
}
