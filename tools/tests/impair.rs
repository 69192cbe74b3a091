//! `impair` as a program, between the kernels of two network namespaces.

use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use tools::impair::now;

/// Longest time that anything here takes on a machine that has other work.
const PATIENCE: Duration = Duration::from_secs(60);

type Job = Box<dyn FnOnce() + Send>;

/// A network namespace: that of a thread.
struct Namespace {
    path: String,
    jobs: Sender<Job>,
}

impl Namespace {
    fn new() -> Self {
        let (sender, path) = channel();
        let (jobs, received) = channel::<Job>();
        thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace: run this test as root");
            tool("ip", "link set lo up");
            let thread = rustix::thread::gettid().as_raw_nonzero();
            let process = std::process::id();
            let _ = sender.send(format!("/proc/{process}/task/{thread}/ns/net"));
            for job in received {
                job();
            }
        });
        let path = path.recv().expect("a namespace");
        Self { path, jobs }
    }

    /// Runs `job` in the namespace.
    fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (sender, result) = channel();
        let job = Box::new(move || drop(sender.send(job())));
        self.jobs.send(job).expect("the thread lives");
        result.recv_timeout(PATIENCE).expect("the job ends well")
    }
}

fn tool(name: &str, words: &str) -> String {
    let output = Command::new(name)
        .args(words.split_whitespace())
        .output()
        .unwrap_or_else(|error| panic!("this test needs `{name}` ({error})"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} {words}: {stderr}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The program with a namespace at each end.
struct Link {
    a: Namespace,
    b: Namespace,
    program: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

const A: [&str; 2] = ["10.9.0.1", "fd09::1"];
const B: [&str; 2] = ["10.9.0.2", "fd09::2"];

impl Link {
    fn new(flags: &[&str]) -> Self {
        let (a, b) = (Namespace::new(), Namespace::new());
        let mut program = Command::new(env!("CARGO_BIN_EXE_impair"))
            .arg(format!("t0@{}={}/24,{}/64", a.path, A[0], A[1]))
            .arg(format!("t0@{}={}/24,{}/64", b.path, B[0], B[1]))
            .args(["--seconds", "120"])
            .args(flags)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start impair");
        let input = program.stdin.take().expect("a pipe");
        let output = BufReader::new(program.stdout.take().expect("a pipe"));
        let mut link = Self {
            a,
            b,
            program,
            input,
            output,
        };
        let ready = link.line();
        assert!(ready.starts_with("ready "), "{ready}");
        link.wait_for_v6();
        link
    }

    /// The kernel takes a device for ready a moment after it came up.
    fn wait_for_v6(&self) {
        for (namespace, address) in [(&self.a, A[1]), (&self.b, B[1])] {
            let deadline = now() + PATIENCE;
            while namespace.run(move || UdpSocket::bind((address, 0)).is_err()) {
                assert!(now() < deadline, "{address} is not usable");
                thread::sleep(Duration::from_millis(10));
            }
        }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    }

    fn command(&mut self, command: &str) -> String {
        writeln!(self.input, "{command}").expect("it reads commands");
        self.line()
    }

    /// Reads a counter of a direction.
    fn count(&mut self, direction: &str, name: &str) -> u64 {
        let json = self.command("json");
        let value: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        value[direction][name]
            .as_u64()
            .unwrap_or_else(|| panic!("{name}: {json}"))
    }

    /// Starts a server in B that answers each datagram with the same.
    fn echo(&self, address: &'static str) -> SocketAddr {
        self.b.run(move || {
            let socket = UdpSocket::bind((address, 0)).expect("an address of B");
            let local = socket.local_addr().expect("bound");
            socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
            thread::spawn(move || {
                let mut buffer = [0; 65_536];
                while let Ok((len, from)) = socket.recv_from(&mut buffer) {
                    let _ = socket.send_to(&buffer[..len], from);
                }
            });
            local
        })
    }

    fn client(&self, to: SocketAddr) -> UdpSocket {
        self.a.run(move || {
            let any: IpAddr = if to.is_ipv4() {
                [0; 4].into()
            } else {
                [0; 16].into()
            };
            let socket = UdpSocket::bind((any, 0)).expect("a socket");
            socket.connect(to).expect("connected");
            socket
        })
    }

    /// Sends a megabyte or more from A to B over TCP, and checks what arrives.
    fn transfer(&self, address: &'static str, len: usize) {
        let to = self.b.run(move || {
            let listener = TcpListener::bind((address, 0)).expect("an address of B");
            let local = listener.local_addr().expect("bound");
            thread::spawn(move || {
                let (mut stream, _) = listener.accept().expect("a client");
                let mut all = Vec::new();
                stream.read_to_end(&mut all).expect("everything");
                let sum = all
                    .iter()
                    .zip(0_usize..)
                    .filter(|(byte, at)| **byte == pattern(*at));
                let sum = sum.count() as u64;
                stream.write_all(&sum.to_be_bytes()).expect("an answer");
            });
            local
        });
        let right = self.a.run(move || {
            let mut stream = TcpStream::connect_timeout(&to, PATIENCE).expect("a connection");
            stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
            let all: Vec<u8> = (0..len).map(pattern).collect();
            stream.write_all(&all).expect("sent");
            stream
                .shutdown(std::net::Shutdown::Write)
                .expect("shut down");
            let mut answer = [0; 8];
            stream.read_exact(&mut answer).expect("an answer");
            u64::from_be_bytes(answer)
        });
        assert_eq!(right, len as u64);
    }

    fn quit(mut self) -> (Option<i32>, String) {
        writeln!(self.input, "quit").expect("it reads commands");
        let mut rest = String::new();
        self.output
            .read_to_string(&mut rest)
            .expect("its last words");
        (self.program.wait().expect("it ends").code(), rest)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

fn pattern(at: usize) -> u8 {
    (at ^ (at >> 8) ^ (at >> 16)) as u8
}

/// Sends until an answer comes.
fn exchange(socket: &UdpSocket, payload: &[u8]) -> Vec<u8> {
    let mut buffer = vec![0; 65_536];
    let deadline = now() + PATIENCE;
    socket
        .set_read_timeout(Some(Duration::from_millis(500)))
        .expect("a timeout");
    while now() < deadline {
        socket.send(payload).expect("sent");
        if let Ok(len) = socket.recv(&mut buffer) {
            buffer.truncate(len);
            return buffer;
        }
    }
    panic!("no answer");
}

#[test]
fn data_survives_everything_that_a_link_does() {
    let flags =
        "delay=2ms,jitter=1ms,loss=1%,reorder=1%,duplicate=1%,corrupt=1%,rate=400mbit,queue=20ms";
    for extra in [&[][..], &["--no-offload"]] {
        let mut link = Link::new(&[&["--both", flags], extra].concat());
        for address in B {
            link.transfer(address, 4 << 20);
        }
        for what in ["lost", "reordered", "duplicated", "corrupted"] {
            let count = link.count("a_to_b", what);
            assert!(count > 0, "{what} of {extra:?}");
        }
        let (sent, lost) = (link.count("a_to_b", "sent"), link.count("a_to_b", "lost"));
        // 8 MiB are 5,800 packets: loss concerns packets, not the super-packets that carry them.
        assert!(sent > 5_800 && lost > sent / 300, "{lost} of {sent}");
        let (code, words) = link.quit();
        assert_eq!(code, Some(0));
        assert!(
            words.contains("a-to-b sent=") && words.contains(" lost="),
            "{words}"
        );
    }
}

#[test]
fn a_delay_is_never_shorter() {
    let mut link = Link::new(&["--a-to-b", "delay=30ms", "--b-to-a", "delay=20ms"]);
    for address in B {
        let socket = link.client(link.echo(address));
        exchange(&socket, b"first");
        let before = now();
        assert_eq!(exchange(&socket, b"second"), b"second");
        let way = now() - before;
        assert!(way >= Duration::from_millis(50), "{way:?}");
    }
    assert_eq!(link.count("a_to_b", "lost"), 0);
}

#[test]
fn everything_can_be_changed_while_it_runs() {
    let mut link = Link::new(&[]);
    let socket = link.client(link.echo(B[0]));
    assert_eq!(exchange(&socket, b"hello"), b"hello");
    assert_eq!(link.command("a-to-b loss=100%"), "ok");
    socket.send(b"lost").expect("sent");
    socket
        .set_read_timeout(Some(Duration::from_millis(300)))
        .expect("a timeout");
    let kind = socket.recv(&mut [0; 16]).map_err(|error| error.kind());
    assert_eq!(kind, Err(ErrorKind::WouldBlock));
    assert!(link.count("a_to_b", "lost") >= 1);
    assert_eq!(link.command("a-to-b loss=0%"), "ok");
    assert_eq!(exchange(&socket, b"again"), b"again");
    assert_eq!(link.command("both rate=10mbit,delay=1ms"), "ok");
    assert_eq!(link.command("show"), "a-to-b rate=10mbit,delay=1ms");
    assert_eq!(link.line(), "b-to-a rate=10mbit,delay=1ms");
    for (wrong, what) in [
        ("both loss=1", "0.5%"),
        ("both", "KEY=VALUE"),
        ("a-to-b speed=1", "rate, queue"),
        ("frobnicate", "a-to-b, b-to-a, both"),
    ] {
        let answer = link.command(wrong);
        assert!(
            answer.starts_with("error: ") && answer.contains(what),
            "{answer}"
        );
    }
    assert_eq!(link.command("show"), "a-to-b rate=10mbit,delay=1ms");
    link.line();
    assert_eq!(exchange(&socket, b"still"), b"still");
}

#[test]
fn senders_learn_of_a_smaller_mtu_or_never() {
    let mut link = Link::new(&["--both", "mtu=1300"]);
    for address in B {
        let socket = link.client(link.echo(address));
        // The first ones are too big; then the kernels know, and cut what they send.
        assert_eq!(exchange(&socket, &[7; 1_400]), [7; 1_400]);
        link.transfer(address, 1 << 20);
    }
    assert!(link.count("a_to_b", "too_big") > 0);
    assert_eq!(link.count("a_to_b", "fragmented"), 0);
    // Who does not want to know has its packets cut on the way.
    for namespace in [&link.a, &link.b] {
        let file = "/proc/sys/net/ipv4/ip_no_pmtu_disc";
        namespace.run(move || std::fs::write(file, "1").expect("a setting"));
    }
    let before = link.count("a_to_b", "too_big");
    let socket = link.client(link.echo("10.9.0.2"));
    link.a.run(|| tool("ip", "route flush cache"));
    assert_eq!(exchange(&socket, &[8; 1_400]), [8; 1_400]);
    assert!(link.count("a_to_b", "fragmented") > 0);
    assert_eq!(link.count("a_to_b", "too_big"), before);

    let mut hole = Link::new(&["--both", "mtu=1300,too-big=silent"]);
    let socket = hole.client(hole.echo(B[1]));
    for _ in 0..20 {
        socket.send(&[0; 1_400]).expect("nobody objects");
    }
    assert_eq!(exchange(&socket, b"small"), b"small");
    assert_eq!(hole.count("a_to_b", "too_big"), 20);
}

#[test]
fn a_full_queue_marks_connections_that_know_marks() {
    let mut link = Link::new(&["--a-to-b", "rate=200mbit,queue=500p,mark=20p,delay=1ms"]);
    for namespace in [&link.a, &link.b] {
        namespace.run(|| std::fs::write("/proc/sys/net/ipv4/tcp_ecn", "1").expect("a setting"));
    }
    link.transfer(B[0], 16 << 20);
    assert!(link.count("a_to_b", "marked") > 0);
    let mibs = link.a.run(|| {
        std::fs::read_to_string("/proc/thread-self/net/netstat").expect("the kernel's counters")
    });
    let lines: Vec<Vec<&str>> = mibs.lines().map(|l| l.split(' ').collect()).collect();
    let column = lines[0].iter().position(|name| *name == "TCPDeliveredCE");
    let marks: u64 = lines[1][column.expect("the counter")]
        .parse()
        .expect("a number");
    assert!(marks > 0, "the sender heard of no mark");
}

#[test]
fn a_socket_takes_the_same_commands_from_its_owner() {
    let path: PathBuf = std::env::temp_dir().join(format!("impair-{}.sock", std::process::id()));
    let flag = path.display().to_string();
    // What an earlier run left behind.
    drop(std::os::unix::net::UnixListener::bind(&path).expect("a socket"));
    let mut link = Link::new(&["--control", &flag]);
    let ask = |commands: &[u8]| {
        let mut stream = UnixStream::connect(&path).expect("a control socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.write_all(commands).expect("sent");
        stream
            .shutdown(std::net::Shutdown::Write)
            .expect("shut down");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("answers");
        text
    };
    assert_eq!(
        ask(b"both delay=1ms\nshow\n"),
        "ok\na-to-b delay=1ms\nb-to-a delay=1ms\n"
    );
    assert_eq!(link.command("show"), "a-to-b delay=1ms");
    link.line();
    let long = ask(&[b'x'; 5_000]);
    assert!(long.contains("too long"), "{long}");
    // Twenty that say nothing do not hold up whoever types.
    let silent: Vec<UnixStream> = (0..20)
        .filter_map(|_| UnixStream::connect(&path).ok())
        .collect();
    assert_eq!(link.command("both none"), "ok");
    drop(silent);
    let (code, _) = link.quit();
    assert_eq!(code, Some(0));
    assert!(!path.exists(), "the socket is left behind");
}

#[test]
fn a_device_that_goes_ends_the_link() {
    let mut link = Link::new(&[]);
    link.b.run(|| tool("ip", "link del t0"));
    let status = link.program.wait().expect("it ends");
    assert_eq!(status.code(), Some(1));
}

fn refused(words: &[&str]) -> String {
    let Output { status, stderr, .. } = Command::new(env!("CARGO_BIN_EXE_impair"))
        .args(words)
        .stdin(Stdio::null())
        .output()
        .expect("start impair");
    assert_eq!(status.code(), Some(2), "{words:?}");
    String::from_utf8_lossy(&stderr).into_owned()
}

#[test]
fn mistakes_are_named_with_advice() {
    for (words, what, advice) in [
        (&["t0"][..], "<B>", "Usage"),
        (&["t0@nowhere", "t1"], "/run/netns/nowhere", "ip netns"),
        (&["t0=1.2.3.4", "t1"], "1.2.3.4", "ADDRESS/PREFIX"),
        (&["t0", "t1", "--both", "los=1%"], "--both", "loss, gilbert"),
        (&["t0", "t1", "--a-to-b", "rate=7"], "rate '7'", "10mbit"),
        (&["t0", "t1", "--mtu", "67"], "67", "68"),
    ] {
        let text = refused(words);
        assert!(text.contains(what) && text.contains(advice), "{text}");
    }
    let namespace = Namespace::new();
    let text = namespace.run(|| refused(&["t0", "t1", "--control", "/nowhere/socket"]));
    assert!(
        text.contains("/nowhere/socket") && text.contains("written to"),
        "{text}"
    );
}
