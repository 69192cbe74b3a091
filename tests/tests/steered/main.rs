//! The configuration: flags, environment and file as one, `check` and `config`, SIGHUP, devices of others.

mod limits;

use std::fs;
use std::io::Read as _;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use netstackd::child::Daemon;
use netstackd::probe::{ping::Pinger, stream};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::program;
use tests::world::{Running, Scratch, V4, eventually, in_namespace, ip, port};

const NET: &str = "tun = \"t0\"\naddr = \"10.77.0.2/24\"\naddr6 = \"fd77::2/64\"\n";

fn run(words: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(program!());
    command
        .args(words)
        .envs(environment.iter().copied())
        .stdin(Stdio::null());
    command.output().expect("the program runs")
}

#[track_caller]
fn text(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    String::from_utf8(output.stdout.clone()).expect("text")
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let scratch = Scratch::new("origins");
    let path = scratch.write(
        "net.toml",
        &format!("{NET}mtu = 1300\nqueues = 3\n[tcp]\ntime_wait = \"9s\"\nnagle = false\n"),
    );
    let environment = [
        ("NETSTACKD_CONFIG", path.as_str()),
        ("NETSTACKD_MTU", "1400"),
        ("NETSTACKD_TCP_TIME_WAIT", "8s"),
    ];
    let printed = text(&run(
        &[
            "config",
            "print",
            "--queues",
            "2",
            "--set",
            "tcp.time_wait=7s",
        ],
        &environment,
    ));
    let line = |start: &str| {
        let found = printed.lines().find(|line| line.starts_with(start));
        found
            .unwrap_or_else(|| panic!("{start}: {printed}"))
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(line("mtu = "), "mtu = 1400 # NETSTACKD_MTU");
    assert_eq!(line("queues = "), "queues = 2 # --queues");
    assert_eq!(
        line("time_wait = "),
        "time_wait = \"7s\" # --set tcp.time_wait"
    );
    assert_eq!(line("nagle = "), format!("nagle = false # {path}, line 8"));
    assert_eq!(line("sack = "), "sack = true # default");
    assert_eq!(line("host-addr = "), "host-addr = \"10.77.0.1\" # default");
    assert_eq!(line("#pcap ="), "#pcap = # default: none");
    // What is printed is a file that says the same.
    let again = scratch.write("again.toml", &printed);
    let values = |text: &str| {
        let parts = text.lines().map(|line| {
            line.split(" #")
                .next()
                .unwrap_or_default()
                .trim_end()
                .to_owned()
        });
        parts.collect::<Vec<_>>()
    };
    let reprinted = text(&run(&["config", "print", "--config", &again], &[]));
    assert_eq!(values(&reprinted), values(&printed));
    // So is the documentation of every key.
    let example = text(&run(&["config", "example"], &[]));
    let example = scratch.write("example.toml", &example);
    assert!(
        text(&run(&["check", "--config", &example], &[]))
            .contains("good: t0 10.77.0.2/24 fd77::2/64")
    );
}

/// Flags, variables of the environment, the exit code, a part of the message.
type Mistake<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], i32, &'a str);

#[test]
fn check_names_each_mistake_and_its_place() {
    let scratch = Scratch::new("mistakes");
    let good = scratch.write("good.toml", NET);
    let bad = |name: &str, lines: &str| scratch.write(name, &format!("{NET}{lines}\n"));
    let bounds = bad("bounds.toml", "[tcp]\nrecv_buffer_max = 5000");
    let unit = bad("unit.toml", "grace = 5");
    let kind = bad("kind.toml", "mtu = \"big\"");
    let list = bad("list.toml", "addresses = [\"10.77.0.9\"]");
    let route = bad("route.toml", "routes = [\"10.8.0.0/16 via 10.77.0.1\"]");
    let twice = bad("twice.toml", "addresses = [\"10.77.0.2/24\"]");
    let spelled = bad("spelled.toml", "max-connections = 5");
    let good = ["--config", &good];
    let cases: &[Mistake<'_>] = &[
        (
            &["--config", &bounds],
            &[],
            3,
            "bounds.toml, line 5: key 'tcp.recv_buffer_max': tcp.recv_buffer_initial is 262144 by default",
        ),
        (
            &["--config", &unit],
            &[],
            3,
            "unit.toml, line 4: key 'grace': ",
        ),
        (&["--config", &unit], &[], 3, "\"5s\""),
        (
            &["--config", &kind],
            &[],
            3,
            "kind.toml, line 4: key 'mtu': ",
        ),
        (
            &["--config", &list],
            &[],
            3,
            "list.toml, line 4: key 'addresses': '10.77.0.9' cannot be used: write it as ADDRESS/PREFIX",
        ),
        (
            &["--config", &route],
            &[],
            3,
            "route.toml, line 4: key 'routes': '10.8.0.0/16 via 10.77.0.1' cannot be used: write it as",
        ),
        (
            &["--config", &twice],
            &[],
            3,
            "twice.toml, line 4: key 'addresses': 10.77.0.2/24 is there twice",
        ),
        (
            &["--config", &spelled],
            &[],
            3,
            "spelled.toml, line 4: key 'max-connections': unknown key",
        ),
        (
            &["--config", "/dev/zero"],
            &[],
            3,
            "/dev/zero: it is larger than 1 MiB",
        ),
        (
            &[good[0], good[1], "--set", "tcp.recv_buffer_max=5000"],
            &[],
            2,
            "--set tcp.recv_buffer_max: tcp.recv_buffer_initial is 262144 by default",
        ),
        (
            &[good[0], good[1], "--set", "tcp.send_buffer=1"],
            &[],
            2,
            "--set tcp.send_buffer is 1: set it",
        ),
        (
            &[good[0], good[1], "--set", "tcp.nagel=true"],
            &[],
            2,
            "--set tcp.nagel is no key (did you mean tcp.nagle?)",
        ),
        (
            &good,
            &[("NETSTACKD_MTU", "100")],
            2,
            "NETSTACKD_MTU 100 is out of range",
        ),
        (
            &good,
            &[("NETSTACKD_QUEUES", "many")],
            2,
            "NETSTACKD_QUEUES 'many' cannot be used",
        ),
        (
            &good,
            &[("NETSTACKD_COLOUR", "red")],
            2,
            "NETSTACKD_COLOUR is for no key",
        ),
        (
            &good,
            &[("NETSTACKD_TCP_SEND_BUFFER", "1")],
            2,
            "NETSTACKD_TCP_SEND_BUFFER is 1",
        ),
        (
            &[good[0], good[1], "--prepared", "--host-addr", "10.77.0.1"],
            &[],
            2,
            "--host-addr 10.77.0.1 is for a device that netstackd sets up",
        ),
        (
            &[good[0], good[1], "--tun-fd", "0"],
            &[],
            2,
            "--tun-fd '0' cannot be used",
        ),
    ];
    for (flags, environment, code, says) in cases {
        let words = [&["check"], *flags].concat();
        let output = run(&words, environment);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(*code), "{words:?}: {stderr}");
        assert!(stderr.contains(says), "{says}: {stderr}");
        assert!(
            stderr.trim_end().lines().count() == 1 && output.stdout.is_empty(),
            "{stderr}"
        );
        for word in ["struct", "u16", "usize", "TcpLimits", "Err(", "Some("] {
            assert!(!stderr.contains(word), "{word}: {stderr}");
        }
    }
}

/// A daemon whose lines are read.
struct Lines {
    running: Running,
    lines: Receiver<String>,
}

fn start(words: &[&str]) -> Lines {
    let child = Command::new(program!())
        .args(["run", "--exit-with-parent", "--control", "none"])
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut running = Running(child.expect("the program runs"));
    let stdout = running.0.stdout.take().expect("stdout");
    let (sender, lines) = channel();
    thread::spawn(move || {
        use std::io::BufRead as _;
        for line in std::io::BufReader::new(stdout)
            .lines()
            .map_while(Result::ok)
        {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    Lines { running, lines }
}

impl Lines {
    fn next(&mut self) -> String {
        match self.lines.recv_timeout(Duration::from_secs(60)) {
            Ok(line) => line,
            Err(_) => {
                let _ = self.running.0.kill();
                let mut says = String::new();
                let _ = self
                    .running
                    .0
                    .stderr
                    .take()
                    .map(|mut e| e.read_to_string(&mut says));
                panic!("no line: {says}");
            }
        }
    }

    fn reload(&mut self) -> String {
        let pid = i32::try_from(self.running.0.id()).expect("a process id");
        kill(Pid::from_raw(pid), Signal::SIGHUP).expect("it runs");
        self.next()
    }
}

fn echoes(address: &str) -> bool {
    let target = SocketAddr::new(address.parse().expect("an address"), port::ECHO);
    stream::connect_within(target, Duration::from_millis(500)).is_ok()
}

#[test]
fn sighup_changes_what_can_change_and_names_the_rest() {
    let scratch = Scratch::new("reload");
    let path = scratch.write("net.toml", &format!("{NET}services = [\"echo\"]\n"));
    in_namespace(|| {
        let mut daemon = start(&["--config", &path]);
        assert!(daemon.next().starts_with("ready "));
        let mut open = TcpStream::connect((V4, port::ECHO)).expect("connected");
        assert!(!echoes("10.77.0.9"));
        let write = |lines: &str| fs::write(&path, format!("{NET}{lines}\n")).expect("written");

        write(
            "services = [\"echo\", \"discard\"]\naddresses = [\"10.77.0.9/24\", \"fd77::9/64\"]\nroutes = [\"prohibit 192.0.2.0/24\"]\nlog = \"info\"\ngrace = \"1s\"\nmtu = 1400\n[tcp]\nnagle = false",
        );
        assert_eq!(
            daemon.reload(),
            "reloaded changed=addresses,routes,services,log,grace restart-for=mtu,tcp.nagle"
        );
        eventually("they answer", || echoes("10.77.0.9") && echoes("fd77::9"));
        assert!(TcpStream::connect(("10.77.0.9", port::DISCARD)).is_ok());
        assert!(TcpStream::connect((V4, port::DISCARD)).is_ok());
        Pinger::new("10.77.0.9".parse().expect("an address"), 0x7005)
            .and_then(|mut p| p.ping(100))
            .expect("an answer");
        let udp = UdpSocket::bind("10.77.0.1:0").expect("a socket");
        udp.set_read_timeout(Some(Duration::from_secs(20)))
            .expect("a timeout");
        udp.send_to(b"hello", ("10.77.0.9", port::ECHO))
            .expect("sent");
        assert_eq!(udp.recv(&mut [0; 16]).expect("echoed"), 5);

        // The same again, except for what waits for a restart.
        assert_eq!(
            daemon.reload(),
            "reloaded changed=none restart-for=mtu,tcp.nagle"
        );

        write("services = [\"discard\"]\naddresses = [\"fd77::9/64\"]");
        assert_eq!(
            daemon.reload(),
            "reloaded changed=addresses,routes,services,log,grace restart-for=none"
        );
        assert!(!echoes("10.77.0.9") && !echoes("fd77::9") && !echoes("10.77.0.2"));
        assert!(TcpStream::connect(("fd77::9", port::DISCARD)).is_ok());
        // A connection that was open before is as it was.
        stream::exchange(&mut open, b"still", &mut [0; 5]).expect("an echo");

        write("services = [\"finger\"]");
        let line = daemon.reload();
        assert!(
            line.starts_with("not-reloaded ")
                && line.contains("line 4: key 'services': there is no service 'finger'"),
            "{line}"
        );
        assert!(
            TcpStream::connect((V4, port::DISCARD)).is_ok(),
            "it goes on as it was"
        );
        fs::remove_file(&path).expect("removed");
        assert!(daemon.reload().contains("no such file"));
    });
}

#[test]
fn a_file_that_cannot_be_read_now_holds_up_no_signal() {
    let scratch = Scratch::new("reload-stuck");
    let path = scratch.write("net.toml", NET);
    in_namespace(|| {
        let mut daemon = start(&["--config", &path]);
        assert!(daemon.next().starts_with("ready "));
        fs::remove_file(&path).expect("removed");
        nix::unistd::mkfifo(
            path.as_str(),
            nix::sys::stat::Mode::from_bits_truncate(0o600),
        )
        .expect("a pipe");
        let pid = Pid::from_raw(i32::try_from(daemon.running.0.id()).expect("a process id"));
        kill(pid, Signal::SIGHUP).expect("it runs");
        // Signals that wait are one, so it may take more than one.
        let says = loop {
            kill(pid, Signal::SIGHUP).expect("it runs");
            if let Ok(line) = daemon.lines.recv_timeout(Duration::from_millis(100)) {
                break line;
            }
        };
        assert!(says.contains("still being read"), "{says}");
        kill(pid, Signal::SIGUSR1).expect("it runs");
        let mut lines = std::iter::repeat_with(|| daemon.next());
        assert!(lines.any(|line| line.starts_with("counters ")));
        kill(pid, Signal::SIGTERM).expect("it runs");
        eventually("it ends", || {
            daemon.running.0.try_wait().expect("a child").is_some()
        });
        assert!(daemon.running.0.wait().expect("it ended").success());
    });
}

#[test]
fn a_prepared_device_is_used_as_it_is() {
    in_namespace(|| {
        ip("tuntap add mode tun name t0 vnet_hdr");
        ip("addr add 10.77.0.1/24 dev t0");
        ip("link set t0 mtu 1420 up");
        let mut daemon = Daemon::start(
            program!(),
            &[
                "--tun=t0",
                "--prepared",
                "--addr=10.77.0.2/24",
                "--queues=1",
            ],
        )
        .expect("it starts");
        stream::echo(SocketAddr::from((V4, port::ECHO)), 100_000).expect("echoed");
        daemon.terminate().expect("it ends");
        let kept = Command::new("ip")
            .args(["-o", "addr", "show", "dev", "t0"])
            .output()
            .expect("ip");
        let kept = String::from_utf8_lossy(&kept.stdout).into_owned();
        assert!(
            kept.contains("10.77.0.1/24") && kept.lines().count() <= 2,
            "{kept}"
        );
        let missing = Daemon::start(
            program!(),
            &["--tun=t9", "--prepared", "--addr=10.77.0.2/24"],
        )
        .expect_err("no device");
        assert!(
            missing.to_string().contains("t9 does not exist"),
            "{missing}"
        );
    });
}

#[test]
fn a_device_comes_by_its_descriptor() {
    in_namespace(|| {
        // Descriptor 3 of the daemon is a queue of t0, opened by another program.
        let script = r"
import fcntl, os, struct, sys
fd = os.open('/dev/net/tun', os.O_RDWR)
fcntl.ioctl(fd, 0x400454ca, struct.pack('16sH22x', b't0', 0x1001))
os.dup2(fd, 3)
os.set_inheritable(3, True)
os.system('ip addr add 10.77.0.1/24 dev t0; ip link set t0 up')
os.execv(sys.argv[1], sys.argv[1:])
";
        let child = Command::new("python3")
            .args(["-c", script])
            .arg(program!())
            .args([
                "run",
                "--exit-with-parent",
                "--control=none",
                "--tun-fd=3",
                "--addr=10.77.0.2/24",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn();
        let _daemon = Running(child.expect("python3"));
        eventually("it answers", || echoes("10.77.0.2"));
        stream::echo(SocketAddr::from((V4, port::ECHO)), 100_000).expect("echoed");
        for (fd, says) in [
            ("77", "--tun-fd 77 cannot be used: it is not open"),
            ("3,77", "--tun-fd "),
        ] {
            let failure =
                Daemon::start(program!(), &["--tun-fd", fd, "--addr=10.77.0.3/24"]).expect_err(fd);
            assert_eq!(failure.exit_code(), 2, "{failure}");
            assert!(failure.to_string().contains(says), "{failure}");
        }
    });
}
