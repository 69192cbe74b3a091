//! A proxy whose place another process takes: its flows go on.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::process::Command;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use tests::jobs::{self, SERVER};
use tests::transfer::{echo_counted, hashed_echo};
use tests::world::{Scratch, eventually};
use tests::{program, upstream};

use super::{PATIENCE, World, connect, outside, reverser, upstream_flags};

impl World {
    /// Lets a new process take the place of the daemon, which ends well.
    fn taken_over(&mut self, socket: &str, flags: &[&str]) {
        let flags = [flags, &["--control", socket, "--take-over", socket]].concat();
        let new = jobs::start(program!(), "proxy", &flags);
        let mut old = std::mem::replace(&mut self.daemon, new);
        let gone = jobs::next_line(&mut old);
        assert!(gone.starts_with("handed-over "), "{gone}");
        assert!(old.0.wait().expect("it ends").success());
    }

    /// Begins something in the clients' namespace.
    fn begin<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Receiver<T> {
        let (sender, result) = channel();
        let job = move || drop(thread::spawn(move || sender.send(job())));
        self.jobs.send(Box::new(job)).expect("the thread lives");
        result
    }
}

/// Exchanges a few bytes.
fn exchange(stream: &mut TcpStream, text: &[u8]) {
    stream.write_all(text).expect("sent");
    let mut echoed = vec![0; text.len()];
    stream.read_exact(&mut echoed).expect("echoed");
    assert_eq!(echoed, text);
}

#[test]
fn a_transfer_goes_on_when_other_processes_take_over() {
    let scratch = Scratch::new("proxy-taken-over");
    let socket = scratch.path("control.sock").display().to_string();
    outside(|| {
        let (server, moved) = echo_counted((SERVER[0], 0));
        let mut world = World::new(&["--control", &socket]);
        let transfer = world.begin(move || hashed_echo(server, 256 << 20));
        for _ in 0..2 {
            let begun = moved.load(Ordering::Relaxed);
            eventually("something is transferred", || {
                moved.load(Ordering::Relaxed) > begun + (32 << 20)
            });
            world.taken_over(&socket, &[]);
        }
        let ended = transfer.recv_timeout(2 * PATIENCE).expect("no panic");
        let (sent, received, bytes) = ended.expect("echoed");
        assert_eq!(sent, received, "hashes");
        assert_eq!(bytes.bytes, 256 << 20);
    });
}

#[test]
fn quiet_flows_through_an_upstream_go_on() {
    let scratch = Scratch::new("proxy-taken-over-quiet");
    let socket = scratch.path("control.sock").display().to_string();
    outside(|| {
        let (server, _) = echo_counted((SERVER[0], 0));
        let half = reverser(SERVER[1]);
        let (proxy, through) = upstream::socks5(SERVER[0].parse().expect("an address"));
        let proxy = upstream_flags("socks5", proxy);
        let flags = ["--upstream", &proxy, "--rule", "direct 2001:db8::/32"];
        let mut world = World::new(&[&flags[..], &["--control", &socket]].concat());
        let (mut quiet, mut closed) = world.inside(move || {
            let mut quiet = connect(server).expect("a connection");
            exchange(&mut quiet, b"before");
            let mut closed = connect(half).expect("a connection");
            closed.write_all(b"first, ").expect("sent");
            (quiet, closed)
        });
        world.taken_over(&socket, &flags);
        exchange(&mut quiet, b"between");
        closed.write_all(b"second").expect("sent");
        closed.shutdown(Shutdown::Write).expect("closed");
        world.taken_over(&socket, &flags);
        exchange(&mut quiet, b"after");
        let mut answer = Vec::new();
        closed.read_to_end(&mut answer).expect("the answer");
        assert_eq!(answer, b"dnoces ,tsrif");
        assert_eq!(through.connections(), 1);
        // New ones.
        assert_eq!(world.reversed(half, b"new"), b"wen");
    });
}

#[test]
fn a_failed_take_over_leaves_the_flows_as_they_were() {
    let scratch = Scratch::new("proxy-failed");
    let socket = scratch.path("control.sock").display().to_string();
    outside(|| {
        let (server, moved) = echo_counted((SERVER[0], 0));
        let world = World::new(&["--control", &socket]);
        let transfer = world.begin(move || hashed_echo(server, 96 << 20));
        let mut quiet = world.inside(move || connect(server).expect("a connection"));
        for round in 1..=3 {
            let begun = moved.load(Ordering::Relaxed);
            eventually("something is transferred", || {
                moved.load(Ordering::Relaxed) > begun + (8 << 20)
            });
            // It has everything, and then cannot add a route.
            let failed = Command::new(program!())
                .args(["proxy", "--exit-with-parent", "--tun", "t0"])
                .args(["--addr", "10.77.0.2/24", "--addr6", "fd77::2/64"])
                .args(["--set", "routes=[\"10.8.0.0/16 src 10.9.9.9\"]"])
                .args(["--control", &socket, "--take-over", &socket])
                .output()
                .expect("it runs");
            let says = String::from_utf8_lossy(&failed.stderr);
            assert_eq!(failed.status.code(), Some(2), "{says}");
            exchange(&mut quiet, format!("round {round}").as_bytes());
        }
        let ended = transfer.recv_timeout(2 * PATIENCE).expect("no panic");
        let (sent, received, _) = ended.expect("echoed");
        assert_eq!(sent, received, "hashes");
    });
}

#[test]
fn another_job_cannot_take_over() {
    let scratch = Scratch::new("proxy-not-taken-over");
    let socket = scratch.path("control.sock").display().to_string();
    outside(|| {
        let (server, _) = echo_counted((SERVER[0], 0));
        let world = World::new(&["--control", &socket]);
        let mut stream = world.inside(move || connect(server).expect("a connection"));
        let refused = Command::new(program!())
            .args(["run", "--tun", "t0", "--addr", "10.77.0.2/24"])
            .args(["--exit-with-parent", "--take-over", &socket])
            .output()
            .expect("it runs");
        let says = String::from_utf8_lossy(&refused.stderr);
        assert!(says.contains("take over with netstackd proxy"), "{says}");
        exchange(&mut stream, b"as it was");
    });
}
