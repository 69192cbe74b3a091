//! Where commands come from: standard input, a Unix socket, and the signals that end a program.

use std::fs;
use std::io::{self, BufRead, BufReader, Read as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Longest command, in bytes.
const LINE_MAX: u64 = 4 << 10;
/// Most clients of the socket at a time.
const CLIENTS_MAX: usize = 16;
/// Time that a client has to take an answer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// An event that the program waits for.
#[derive(Debug)]
pub enum Event {
    /// A command, and where its answer goes.
    Command(String, Sender<String>),
    /// SIGINT or SIGTERM.
    Signal,
    /// A direction has ended by itself.
    Ended(String),
}

/// Reads commands from standard input until it ends, and prints the answers.
///
/// # Errors
/// The system has no threads left.
pub fn stdin(events: Sender<Event>) -> io::Result<()> {
    thread::Builder::new()
        .name("stdin".to_owned())
        .spawn(move || {
            let input = BufReader::new(io::stdin());
            // Its end is not the link's.
            let _ = converse(input, io::stdout(), &events);
        })
        .map(drop)
}

/// Turns SIGINT and SIGTERM into events.
///
/// # Errors
/// The system refuses.
pub fn signals(events: Sender<Event>) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for _ in &mut signals {
                if events.send(Event::Signal).is_err() {
                    return;
                }
            }
        })
        .map(drop)
}

/// A socket file that is removed at the end.
#[derive(Debug)]
pub struct Socket(PathBuf);

impl Drop for Socket {
    fn drop(&mut self) {
        // It is gone already, or somebody else's problem.
        let _ = fs::remove_file(&self.0);
    }
}

/// Takes commands at a Unix socket that only its owner may use.
///
/// # Errors
/// The socket cannot be made there.
pub fn socket(path: &Path, events: Sender<Event>) -> io::Result<Socket> {
    // What an earlier run left behind; nothing else is removed.
    if fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket())
        && UnixStream::connect(path).is_err()
    {
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    thread::Builder::new()
        .name("control".to_owned())
        .spawn(move || accept(&listener, &events))?;
    Ok(Socket(path.to_owned()))
}

fn accept(listener: &UnixListener, events: &Sender<Event>) {
    let clients = Arc::new(());
    for client in listener.incoming() {
        let Ok(client) = client else {
            // Out of descriptors: some will be free again.
            thread::sleep(Duration::from_millis(100));
            continue;
        };
        if Arc::strong_count(&clients) > CLIENTS_MAX {
            let _ = (&client).write_all(b"error: too many clients: try again later\n");
            continue;
        }
        let (place, events) = (Arc::clone(&clients), events.clone());
        let serve = move || {
            let _place = place;
            let is_set = client.set_write_timeout(Some(WRITE_TIMEOUT));
            // A client that has gone has its answers.
            let _ = is_set.and_then(|()| converse(BufReader::new(&client), &client, &events));
        };
        // Without a thread the client finds its connection closed.
        let _ = thread::Builder::new()
            .name("client".to_owned())
            .spawn(serve);
    }
}

/// Answers one command after the other.
fn converse(
    mut input: impl BufRead,
    mut output: impl io::Write,
    events: &Sender<Event>,
) -> io::Result<()> {
    let mut line = Vec::new();
    loop {
        line.clear();
        input.by_ref().take(LINE_MAX).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Ok(());
        }
        if line.len() as u64 == LINE_MAX && line.last() != Some(&b'\n') {
            writeln!(
                output,
                "error: the line is too long: write shorter commands"
            )?;
            return Ok(());
        }
        let (sender, answer) = channel();
        let command = String::from_utf8_lossy(&line).trim().to_owned();
        if events.send(Event::Command(command, sender)).is_err() {
            return Ok(());
        }
        let Ok(answer) = answer.recv() else {
            return Ok(());
        };
        if !answer.is_empty() {
            writeln!(output, "{answer}")?;
            output.flush()?;
        }
    }
}
