//! ICMP errors about a connection (RFC 1122 section 4.2.3.9, RFC 5461, RFC 5927).

use super::rig::{ACK, Rig, SYN, ours, plain, syn};
use crate::tcp::segment::SegmentParts;
use crate::tcp::{IcmpError, PathLimits, State, TcpError, Unreachable};

#[test]
fn icmp_errors_end_handshakes_only() {
    let hard = IcmpError::Hard(Unreachable::Port);
    let mut rig = Rig::syn_sent(plain());
    assert!(
        rig.tcp
            .on_icmp_error(hard, super::rig::ours(9), rig.now)
            .is_err()
    );
    rig.tcp
        .on_icmp_error(hard, super::rig::ours(0), rig.now)
        .expect("ours");
    assert_eq!(rig.tcp.error(), Some(TcpError::Refused));

    let mut rig = Rig::syn_sent(plain());
    rig.tcp
        .on_icmp_error(
            IcmpError::Soft(Unreachable::Host),
            super::rig::ours(0),
            rig.now,
        )
        .expect("ours");
    assert_eq!(rig.tcp.state(), State::SynSent);
    rig.pass(1_000_000);
    assert_eq!(
        rig.tcp.error(),
        Some(TcpError::Unreachable(Unreachable::Host))
    );

    let mut rig = Rig::established(plain());
    assert!(
        rig.tcp
            .on_icmp_error(hard, super::rig::ours(1), rig.now)
            .is_err()
    );
    rig.send(10);
    rig.out();
    rig.tcp
        .on_icmp_error(hard, super::rig::ours(1), rig.now)
        .expect("in flight");
    assert_eq!(rig.tcp.state(), State::Established);
}

#[test]
fn a_smaller_path_resends_in_smaller_segments() {
    let mut rig = Rig::established(plain());
    rig.max_payload = 1_000;
    rig.send(3_000);
    assert_eq!(rig.payloads().len(), 3);
    rig.tcp.on_path_mtu(500, rig.now);
    rig.max_payload = 500;
    let cwnd = rig.tcp.info().cwnd;
    let mut sent = rig.payloads();
    let mut acked = 1;
    for _ in 0..20 {
        acked += 500;
        if acked > 3_001 {
            break;
        }
        rig.recv(1, acked, ACK, b"");
        sent.extend(rig.payloads());
    }
    assert!(sent.iter().all(|p| p.len <= 500));
    let total: usize = sent.iter().map(|p| p.len).sum();
    assert_eq!(total, 3_000, "all of it once more: {sent:?}");
    assert!(rig.tcp.info().cwnd >= cwnd, "not a sign of congestion");
    assert_eq!(rig.tcp.unacked(), 0);
}

/// Acknowledges segments of at most `mss` bytes, one by one, until all of `len` bytes are; returns the payloads that are
/// sent meanwhile.
fn acknowledge(rig: &mut Rig, mss: u32, len: u32) -> Vec<usize> {
    let mut sent = rig.payloads();
    let mut acked = 1;
    while acked < len + 1 {
        acked = (acked + mss).min(len + 1);
        rig.recv(1, acked, ACK, b"");
        sent.extend(rig.payloads());
    }
    assert_eq!(rig.tcp.unacked(), 0);
    sent.iter().map(|sent| sent.len).collect()
}

#[test]
fn a_path_that_is_followed_changes_what_is_sent_from_now_on_only() {
    let mut rig = Rig::established(plain());
    rig.max_payload = 0;
    rig.send(3_000);
    assert_eq!(rig.payloads().len(), 3);
    for mss in [900, 800, 700, 1_000, 600] {
        rig.tcp.follow_path(&PathLimits::new(mss, 1_000), rig.now);
        assert_eq!(rig.payloads().len(), 0, "sent again at {mss}");
    }
    rig.send(1_200);
    assert_eq!(acknowledge(&mut rig, 600, 4_200), [600, 600]);
}

#[test]
fn a_smaller_link_resends_what_it_does_not_carry_once() {
    for path in [1_000, 600] {
        let mut rig = Rig::established(plain());
        rig.max_payload = 0;
        rig.send(3_000);
        assert_eq!(rig.payloads().len(), 3);
        // The path was followed before, so that the largest segment in flight exceeds what is sent now.
        rig.tcp.follow_path(&PathLimits::new(path, 1_000), rig.now);
        rig.tcp.follow_path(&PathLimits::new(path, 800), rig.now);
        let mss = path.min(800);
        let mut sent: Vec<usize> = Vec::new();
        let again = rig.payloads();
        assert!(!again.is_empty(), "nothing was sent again");
        rig.tcp.follow_path(&PathLimits::new(path, 800), rig.now);
        sent.extend(again.iter().map(|sent| sent.len));
        sent.extend(acknowledge(&mut rig, mss.into(), 3_000));
        assert!(sent.iter().all(|len| *len <= mss.into()), "{sent:?}");
        assert_eq!(sent.iter().sum::<usize>(), 3_000, "once more: {sent:?}");
        // What is in flight now fits.
        rig.send(600);
        assert_eq!(rig.payloads().len(), 1);
        rig.tcp.follow_path(&PathLimits::new(600, 800), rig.now);
        assert_eq!(rig.payloads().len(), 0);
    }
}

#[test]
fn the_report_of_a_connection_resends_what_was_sent_before_the_path_was_followed() {
    let mut rig = Rig::established(plain());
    rig.max_payload = 0;
    rig.send(3_000);
    assert_eq!(rig.payloads().len(), 3);
    rig.tcp.follow_path(&PathLimits::new(500, 1_000), rig.now);
    assert_eq!(rig.payloads().len(), 0);
    rig.tcp.on_path_mtu(500, rig.now);
    let first = rig.payloads();
    assert!(!first.is_empty(), "nothing was sent again");
    rig.tcp.on_path_mtu(500, rig.now);
    rig.tcp.follow_path(&PathLimits::new(500, 1_000), rig.now);
    let mut sent: Vec<usize> = first.iter().map(|sent| sent.len).collect();
    sent.extend(acknowledge(&mut rig, 500, 3_000));
    assert_eq!(sent, [500; 6], "all of it once more");
}

#[test]
fn a_limit_that_is_set_during_the_handshake_outlives_it() {
    let mut opened = Rig::syn_sent(plain());
    opened.tcp.set_max_mss(600);
    opened.give(SegmentParts {
        ack: ours(1),
        flags: SYN | ACK,
        ..syn()
    });
    let mut accepted = Rig::syn_received(plain());
    accepted.tcp.set_max_mss(600);
    accepted.recv(1, 1, ACK, b"");
    for mut rig in [opened, accepted] {
        assert_eq!(rig.tcp.state(), State::Established);
        rig.out();
        rig.max_payload = 0;
        rig.tcp.follow_path(&PathLimits::new(1_000, 1_000), rig.now);
        rig.send(1_200);
        let sent: Vec<usize> = rig.payloads().iter().map(|sent| sent.len).collect();
        assert_eq!(sent, [600, 600]);
    }
}
