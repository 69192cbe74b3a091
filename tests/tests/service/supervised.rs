//! The messages that a supervisor hears.

use std::io::Read as _;
use std::net::SocketAddr;
use std::time::Duration;

use netstackd::child::Daemon;
use netstackd::probe::stream;
use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use rustix::time::{ClockId, clock_gettime};
use tests::program;
use tests::supervisor::Supervisor;
use tests::world::{Scratch, V4, in_namespace, port};

use super::{NET, serves, threads};

/// Time after which a supervisor ends a silent daemon, in microseconds.
const WATCHDOG_MICROS: &str = "300000";

fn monotonic_micros() -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec * 1_000_000 + now.tv_nsec / 1_000
}

#[test]
fn a_supervisor_hears_of_the_start_of_reloads_and_of_the_end() {
    let scratch = Scratch::new("supervised");
    let path = scratch.write("net.toml", "tun = \"t0\"\naddr = \"10.77.0.2/24\"\n");
    in_namespace(|| {
        let supervisor = Supervisor::new(&scratch);
        let mut command = supervisor.command(program!());
        command
            .args([
                "run",
                "--exit-with-parent",
                "--control=none",
                "--config",
                &path,
            ])
            .env("WATCHDOG_USEC", WATCHDOG_MICROS);
        let mut daemon = Daemon::launch(&mut command).expect("it serves");
        assert_eq!(
            supervisor.next(),
            ["READY=1", "STATUS=serving 10.77.0.2/24 on t0"]
        );
        serves();
        // As long as the workers work.
        for _ in 0..3 {
            supervisor.keepalive();
        }

        for (line, status) in [
            (
                "grace = \"20s\"",
                "(reloaded changed=grace restart-for=none)",
            ),
            ("grace = 20", "(not-reloaded "),
        ] {
            let text = format!("tun = \"t0\"\naddr = \"10.77.0.2/24\"\n{line}\n");
            std::fs::write(&path, text).expect("written");
            let before = monotonic_micros();
            daemon.signal(Signal::SIGHUP);
            let message = supervisor.next();
            let [reloading, time] = &message[..] else {
                panic!("{message:?}");
            };
            assert_eq!(reloading, "RELOADING=1");
            let time = time.strip_prefix("MONOTONIC_USEC=").expect("a time");
            let time: i64 = time.parse().expect("a number");
            assert!((before..=monotonic_micros()).contains(&time), "{time}");
            let message = supervisor.next();
            assert_eq!(message[0], "READY=1");
            assert!(
                message[1].starts_with("STATUS=serving ") && message[1].contains(status),
                "{message:?}"
            );
        }

        // The connections that there are end in peace, while the supervisor knows.
        let mut open = stream::connect(SocketAddr::from((V4, port::ECHO))).expect("connected");
        stream::exchange(&mut open, b"hello", &mut [0; 5]).expect("an echo");
        daemon.signal(Signal::SIGTERM);
        assert_eq!(
            supervisor.next(),
            [
                "STOPPING=1",
                "STATUS=closing 1 connections",
                "EXTEND_TIMEOUT_USEC=25000000"
            ]
        );
        assert_eq!(open.read(&mut [0; 8]).expect("a FIN, no reset"), 0);
        drop(open);
        let status = daemon.wait(Duration::from_secs(60)).expect("it ends");
        assert_eq!(status.code(), Some(0), "{}", daemon.stderr());
    });
}

#[test]
fn a_worker_that_hangs_ends_the_keepalives() {
    let scratch = Scratch::new("hanging");
    in_namespace(|| {
        let supervisor = Supervisor::new(&scratch);
        let mut command = supervisor.command(program!());
        command
            .args(["run", "--exit-with-parent", "--control=none", "--queues=2"])
            .args(NET)
            .env("WATCHDOG_USEC", WATCHDOG_MICROS);
        let daemon = Daemon::launch(&mut command).expect("it serves");
        assert_eq!(supervisor.next()[0], "READY=1");
        supervisor.keepalive();
        let threads = threads(&daemon);
        let worker = threads.iter().find(|thread| thread["Name"] == "netstack-1");
        let worker = worker.unwrap_or_else(|| panic!("no worker: {threads:?}"));
        let worker = Pid::from_raw(worker["Pid"].parse().expect("a number"));

        // A debugger holds one of two workers; the rest of the program goes on.
        ptrace::seize(worker, ptrace::Options::empty()).expect("it may be held");
        ptrace::interrupt(worker).expect("it is held");
        waitpid(worker, Some(WaitPidFlag::__WALL)).expect("it stands still");
        // What was on its way arrives, and then nothing, for more than the watchdog's time.
        let silence = Duration::from_secs(1);
        let late = std::iter::from_fn(|| supervisor.within(silence))
            .take(10)
            .count();
        assert!(late < 10, "keepalives go on without a worker");

        ptrace::detach(worker, None).expect("it is let go");
        supervisor.keepalive();
        serves();
    });
}

#[test]
fn a_supervisor_follows_the_daemon_to_the_process_that_takes_over() {
    let scratch = Scratch::new("supervised-take-over");
    let socket = scratch.path("control.sock").display().to_string();
    in_namespace(|| {
        let supervisor = Supervisor::new(&scratch);
        let launch = |more: &[&str]| {
            let mut command = supervisor.command(program!());
            command.args(["run", "--exit-with-parent", "--control", &socket]);
            command.args(["--tun", "t0", "--addr", "10.77.0.2/24"]);
            command.args(more).env("WATCHDOG_USEC", WATCHDOG_MICROS);
            Daemon::launch(&mut command).expect("it serves")
        };
        let serving = ["READY=1", "STATUS=serving 10.77.0.2/24 on t0"];
        let mut daemon = launch(&[]);
        assert_eq!(supervisor.next(), serving);
        assert_eq!(supervisor.main(), daemon.pid());
        for _ in 0..2 {
            let mut next = launch(&["--take-over", &socket]);
            let successor = format!("MAINPID={}", next.pid());
            assert_eq!(supervisor.next(), [successor.as_str()]);
            let status = daemon.wait(Duration::from_secs(60)).expect("it ends");
            assert!(status.success(), "{status}: {}", daemon.stderr());
            // Nothing of it came before the supervisor listened.
            assert_eq!(supervisor.next(), serving);
            assert_eq!(supervisor.main(), next.pid());
            supervisor.keepalive();
            serves();
            std::mem::swap(&mut daemon, &mut next);
        }
        let status = daemon.terminate().expect("it ends");
        assert!(status.success(), "{status}: {}", daemon.stderr());
        assert_eq!(supervisor.next()[0], "STOPPING=1");
    });
}
