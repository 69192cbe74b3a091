//! `capture`.

use std::fs;
use std::io::{Read, Write as _};
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use netstackd::probe::{ping::Pinger, stream};
use pcap_file::pcapng::{Block, PcapNgReader};
use tests::program;
use tests::world::{BOTH, Running, Scratch, V4, V6, eventually, in_namespace, port};

use super::{World, interrupt, line_of, rows, world};

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
    capture_in(fs::File::open(path).expect("the capture"))
}

/// As [`read_capture`], of what is read from a file.
fn capture_in(file: impl Read) -> (u64, u64) {
    let mut reader = PcapNgReader::new(file).expect("pcapng");
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
        // The reader of this one pauses.
        let mut paused = world.spawn("capture -w -");
        wait_for_captures(&world, "2");
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
        interrupt(&paused.0);
        let (mut file, mut pipe) = (Vec::new(), paused.0.stdout.take().expect("a pipe"));
        pipe.read_to_end(&mut file).expect("all of it");
        let says = told(&mut paused, 0);
        let (first, last) = says.trim().rsplit_once('\n').expect("two lines");
        assert!(first.contains(" packets lost: whoever"), "{says}");
        let in_file = capture_in(&file[..]);
        assert_eq!(
            last.split_once(": ").expect("advice").0,
            format!("{} packets captured, {} lost", in_file.0, in_file.1)
        );
        let counted = world.text("stats netstack.capture_lost");
        let sum = (lost + in_file.1).to_string();
        assert_eq!(rows(&counted)[1][..2], ["netstack.capture_lost", &sum]);
        assert!(end.contains(&format!(r#""lost":{lost}"#)), "{end}");
    });
}

/// Waits until a capture, or none, is running.
fn wait_for_captures(world: &World, running: &str) {
    eventually("the number of captures", || {
        let text = world.text("stats -z now.captures");
        rows(&text)[1][..2] == ["now.captures", running]
    });
}

/// Returns the end of what a capture that has ended says.
#[track_caller]
fn told(capture: &mut Running, code: i32) -> String {
    let status = capture.0.wait().expect("it ends");
    let mut told = String::new();
    let stderr = capture.0.stderr.as_mut().expect("stderr");
    stderr.read_to_string(&mut told).expect("text");
    assert_eq!(status.code(), Some(code), "{told}");
    told
}

#[test]
fn a_ring_keeps_the_newest_files_and_each_is_whole() {
    const LIMIT: u64 = 1 << 20;
    let scratch = Scratch::new("capture-ring");
    let path = scratch.path("run.pcapng");
    in_namespace(|| {
        let world = world("ring", &[]);
        let words = format!("capture -w {} -C 1M -W 3", path.display());
        let mut capture = world.spawn(&words);
        wait_for_captures(&world, "1");
        // Twice this in each direction is more than three files hold.
        stream::echo(SocketAddr::from((V4, port::ECHO)), 6_000_000).expect("echoed");
        interrupt(&capture.0);
        let told = told(&mut capture, 0);
        let mut files: Vec<PathBuf> = fs::read_dir(path.parent().expect("a directory"))
            .expect("a directory")
            .map(|entry| entry.expect("an entry").path())
            .collect();
        files.sort();
        assert_eq!(files.len(), 3, "{files:?}");
        assert!(!path.exists() && !scratch.path("run-00001.pcapng").exists());
        let mut packets = 0;
        for (number, file) in files.iter().enumerate() {
            let len = fs::metadata(file).expect("a file").len();
            assert!(len <= LIMIT, "{file:?}: {len}");
            // But the last, each has no room for one packet more: none is longer than 64 KiB.
            assert!(
                number == 2 || len + (1 << 16) + 100 > LIMIT,
                "{file:?}: {len}"
            );
            let info = Command::new("capinfos")
                .args(["-Mc", "-T", "-r"])
                .arg(file)
                .output();
            let info = info.expect("capinfos");
            assert!(info.status.success(), "{info:?}");
            let text = String::from_utf8(info.stdout).expect("text");
            let count = text.trim().rsplit('\t').next().map(str::parse::<u64>);
            packets += count.expect("a column").expect(&text);
        }
        let all = told.split_whitespace().next().map(str::parse::<u64>);
        let all = all.expect("a word").expect(&told);
        assert!(packets > 0 && all > packets, "{packets} of {all}");
        for (words, says) in [
            ("-w - -C 1M", "name a file"),
            ("-w x -W 3", "--file-size"),
            ("-w x -C 1K", "at least 1M"),
            ("-w x -C 1M -W 0", "0 is not in 1.."),
        ] {
            let output = world.run(&format!("capture {words}"));
            let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(2), "{stderr}");
            assert!(stderr.contains(says), "{stderr}");
        }
    });
}

#[test]
fn a_disk_or_file_that_is_full_ends_the_capture_alone() {
    let scratch = Scratch::new("capture-full");
    let path = scratch.path("run.pcapng");
    in_namespace(|| {
        let world = world("full", &[]);
        let mut capture = world.spawn("capture -w /dev/full");
        let says = told(&mut capture, 1);
        assert!(
            says.contains("/dev/full cannot be written: no space left on device"),
            "{says}"
        );
        // The kernel sends SIGXFSZ with a write beyond the limit.
        let limited = Command::new("prlimit")
            .args(["--fsize=100000:100000", "--"])
            .arg(program!())
            .args(["capture", "-w"])
            .arg(&path)
            .arg("--control")
            .arg(&world.socket)
            .stderr(Stdio::piped())
            .spawn();
        let mut capture = Running(limited.expect("prlimit of util-linux"));
        wait_for_captures(&world, "1");
        stream::echo(SocketAddr::from((V4, port::ECHO)), 1_000_000).expect("flows go on");
        let says = told(&mut capture, 1);
        assert!(says.contains("cannot be written: file too large"), "{says}");
        assert!(fs::metadata(&path).expect("the file").len() <= 100_000);
        wait_for_captures(&world, "0");
    });
}
