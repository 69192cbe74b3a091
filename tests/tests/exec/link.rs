//! The flows of a command: what arrives, what is refused, how they end.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tests::world::{Scratch, in_namespace};

use super::{SERVER, good, outside, web};

/// Runs a Python script with the server's address as its argument. Returns what it printed.
fn client(script: &str) -> String {
    let printed = good(&[], &["python3", "-c", script, SERVER[0]]);
    printed.trim().to_owned()
}

#[test]
fn curl_fetches_a_file_over_both_families_and_a_bad_link() {
    in_namespace(|| {
        outside();
        let files = Scratch::new("exec-curl");
        let bytes = netstackd::probe::noise(7, 3_000_000);
        std::fs::write(files.path("file"), &bytes).expect("a file");
        for address in SERVER {
            let _server = web(&files, address);
            let host = if address.contains(':') {
                format!("[{address}]")
            } else {
                address.to_owned()
            };
            let url = format!("http://{host}:8000/file");
            for flags in [&[][..], &["--impair", "loss=1%,delay=5ms,reorder=1%"]] {
                let copy = files.path("copy");
                good(
                    flags,
                    &[
                        "curl",
                        "-sS",
                        "--fail",
                        "-o",
                        &copy.display().to_string(),
                        &url,
                    ],
                );
                let copied = std::fs::read(&copy).expect("the copy");
                assert_eq!(
                    Sha256::digest(&copied),
                    Sha256::digest(&bytes),
                    "{flags:?} {url}"
                );
            }
        }
    });
}

#[test]
fn a_closed_port_is_closed_and_what_is_not_there_cannot_be_reached() {
    in_namespace(|| {
        outside();
        let connect = "import socket, sys\n\
            try: socket.create_connection((sys.argv[1], int(sys.argv[2])), 20)\n\
            except OSError as e: print(type(e).__name__, e.errno)\n\
            else: print('connected')";
        for address in SERVER {
            let answer = good(&[], &["python3", "-c", connect, address, "1"]);
            assert_eq!(answer.trim(), "ConnectionRefusedError 111", "{address}");
        }
        // There is no route to these outside.
        for address in ["198.51.100.1", "2001:db8:1::1"] {
            let answer = good(&[], &["python3", "-c", connect, address, "80"]);
            assert_eq!(answer.trim(), "OSError 101", "{address}");
        }
        let _listener = TcpListener::bind((SERVER[0], 80)).expect("a port");
        for (rule, answer) in [
            ("reject tcp any 80", "ConnectionRefusedError 111"),
            ("reject any 81", "connected"),
        ] {
            let answered = good(
                &["--rule", rule],
                &["python3", "-c", connect, SERVER[0], "80"],
            );
            assert_eq!(answered.trim(), answer, "{rule}");
        }
    });
}

#[test]
fn the_delay_of_the_link_is_felt() {
    in_namespace(|| {
        outside();
        let flags = ["--impair-up", "delay=40ms", "--impair-down", "delay=30ms"];
        for address in SERVER {
            let text = good(
                &flags,
                &["ping", "-c", "2", "-i", "0.2", "-W", "20", address],
            );
            let times: Vec<f64> = text
                .lines()
                .filter_map(|line| line.split("time=").nth(1)?.split(' ').next()?.parse().ok())
                .collect();
            assert_eq!(times.len(), 2, "{text}");
            assert!(times.iter().all(|time| *time >= 70.0), "{text}");
        }
    });
}

#[test]
fn both_directions_end_on_their_own() {
    in_namespace(|| {
        outside();
        let listener = TcpListener::bind((SERVER[0], 9000)).expect("a port");
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut all = Vec::new();
            stream.read_to_end(&mut all).expect("the client's end");
            all.reverse();
            stream.write_all(&all).expect("sent");
        });
        let script = "import socket, sys\n\
            s = socket.create_connection((sys.argv[1], 9000))\n\
            s.sendall(b'0123456789' * 50000); s.shutdown(socket.SHUT_WR)\n\
            n = 0\n\
            while d := s.recv(65536): n += len(d)\n\
            print(n)";
        assert_eq!(client(script), "500000");
        server.join().expect("the server");
    });
}

#[test]
fn a_reset_outside_is_a_reset_inside() {
    in_namespace(|| {
        outside();
        let listener = TcpListener::bind((SERVER[0], 9000)).expect("a port");
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            stream.read_exact(&mut [0; 1]).expect("a byte");
            let linger = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
            linger.expect("an option");
        });
        let script = "import socket, sys\n\
            s = socket.create_connection((sys.argv[1], 9000))\n\
            s.sendall(b'x')\n\
            try: print(s.recv(1))\n\
            except ConnectionResetError: print('reset')";
        assert_eq!(client(script), "reset");
        server.join().expect("the server");
    });
}

#[test]
fn what_a_command_sends_last_arrives() {
    in_namespace(|| {
        outside();
        let listener = TcpListener::bind((SERVER[0], 9000)).expect("a port");
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut all = Vec::new();
            stream.read_to_end(&mut all).expect("everything");
            all.len()
        });
        // The command ends long before a slow link has carried what it sent.
        let script = "import socket, sys\n\
            s = socket.create_connection((sys.argv[1], 9000))\n\
            s.sendall(b'x' * 100000); s.close()";
        good(
            &["--impair", "rate=2mbit"],
            &["python3", "-c", script, SERVER[0]],
        );
        assert_eq!(server.join().expect("the server"), 100_000);
    });
}
