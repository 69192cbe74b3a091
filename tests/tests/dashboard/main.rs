//! The dashboard: its data against what the commands say, who is refused, and the pages in Chromium.

mod bounds;
mod data;
mod pages;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use netstackd::child::Daemon;
use serde_json::Value;
use tests::program;
use tests::world::{Scratch, V4, port, serve};

/// Where the daemon serves on the host.
const ADMIN: &str = "127.0.0.1:9100";

/// A daemon with a dashboard, and its control socket.
struct World {
    daemon: Daemon,
    scratch: Scratch,
}

fn world(name: &str, flags: &[&str]) -> World {
    let scratch = Scratch::new(&format!("dashboard-{name}"));
    let control = scratch.path("control.sock").display().to_string();
    let flags = [&["--control", &control, "--admin", ADMIN], flags].concat();
    World {
        daemon: serve(program!(), &flags),
        scratch,
    }
}

impl World {
    /// Returns what a command of the daemon's prints.
    #[track_caller]
    fn text(&self, words: &str) -> String {
        let output = Command::new(program!())
            .args(words.split_whitespace())
            .env("NETSTACKD_CONTROL", self.scratch.path("control.sock"))
            .stdin(Stdio::null())
            .output()
            .expect("the program runs");
        assert!(output.status.success(), "{words}: {output:?}");
        String::from_utf8(output.stdout).expect("text")
    }
}

/// Sends a request, and returns the connection.
fn send(address: &str, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("the server listens");
    let patience = Some(Duration::from_secs(60));
    stream.set_read_timeout(patience).expect("a timeout");
    stream.write_all(request.as_bytes()).expect("written");
    stream
}

/// Returns the answer to a request, header and all.
fn ask(address: &str, request: &str) -> String {
    let mut answer = String::new();
    let mut stream = send(address, request);
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

fn request(path: &str, host: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n")
}

fn get(path: &str) -> String {
    ask(ADMIN, &request(path, ADMIN))
}

/// Returns what the API says.
#[track_caller]
fn json(path: &str) -> Value {
    let answer = get(path);
    let (head, body) = answer.split_once("\r\n\r\n").expect("a header");
    assert!(head.starts_with("HTTP/1.1 200"), "{path}: {answer}");
    assert!(head.contains("content-type: application/json"), "{head}");
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{path}: {error}: {body}"))
}

/// Opens a connection to the echo service, over which something went.
fn echo() -> TcpStream {
    let mut stream = TcpStream::connect((V4, port::ECHO)).expect("an echo service");
    stream.write_all(b"hello").expect("written");
    stream.read_exact(&mut [0; 5]).expect("echoed");
    stream
}

/// Returns the path of a connection's stream.
fn flow_of(stream: &TcpStream) -> String {
    let peer: SocketAddr = stream.local_addr().expect("bound");
    format!("/api/flow?local={V4}:{}&peer={peer}", port::ECHO)
}
