//! ICMP errors about a connection (RFC 1122 section 4.2.3.9, RFC 5461, RFC 5927).

use super::rig::{ACK, Rig, plain};
use crate::tcp::{IcmpError, State, TcpError, Unreachable};

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
