//! `run --record` and `replay` as programs: sessions with the kernel, and what may go wrong with a file.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};

use netstack::device::observe::Direction;
use netstackd::probe::{datagram, noise, stream};
use tests::program;
use tests::recorded::{Packet, flip, packets_of, stdout};
use tests::router::{behind_a_router, lose};
use tests::transfer::hashed_echo;
use tests::world::{
    Scratch, TUN, V4, V6, in_namespace, in_namespace_with_mounts, port, serve, try_serve,
};

/// Where the daemon shows its metrics.
const ADMIN: &str = "127.0.0.1:9100";

fn replay(flags: &[&str], file: &Path) -> Output {
    tests::recorded::replay(program!(), flags, file)
}

fn same(file: &Path) -> String {
    tests::recorded::same(program!(), file)
}

fn count(packets: &[Packet], direction: Direction) -> usize {
    let packets = packets.iter();
    packets
        .filter(|packet| packet.direction == direction)
        .count()
}

/// The clients of a session: programs that people use, and the kernel's sockets, over both families.
fn clients() {
    for address in [V4.into(), V6.into()] {
        let at = |port| SocketAddr::new(address, port);
        let (sent, received, _) = hashed_echo(at(port::ECHO), 600_000).expect("an echo");
        assert_eq!(sent, received);
        stream::upload_bytes(at(port::DISCARD), 300_000).expect("all of it");
        stream::download_bytes(at(port::CHARGEN), 400_000).expect("the pattern");
        let line = stream::read_all(at(port::DAYTIME), b"").expect("the time");
        assert!(line.ends_with(b"UTC\r\n"));
        let url = format!("http://{}/", at(port::HTTP));
        let page = Command::new("curl").args(["-gsS", &url]).output();
        let page = page.expect("curl");
        assert!(stdout(&page).contains("tcp_passive_opens"), "{page:?}");
        // A port without a listener.
        assert!(stream::connect(at(port::CLOSED)).is_err());
        let socket = datagram::connect(at(port::ECHO)).expect("a socket");
        for number in 0..20 {
            // One that is lost is lost.
            let _ = socket.send(&noise(number, 1_400));
        }
    }
}

/// Every packet that the daemon sent, to a client behind a router that loses packets both ways, is sent again by the
/// replay, with the same bytes at the same place; without offload and with it.
#[test]
fn a_session_with_the_kernel_over_a_lossy_path_is_replayed() {
    for (offload, percent) in [("off", 3), ("on", 2)] {
        let scratch = Scratch::new(&format!("record-{offload}"));
        let path = scratch.path("run.pcapng");
        let retransmits = in_namespace(|| {
            let name = path.display().to_string();
            let mut daemon = serve(program!(), &["--record", &name, "--offload", offload]);
            lose(percent);
            behind_a_router(clients);
            let counts = daemon.counters().expect("counters");
            let ended = daemon.terminate().expect("it ends");
            assert!(ended.success(), "{}", daemon.stderr());
            let line = daemon.line_of("recording-ended ").expect("the end");
            assert!(line.ends_with(": the daemon was asked to stop"), "{line}");
            daemon.line_of("recording ").expect("the file");
            counts.get("tcp_retransmits")
        });
        assert!(retransmits > 0, "nothing was lost");
        let packets = packets_of(&std::fs::read(&path).expect("the file"));
        let numbers = same(&path);
        for (name, direction) in [("in", Direction::In), ("out", Direction::Out)] {
            let wanted = format!(r#""packets_{name}":{}"#, count(&packets, direction));
            assert!(numbers.contains(&wanted), "{wanted}: {numbers}");
        }
        println!("offload {offload}: {retransmits} retransmits, {numbers}");
        flipped(&path, &packets);
    }
}

/// With one packet flipped the replay names it, and shows how far it came.
fn flipped(path: &Path, packets: &[Packet]) {
    let sent: Vec<&Packet> = packets
        .iter()
        .filter(|packet| packet.direction == Direction::Out)
        .collect();
    let number = sent.len() / 2;
    let whole = std::fs::read(path).expect("the file");
    // The length of its IP header is what it was.
    let (changed, _) = flip(&whole, sent[number], 8);
    let other = path.with_extension("flipped");
    std::fs::write(&other, changed).expect("written");
    let again = path.with_extension("again");
    let again_name = again.display().to_string();
    let output = replay(&["--trace", "-w", &again_name], &other);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    let place = format!("packet {} that is sent", number + 1);
    assert!(text.contains(&place), "{place}");
    assert!(text.contains("state-changed"), "events of connections");
    // What was replayed up to there, byte for byte.
    let again = packets_of(&std::fs::read(&again).expect("the replay's packets"));
    assert_eq!(count(&again, Direction::Out), number + 1);
    let bytes = |packet: &Packet| (packet.direction, packet.bytes.clone());
    assert!(
        again
            .iter()
            .map(bytes)
            .eq(packets.iter().take(again.len()).map(bytes))
    );
}

/// Returns whether the daemon records, and whether that has ended, as `stats` and `/metrics` say.
fn shown_about_recording(control: &str) -> [String; 2] {
    let stats = Command::new(program!())
        .args(["stats", "-z", "now.recording*", "--control", control])
        .output();
    let stats = stdout(&stats.expect("the program runs"));
    let url = format!("http://{ADMIN}/metrics");
    let page = Command::new("curl").args(["-sS", &url]).output();
    let metrics = stdout(&page.expect("curl"));
    ["recording", "recording_ended"].map(|name| {
        let value = |text: &str, name: String| {
            text.lines().find_map(|line| {
                let mut words = line.split_whitespace();
                (words.next() == Some(&name)).then(|| words.next().map(str::to_owned))?
            })
        };
        let in_stats = value(&stats, format!("now.{name}")).expect(&stats);
        let in_metrics = value(&metrics, format!("netstack_{name}")).expect(&metrics);
        assert_eq!(in_stats, in_metrics);
        in_stats
    })
}

/// A disk that is full ends the recording, at once and loudly, and nothing else; what is there is replayed.
#[test]
fn a_full_disk_ends_the_recording_and_not_the_daemon() {
    let scratch = Scratch::new("record-full");
    in_namespace_with_mounts(|| {
        let place = scratch.path("disk");
        std::fs::create_dir(&place).expect("a directory");
        let shown = place.display().to_string();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=400k", "none", &shown])
            .status();
        assert!(mounted.expect("mount").success());
        let path = place.join("run.pcapng");
        let name = path.display().to_string();
        let control = scratch.path("control.sock").display().to_string();
        let flags = ["--record", &name, "--control", &control, "--admin", ADMIN];
        let mut daemon = serve(program!(), &flags);
        assert_eq!(shown_about_recording(&control), ["1", "0"]);
        let target = SocketAddr::new(V4.into(), port::ECHO);
        for _ in 0..8 {
            stream::echo(target, 200_000).expect("an echo");
        }
        let line = daemon
            .line_of("recording-ended ")
            .expect("it is told at once");
        assert!(
            line.contains("it cannot be written: no space left"),
            "{line}"
        );
        stream::echo(target, 200_000).expect("the daemon goes on");
        assert_eq!(shown_about_recording(&control), ["0", "1"]);
        let ended = daemon.terminate().expect("it ends");
        assert_eq!(ended.code(), Some(7), "the file is incomplete");
        let text = daemon.stderr();
        assert!(text.contains("is incomplete"), "{text}");
        let numbers = same(&path);
        assert!(numbers.contains(r#""is_cut":true"#), "{numbers}");
    });
}

/// Requests that would reach the stack are refused, or end the recording first.
#[test]
fn nothing_reaches_the_stack_that_the_recording_does_not_hold() {
    let scratch = Scratch::new("record-only");
    let path = scratch.path("run.pcapng");
    in_namespace(|| {
        let control = scratch.path("control.sock").display().to_string();
        let name = path.display().to_string();
        let flags = [
            "--record",
            &name,
            "--control",
            &control,
            "--record-limit",
            "4M",
        ];
        let mut daemon = serve(program!(), &flags);
        assert_eq!(daemon.ready("queues"), "1");
        let ask = |words: &[&str]| {
            let mut command = Command::new(program!());
            command.args(words).args(["--control", &control]);
            command.output().expect("the program runs")
        };
        assert!(ask(&["ss"]).status.success());
        for words in [
            &["ping", "-c", "1", "10.77.0.1"][..],
            &["nc", "10.77.0.1", "9"],
        ] {
            let refused = ask(words);
            let text = String::from_utf8_lossy(&refused.stderr);
            assert_eq!(refused.status.code(), Some(1), "{words:?}: {text}");
            assert!(text.contains("is recorded"), "{text}");
        }
        let target = SocketAddr::new(V4.into(), port::ECHO);
        stream::echo(target, 10_000).expect("an echo");
        daemon.signal(nix::sys::signal::Signal::SIGHUP);
        let line = daemon.line_of("recording-ended ").expect("the end");
        assert!(line.contains("the configuration was read again"), "{line}");
        daemon.line_of("reloaded ").expect("it is read");
        // It is no recorded stack any more.
        let answer = ask(&["ping", "-c", "1", "10.77.0.1"]);
        assert!(answer.status.success(), "{answer:?}");
        assert!(daemon.terminate().expect("it ends").success());
    });
    same(&path);
}

#[test]
fn wrong_flags_and_files_are_sentences() {
    in_namespace(|| {
        for (flags, says) in [
            (
                &["--record", "/nonexistent/x"][..],
                "--record /nonexistent/x cannot be written",
            ),
            (
                &["--record", "/tmp/x", "--queues", "2"],
                "--queues with --record cannot be more",
            ),
            (&["--record-limit", "1M"], "add --record FILE"),
            (&["--record-ring", "4"], "add --record FILE"),
            (
                &[
                    "--record",
                    "/tmp/x",
                    "--record-limit",
                    "1M",
                    "--record-ring",
                    "5",
                ],
                "--record-ring 5 divides 1048576 bytes",
            ),
            (
                &["--record", "/nonexistent/x", "--record-ring", "2"],
                "by the user that netstackd runs as",
            ),
            (
                &["--record", "/tmp/x", "--dashboard", "10.77.0.2:8080"],
                "a recording does not hold what the dashboard answers",
            ),
        ] {
            let failure = try_serve(program!(), flags).expect_err(says);
            assert_eq!(failure.exit_code(), 2, "{failure}");
            assert!(failure.to_string().contains(says), "{failure}");
        }
    });
    let scratch = Scratch::new("record-foreign");
    scratch.write("empty", "");
    scratch.write("text", "This is a text and no recording.\n");
    for name in ["empty", "text", "missing", "/dev/zero", "/"] {
        let output = replay(&[], &scratch.path(name));
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(10), "{name}: {text}");
        assert_eq!(text.trim().lines().count(), 1, "{text}");
    }
    let output = Command::new(program!())
        .args(["proxy", "--tun", TUN, "--record", "x"])
        .output();
    assert_eq!(output.expect("it runs").status.code(), Some(2));
}
