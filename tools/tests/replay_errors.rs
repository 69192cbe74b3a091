//! ICMP errors in replays: those that the captured host received are played, with what they quote in the numbers of the
//! replay; those that it sent are required.

mod support;

use std::io::Cursor;
use std::time::Duration;

use support::made::{ACK, FIN, From::*, Made, PSH, SYN};
use support::{parts_of, pattern};
use tools::capture::{Captured, read_from};
use tools::replay::{Difference, Ours, Record, Report, Which, run_all};

/// Replays all sessions of a capture. Returns the reports, and the packets of the replay.
fn replayed(packets: &[Captured], which: Which) -> (Vec<Report>, Vec<Vec<u8>>) {
    let parts = parts_of(packets, which);
    let mut host = Ours::new(1, 0).expect("a stack");
    let mut file = Vec::new();
    let mut record = Record::new(&mut file, Duration::ZERO).expect("a record");
    let reports = run_all(parts, &mut host, false, Some(&mut record)).expect("a record");
    record.finish().expect("a record");
    let (packets, _) = read_from(Cursor::new(file), "record").expect("a capture");
    (
        reports,
        packets.into_iter().map(|packet| packet.ip).collect(),
    )
}

/// Returns the ends of a session in one of the two families.
fn ends(v6: bool) -> [&'static str; 3] {
    if v6 {
        ["[fd79::1]:40000", "[fd79::2]:80", "fd79::ff"]
    } else {
        ["10.1.0.1:40000", "10.1.0.2:80", "10.1.0.254"]
    }
}

/// A server sends 1,400 bytes, and a router says that 1,280 are the most. `about`: the packet that it quotes.
fn too_big(v6: bool, about: Option<usize>) -> Made {
    let [client, server, router] = ends(v6);
    let mut made = Made::new(client, server);
    let data = pattern(1, 2_000);
    made.handshake()
        .add(Client, PSH | ACK, b"more")
        .add(Server, ACK, &data[..1_400]);
    let first = made.next[1].wrapping_sub(1_400);
    if let Some(about) = about {
        let kind = if v6 { (2, 0) } else { (3, 4) };
        made.error(router, about, kind, 1_280);
    }
    made.pause(Duration::from_millis(5));
    made.next[1] = first;
    made.add(Server, ACK, &data[..1_200])
        .add(Server, PSH | ACK, &data[1_200..])
        .add(Client, ACK, &[])
        .add(Client, FIN | ACK, &[])
        .add(Server, FIN | ACK, &[])
        .add(Client, ACK, &[]);
    made
}

/// Returns the longest packet that comes behind the packet of this protocol.
fn longest_behind(packets: &[Vec<u8>], protocol: u8) -> Option<usize> {
    let of = |packet: &[u8]| match packet[0] >> 4 {
        4 => packet[9],
        _ => packet[6],
    };
    let at = packets.iter().position(|packet| of(packet) == protocol)?;
    packets[at + 1..].iter().map(Vec::len).max()
}

#[test]
fn a_packet_that_is_too_big_is_sent_in_smaller_ones() {
    for (v6, icmp) in [(false, 1), (true, 58)] {
        let (reports, packets) = replayed(&too_big(v6, Some(4)).captured(), Which::Servers);
        assert!(reports[0].is_same(), "{}", reports[0]);
        assert_eq!(reports[0].our_bytes, 2_000);
        // Client's packets and the error.
        assert_eq!(reports[0].played, 7);
        // What was too big is sent again, and fits.
        assert_eq!(reports[0].resent_bytes, 1_400, "{}", reports[0]);
        let longest = longest_behind(&packets, icmp).expect("the error is in the record");
        assert!(longest <= 1_280, "v6={v6}: {longest}\n{}", reports[0]);
    }
}

#[test]
fn an_error_about_what_was_not_sent_changes_nothing() {
    let mut made = too_big(false, Some(4));
    // The halves of the quoted sequence number change places: nothing of it is in flight, and the checksum stays right.
    let quoted_number = 20 + 8 + 20 + 4;
    made.packets[5].ip[quoted_number..quoted_number + 4].rotate_left(2);
    let (reports, packets) = replayed(&made.captured(), Which::Servers);
    assert!(longest_behind(&packets, 1).is_some(), "it was played");
    assert_eq!(reports[0].our_bytes, 2_000, "{}", reports[0]);
    assert_eq!(reports[0].resent_bytes, 0, "{}", reports[0]);
}

/// A client that connects in vain: an error answers, and the capture goes on for five seconds, of other traffic.
fn in_vain(v6: bool, kind: (u8, u8)) -> Vec<Captured> {
    let [client, server, _] = ends(v6);
    let mut made = Made::new(client, server);
    made.add(Client, SYN, &[]);
    let host = made.ends[1].ip().to_string();
    made.error(&host, 0, kind, 0).pause(Duration::from_secs(5));
    made.ends[0].set_port(40_001);
    made.next = [90_000, 91_000];
    made.handshake().end();
    made.captured()
}

#[test]
fn an_attempt_to_connect_ends_with_a_hard_error() {
    for (v6, kind) in [(false, (3, 3)), (true, (1, 4))] {
        let (reports, _) = replayed(&in_vain(v6, kind), Which::Clients);
        assert_eq!(reports.len(), 2);
        assert!(reports[0].is_same(), "{}", reports[0]);
        assert_eq!((reports[0].played, reports[0].replayed_out), (1, 1));
        assert!(reports[1].is_same(), "{}", reports[1]);
    }
}

#[test]
fn a_stack_that_goes_on_where_the_captured_host_was_silent_differs() {
    // A soft error does not end an attempt (RFC 9293, MUST-56).
    let (reports, _) = replayed(&in_vain(false, (11, 0)), Which::Clients);
    assert!(
        matches!(
            reports[0].differences[..],
            [Difference::WentOn {
                number: 2,
                replayed: 1..
            }]
        ),
        "{}",
        reports[0]
    );
}

/// A datagram that the server answers with an error.
fn unwanted(v6: bool, kind: (u8, u8)) -> Vec<Captured> {
    let [client, server, _] = ends(v6);
    let mut made = Made::new(client, server);
    made.datagram(Client, b"anybody?");
    let host = made.ends[1].ip().to_string();
    made.error(&host, 0, kind, 0);
    made.captured()
}

#[test]
fn an_error_that_the_captured_host_sent_is_required() {
    for (v6, kind) in [(false, (3, 3)), (true, (1, 4))] {
        let (reports, packets) = replayed(&unwanted(v6, kind), Which::Servers);
        assert_eq!(reports.len(), 1);
        assert!(reports[0].is_same(), "{}", reports[0]);
        assert_eq!((reports[0].played, reports[0].replayed_out), (1, 1));
        // The record has the captured addresses, also in what is quoted.
        let captured = unwanted(v6, kind);
        let header = if v6 { 40 } else { 20 };
        // All but the checksum of the datagram, which is over other addresses.
        let quoted = |packet: &[u8]| packet[header + 8..header + 8 + header + 6].to_vec();
        assert_eq!(quoted(&packets[1]), quoted(&captured[1].ip));
    }
    // Prohibited: the stack has no filter that says so.
    let (reports, _) = replayed(&unwanted(false, (3, 13)), Which::Servers);
    let expected = Difference::IcmpNotSent { kind: 3, code: 13 };
    assert_eq!(reports[0].differences, [expected], "{}", reports[0]);
}

#[test]
fn errors_that_are_cut_or_nonsense_are_left_out() {
    let whole = too_big(false, Some(4));
    let error = &whole.packets[5].ip;
    for len in 0..error.len() {
        let mut made = whole.clone();
        made.packets[5].ip.truncate(len);
        // What the IP header says is longer than what is there.
        let (reports, _) = replayed(&made.captured(), Which::Servers);
        assert_eq!(reports[0].our_bytes, 2_000, "{len} bytes:\n{}", reports[0]);
    }
}
