//! `run --record --record-ring` and `replay` as programs: a daemon that goes on over many parts, with the kernel's clients.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use netstackd::probe::stream;
use tests::program;
use tests::recorded::{same, stdout};
use tests::router::{behind_a_router, lose};
use tests::transfer::hashed_echo;
use tests::world::{Scratch, SetOnDrop, V4, V6, eventually, in_namespace, port, serve};

/// The port of the service whose connections cannot be handed over.
const IPERF3: u16 = 5201;

/// Asks for the page on one connection, the last time after `stop`, and says when the first has come; returns how many
/// came.
fn pages(target: SocketAddr, first: &mpsc::Sender<()>, stop: &AtomicBool) -> usize {
    let stream = stream::connect(target).expect("connected");
    let mut reader = BufReader::new(&stream);
    let mut count = 0;
    let mut is_last = false;
    while !is_last {
        is_last = stop.load(Ordering::Relaxed);
        (&stream)
            .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            .expect("asked");
        let mut length = 0;
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            assert!(reader.read_line(&mut line).expect("a line") > 0, "it ends");
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.trim().parse().expect("a number");
            }
        }
        let mut page = vec![0; length];
        reader.read_exact(&mut page).expect("the page");
        assert!(page.ends_with(b"</html>\n"));
        count += 1;
        if count == 1 {
            first.send(()).expect("somebody waits");
        }
        thread::sleep(Duration::from_millis(5));
    }
    count
}

/// The files of the parts, in order.
fn parts_in(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).expect("a directory");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut parts: Vec<PathBuf> = paths
        .filter(|path| path.extension().is_some_and(|it| it == "pcapng"))
        .collect();
    parts.sort();
    parts
}

fn value(line: &str, key: &str) -> u64 {
    let word = line
        .split_whitespace()
        .find_map(|word| word.strip_prefix(key));
    word.expect(line).parse().expect("a number")
}

/// While parts follow each other, transfers over a lossy path and requests on one connection go on; the newest parts are
/// there, and each is replayed.
#[test]
fn a_ring_keeps_the_newest_parts_and_no_client_notices() {
    let scratch = Scratch::new("record-ring");
    let (begun, pages) = in_namespace(|| {
        let name = scratch.path("run.pcapng").display().to_string();
        let control = scratch.path("control.sock").display().to_string();
        let mut daemon = serve(
            program!(),
            &[
                "--record",
                &name,
                "--record-ring",
                "3",
                "--record-limit",
                "6M",
                "--control",
                &control,
            ],
        );
        let log = std::fs::File::create(scratch.path("events")).expect("a file");
        let mut events = Command::new(program!())
            .args(["events", "--control", &control])
            .stdout(log)
            .spawn()
            .expect("the program runs");
        lose(1);
        let pages = behind_a_router(|| {
            let stop = AtomicBool::new(false);
            thread::scope(|scope| {
                let (first, has_come) = mpsc::channel();
                let target = SocketAddr::new(V4.into(), port::HTTP);
                let (stop, stopping) = (&stop, SetOnDrop(&stop));
                let pages = scope.spawn(move || pages(target, &first, stop));
                // On a lossy path its handshake may take longer than all that follows.
                has_come.recv().expect("a page");
                for address in [V4.into(), V6.into()] {
                    let target = SocketAddr::new(address, port::ECHO);
                    let (sent, received, _) = hashed_echo(target, 4_000_000).expect("an echo");
                    assert_eq!(sent, received);
                }
                let chargen = SocketAddr::new(V4.into(), port::CHARGEN);
                stream::download_bytes(chargen, 4_000_000).expect("the pattern");
                drop(stopping);
                pages.join().expect("pages")
            })
        });
        // Whoever has subscribed hears of connections of the stack that serves now.
        let late = stream::connect(SocketAddr::new(V4.into(), port::DISCARD)).expect("connected");
        let port = format!(":{}", late.local_addr().expect("an address").port());
        eventually("the event of the last connection", || {
            let text = std::fs::read_to_string(scratch.path("events"));
            text.expect("the events").contains(&port)
        });
        events.kill().expect("it ends");
        events.wait().expect("it ends");
        let stats = Command::new(program!())
            .args(["stats", "-z", "now.*", "--control", &control])
            .output();
        let stats = stdout(&stats.expect("the program runs"));
        let count = |name: &str| {
            let words = stats
                .lines()
                .map(|line| line.split_whitespace().collect::<Vec<_>>());
            let mut found = words.filter(|words| words.first() == Some(&name));
            let found = found.next().expect(&stats);
            found[1].parse::<u64>().expect("a number")
        };
        let begun = count("now.recording_parts");
        assert_eq!(count("now.recording_cut_off"), 0, "{stats}");
        // Those before may still be closing. A stack that has ended has none.
        assert!(count("now.connections") > 0, "{stats}");
        for number in 2..begun + 2 {
            let line = daemon.line_of("recording-part ").expect("a part");
            println!("{line}");
            assert_eq!(value(&line, "cut-off="), 0, "{line}");
            let file = format!("run-{number:05}.pcapng state-bytes=");
            assert!(line.contains(&file) && line.contains(" pause="), "{line}");
        }
        assert!(
            daemon.terminate().expect("it ends").success(),
            "{}",
            daemon.stderr()
        );
        let line = daemon.line_of("recording ").expect("the file");
        assert_eq!(value(&line, "parts="), begun + 1, "{line}");
        (begun, pages)
    });
    println!("{begun} parts, {pages} pages");
    assert!(begun > 5 && pages > 1, "{begun} parts, {pages} pages");
    let parts = parts_in(&scratch.path(""));
    assert_eq!(parts.len(), 3, "{parts:?}");
    for (part, number) in parts.iter().zip(begun - 1..) {
        assert!(
            part.ends_with(format!("run-{number:05}.pcapng")),
            "{part:?}"
        );
        assert!(part.metadata().expect("a file").len() <= 2 << 20);
        same(program!(), part);
    }
    let mut command = Command::new(program!());
    let output = command
        .arg("replay")
        .args(&parts)
        .output()
        .expect("it runs");
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert_eq!(
        text.matches("every packet and timer as recorded").count(),
        3,
        "{text}"
    );
    assert!(output.stderr.is_empty(), "{output:?}");
}

/// A connection that no service can hand over holds a part up until there is no room, and is reset then.
#[test]
fn what_cannot_be_handed_over_is_waited_for_and_then_cut_off() {
    let scratch = Scratch::new("record-ring-cut");
    in_namespace(|| {
        let name = scratch.path("run.pcapng").display().to_string();
        let flags = [
            "--record",
            &name,
            "--record-ring",
            "9",
            "--record-limit",
            "18M",
            "--services",
            "echo,iperf3",
            // Turns are small beside a part.
            "--offload",
            "off",
        ];
        let mut daemon = serve(program!(), &flags);
        let mut held = stream::connect(SocketAddr::new(V4.into(), IPERF3)).expect("connected");
        let target = SocketAddr::new(V4.into(), port::ECHO);
        stream::echo(target, 3_000_000).expect("an echo");
        let line = daemon.line_of("recording-part ").expect("a part");
        assert_eq!(value(&line, "cut-off="), 1, "{line}");
        assert_eq!(value(&line, "connections="), 1, "{line}");
        let first = scratch.path("run-00001.pcapng").metadata().expect("a file");
        assert!(first.len() > 1_600_000, "waited for: {}", first.len());
        let end = held.read(&mut [0]);
        assert!(matches!(end, Ok(0) | Err(_)), "it has ended: {end:?}");
        assert!(
            daemon.terminate().expect("it ends").success(),
            "{}",
            daemon.stderr()
        );
    });
    for part in parts_in(&scratch.path("")) {
        same(program!(), &part);
    }
}

/// A part that cannot be begun ends the recording, at once and loudly, and nothing else.
#[test]
fn a_part_that_cannot_be_written_ends_the_recording_and_not_the_daemon() {
    let scratch = Scratch::new("record-ring-gone");
    in_namespace(|| {
        let place = scratch.path("place");
        std::fs::create_dir(&place).expect("a directory");
        let name = place.join("run.pcapng").display().to_string();
        let flags = [
            "--record",
            &name,
            "--record-ring",
            "2",
            "--record-limit",
            "4M",
            "--offload",
            "off",
        ];
        let mut daemon = serve(program!(), &flags);
        std::fs::remove_dir_all(&place).expect("removed");
        let target = SocketAddr::new(V4.into(), port::ECHO);
        stream::echo(target, 3_000_000).expect("an echo");
        let line = daemon.line_of("recording-ended ").expect("it is told");
        assert!(line.contains("it cannot be written: "), "{line}");
        stream::echo(target, 200_000).expect("the daemon goes on");
        assert_eq!(daemon.terminate().expect("it ends").code(), Some(7));
    });
}
