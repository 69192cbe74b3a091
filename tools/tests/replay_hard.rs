//! Sessions that are easily replayed wrongly, each with what must come out.

mod support;

use std::process::Command;
use std::time::Duration;

use support::lossy::{LossyPath, Wired, pcap};
use support::made::{ACK, FIN, From::*, Made, PSH, RST, SYN, captured};
use support::{parts_of, pattern, temporary};
use tools::capture::{Captured, Input, Reader, sessions};
use tools::replay::{Difference, Ours, Part, Record, Report, Which, run_all};

/// Replays all sessions of a capture.
fn reports(packets: &[Captured], which: Which) -> Vec<Report> {
    let parts = parts_of(packets, which);
    let windows = parts.iter().map(|part| match part {
        Part::Tcp(plan) => plan.largest_window(),
        Part::Datagrams(_) => 0,
    });
    let mut host = Ours::new(1, windows.max().unwrap_or(0)).expect("a stack");
    run_all(parts, &mut host, false, None::<&mut Record<Vec<u8>>>).expect("no record is written")
}

/// Asserts that every session is the same in both roles. Returns the reports of the stack as the server.
fn same(made: &Made) -> Vec<Report> {
    for which in [Which::Clients, Which::Servers] {
        for report in reports(&made.captured(), which) {
            assert!(report.is_same(), "{which:?}:\n{report}");
        }
    }
    reports(&made.captured(), Which::Servers)
}

fn talk(client: &str, server: &str) -> Made {
    let mut made = Made::new(client, server);
    made.handshake()
        .add(Client, PSH | ACK, b"hello")
        .add(Server, PSH | ACK, b"world!")
        .add(Client, ACK, &[])
        .end();
    made
}

#[test]
fn ends_that_no_host_may_have_or_that_share_an_address() {
    for (client, server) in [
        ("10.1.0.1:40000", "10.1.7.255:80"),
        ("10.1.0.0:40000", "10.1.7.0:80"),
        ("10.1.0.1:40000", "10.1.0.1:80"),
        ("127.0.0.1:40000", "127.0.0.1:80"),
        ("[::1]:40000", "[::1]:80"),
        ("[fe80::1]:40000", "[fe80::2]:80"),
    ] {
        let reports = same(&talk(client, server));
        assert_eq!(reports.len(), 1, "{client} {server}");
        assert_eq!((reports[0].peer_bytes, reports[0].our_bytes), (5, 6));
    }
}

#[test]
fn a_syn_ack_that_was_captured_before_its_syn() {
    let mut made = talk("10.1.0.1:40000", "10.1.0.2:80");
    made.packets.swap(0, 1);
    let found = sessions(&made.captured());
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].client, made.ends[0]);
    assert!(!found[0].headless);
    same(&made);
}

#[test]
fn a_simultaneous_open() {
    let mut made = Made::new("10.1.0.1:40000", "10.1.0.2:80");
    made.add(Client, SYN, &[]).add(Server, SYN, &[]);
    // Both acknowledge the other's SYN with a SYN of the same number.
    made.add_at(Server, SYN | ACK, 5_000, &[])
        .add_at(Client, SYN | ACK, 1_000, &[])
        .add(Client, PSH | ACK, b"hello")
        .add(Server, PSH | ACK, b"world!")
        .end();
    let found = sessions(&made.captured());
    assert_eq!(found.len(), 1);
    assert!(found[0].simultaneous);
    let report = &same(&made)[0];
    assert_eq!((report.peer_bytes, report.our_bytes), (5, 6));
}

#[test]
fn a_flight_of_a_megabyte_behind_its_lost_head() {
    let mut made = Made::new("10.1.0.1:40000", "10.1.0.2:80");
    made.scale = Some(7);
    made.handshake();
    let data = pattern(1, 1_022_000);
    let first = made.next[0];
    for piece in data.chunks(1_460) {
        made.add(Client, ACK, piece);
    }
    // The head was lost behind the place of the capture; it is sent again at last.
    let acknowledged = std::mem::replace(&mut made.next[0], first);
    for _ in 0..3 {
        made.add(Server, ACK, &[]);
    }
    made.next[0] = acknowledged;
    made.packets.remove(3);
    made.add_at(Client, ACK, first, &data[..1_460]);
    made.add(Server, ACK, &[]).end();
    let report = &same(&made)[0];
    assert_eq!(report.peer_bytes, 1_022_000);
}

#[test]
fn a_blind_reset_is_no_action_of_the_application() {
    let mut made = Made::new("10.1.0.1:40000", "10.1.0.2:80");
    made.handshake().add(Client, PSH | ACK, b"hello");
    let outside = made.next[1].wrapping_add(1 << 30);
    made.add_at(Server, RST, outside, &[])
        .add(Server, PSH | ACK, b"world!")
        .add(Client, ACK, &[])
        .end();
    let reports = same(&made);
    assert_eq!(reports[0].our_bytes, 6);
}

#[test]
fn a_captured_reset_is_required() {
    // Refused.
    let mut made = Made::new("10.1.0.1:40000", "10.1.0.2:80");
    made.add(Client, SYN, &[]).add_at(Server, RST | ACK, 0, &[]);
    same(&made);
    // Aborted by the application; refused data after it has closed.
    for closes in [false, true] {
        let mut made = Made::new("10.1.0.1:40000", "10.1.0.2:80");
        made.handshake().add(Client, PSH | ACK, b"hello");
        made.add(Server, if closes { FIN | ACK } else { ACK }, &[]);
        made.add(Client, PSH | ACK, b"more");
        let seq = made.next[1];
        made.next[0] -= 4;
        made.add_at(Server, RST | ACK, seq, &[]);
        let report = &same(&made)[0];
        assert!((5..=9).contains(&report.peer_bytes), "{closes}: {report}");
    }
}

#[test]
fn a_wrong_checksum_stays_wrong() {
    let mut made = Made::new("10.1.0.1:40000", "10.1.0.2:80");
    made.handshake();
    let seq = made.next[0];
    made.add_at(Client, PSH | ACK, seq, b"jello");
    let spoilt = made.packets.last_mut().expect("a packet");
    spoilt.ip[36] ^= 0x55;
    made.add(Client, PSH | ACK, b"hello")
        .add(Server, PSH | ACK, b"world!")
        .add(Client, ACK, &[])
        .end();
    let found = sessions(&made.captured());
    assert_eq!(found[0].from_client.bytes(), b"hello");
    assert_eq!(found[0].from_client.conflicts(), 0);
    let report = &same(&made)[0];
    assert_eq!(report.played, made.packets.len() - 3);
    // All checksums of a side that are wrong are its device's.
    for packet in &mut made.packets {
        if packet.ip[15] == 1 {
            packet.ip[36] ^= 0x77;
        }
    }
    let all = talk("10.1.0.1:40000", "10.1.0.2:80");
    let mut offloaded = all.clone();
    for packet in &mut offloaded.packets {
        packet.ip[36] ^= 0x77;
    }
    same(&offloaded);
}

#[test]
fn packets_without_a_length_are_as_long_as_they_are() {
    let mut made = talk("10.1.0.1:40000", "10.1.0.2:80");
    for packet in &mut made.packets {
        packet.ip[2..4].fill(0);
    }
    let reports = same(&made);
    assert_eq!(reports[0].peer_bytes, 5);
}

#[test]
fn hostile_times_end_neither_in_a_panic_nor_in_eternity() {
    let mut made = talk("10.1.0.1:40000", "10.1.0.2:80");
    let far = Duration::from_secs(u64::MAX);
    let times = [0, 1, u64::MAX, 5, u64::MAX - 1, 0];
    for (packet, time) in made.packets.iter_mut().zip(times) {
        packet.time = Duration::from_secs(time).min(far);
    }
    same(&made);
}

#[test]
fn what_is_behind_a_gap_was_not_sent_again() {
    let mut made = Made::new("10.1.0.1:40000", "10.1.0.2:80");
    made.handshake();
    for piece in pattern(1, 100_000).chunks(1_000) {
        made.add(Client, ACK, piece);
    }
    made.packets.remove(4);
    let stream = &sessions(&made.captured())[0].from_client;
    assert_eq!(stream.distinct(), 99_000);
    assert_eq!(stream.first_gap(), Some(1_000));
}

#[test]
fn datagrams_fragments_and_echoes_of_many_sessions_at_once() {
    for (v6, loss) in [(false, 0.0), (true, 0.02)] {
        let path = LossyPath {
            seed: 9,
            loss,
            reorder: 0.02,
            delay: Duration::from_millis(5),
            v6,
        };
        let packets = captured(&path.packets());
        for which in [Which::Servers, Which::Clients] {
            let reports = reports(&packets, which);
            assert!(reports.len() >= 4, "{}", reports.len());
            for report in &reports {
                assert!(report.is_same(), "{v6} {which:?}:\n{report}");
            }
        }
    }
    let mut packets = Vec::new();
    for seq in 0..3 {
        for (from, to, reply) in [
            ([10, 0, 0, 1], [10, 0, 0, 2], false),
            ([10, 0, 0, 2], [10, 0, 0, 1], true),
        ] {
            let builder = etherparse::PacketBuilder::ipv4(from, to, 64);
            let builder = if reply {
                builder.icmpv4_echo_reply(7, seq)
            } else {
                builder.icmpv4_echo_request(7, seq)
            };
            let mut ip = Vec::new();
            builder.write(&mut ip, &pattern(3, 56)).expect("a packet");
            let time = Duration::from_millis(u64::from(seq));
            packets.push(Wired { time, ip });
        }
    }
    let found = reports(&captured(&packets), Which::Servers);
    assert_eq!(found.len(), 1);
    assert!(found[0].is_same(), "{}", found[0]);
    assert_eq!(found[0].replayed_out, 3);
    // A reply with other data than the request's is found.
    let at = packets[1].ip.len() - 1;
    packets[1].ip[at] ^= 1;
    packets[1].ip[22] ^= 1;
    let found = reports(&captured(&packets), Which::Servers);
    assert!(
        matches!(
            found[0].differences[..],
            [Difference::Datagram { number: 1, .. }]
        ),
        "{}",
        found[0]
    );
}

#[test]
fn the_record_has_the_captured_addresses_and_says_where_it_parts() {
    let mut made = talk("10.1.0.1:40000", "10.1.0.2:80");
    // Nobody can have acknowledged what nobody sent: the stack writes no more than 6 bytes.
    made.packets.truncate(5);
    made.next[1] += 100;
    made.add(Client, ACK, &[]);
    let capture = temporary("parts.pcap");
    let record = temporary("record.pcapng");
    let mut whole = talk("10.1.0.1:40000", "10.1.0.2:80");
    // The host's SYN-ACK has time stamps that a replay in strict mode misses.
    whole.window = 1;
    std::fs::write(&capture, pcap(&whole.packets)).expect("the capture");
    let output = Command::new(env!("CARGO_BIN_EXE_pcap-replay"))
        .args(["--strict", "--json", "-w"])
        .args([&record, &capture])
        .output()
        .expect("pcap-replay");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let bytes = std::fs::read(&record).expect("the record");
    let input = Input::new("record", std::io::Cursor::new(bytes)).expect("bytes");
    let mut reader = Reader::new(input).expect("pcapng");
    let mut packets = Vec::new();
    while let Some(frame) = reader.next_frame().expect("a frame") {
        packets.push(Captured {
            number: frame.number,
            time: Duration::ZERO,
            ip: frame.data.to_vec(),
            cut: false,
        });
    }
    let found = sessions(&packets);
    assert_eq!(
        (found[0].client, found[0].server),
        (whole.ends[0], whole.ends[1])
    );
    assert_eq!(found[0].from_client.bytes(), b"hello");
    for path in [capture, record] {
        std::fs::remove_file(path).expect("remove it");
    }
}

#[test]
fn a_directory_is_a_suite_and_a_bad_file_does_not_end_it() {
    let directory = temporary("suite");
    std::fs::create_dir(&directory).expect("a directory");
    let good = pcap(&talk("10.1.0.1:40000", "10.1.0.2:80").packets);
    std::fs::write(directory.join("a.pcap"), b"no capture").expect("a file");
    std::fs::write(directory.join("b.pcap"), &good).expect("a file");
    std::fs::write(directory.join("c.pcap"), &good).expect("a file");
    let output = Command::new(env!("CARGO_BIN_EXE_pcap-replay"))
        .arg(&directory)
        .output()
        .expect("pcap-replay");
    std::fs::remove_dir_all(&directory).expect("remove it");
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(2), "{text}");
    let summary = text.lines().last().expect("the closing line");
    assert_eq!(
        summary,
        "3 files: 2 sessions same, 0 different, 0 not replayed, 1 files unreadable"
    );
}
