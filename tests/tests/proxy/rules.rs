//! Rules: what becomes of a flow, and where they come from.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpStream, UdpSocket};
use std::process::Command;
use std::thread;
use std::time::Duration;

use netstackd::child::Daemon;
use nix::sys::signal::{Signal, kill};
use tests::program;
use tests::world::{Scratch, eventually};

use super::{PATIENCE, REFUSED, SERVER, UNSPECIFIED, World, connect, echo, outside, reverser};

#[test]
fn rules_are_read_again_and_flows_that_are_there_stay() {
    outside(|| {
        let tcp = reverser(SERVER[0]);
        let files = Scratch::new("proxy-rules");
        let rules = files.write("rules", "direct any\n");
        let world = World::new(&["--rules", &rules]);
        let stream = world.inside(move || connect(tcp).expect("a connection"));
        files.write("rules", "reject tcp any\n");
        kill(world.pid(), Signal::SIGHUP).expect("sent");
        eventually("new rules", || world.refusal(tcp) == REFUSED);
        // Wrong rules change nothing.
        files.write("rules", "reject tcp any 0x\n");
        kill(world.pid(), Signal::SIGHUP).expect("sent");
        thread::sleep(Duration::from_millis(100));
        assert_eq!(world.refusal(tcp), REFUSED);
        let answer = world.inside(move || {
            let mut stream = stream;
            stream.write_all(b"still here").expect("sent");
            stream
                .shutdown(std::net::Shutdown::Write)
                .expect("shut down");
            let mut all = Vec::new();
            stream.read_to_end(&mut all).expect("the answer");
            all
        });
        assert_eq!(answer, b"ereh llits");
    });
}

#[test]
fn a_refused_datagram_is_answered_as_by_a_closed_port() {
    outside(|| {
        let servers = SERVER.map(echo);
        let world = World::new(&["--rule", "reject udp any"]);
        for to in servers {
            let errors = world.inside(move || {
                let any = UNSPECIFIED[usize::from(to.is_ipv6())];
                let socket = UdpSocket::bind((any, 0)).expect("a socket");
                socket.connect(to).expect("connected");
                socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
                // Each datagram of the flow is answered, not only the first.
                [(); 3].map(|()| {
                    socket.send(b"?").expect("sent");
                    let received = socket.recv(&mut [0; 100]);
                    received.map_err(|error| error.kind()).err()
                })
            });
            assert_eq!(errors, [Some(ErrorKind::ConnectionRefused); 3], "{to}");
        }
    });
}

#[test]
fn a_dropped_flow_gets_no_answer() {
    outside(|| {
        let (tcp, udp) = (reverser(SERVER[0]), echo(SERVER[0]));
        let world = World::new(&["--rule", "drop any"]);
        let kind = world.inside(move || {
            let connected = TcpStream::connect_timeout(&tcp, Duration::from_millis(500));
            connected.map_err(|error| error.kind()).err()
        });
        assert_eq!(kind, Some(ErrorKind::TimedOut));
        assert!(!world.echoed(udp, Duration::from_millis(300)));
    });
}

#[test]
fn mistakes_are_named_with_advice() {
    outside(|| {
        let files = Scratch::new("proxy-mistakes");
        let rules = files.write("rules", "direct any\nallow any\n");
        let base = ["--tun", "t0", "--addr", "10.77.0.2/24"];
        for (flags, status, what, advice) in [
            (&["--rules", &rules][..], 3, "line 2", "direct, proxy"),
            (
                &["--impair", "loss=1%", "--queues", "2"],
                2,
                "--queues",
                "one queue",
            ),
            (&["--mark", "x"], 2, "--mark", "x"),
            (&["--udp-idle", "5"], 2, "--udp-idle '5'", "30s"),
            (&["--connect-timeout", "2m"], 2, "--connect-timeout", "55s"),
            (&["--max-connections", "0"], 2, "--max-connections", "0"),
        ] {
            let output = Command::new(program!())
                .arg("proxy")
                .args(base)
                .args(flags)
                .output()
                .expect("it starts");
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(status), "{flags:?}: {stderr}");
            assert!(stderr.contains(what) && stderr.contains(advice), "{stderr}");
            assert_eq!(stderr.trim().lines().count(), 1, "{stderr}");
        }
        // Without a job the daemon still is what it was.
        let daemon = Daemon::start(program!(), &base);
        assert!(daemon.is_ok());
    });
}
