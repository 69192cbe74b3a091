//! `capture`.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;

use netstackd::probe::{ping::Pinger, stream};
use pcap_file::pcapng::{Block, PcapNgReader};
use tests::world::{BOTH, Scratch, V4, V6, eventually, in_namespace, port};

use super::{interrupt, line_of, world};

#[test]
fn a_capture_has_the_packets_and_tells_its_losses() {
    let scratch = Scratch::new("capture-control");
    let path = scratch.path("run.pcapng");
    in_namespace(|| {
        let world = world("capture", &[]);
        let mut capture = world.spawn(&format!("capture -w {}", path.display()));
        eventually("the capture has begun", || {
            fs::metadata(&path).is_ok_and(|file| file.len() > 0)
        });
        for target in BOTH {
            Pinger::new(target, 0x7004)
                .and_then(|mut p| p.ping(5_000))
                .expect("an answer");
        }
        stream::echo(SocketAddr::from((V6, port::ECHO)), 1_000_000).expect("echoed");
        interrupt(&capture.0);
        let mut told = String::new();
        capture
            .0
            .stderr
            .take()
            .expect("stderr")
            .read_to_string(&mut told)
            .expect("text");
        assert!(capture.0.wait().expect("it ends").success(), "{told}");
        let (packets, dropped) = read_capture(&path);
        assert_eq!(
            told.trim(),
            format!("{packets} packets captured, {dropped} lost")
        );
        assert_eq!(dropped, 0, "a million bytes fit into the queue");
        assert!(packets > 20, "{packets}");
    });
}

#[test]
fn a_filtered_capture_has_only_what_is_asked() {
    let scratch = Scratch::new("capture-filter");
    let path = scratch.path("run.pcapng");
    in_namespace(|| {
        let world = world("filter", &[]);
        let words = format!(
            "capture -c 4 -w {} udp and port 9 host 10.77.0.1",
            path.display()
        );
        let mut capture = world.spawn(&words);
        eventually("the capture has begun", || {
            fs::metadata(&path).is_ok_and(|file| file.len() > 0)
        });
        let socket = UdpSocket::bind("10.77.0.1:0").expect("a socket");
        eventually("four datagrams are captured", || {
            stream::echo(SocketAddr::from((V4, port::ECHO)), 1_000).expect("echoed");
            socket.send_to(b"other", (V4, port::ECHO)).expect("sent");
            socket.send_to(b"this", (V4, port::DISCARD)).expect("sent");
            capture.0.try_wait().expect("a child").is_some()
        });
        let mut reader =
            PcapNgReader::new(fs::File::open(&path).expect("the capture")).expect("pcapng");
        let mut packets = 0;
        while let Some(block) = reader.next_block() {
            if let Block::EnhancedPacket(packet) = block.expect("a whole block") {
                assert!(packet.data.ends_with(b"this"), "{:?}", packet.data);
                packets += 1;
            }
        }
        assert_eq!(packets, 4);
        for (filter, says) in [
            ("icmp6 port x", "port 'x'"),
            ("ether", "'ether'"),
            ("host me", "host 'me'"),
        ] {
            let output = world.run(&format!("capture -w - {filter}"));
            let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(2), "{stderr}");
            assert!(stderr.contains(says), "{stderr}");
        }
    });
}

/// Returns the number of packets of a file, and how many are missing as its statistics say.
fn read_capture(path: &Path) -> (u64, u64) {
    let mut reader = PcapNgReader::new(fs::File::open(path).expect("the capture")).expect("pcapng");
    let (mut packets, mut dropped) = (0, None);
    while let Some(block) = reader.next_block() {
        match block.expect("a whole block") {
            Block::EnhancedPacket(packet) => {
                assert!(matches!(packet.data[0] >> 4, 4 | 6), "raw IP");
                packets += 1;
            }
            Block::InterfaceStatistics(statistics) => {
                use pcap_file::pcapng::blocks::interface_statistics::InterfaceStatisticsOption;
                for option in statistics.options {
                    if let InterfaceStatisticsOption::IsbIfDrop(count) = option {
                        dropped = Some(count);
                    }
                }
            }
            _ => {}
        }
    }
    (packets, dropped.expect("statistics at the end"))
}

#[test]
fn a_capture_that_nobody_reads_loses_packets_and_nothing_else() {
    in_namespace(|| {
        let world = world("stuck", &[]);
        let (mut requests, mut replies) = world.raw();
        writeln!(requests, r#"{{"protocol":1,"request":"capture"}}"#).expect("asked");
        assert!(line_of(&mut replies).contains(r#""reply":"data""#));
        // Far more than the queue and the socket hold.
        for _ in 0..4 {
            stream::echo(SocketAddr::from((V4, port::ECHO)), 20_000_000)
                .expect("echoed while nobody reads");
        }
        assert!(
            world.text("ss -Htl").contains("LISTEN"),
            "another client is served"
        );
        writeln!(requests, r#"{{"request":"stop"}}"#).expect("asked");
        let mut lost = 0;
        let end = loop {
            let line = line_of(&mut replies);
            assert!(!line.is_empty(), "the daemon ends it");
            if let Some(rest) = line.strip_prefix(r#"{"reply":"lost","count":"#) {
                lost += rest
                    .trim_end()
                    .trim_end_matches('}')
                    .parse::<u64>()
                    .expect("a count");
            }
            if line.contains(r#""reply":"end""#) {
                break line;
            }
        };
        assert!(lost > 0, "{end}");
        assert!(end.contains(&format!(r#""lost":{lost}"#)), "{end}");
    });
}
