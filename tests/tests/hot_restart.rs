//! Hot restart: another process takes the place of the daemon, and the kernel's sockets notice a pause at most.

use std::fs;
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use netstackd::child::Daemon;
use netstackd::probe::{noise, now, stream};
use tests::program;
use tests::transfer::hashed_echo;
use tests::world::{Scratch, SetOnDrop, V4, V6, eventually, in_namespace, port, serve, targets};

/// Time for what a busy machine does.
const LIMIT: Duration = Duration::from_secs(60);

/// Lets a new process take the place of `old`, which ends well.
fn upgrade(mut old: Daemon, socket: &str) -> Daemon {
    let new = serve(program!(), &["--control", socket, "--take-over", socket]);
    let status = old.wait(LIMIT).expect("it ends");
    assert!(status.success(), "{status}: {}", old.stderr());
    assert!(UnixStream::connect(socket).is_ok(), "the new one listens");
    new
}

/// Returns a counter of the kernel's TCP in this thread's namespace.
fn kernel(name: &str) -> u64 {
    let text = fs::read_to_string("/proc/thread-self/net/snmp").expect("counters");
    let mut lines = text.lines().filter(|line| line.starts_with("Tcp: "));
    let (names, values) = (lines.next().expect("names"), lines.next().expect("values"));
    let mut pairs = names.split(' ').zip(values.split(' '));
    let found = pairs.find(|(one, _)| *one == name);
    found.expect("a counter").1.parse().expect("a number")
}

/// Returns how many bytes the kernel and the daemon have exchanged.
fn exchanged() -> u64 {
    let text = fs::read_to_string("/proc/thread-self/net/dev").expect("devices");
    let line = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("t0:"));
    let numbers = line.unwrap_or_default().split_whitespace();
    let numbers: Vec<u64> = numbers.filter_map(|number| number.parse().ok()).collect();
    numbers.first().unwrap_or(&0) + numbers.get(8).unwrap_or(&0)
}

/// Returns one period of the pattern of RFC 864.
fn pattern() -> Vec<u8> {
    let byte = |at: usize| match at % 74 {
        72 => b'\r',
        73 => b'\n',
        column => b' ' + ((at / 74 + column) % 95) as u8,
    };
    (0..95 * 74).map(byte).collect()
}

/// Reads characters until `stop`, and compares each of them. Returns how many came, and the longest pause between two reads.
fn characters(target: SocketAddr, stop: &AtomicBool, half_closed: bool) -> (u64, Duration) {
    let pattern = pattern();
    let stream = stream::connect_within(target, LIMIT).expect("connected");
    if half_closed {
        stream.shutdown(Shutdown::Write).expect("half-closed");
    }
    let (mut buffer, mut at) = (vec![0; 128 << 10], 0);
    let (mut last, mut pause) = (now(), Duration::ZERO);
    while !stop.load(Ordering::Relaxed) {
        let count = (&stream).read(&mut buffer).expect("characters");
        assert!(count > 0, "it ended after {at} characters");
        for (index, byte) in buffer[..count].iter().enumerate() {
            let expected = pattern[(at + index) % pattern.len()];
            assert_eq!(*byte, expected, "character {}", at + index);
        }
        at += count;
        pause = pause.max(now() - last);
        last = now();
    }
    (at as u64, pause)
}

/// Writes until `stop`, closes its half, and waits for the end of the other.
fn bytes_for_nobody(target: SocketAddr, stop: &AtomicBool) -> u64 {
    let mut stream = stream::connect_within(target, LIMIT).expect("connected");
    let (block, mut total) = (noise(9, 128 << 10), 0);
    while !stop.load(Ordering::Relaxed) {
        stream.write_all(&block).expect("written");
        total += block.len() as u64;
    }
    stream.shutdown(Shutdown::Write).expect("closed");
    assert_eq!(stream.read(&mut [0; 8]).expect("the end"), 0);
    total
}

/// Reads an answer of the page.
fn page(stream: &mut TcpStream) -> String {
    let (mut text, mut buffer) = (String::new(), [0; 4_096]);
    while !text.ends_with("</html>\n") {
        let count = stream.read(&mut buffer).expect("the page");
        assert!(count > 0, "cut off: {text}");
        text.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    text
}

#[test]
fn transfers_go_on_through_two_upgrades() {
    transfers(256 << 20);
}

#[test]
#[ignore = "long, run by hand"]
fn a_gigabyte_goes_on_through_two_upgrades() {
    transfers(1 << 30);
}

/// Echoes so many bytes while characters and bytes for nobody go on, through two upgrades.
fn transfers(echoed: u64) {
    let scratch = Scratch::new(&format!("hot-restart-{echoed}"));
    let socket = scratch.path("control.sock").display().to_string();
    in_namespace(|| {
        let daemon = serve(program!(), &["--control", &socket]);
        let stop = AtomicBool::new(false);
        let (v4, v6) = (SocketAddr::from((V4, 0)), SocketAddr::from((V6, 0)));
        let at = |mut target: SocketAddr, port| {
            target.set_port(port);
            target
        };
        let mut daemon = thread::scope(|scope| {
            let (stopping, mut daemon) = (SetOnDrop(&stop), daemon);
            let echo = scope.spawn(move || hashed_echo(at(v6, port::ECHO), echoed));
            let characters = [(v4, false), (v6, true)].map(|(target, half_closed)| {
                let stop = &stop;
                scope.spawn(move || characters(at(target, port::CHARGEN), stop, half_closed))
            });
            let discarded = scope.spawn(|| bytes_for_nobody(at(v4, port::DISCARD), &stop));
            for upgrades in 1..=2 {
                let begun = exchanged();
                eventually("something is transferred", || {
                    exchanged() > begun + (40 << 20)
                });
                daemon = upgrade(daemon, &socket);
                println!("upgrade {upgrades} after {} MiB", exchanged() >> 20);
            }
            let begun = exchanged();
            eventually("something is transferred", || {
                exchanged() > begun + (40 << 20)
            });
            assert_eq!((kernel("EstabResets"), kernel("OutRsts")), (0, 0), "resets");
            let (sent, received, moved) = echo.join().expect("no panic").expect("echoed");
            assert_eq!(sent, received, "hashes");
            println!("{} MiB echoed", moved.bytes >> 20);
            drop(stopping);
            for characters in characters {
                let (count, pause) = characters.join().expect("whole");
                println!("{} MiB of characters, longest pause {pause:?}", count >> 20);
            }
            println!("{} MiB discarded", discarded.join().expect("whole") >> 20);
            daemon
        });
        let status = daemon.terminate().expect("it ends");
        assert!(status.success(), "{status}: {}", daemon.stderr());
    });
}

#[test]
fn quiet_and_half_closed_connections_go_on() {
    let scratch = Scratch::new("hot-restart-quiet");
    let socket = scratch.path("control.sock").display().to_string();
    in_namespace(|| {
        let daemon = serve(program!(), &["--control", &socket]);
        let connect = |target| stream::connect_within(target, LIMIT).expect("connected");
        let idle = targets(port::ECHO).into_iter().cycle().take(40);
        let mut idle: Vec<TcpStream> = idle.map(connect).collect();
        for stream in &mut idle {
            stream::exchange(stream, b"before", &mut [0; 6]).expect("an echo");
        }
        // More than the kernel's buffer takes: the rest waits in the daemon, whose service has seen the end.
        let message = noise(3, 1 << 20);
        let mut closed: Vec<TcpStream> = targets(port::ECHO).into_iter().map(connect).collect();
        for stream in &mut closed {
            stream.write_all(&message).expect("written");
            stream.shutdown(Shutdown::Write).expect("closed");
        }
        let mut web: Vec<TcpStream> = targets(port::HTTP).into_iter().map(connect).collect();
        let request = b"GET / HTTP/1.1\r\nHost: daemon\r\n\r\n";
        for stream in &mut web {
            stream.write_all(request).expect("asked");
            page(stream);
            // The beginning of the next one.
            stream.write_all(&request[..20]).expect("asked");
        }
        let before = daemon.counters().expect("counters");
        let daemon = upgrade(daemon, &socket);
        let mut daemon = upgrade(daemon, &socket);
        let after = daemon.counters().expect("counters");
        for name in ["packets_in", "bytes_out", "tcp_passive_opens"] {
            let counts = (before.get(name), after.get(name));
            assert!(0 < counts.0 && counts.0 <= counts.1, "{name}: {counts:?}");
        }
        assert_eq!((kernel("EstabResets"), kernel("OutRsts")), (0, 0), "resets");
        for stream in &mut idle {
            stream::exchange(stream, b"after!", &mut [0; 6]).expect("an echo");
        }
        for stream in &mut closed {
            let mut echoed = Vec::new();
            stream.read_to_end(&mut echoed).expect("the rest");
            assert!(echoed == message, "{} bytes", echoed.len());
        }
        for stream in &mut web {
            stream.write_all(&request[20..]).expect("asked");
            assert!(page(stream).starts_with("HTTP/1.1 200"));
        }
        // New connections, and their ends.
        for target in targets(port::ECHO) {
            stream::echo(target, 100_000).expect("echoed");
        }
        drop((idle, closed, web));
        let status = daemon.terminate().expect("it ends");
        assert!(status.success(), "{status}: {}", daemon.stderr());
    });
}

/// A process that takes over, as far as the test lets it.
struct Successor {
    lines: BufReader<UnixStream>,
}

impl Successor {
    fn connect(socket: &str) -> Self {
        let stream = UnixStream::connect(socket).expect("it listens");
        stream.set_read_timeout(Some(LIMIT)).expect("a timeout");
        let mut this = Self {
            lines: BufReader::new(stream),
        };
        assert!(this.line().contains("\"reply\":\"hello\""));
        this
    }

    fn send(&mut self, line: &str) {
        let stream = self.lines.get_mut();
        stream.write_all(line.as_bytes()).expect("it reads");
        stream.write_all(b"\n").expect("it reads");
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("a line");
        line
    }

    fn ask(&mut self, line: &str) -> String {
        self.send(line);
        self.line()
    }

    fn take_over(format: u32) -> String {
        format!(r#"{{"protocol":1,"request":"take-over","format":{format},"version":"9.9.9"}}"#)
    }

    /// Goes as far as the state; returns its length.
    fn state(&mut self) -> usize {
        let queues = self.ask(&Self::take_over(netstack::net::Checkpoint::FORMAT));
        assert!(queues.contains("\"queues\""), "{queues}");
        self.send(r#"{"request":"descriptors"}"#);
        // A byte with the descriptors, which are not wanted.
        self.lines.read_exact(&mut [0; 1]).expect("a byte");
        let line = self.ask(r#"{"request":"ready"}"#);
        let bytes = line.split("\"bytes\":").nth(1).expect("a length");
        let bytes = bytes.trim_end().trim_end_matches('}').parse();
        let mut state = vec![0; bytes.expect("a number")];
        self.lines.read_exact(&mut state).expect("the state");
        assert!(netstack::net::Checkpoint::from_bytes(&state).is_ok());
        state.len()
    }
}

/// Runs a daemon that cannot take over; returns its exit code and its sentence.
fn refused(program: &Path, words: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(program)
        .args(["run", "--exit-with-parent"])
        .args(words)
        .output()
        .expect("the program runs");
    let says = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), says)
}

#[test]
fn a_failed_take_over_leaves_the_daemon_as_it_was() {
    let scratch = Scratch::new("hot-restart-failed");
    let socket = scratch.path("control.sock").display().to_string();
    in_namespace(|| {
        let mut daemon = serve(program!(), &["--control", &socket]);
        let mut streams = targets(port::ECHO).map(|target| {
            let mut stream = stream::connect_within(target, LIMIT).expect("connected");
            stream::exchange(&mut stream, b"hello", &mut [0; 5]).expect("an echo");
            stream
        });
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let stopping = SetOnDrop(&stop);
            let target = SocketAddr::from((V4, port::CHARGEN));
            let stop = &stop;
            let characters = scope.spawn(move || characters(target, stop, false));
            let mut first = streams[0].try_clone().expect("a copy");
            let mut works = |what: &str| {
                println!("{what}");
                for stream in &mut streams {
                    stream::exchange(stream, b"still", &mut [0; 5]).expect("an echo");
                }
                assert_eq!((kernel("EstabResets"), kernel("OutRsts")), (0, 0), "{what}");
            };

            let mut foreign = Successor::connect(&socket);
            let answer = foreign.ask(&Successor::take_over(4_000_000));
            assert!(answer.contains("takes format 4000000"), "{answer}");
            works("a foreign version");

            let mut rude = Successor::connect(&socket);
            assert!(rude.ask("\u{1}garbage").contains("not JSON"));
            rude.ask(&Successor::take_over(netstack::net::Checkpoint::FORMAT));
            rude.send("\u{1}garbage");
            // It is disconnected.
            let end = rude.lines.read(&mut [0; 8]);
            assert!(end.as_ref().is_ok_and(|count| *count == 0), "{end:?}");
            works("garbage in the middle");

            for round in 0..3 {
                let mut dead = Successor::connect(&socket);
                assert!(dead.state() > 100);
                let mut second = Successor::connect(&socket);
                let format = netstack::net::Checkpoint::FORMAT;
                let answer = second.ask(&Successor::take_over(format));
                assert!(
                    answer.contains("another process is taking over"),
                    "{answer}"
                );
                // While the daemon rests nothing is answered.
                let quiet = &mut first;
                let short = Duration::from_millis(50);
                quiet.set_read_timeout(Some(short)).expect("a timeout");
                quiet.write_all(b"later").expect("queued");
                let none = quiet.read(&mut [0; 5]).map_err(|error| error.kind());
                assert_eq!(none, Err(ErrorKind::WouldBlock));
                quiet.set_read_timeout(Some(LIMIT)).expect("a timeout");
                drop(dead);
                let mut late = [0; 5];
                quiet.read_exact(&mut late).expect("it goes on");
                assert_eq!(&late, b"later");
                works(&format!("a successor that died, {round}"));
            }

            let other = [
                "--tun",
                "t9",
                "--addr",
                "10.99.0.2/24",
                "--take-over",
                &socket,
            ];
            let (code, says) = refused(program!(), &other);
            assert_eq!(code, Some(2), "{says}");
            assert!(says.contains("has the device t0"), "{says}");
            let nobody = [
                "--tun",
                "t0",
                "--addr",
                "10.77.0.2/24",
                "--take-over",
                "/nowhere",
            ];
            let (code, says) = refused(program!(), &nobody);
            assert_eq!(code, Some(9), "{says}");
            // One that has the device, and then cannot make its control socket.
            let bad = [
                "--tun",
                "t0",
                "--addr",
                "10.77.0.2/24",
                "--take-over",
                &socket,
            ];
            let no_place = [&bad[..], &["--control", "/nowhere/c.sock"]].concat();
            let (code, says) = refused(program!(), &no_place);
            assert_eq!(code, Some(9), "{says}");
            // One that restores everything, and then cannot add a route.
            let no_route = "routes=[\"10.8.0.0/16 src 10.9.9.9\"]";
            let no_route = [&bad[..], &["--control", &socket, "--set", no_route]].concat();
            let (code, says) = refused(program!(), &no_route);
            assert_eq!(code, Some(2), "{says}");
            assert!(says.contains("cannot be used"), "{says}");
            works("wrong settings");
            drop(stopping);
            characters.join().expect("whole");
        });
        let status = daemon.terminate().expect("it ends");
        assert!(status.success(), "{status}: {}", daemon.stderr());
    });
}
