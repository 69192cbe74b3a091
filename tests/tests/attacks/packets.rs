//! Attacks with packets that belong to no connection: fragments, UDP, ICMP, LAND.

use std::time::Duration;

use netstack::DropReason;
use netstack::base::Rng;
use tests::forge::{self, Complaint};
use tests::hostile::{ECHO, Family, Peer, bind_udp, flag, mss};

use super::segments::in_order;
use super::{lab, leaves_nothing, little, survives};

attacks!(
    blind_icmp,
    overlapping_tiny_and_endless_fragments,
    a_flood_of_fragments,
    land,
    udp_to_a_slow_reader,
    packets_that_provoke_icmp,
);

/// RFC 5927: ICMP errors about segments that were not sent.
fn blind_icmp(family: Family) {
    let mut lab = lab(family);
    let attacker = family.host(99);
    let mut peer = Peer::new(attacker, 20_000, ECHO);
    assert!(peer.open(&mut lab, &mss(1_400)));
    let mut rng = Rng::from_u64(3);
    for n in 0..5_000u32 {
        let mut quoted = forge::tcp(ECHO, 20_000, rng.u32(), 0, flag::ACK, &[]);
        quoted.truncate(8);
        let quote = forge::packet_to(family.ours(), attacker, forge::TCP, &quoted);
        let complaint = match (n % 3, family) {
            (0, _) => Complaint::Protocol,
            (1, _) => Complaint::Port,
            (_, Family::V4) => Complaint::TooBig(68),
            (_, Family::V6) => Complaint::TooBig(1_280),
        };
        lab.send(forge::complaint(attacker, complaint, &quote));
    }
    peer.listen(&mut lab);
    peer.data(&mut lab, b"still here");
    lab.wait(Duration::from_millis(500));
    let echoed = in_order(peer.rcv, peer.listen(&mut lab));
    assert_eq!(echoed, b"still here");
    let mss = lab.handle().tcp_info()[0].2.mss;
    assert!(mss > 1_300, "the path MTU is as it was: {mss}");
    peer.rcv = peer.rcv.wrapping_add(10);
    leaves_nothing(lab, &mut [peer], "blind ICMP");
}

/// RFC 1858, RFC 3128, RFC 5722: fragments that overlap, that hide the ports, and that never end.
fn overlapping_tiny_and_endless_fragments(family: Family) {
    let mut lab = little(family);
    let from = family.host(99);
    let udp = forge::udp_message(from, 1_000, ECHO, &[7; 64]);
    let fragment = |proto, ident, offset, more, payload: &[u8]| {
        forge::fragment(from, proto, ident, offset, more, payload)
    };
    let before = lab.udp_answers();
    for n in 0..10_000u16 {
        let packets = match n % 4 {
            // An overlap discards the datagram.
            0 => vec![
                fragment(forge::UDP, n, 0, true, &udp[..40]),
                fragment(forge::UDP, n, 32, false, &udp[32..]),
            ],
            // Eight bytes of a TCP header.
            1 => vec![fragment(forge::TCP, n, 0, true, &[0x11; 8])],
            // Too far out: more than a datagram can be.
            2 => vec![fragment(forge::UDP, n, 65_528, false, &[1; 64])],
            _ => vec![fragment(forge::UDP, n, 8_000, true, &[1; 1_400])],
        };
        for packet in packets {
            lab.queue(packet);
        }
        if n % 16 == 0 {
            lab.settle();
        }
    }
    lab.settle();
    assert_eq!(lab.udp_answers(), before, "no datagram came of it");
    // An honest datagram in fragments still arrives.
    lab.send(fragment(forge::UDP, 60_001, 0, true, &udp[..40]));
    lab.send(fragment(forge::UDP, 60_001, 40, false, &udp[40..]));
    assert_eq!(lab.udp_answers(), before + 1, "{}", lab.handle().counters());
    survives(lab, "fragments");
}

/// One source that begins as many datagrams as it can, from as many addresses as it has, takes no place that another
/// source needs.
fn a_flood_of_fragments(family: Family) {
    let mut lab = lab(family);
    let honest = family.host(50);
    let udp = forge::udp_message(honest, 1_000, ECHO, &[7; 64]);
    let before = lab.udp_answers();
    for n in 0..20_000u16 {
        if n % 1_000 == 0 {
            lab.send(forge::fragment(honest, forge::UDP, n, 0, true, &udp[..40]));
        }
        let from = family.attacker(n % 500);
        lab.queue(forge::fragment(from, forge::UDP, n, 0, true, &[3; 1_208]));
        if n % 32 == 31 {
            lab.settle();
        }
        if n % 1_000 == 999 {
            lab.settle();
            let last = n - 999;
            lab.send(forge::fragment(
                honest,
                forge::UDP,
                last,
                40,
                false,
                &udp[40..],
            ));
        }
    }
    assert_eq!(lab.udp_answers(), before + 20, "each honest datagram");
    let counters = lab.handle().counters();
    assert!(
        counters.dropped(DropReason::FragmentNoMemory) > 19_000,
        "{counters}"
    );
    survives(lab, "a flood of fragments");
}

/// LAND: the source is the destination.
fn land(family: Family) {
    let mut lab = lab(family);
    let ours = family.ours();
    let before = lab.packets_out();
    for _ in 0..1_000 {
        let segment = forge::tcp(ECHO, ECHO, 1, 0, flag::SYN, &[]);
        lab.send(forge::sealed(forge::packet(ours, forge::TCP, &segment)));
        lab.send(forge::datagram(ours, ECHO, ECHO, b"echo to echo"));
    }
    assert_eq!(lab.packets_out(), before, "nothing is answered");
    assert_eq!(lab.handle().connections(), 0);
    survives(lab, "LAND");
}

/// UDP to a socket that nobody reads, from many senders.
fn udp_to_a_slow_reader(family: Family) {
    let mut lab = little(family);
    let unread = bind_udp(lab.handle(), family.ours(), 99);
    let mut rng = Rng::from_u64(4);
    for _ in 0..20_000 {
        let len = rng.below(1_400) as usize;
        let from = family.host(0x901 + rng.below(200) as u16);
        let port = 1_000 + rng.below(60_000) as u16;
        lab.send(forge::datagram(from, port, 99, &vec![7; len]));
    }
    assert!(lab.ping());
    drop(unread);
    lab.wait(Duration::from_secs(1));
    leaves_nothing(lab, &mut [], "UDP to a slow reader");
}

/// Packets that ask for ICMP errors: they are limited, and ordinary answers are not.
fn packets_that_provoke_icmp(family: Family) {
    let mut lab = lab(family);
    let from = family.host(99);
    let bad_option = match family {
        Family::V4 => {
            let (std::net::IpAddr::V4(from), std::net::IpAddr::V4(to)) = (from, family.ours())
            else {
                panic!("addresses of IPv4");
            };
            forge::ipv4_with(from, to, forge::UDP, &[68, 3, 5, 0], b"a bad option")
        }
        // An option of the destination that must be known, and is not.
        Family::V6 => {
            let udp = forge::udp(1_000, ECHO, b"a bad option");
            let body = [&[forge::UDP, 0, 0x9e, 4, 0, 0, 0, 0][..], &udp].concat();
            forge::packet(from, forge::DESTINATION_OPTIONS, &body)
        }
    };
    for n in 0..20_000u32 {
        let packet = match n % 3 {
            0 => forge::datagram(from, 1_000, 1, b"nobody"),
            1 => forge::packet(from, 200, b"no such protocol"),
            _ => bad_option.clone(),
        };
        lab.send(packet);
    }
    let errors = lab.icmp_errors();
    assert!(
        (1..=100).contains(&errors),
        "{errors} errors at one instant"
    );
    survives(lab, "ICMP-provoking packets");
}
