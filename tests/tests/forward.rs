//! `netstackd forward`: ports of the machine into the stack's network, and ports of the stack to the machine.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use nix::libc::ECONNREFUSED;
use tests::transfer::{echo_counted, hashed_echo};
use tests::world::{Running, Scratch, eventually, in_namespace, ip};
use tests::{jobs, program};

const PATIENCE: Duration = Duration::from_secs(60);

/// Starts the forwarder, with the kernel as 10.77.0.1 and the stack as 10.77.0.2.
fn forward(flags: &[&str]) -> Running {
    jobs::start(program!(), "forward", flags)
}

/// Serves one connection after the other: sends the peer's address, and what came until its end.
fn server(address: &str) -> SocketAddr {
    let listener = TcpListener::bind(address).expect("a port");
    let local = listener.local_addr().expect("bound");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a client");
            let peer = stream.peer_addr().expect("connected");
            let mut all = Vec::new();
            let _ = stream.read_to_end(&mut all);
            let _ = write!(stream, "{} ", peer.ip()).and_then(|()| stream.write_all(&all));
        }
    });
    local
}

fn ask(address: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address.parse().expect(address), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"question")?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn echo(address: &str) -> SocketAddr {
    let socket = UdpSocket::bind(address).expect("a port");
    let local = socket.local_addr().expect("bound");
    thread::spawn(move || {
        let mut buffer = [0; 65_536];
        while let Ok((len, from)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(&buffer[..len], from);
        }
    });
    local
}

fn echoed(address: &str) -> bool {
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
    socket.connect(address).expect("connected");
    socket
        .set_read_timeout(Some(Duration::from_millis(500)))
        .expect("a timeout");
    let mut buffer = [0; 100];
    // The first ones may come before the forwarder has a route.
    (0..60).any(|_| {
        let _ = socket.send(b"datagram");
        socket
            .recv(&mut buffer)
            .is_ok_and(|len| &buffer[..len] == b"datagram")
    })
}

#[test]
fn ports_are_published_into_the_network_of_the_stack() {
    in_namespace(|| {
        let _forward = forward(&[
            "--publish",
            "8080=10.77.0.1:80",
            "--publish",
            "[::1]:8080=[fd77::1]:80",
            "--publish",
            "udp:127.0.0.1:5353=10.77.0.1:53",
            "--publish",
            "8081=10.77.0.1:81",
        ]);
        server("10.77.0.1:80");
        server("[fd77::1]:80");
        echo("10.77.0.1:53");
        assert_eq!(
            ask("127.0.0.1:8080").expect("an answer"),
            "10.77.0.2 question"
        );
        assert_eq!(ask("[::1]:8080").expect("an answer"), "fd77::2 question");
        assert!(echoed("127.0.0.1:5353"));
        // Nobody listens there: what was accepted is reset.
        assert!(ask("127.0.0.1:8081").is_err());
    });
}

#[test]
fn ports_of_the_stack_are_exposed_to_the_machine() {
    in_namespace(|| {
        let _forward = forward(&[
            "--expose",
            "10.77.0.2:80=127.0.0.1:8000",
            "--expose",
            "[fd77::2]:80=127.0.0.1:8000",
            "--expose",
            "udp:10.77.0.2:53=127.0.0.1:5300",
            "--expose",
            "10.77.0.2:81=127.0.0.1:8001",
        ]);
        server("127.0.0.1:8000");
        echo("127.0.0.1:5300");
        assert_eq!(
            ask("10.77.0.2:80").expect("an answer"),
            "127.0.0.1 question"
        );
        assert_eq!(
            ask("[fd77::2]:80").expect("an answer"),
            "127.0.0.1 question"
        );
        assert!(echoed("10.77.0.2:53"));
        let refusal = ask("10.77.0.2:81").expect_err("closed");
        assert_eq!(refusal.raw_os_error(), Some(ECONNREFUSED));
    });
}

#[test]
fn a_server_inside_exec_sees_its_clients() {
    in_namespace(|| {
        ip("addr add 203.0.113.9/32 dev lo");
        let script = "import socket\n\
            s = socket.create_server(('', 80))\n\
            while True:\n    c, a = s.accept(); c.sendall(a[0].encode()); c.close()";
        // Killed at the end, and its command with it.
        let child = Command::new(program!())
            .args([
                "exec",
                "--publish",
                "203.0.113.9:8080=10.77.0.1:80,keep-client",
            ])
            .args([
                "--publish",
                "203.0.113.9:8081=10.77.0.1:80",
                "--",
                "python3",
                "-c",
                script,
            ])
            .spawn()
            .expect("it starts");
        let _inside = Running(child);
        for (port, seen) in [(8080, "203.0.113.9"), (8081, "10.77.0.2")] {
            let mut text = String::new();
            eventually("a server inside", || {
                let Ok(mut stream) = TcpStream::connect(("203.0.113.9", port)) else {
                    return false;
                };
                text.clear();
                stream.read_to_string(&mut text).is_ok() && !text.is_empty()
            });
            assert_eq!(text, seen);
        }
    });
}

#[test]
fn a_server_of_the_machine_sees_its_clients() {
    in_namespace(|| {
        ip("addr add 203.0.113.9/32 dev lo");
        let _forward = forward(&["--expose", "10.77.0.2:80=203.0.113.9:8000,keep-client"]);
        server("203.0.113.9:8000");
        let clients = Command::new("unshare")
            .args(["-n", "sleep", "100"])
            .spawn()
            .expect("unshare");
        let clients = Running(clients);
        let namespace = clients.0.id().to_string();
        let mine = std::fs::read_link("/proc/thread-self/ns/net").expect("a namespace");
        eventually("a namespace", || {
            std::fs::read_link(format!("/proc/{namespace}/ns/net"))
                .is_ok_and(|theirs| theirs != mine)
        });
        ip(&format!("link set t0 netns {namespace}"));
        // What the server answers to the client's address comes to the forwarder's socket.
        ip("route add local 10.77.0.1/32 dev lo");
        let script = "ip link set t0 up; ip addr add 10.77.0.1/24 dev t0\n\
            exec python3 -c \"import socket\ns = socket.create_connection(('10.77.0.2', 80), 60)\n\
            s.sendall(b'question'); s.shutdown(1)\nprint(s.makefile().read())\"";
        let output = Command::new("nsenter")
            .args(["-t", &namespace, "-n", "sh", "-c", script])
            .output()
            .expect("nsenter");
        let stderr = String::from_utf8_lossy(&output.stderr);
        let answer = String::from_utf8_lossy(&output.stdout);
        assert!(answer.starts_with("10.77.0.1"), "{answer} {stderr}");
    });
}

#[test]
fn mistakes_are_named_with_advice() {
    in_namespace(|| {
        let _taken = TcpListener::bind("127.0.0.1:9000").expect("a port");
        for (flags, status, what, advice) in [
            (&[][..], 2, "no port", "--publish"),
            (&["--publish", "80"], 2, "--publish '80'", "PORT=ADDR:PORT"),
            (
                &["--expose", "80=127.0.0.1:80"],
                2,
                "--expose",
                "ADDR:PORT=ADDR:PORT",
            ),
            (
                &["--publish", "9000=10.77.0.1:80"],
                6,
                "127.0.0.1:9000",
                "another port",
            ),
            (
                &["--publish", "192.0.2.1:9000=10.77.0.1:80"],
                2,
                "192.0.2.1:9000",
                "that is there",
            ),
            (
                &["--expose", "10.77.0.3:80=127.0.0.1:80"],
                2,
                "10.77.0.3:80",
                "that is there",
            ),
        ] {
            let output = Command::new("timeout")
                .arg("30")
                .arg(program!())
                .args(["forward", "--tun", "t0", "--addr", "10.77.0.2/24"])
                .args(flags)
                .output()
                .expect("it starts");
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(status), "{flags:?}: {stderr}");
            assert!(stderr.contains(what) && stderr.contains(advice), "{stderr}");
            assert_eq!(stderr.trim().lines().count(), 1, "{stderr}");
        }
    });
}

/// Lets a new forwarder take the place of `old`, which ends well.
fn taken_over(mut old: Running, socket: &str, flags: &[&str]) -> Running {
    let flags = [flags, &["--control", socket, "--take-over", socket]].concat();
    let new = forward(&flags);
    let gone = jobs::next_line(&mut old);
    assert!(gone.starts_with("handed-over "), "{gone}");
    assert!(old.0.wait().expect("it ends").success());
    new
}

#[test]
fn transfers_go_on_when_other_processes_take_over() {
    let scratch = Scratch::new("forward-taken-over");
    let socket = scratch.path("control.sock").display().to_string();
    in_namespace(|| {
        let (inside, moved_in) = echo_counted("0.0.0.0:8001");
        let (outside, moved_out) = echo_counted("127.0.0.1:8002");
        let datagrams = echo("0.0.0.0:0");
        let publish = format!("8080=10.77.0.1:{}", inside.port());
        let expose = format!("10.77.0.2:80={outside}");
        let udp = format!("udp:8081=10.77.0.1:{}", datagrams.port());
        let flags = [
            "--publish",
            &publish,
            "--publish",
            &udp,
            "--expose",
            &expose,
        ];
        let mut daemon = forward(&[&flags[..], &["--control", &socket]].concat());
        assert!(echoed("127.0.0.1:8081"));
        thread::scope(|scope| {
            let targets = ["127.0.0.1:8080", "10.77.0.2:80"];
            let transfers = targets.map(|target| {
                let target = target.parse().expect("an address");
                scope.spawn(move || hashed_echo(target, 256 << 20))
            });
            let all = || [&moved_in, &moved_out].map(|moved| moved.load(Ordering::Relaxed));
            for _ in 0..2 {
                let begun = all();
                eventually("something is transferred", || {
                    let now = all();
                    now.iter()
                        .zip(begun)
                        .all(|(now, begun)| *now > begun + (32 << 20))
                });
                daemon = taken_over(daemon, &socket, &flags);
                assert!(echoed("127.0.0.1:8081"), "the ports are open");
            }
            for transfer in transfers {
                let (sent, received, _) = transfer.join().expect("no panic").expect("echoed");
                assert_eq!(sent, received, "hashes");
            }
            drop(daemon);
        });
    });
}

#[test]
fn a_client_whose_server_has_not_answered_is_connected_by_the_next_process() {
    let scratch = Scratch::new("forward-waiting");
    let socket = scratch.path("control.sock").display().to_string();
    in_namespace(|| {
        // Nobody has that address yet.
        let flags = ["--publish", "8080=10.77.0.9:8001"];
        let daemon = forward(&[&flags[..], &["--control", &socket]].concat());
        let mut stream = TcpStream::connect("127.0.0.1:8080").expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.write_all(b"early").expect("sent");
        let daemon = taken_over(daemon, &socket, &flags);
        // It listens before it has the address: a SYN that came in between would be refused.
        let (_server, _) = echo_counted("0.0.0.0:8001");
        ip("addr add 10.77.0.9/32 dev lo");
        let mut echoed = [0; 5];
        stream.read_exact(&mut echoed).expect("echoed");
        assert_eq!(&echoed, b"early");
        drop(daemon);
    });
}
