//! Clients that are hostile, may not do what they ask, or find no daemon.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use netstackd::probe::stream;
use tests::program;
use tests::world::{
    Scratch, V4, copy_program, eventually, in_namespace, in_namespace_with_mounts, port,
    require_root,
};

use super::{World, line_of, world};

/// The id of a user without privileges.
const NOBODY: u32 = 65_534;

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

#[test]
fn one_running_daemon_is_found_and_of_two_one_must_be_named() {
    in_namespace_with_mounts(|| {
        // A directory of sockets of this test's own.
        mount_run();
        let ask = || {
            Command::new(program!())
                .args(["stats", "now.workers"])
                .output()
                .expect("it runs")
        };
        let says =
            |output: &std::process::Output| String::from_utf8_lossy(&output.stderr).into_owned();
        let none = ask();
        assert_eq!(none.status.code(), Some(9));
        assert!(
            says(&none).contains("no running netstackd has a control socket in /run/netstackd"),
            "{}",
            says(&none)
        );
        let start = |tun: &str, addr: &str| {
            let words = [
                "--control=default".to_owned(),
                format!("--tun={tun}"),
                format!("--addr={addr}/24"),
            ];
            netstackd::child::Daemon::start(program!(), &words).expect("it starts")
        };
        let mut first = start("t0", "10.77.0.2");
        assert!(ask().status.success(), "{}", says(&ask()));
        let second = start("t1", "10.78.0.2");
        let two = ask();
        assert_eq!(two.status.code(), Some(9));
        assert!(
            says(&two).contains("2 daemons are running")
                && says(&two).contains("/run/netstackd/t1-"),
            "{}",
            says(&two)
        );
        first.terminate().expect("it ends");
        assert!(ask().status.success());
        // One that was killed leaves its socket behind, which is no daemon.
        drop(second);
        assert_eq!(ask().status.code(), Some(9));
    });
}

fn mount_run() {
    let kind = Some("tmpfs");
    nix::mount::mount(
        kind,
        "/run",
        kind,
        nix::mount::MsFlags::empty(),
        None::<&str>,
    )
    .expect("a tmpfs on /run");
}
