//! The control socket of a running daemon, and the commands that use it.

mod addresses;
mod capture;
mod clients;
mod look;

use std::io::BufReader;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use netstackd::child::Daemon;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::program;
use tests::world::{Running, Scratch, serve};

/// The kernel's address on the device.
const HOST: &str = "10.77.0.1";

/// A daemon with a control socket in a directory of its own.
struct World {
    daemon: Daemon,
    socket: PathBuf,
    _scratch: Scratch,
}

fn world(name: &str, flags: &[&str]) -> World {
    let scratch = Scratch::new(name);
    let socket = scratch.path("control.sock");
    let path = socket.display().to_string();
    let flags = [&["--control", &path], flags].concat();
    World {
        daemon: serve(program!(), &flags),
        socket,
        _scratch: scratch,
    }
}

impl World {
    fn command(&self, words: &str) -> Command {
        let mut command = Command::new(program!());
        command
            .args(words.split_whitespace())
            .env("NETSTACKD_CONTROL", &self.socket);
        command
    }

    fn run(&self, words: &str) -> Output {
        self.command(words)
            .stdin(Stdio::null())
            .output()
            .expect("the program runs")
    }

    /// Runs a command that must succeed, and returns what it prints.
    #[track_caller]
    fn text(&self, words: &str) -> String {
        let output = self.run(words);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{words}: {stderr}");
        String::from_utf8(output.stdout).expect("text")
    }

    fn spawn(&self, words: &str) -> Running {
        let child = self
            .command(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        Running(child.expect("the program runs"))
    }

    /// Opens a connection of our own, past the greeting.
    fn raw(&self) -> (UnixStream, BufReader<UnixStream>) {
        let stream = UnixStream::connect(&self.socket).expect("the daemon listens");
        stream
            .set_read_timeout(Some(Duration::from_secs(90)))
            .expect("a timeout");
        let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
        let hello = line_of(&mut reader);
        assert!(hello.contains(r#""reply":"hello","protocol":1"#), "{hello}");
        (stream, reader)
    }
}

fn line_of(reader: &mut impl std::io::BufRead) -> String {
    let mut line = String::new();
    reader.read_line(&mut line).expect("a line");
    line
}

fn interrupt(child: &Child) {
    let pid = i32::try_from(child.id()).expect("a process id");
    kill(Pid::from_raw(pid), Signal::SIGINT).expect("it runs");
}

/// Returns the columns of each line.
fn rows(text: &str) -> Vec<Vec<String>> {
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect();
    text.lines().map(words).collect()
}
