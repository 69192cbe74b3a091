//! Malformed and unexpected packets, written to the TUN device byte by byte: the daemon counts each under
//! one reason, and answers only as the RFCs say.

mod captured;
mod v4;
mod v6;
mod wire;

use netstackd::child::Daemon;
use netstackd::probe::ping::Pinger;
use netstackd::probe::{noise, stream};
use tests::forge::*;
use tests::program;
use tests::world::{BOTH, Scratch, V4, V6, eventually, in_namespace, nft, port, serve, targets};
use wire::Wire;

const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

/// The daemon's answer to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Nothing,
    /// ICMP or ICMPv6: type and code.
    Icmp(u8, u8),
    /// A parameter problem with its pointer: type, code, pointer.
    Pointer(u8, u8, u32),
    /// A TCP segment with these flags.
    Tcp(u8),
}

struct Case {
    name: &'static str,
    /// Packets to send in turn; the checks are about the last one.
    packets: Vec<Vec<u8>>,
    reason: &'static str,
    /// Number of packets that are discarded for the reason.
    times: u64,
    answer: Answer,
}

fn case(name: &'static str, packet: Vec<u8>, reason: &'static str, answer: Answer) -> Case {
    Case {
        name,
        packets: vec![packet],
        reason,
        times: 1,
        answer,
    }
}

/// Returns the packet after `change`.
fn with(mut packet: Vec<u8>, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    change(&mut packet);
    packet
}

/// Parses a packet of the daemon as an [`Answer`].
fn read_answer(packet: &[u8], want: Answer) -> Answer {
    let (proto, at) = if packet[0] >> 4 == 4 {
        (packet[9], 20)
    } else {
        (packet[6], 40)
    };
    let message = &packet[at..];
    match proto {
        TCP => Answer::Tcp(message[13]),
        ICMP | ICMPV6 if matches!(want, Answer::Pointer(..)) => {
            let pointer = match proto {
                ICMP => u32::from(message[4]),
                _ => u32::from_be_bytes([message[4], message[5], message[6], message[7]]),
            };
            Answer::Pointer(message[0], message[1], pointer)
        }
        ICMP | ICMPV6 => Answer::Icmp(message[0], message[1]),
        other => panic!("an answer of protocol {other}"),
    }
}

/// Starts a daemon whose kernel sends nothing by itself, so that every packet is the test's.
fn quiet_daemon(flags: &[&str]) -> Daemon {
    std::fs::write("/proc/sys/net/ipv6/conf/default/router_solicitations", "0").expect("sysctl");
    nft(
        "table inet quiet { chain out { type filter hook output priority 0; \
         icmpv6 type { nd-router-solicit, mld-listener-report, mld2-listener-report } drop; \
         ip protocol igmp drop; }; }",
    );
    serve(program!(), &[&["--queues", "1"], flags].concat())
}

fn check(cases: Vec<Case>) {
    in_namespace(|| {
        let daemon = quiet_daemon(&[]);
        let mut wire = Wire::open();
        let mut wrong = Vec::new();
        for (number, case) in cases.iter().enumerate() {
            let (last, first) = case.packets.split_last().expect("a packet");
            first.iter().for_each(|packet| wire.send(packet));
            wire.answers(2 * number as u16);
            let before = daemon.counters().expect("counters");
            wire.send(last);
            let answers = wire.answers(2 * number as u16 + 1);
            let drops = daemon.counters().expect("counters").drops_since(&before);
            let answers: Vec<Answer> = answers
                .iter()
                .map(|p| read_answer(p, case.answer))
                .collect();
            let expected: Vec<Answer> = Some(case.answer)
                .into_iter()
                .filter(|answer| *answer != Answer::Nothing)
                .collect();
            println!("{}: {drops:?}, answered {answers:?}", case.name);
            if drops != [(case.reason.to_owned(), case.times)] {
                wrong.push(format!(
                    "{}: counted {drops:?}, not {}",
                    case.name, case.reason
                ));
            }
            if answers != expected {
                wrong.push(format!(
                    "{}: answered {answers:?}, not {expected:?}",
                    case.name
                ));
            }
        }
        assert!(
            wrong.is_empty(),
            "{} of {}:\n{}",
            wrong.len(),
            cases.len(),
            wrong.join("\n")
        );
    });
}

#[test]
fn ipv4_and_what_it_carries() {
    check(v4::cases());
}

#[test]
fn ipv6_and_what_it_carries() {
    check(v6::cases());
}

#[test]
fn forty_thousand_mutated_packets_do_no_harm() {
    const COUNT: u64 = 40_000;
    const SEED: u64 = 20_251;
    println!("seed {SEED}");
    let seeds: Vec<Vec<u8>> = v4::cases()
        .into_iter()
        .chain(v6::cases())
        .flat_map(|c| c.packets)
        .collect();
    in_namespace(|| {
        let mut daemon = quiet_daemon(&[]);
        let mut wire = Wire::open();
        let before = daemon.counters().expect("counters");
        for number in 0..COUNT {
            let random = noise(SEED + number, 64);
            let mut packet = seeds[number as usize % seeds.len()].clone();
            for change in random.chunks_exact(4).take(1 + usize::from(random[63] % 4)) {
                let at = usize::from(u16::from_le_bytes([change[0], change[1]])) % packet.len();
                packet[at] = change[2];
            }
            if random[62] & 7 == 0 {
                packet.truncate(1 + usize::from(random[61]) % packet.len());
            }
            // Half of them with right checksums, to reach the later checks.
            if random[60] & 1 == 0 && packet.len() >= 64 {
                if packet[0] >> 4 == 4 {
                    seal_v4(&mut packet);
                }
                seal(&mut packet);
            }
            wire.send(&packet);
            if number % 512 == 511 {
                wire.answers(number as u16);
            }
        }
        wire.answers(7);
        let counts = daemon.counters().expect("counters");
        let drops = counts.drops_since(&before);
        let dropped: u64 = drops.iter().map(|(_, count)| count).sum();
        println!("{COUNT} packets, {dropped} drops: {drops:?}");
        assert!(
            dropped <= counts.get("packets_in") + counts.get("packets_out"),
            "counted twice"
        );
        assert!(dropped > COUNT / 2, "hardly anything was dropped");
        for target in BOTH {
            Pinger::new(target, 0x7004)
                .and_then(|mut p| p.ping(1_000))
                .expect("still there");
        }
        for target in targets(port::ECHO) {
            stream::echo(target, 1 << 20).expect("still serving");
        }
        assert!(
            daemon.terminate().expect("it ends").success(),
            "{}",
            daemon.stderr()
        );
    });
}

/// The daemon must not keep a connection for long if its SYN's sender never answers.
#[test]
fn a_handshake_that_nobody_finishes_is_given_up() {
    let scratch = Scratch::new("handshake");
    let config = scratch.write(
        "tcp.toml",
        "[tcp]\nrto_initial = \"200ms\"\nsyn_retries = 1\n",
    );
    in_namespace(|| {
        let daemon = quiet_daemon(&["--config", &config]);
        let mut wire = Wire::open();
        let syn = tcp(40_000, port::ECHO, 1_000, 0, SYN, b"");
        wire.send(&sealed(ipv4(V4, TCP, &syn)));
        wire.send(&sealed(ipv6(V6, TCP, &syn)));
        // A connection's segments leave at the end of a turn: they may follow the first marker.
        let answers = [wire.answers(1), wire.answers(2)].concat();
        let is_syn_ack =
            |packet: &&Vec<u8>| read_answer(packet, Answer::Nothing) == Answer::Tcp(SYN | ACK);
        assert_eq!(
            answers.iter().filter(is_syn_ack).count(),
            2,
            "{answers:02x?}"
        );
        assert_eq!(daemon.counters().expect("counters").get("half_open"), 2);
        eventually("both handshakes are given up", || {
            daemon.counters().expect("counters").get("half_open") == 0
        });
        let counts = daemon.counters().expect("counters");
        println!("{} SYN-ACKs sent again", counts.get("tcp_retransmits"));
        assert_eq!(counts.get("tcp_passive_opens"), 0);
    });
}
