//! Signals are answered whatever else is stuck: stdout, the reader of a capture, the size of its file.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use netstackd::probe::{now, stream};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use tests::program;
use tests::world::{Running, Scratch, V4, eventually, in_namespace, port, serve};

/// Far more than any of these ends takes, and far less than the time after which a stuck pipe would let go: none.
const PATIENCE: Duration = Duration::from_secs(30);

fn start(flags: &[&str]) -> Running {
    let child = Command::new(program!())
        .args(["run", "--exit-with-parent", "--control", "none"])
        .args(["--tun", "t0", "--addr", "10.77.0.2/24"])
        .args(flags)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    Running(child.expect("the program runs"))
}

fn signal(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id()).expect("a process id");
    kill(Pid::from_raw(pid), signal).expect("it runs");
}

#[track_caller]
fn ends(child: &mut Child) -> ExitStatus {
    let deadline = now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().expect("a child") {
            return status;
        }
        assert!(now() < deadline, "it does not end");
        thread::sleep(Duration::from_millis(10));
    }
}

fn stderr_of(child: &mut Child) -> String {
    let mut text = String::new();
    child
        .stderr
        .take()
        .expect("stderr")
        .read_to_string(&mut text)
        .expect("text");
    text
}

/// Waits until the device answers, without its first line.
fn answers() {
    eventually("the daemon answers", || {
        stream::connect(SocketAddr::from((V4, port::ECHO))).is_ok()
    });
}

#[test]
fn a_stuck_stdout_holds_up_no_signal() {
    in_namespace(|| {
        // Nobody reads its stdout, and the counters fill the pipe many times.
        let mut daemon = start(&[]);
        answers();
        for _ in 0..200 {
            signal(&daemon.0, Signal::SIGUSR1);
            thread::sleep(Duration::from_millis(2));
        }
        stream::echo(SocketAddr::from((V4, port::ECHO)), 100_000).expect("flows go on");
        signal(&daemon.0, Signal::SIGTERM);
        let status = ends(&mut daemon.0);
        assert_eq!(status.code(), Some(0), "{}", stderr_of(&mut daemon.0));
    });
}

#[test]
fn a_capture_whose_reader_is_stuck_holds_up_no_signal() {
    let scratch = Scratch::new("stuck-reader");
    let path = scratch.path("fifo");
    mkfifo(&path, Mode::from_bits_truncate(0o600)).expect("a pipe");
    let flag = path.display().to_string();
    in_namespace(|| {
        let mut daemon = start(&["--pcap", &flag]);
        // It opens, and is never read.
        let reader = File::open(&path).expect("the pipe");
        answers();
        stream::echo(SocketAddr::from((V4, port::ECHO)), 10_000_000).expect("flows go on");
        signal(&daemon.0, Signal::SIGUSR1);
        let mut lines = BufReader::new(daemon.0.stdout.take().expect("stdout")).lines();
        let counters = lines.find(|line| {
            line.as_ref()
                .is_ok_and(|line| line.starts_with("counters "))
        });
        assert!(counters.is_some(), "the counters are printed");
        signal(&daemon.0, Signal::SIGTERM);
        let status = ends(&mut daemon.0);
        let says = stderr_of(&mut daemon.0);
        assert_eq!(status.code(), Some(7), "{says}");
        assert!(
            says.contains("is incomplete") && says.contains(&flag),
            "{says}"
        );
        drop(reader);
    });
}

#[test]
fn a_capture_that_waits_for_a_reader_can_be_stopped() {
    let scratch = Scratch::new("no-reader");
    let path = scratch.path("fifo");
    mkfifo(&path, Mode::from_bits_truncate(0o600)).expect("a pipe");
    in_namespace(|| {
        let mut daemon = start(&["--pcap", &path.display().to_string()]);
        eventually("the device is there", || {
            Path::new("/proc/net/dev").exists() && has_device()
        });
        signal(&daemon.0, Signal::SIGTERM);
        assert_eq!(
            ends(&mut daemon.0).code(),
            Some(0),
            "{}",
            stderr_of(&mut daemon.0)
        );
    });
}

fn has_device() -> bool {
    // Of this thread's namespace, which /proc/net is not.
    std::fs::read_to_string("/proc/thread-self/net/dev").is_ok_and(|text| text.contains("t0:"))
}

#[test]
fn two_signals_within_a_moment_are_one() {
    in_namespace(|| {
        let mut daemon = serve(program!(), &[]);
        let mut streams: Vec<_> = (0..50)
            .map(|_| stream::connect(SocketAddr::from((V4, port::ECHO))).expect("connected"))
            .collect();
        for stream in &mut streams {
            stream::exchange(stream, b"hello", &mut [0; 5]).expect("an echo");
        }
        daemon.signal(Signal::SIGTERM);
        daemon.signal(Signal::SIGTERM);
        daemon.signal(Signal::SIGINT);
        for stream in &mut streams {
            assert_eq!(stream.read(&mut [0; 16]).expect("a FIN, no reset"), 0);
        }
        drop(streams);
        let status = daemon.wait(PATIENCE).expect("it ends");
        assert_eq!(status.code(), Some(0), "{}", daemon.stderr());
    });
}

#[test]
fn a_file_that_may_not_grow_ends_the_capture_alone() {
    let scratch = Scratch::new("file-size");
    let log = scratch.path("log");
    let path = scratch.path("run.pcap");
    in_namespace(|| {
        let limited = Command::new("prlimit")
            .arg("--fsize=100000:100000")
            .arg("--")
            .arg(program!())
            .args(["run", "--exit-with-parent", "--control", "none"])
            .args([
                "--tun",
                "t0",
                "--addr",
                "10.77.0.2/24",
                "--pcap",
                &path.display().to_string(),
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log).expect("a log"))
            .spawn();
        let mut daemon = Running(limited.expect("prlimit of util-linux"));
        let says = || std::fs::read_to_string(&log).expect("a log");
        answers();
        // The kernel sends SIGXFSZ with each write beyond the limit.
        for _ in 0..3 {
            stream::echo(SocketAddr::from((V4, port::ECHO)), 1_000_000).expect("flows go on");
        }
        eventually("it is told at once", || {
            says().contains("the capture has ended")
        });
        signal(&daemon.0, Signal::SIGTERM);
        let (status, says) = (ends(&mut daemon.0), says());
        assert_eq!(status.code(), Some(7), "{status}: {says}");
        assert!(says.contains("is incomplete: file too large"), "{says}");
        assert!(std::fs::metadata(&path).expect("the file").len() <= 100_000);
    });
}
