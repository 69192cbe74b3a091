//! The control socket of a running daemon, and the commands that use it.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use netstackd::child::Daemon;
use netstackd::probe::ping::Pinger;
use netstackd::probe::{noise, stream};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pcap_file::pcapng::{Block, PcapNgReader};
use tests::program;
use tests::world::{
    BOTH, Running, Scratch, SetOnDrop, V4, V6, copy_program, eventually, in_namespace, port,
    require_root, serve, targets,
};

/// The kernel's address on the device.
const HOST: &str = "10.77.0.1";
/// The id of a user without privileges.
const NOBODY: u32 = 65_534;

/// A daemon with a control socket in a directory of its own.
struct World {
    daemon: Daemon,
    socket: PathBuf,
    _scratch: Scratch,
}

fn world(name: &str, flags: &[&str]) -> World {
    let scratch = Scratch::new(name);
    let socket = scratch.path("control.sock");
    let path = socket.display().to_string();
    let flags = [&["--control", &path], flags].concat();
    World {
        daemon: serve(program!(), &flags),
        socket,
        _scratch: scratch,
    }
}

impl World {
    fn command(&self, words: &str) -> Command {
        let mut command = Command::new(program!());
        command
            .args(words.split_whitespace())
            .env("NETSTACKD_CONTROL", &self.socket);
        command
    }

    fn run(&self, words: &str) -> Output {
        self.command(words)
            .stdin(Stdio::null())
            .output()
            .expect("the program runs")
    }

    /// Runs a command that must succeed, and returns what it prints.
    #[track_caller]
    fn text(&self, words: &str) -> String {
        let output = self.run(words);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{words}: {stderr}");
        String::from_utf8(output.stdout).expect("text")
    }

    fn spawn(&self, words: &str) -> Running {
        let child = self
            .command(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        Running(child.expect("the program runs"))
    }

    /// Opens a connection of our own, past the greeting.
    fn raw(&self) -> (UnixStream, BufReader<UnixStream>) {
        let stream = UnixStream::connect(&self.socket).expect("the daemon listens");
        stream
            .set_read_timeout(Some(Duration::from_secs(90)))
            .expect("a timeout");
        let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
        let hello = line_of(&mut reader);
        assert!(hello.contains(r#""reply":"hello","protocol":1"#), "{hello}");
        (stream, reader)
    }
}

fn line_of(reader: &mut impl std::io::BufRead) -> String {
    let mut line = String::new();
    reader.read_line(&mut line).expect("a line");
    line
}

fn interrupt(child: &Child) {
    let pid = i32::try_from(child.id()).expect("a process id");
    kill(Pid::from_raw(pid), Signal::SIGINT).expect("it runs");
}

/// Returns the columns of each line.
fn rows(text: &str) -> Vec<Vec<String>> {
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect();
    text.lines().map(words).collect()
}

#[test]
fn ss_lists_what_the_filter_accepts() {
    in_namespace(|| {
        let world = world("ss", &["--services", "echo,discard"]);
        let mut streams: Vec<TcpStream> = Vec::new();
        for target in targets(port::ECHO) {
            let mut stream = TcpStream::connect(target).expect("an echo service");
            stream.write_all(b"hello").expect("written");
            stream.read_exact(&mut [0; 5]).expect("echoed");
            streams.push(stream);
        }
        let text = world.text("ss -tn");
        let found = rows(&text);
        assert_eq!(found[0][0], "Netid", "{text}");
        assert_eq!(found.len(), 3, "{text}");
        for (stream, target) in streams.iter().zip(targets(port::ECHO)) {
            let peer = stream.local_addr().expect("bound").to_string();
            let expected = ["tcp", "ESTAB", "0", "0", &target.to_string(), &peer];
            assert!(
                found.iter().any(|row| row == &expected),
                "{expected:?}: {text}"
            );
        }
        let listening = rows(&world.text("ss -Htuln"));
        let services = 2 * 2;
        let tcp = listening.iter().filter(|row| row[1] == "LISTEN").count();
        let udp = listening
            .iter()
            .filter(|row| row[..2] == ["udp", "UNCONN"])
            .count();
        assert_eq!(tcp, services);
        // One socket for each worker.
        assert_eq!(udp % services, 0);
        assert!(udp >= services);
        assert_eq!(rows(&world.text("ss -Htan state established")).len(), 2);
        assert_eq!(rows(&world.text("ss -Hta4 state established")).len(), 1);
        assert_eq!(rows(&world.text(&format!("ss -H dst {HOST}/32"))).len(), 1);
        assert_eq!(rows(&world.text("ss -H dst 10.78.0.0/16")).len(), 0);
        assert_eq!(
            rows(&world.text("ss -Hta sport = :9 src fd77::/64")).len(),
            1
        );
        let info = world.text("ss -Htim4");
        for word in [
            "rtt:",
            "cwnd:",
            "bytes_received:5",
            "bytes_acked:5",
            "skmem:(",
            "worker:",
        ] {
            assert!(info.contains(word), "{word}: {info}");
        }
        let json = world.text("ss -t4 --json");
        assert!(
            json.contains(r#""netid":"tcp","state":"established""#)
                && json.contains(r#""bytes_received":5"#),
            "{json}"
        );
        for (words, says) in [("ss state open", "'open'"), ("ss dst nowhere", "'nowhere'")] {
            let output = world.run(words);
            let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(2), "{stderr}");
            assert!(stderr.contains(says), "{stderr}");
        }
    });
}

#[test]
fn stats_counts_and_rates() {
    in_namespace(|| {
        let world = world("stats", &[]);
        stream::echo(SocketAddr::from((V4, port::ECHO)), 100_000).expect("echoed");
        let text = world.text("stats Tcp* netstack.* now.*");
        let of = |name: &str| {
            let row = rows(&text).into_iter().find(|row| row[0] == name);
            row.map_or(0, |row| row[1].parse::<u64>().expect("a number"))
        };
        assert_eq!(of("TcpPassiveOpens"), 1, "{text}");
        assert!(
            of("TcpInSegs") > 2 && of("netstack.bytes_in") > 100_000,
            "{text}"
        );
        assert!(of("now.memory_limit") > 1 << 20, "{text}");
        assert!(
            !text.contains("IpInReceives"),
            "only what is asked for: {text}"
        );
        assert!(world.text("stats -z").contains("drop.tcp_paws"));
        // A flow that goes on while the rates are taken.
        let flow = thread::spawn(|| {
            let socket = UdpSocket::bind((HOST, 0)).expect("a socket");
            for _ in 0..300 {
                socket.send_to(b"x", (V4, port::DISCARD)).expect("sent");
                thread::sleep(Duration::from_millis(10));
            }
        });
        let text = world.text("stats -i 1 -c 1 UdpInDatagrams");
        let rate: f64 = rows(&text)[1][2].parse().expect("a rate");
        assert!(rate > 0.0, "{text}");
        flow.join().expect("sent");
        assert!(
            world
                .text("stats --json UdpInDatagrams")
                .contains(r#"{"UdpInDatagrams":{"rate":0.0,"value":300}}"#)
        );
    });
}

#[test]
fn events_of_one_flow_are_shown_as_they_happen() {
    in_namespace(|| {
        let world = world("events", &[]);
        let mut events = world.spawn("events --port 7 --json");
        let lines = BufReader::new(events.0.stdout.take().expect("stdout"));
        let is_over = AtomicBool::new(false);
        let (peers, seen) = thread::scope(|scope| {
            let flows = scope.spawn(|| {
                // Events come from when the daemon has heard of the wish.
                let mut peers = Vec::new();
                while !is_over.load(Ordering::Relaxed) {
                    drop(TcpStream::connect((V4, port::DISCARD)).expect("another flow"));
                    let flow = TcpStream::connect((V4, port::ECHO)).expect("the flow");
                    peers.push(flow.local_addr().expect("bound").to_string());
                    thread::sleep(Duration::from_millis(20));
                }
                peers
            });
            let mut seen = Vec::new();
            let _over = SetOnDrop(&is_over);
            for line in lines.lines() {
                seen.push(line.expect("a line"));
                if seen.iter().any(|line| line.contains(r#""to":"last-ack""#)) {
                    break;
                }
            }
            is_over.store(true, Ordering::Relaxed);
            (flows.join().expect("no panic"), seen)
        });
        for line in &seen {
            assert!(
                line.contains(r#""local":"10.77.0.2:7""#),
                "of another flow: {line}"
            );
            assert!(
                peers.iter().any(|peer| line.contains(peer)),
                "{line}: {peers:?}"
            );
        }
        let all = seen.concat();
        assert!(
            all.contains(
                r#""event":"state-changed","fields":{"from":"established","to":"close-wait"}"#
            ),
            "{all}"
        );
        interrupt(&events.0);
        assert!(events.0.wait().expect("it ends").success());
        // Another one may come after it.
        let mut events = world.spawn("events --count 1");
        eventually("an event came", || {
            drop(TcpStream::connect((V4, port::ECHO)));
            events.0.try_wait().expect("a child").is_some()
        });
    });
}

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
            format!(
                "{packets} packets captured, {dropped} lost because {} is slow",
                path.display()
            )
        );
        assert_eq!(dropped, 0, "a million bytes fit into the queue");
        assert!(packets > 20, "{packets}");
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

#[test]
fn nc_carries_bytes_both_ways_over_both_families() {
    in_namespace(|| {
        let world = world("nc", &[]);
        for host in [HOST, "fd77::1"] {
            let listener = TcpListener::bind((host, 0)).expect("a listener of the kernel");
            let at = listener.local_addr().expect("bound").port();
            let mut nc = world.spawn(&format!("nc -p 4000 {host} {at}"));
            let (mut stream, peer) = listener.accept().expect("it connects");
            assert_eq!(peer.port(), 4_000);
            assert!(BOTH.contains(&peer.ip()), "{peer}");
            let sent = noise(3, 3_000_000);
            let mut stdin = nc.0.stdin.take().expect("stdin");
            thread::scope(|scope| {
                scope.spawn(|| {
                    stdin.write_all(&sent).expect("written");
                    drop(stdin);
                });
                // The end of stdin is the end of the stream, and the other direction stays open.
                let mut got = Vec::new();
                stream.read_to_end(&mut got).expect("read");
                assert!(got == sent, "what stdin had");
            });
            let mut got = Vec::new();
            let mut stdout = nc.0.stdout.take().expect("stdout");
            thread::scope(|scope| {
                scope.spawn(|| stdout.read_to_end(&mut got).expect("read"));
                stream.write_all(&sent).expect("written");
                stream.shutdown(Shutdown::Write).expect("closed");
            });
            assert!(got == sent, "what the peer sent");
            assert!(nc.0.wait().expect("it ends").success());
        }
    });
}

#[test]
fn nc_listens_and_says_why_it_fails() {
    in_namespace(|| {
        let world = world("nc-listen", &["--services", "echo"]);
        let mut nc = world.spawn(&format!("nc -l {V4} 8080"));
        let mut stream = loop {
            match TcpStream::connect((V4, 8_080)) {
                Ok(stream) => break stream,
                Err(_) => thread::sleep(Duration::from_millis(20)),
            }
        };
        stream.write_all(b"to the daemon").expect("written");
        stream.shutdown(Shutdown::Write).expect("closed");
        drop(nc.0.stdin.take());
        let mut got = String::new();
        nc.0.stdout
            .take()
            .expect("stdout")
            .read_to_string(&mut got)
            .expect("read");
        assert_eq!(got, "to the daemon");
        assert!(nc.0.wait().expect("it ends").success());
        for (words, says) in [
            (format!("nc {HOST} 1"), "refused"),
            (format!("nc -l {V4} 7"), "in use"),
            (
                "nc -p 7 -s 10.99.0.1 10.77.0.1 1".to_owned(),
                "10.77.0.1:1 cannot be connected to",
            ),
        ] {
            let output = world.run(&words);
            let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(1), "{words}: {stderr}");
            assert!(stderr.contains(says), "{words}: {stderr}");
        }
    });
}

#[test]
fn nc_carries_datagrams() {
    in_namespace(|| {
        let world = world("nc-udp", &[]);
        let server = UdpSocket::bind((HOST, 0)).expect("a socket of the kernel");
        server
            .set_read_timeout(Some(Duration::from_secs(60)))
            .expect("a timeout");
        let at = server.local_addr().expect("bound").port();
        let mut nc = world.spawn(&format!("nc -u {HOST} {at}"));
        nc.0.stdin
            .as_mut()
            .expect("stdin")
            .write_all(b"question")
            .expect("written");
        let mut buffer = [0; 64];
        let (len, peer) = server.recv_from(&mut buffer).expect("a datagram");
        assert_eq!(&buffer[..len], b"question");
        server.send_to(b"answer", peer).expect("sent");
        let mut got = [0; 6];
        nc.0.stdout
            .as_mut()
            .expect("stdout")
            .read_exact(&mut got)
            .expect("the answer");
        assert_eq!(&got, b"answer");
        interrupt(&nc.0);
        nc.0.wait().expect("it ends");

        let mut nc = world.spawn("nc -u -l -p 5353");
        let client = UdpSocket::bind((HOST, 0)).expect("a socket of the kernel");
        let mut got = [0; 5];
        let mut stdout = nc.0.stdout.take().expect("stdout");
        thread::scope(|scope| {
            let reading = scope.spawn(|| stdout.read_exact(&mut got));
            // The first ones may come before it listens.
            while !reading.is_finished() {
                client.send_to(b"hello", (V4, 5_353)).expect("sent");
                thread::sleep(Duration::from_millis(20));
            }
            reading.join().expect("no panic").expect("a datagram");
        });
        assert_eq!(&got, b"hello");
    });
}

#[test]
fn ping_is_answered_or_says_that_it_is_not() {
    in_namespace(|| {
        let world = world("ping-client", &[]);
        for host in [HOST, "fd77::1"] {
            let text = world.text(&format!("ping -c 3 -i 0.01 -s 1000 {host}"));
            assert!(
                text.contains(&format!("1008 bytes from {host}: icmp_seq=1 time=")),
                "{text}"
            );
            assert!(
                text.contains("3 packets transmitted, 3 received, 0% packet loss"),
                "{text}"
            );
            assert!(text.contains("rtt min/avg/max/mdev = "), "{text}");
        }
        let output = world.run("ping -c 2 -i 0.01 -W 0.2 10.77.0.99");
        let (out, err) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        assert_eq!(output.status.code(), Some(1), "{err}");
        assert!(
            out.contains("2 packets transmitted, 0 received, 100% packet loss"),
            "{out}"
        );
        assert!(err.contains("no answer came from 10.77.0.99"), "{err}");
        // Until it is interrupted.
        let mut ping = world.spawn(&format!("ping -i 0.01 {HOST}"));
        let mut stdout = BufReader::new(ping.0.stdout.take().expect("stdout"));
        (0..3).for_each(|_| drop(line_of(&mut stdout)));
        interrupt(&ping.0);
        let mut rest = String::new();
        stdout.read_to_string(&mut rest).expect("text");
        assert!(rest.contains("packets transmitted"), "{rest}");
        assert!(ping.0.wait().expect("it ends").success());
    });
}

#[test]
fn hostile_clients_harm_neither_flows_nor_the_daemon() {
    in_namespace(|| {
        let world = world("hostile-control", &[]);
        let before = world.daemon.resident_bytes();
        // More silent clients than there may be.
        let silent: Vec<UnixStream> = (0..40)
            .map(|_| UnixStream::connect(&world.socket).expect("accepted"))
            .collect();
        let refused = world.run("ss");
        assert_eq!(refused.status.code(), Some(9));
        let says = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(says.contains("control clients are connected"), "{says}");
        drop(silent);
        eventually("there is room again", || world.run("ss").status.success());
        // A line without an end, garbage, and requests that nobody reads the answers of.
        let (mut endless, mut replies) = world.raw();
        let piece = vec![b'x'; 64 << 10];
        let written = (0..1_000)
            .take_while(|_| endless.write_all(&piece).is_ok())
            .count();
        assert!(written < 1_000, "it is disconnected");
        let mut rest = String::new();
        let _ = replies.read_to_string(&mut rest);
        let (mut garbage, mut replies) = world.raw();
        for line in [
            "{",
            "null",
            r#"{"protocol":9,"request":"ss"}"#,
            r#"{"protocol":1,"request":"nc","udp":7}"#,
        ] {
            writeln!(garbage, "{line}").expect("written");
            let reply = line_of(&mut replies);
            assert!(
                reply.starts_with(r#"{"reply":"error","message":""#),
                "{reply}"
            );
        }
        let greedy: Vec<UnixStream> = (0..10)
            .map(|_| {
                let (mut stream, _) = world.raw();
                stream
                    .set_write_timeout(Some(Duration::from_millis(50)))
                    .expect("a timeout");
                let request = r#"{"protocol":1,"request":"stats"}"#.to_owned() + "\n";
                let lines = request.repeat(1_000);
                let _ = stream.write_all(lines.as_bytes());
                stream
            })
            .collect();
        for _ in 0..3 {
            stream::echo(SocketAddr::from((V4, port::ECHO)), 5_000_000).expect("flows go on");
        }
        assert!(
            world
                .text("stats TcpPassiveOpens")
                .contains("TcpPassiveOpens")
        );
        drop(greedy);
        let grown = world.daemon.resident_bytes().saturating_sub(before);
        println!("{grown} bytes more resident");
        assert!(grown < 64 << 20, "{grown}");
    });
}

#[test]
fn others_may_only_look_and_only_if_the_mode_lets_them() {
    require_root();
    in_namespace(|| {
        let mut closed = world("closed", &["--services", "echo"]);
        let as_nobody = |world: &World, words: &str| {
            // The target directory may be closed to others.
            let program = world._scratch.path("netstackd");
            if !program.exists() {
                copy_program(program!(), &program);
            }
            let mut command = Command::new(program);
            let command = command
                .args(words.split_whitespace())
                .env("NETSTACKD_CONTROL", &world.socket);
            command
                .uid(NOBODY)
                .gid(NOBODY)
                .stdin(Stdio::null())
                .output()
                .expect("it runs")
        };
        let output = as_nobody(&closed, "ss");
        let says = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(9), "{says}");
        assert!(
            says.contains("permission denied") && says.contains("--control-mode"),
            "{says}"
        );
        closed.daemon.terminate().expect("it ends");
        assert!(!closed.socket.exists(), "the socket goes with the daemon");

        let open = world("open", &["--control-mode", "0666"]);
        for words in ["ss -tl", "stats"] {
            assert!(as_nobody(&open, words).status.success(), "{words}");
        }
        for words in [
            "nc 10.77.0.1 1",
            "ping -c 1 10.77.0.1",
            "events",
            "capture -w -",
        ] {
            let output = as_nobody(&open, words);
            let says = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(1), "{words}: {says}");
            assert!(
                says.contains("the user that netstackd runs as"),
                "{words}: {says}"
            );
        }
    });
}

#[test]
fn a_socket_that_cannot_be_made_or_found_is_named() {
    let scratch = Scratch::new("no-control");
    in_namespace(|| {
        let file = scratch.write("taken.sock", "text");
        for (path, code, says) in [
            (file.as_str(), 6, "there is a file of that name"),
            ("/nonexistent/c.sock", 9, "no such file"),
        ] {
            let failure =
                tests::world::try_serve(program!(), &["--control", path]).expect_err(path);
            assert_eq!(failure.exit_code(), code, "{failure}");
            assert!(
                failure.to_string().contains(says) && failure.to_string().contains(path),
                "{failure}"
            );
        }
        let first = world("twice", &[]);
        let path = first.socket.display().to_string();
        let failure = tests::world::try_serve(program!(), &["--control", &path]);
        let failure = failure.expect_err("the device and the socket are taken");
        assert_eq!(failure.exit_code(), 6, "{failure}");
        let missing = scratch.path("missing.sock");
        let output = Command::new(program!())
            .args(["ss", "--control", &missing.display().to_string()])
            .output()
            .expect("it runs");
        let says = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(9), "{says}");
        assert!(says.contains("does not answer (no such file"), "{says}");
    });
}
