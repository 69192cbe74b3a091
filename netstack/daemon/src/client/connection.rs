//! The connection to a running daemon.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use clap::Args;
use serde_json::Value;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::control::path;
use crate::control::protocol::{Hello, PROTOCOL, Reply, Request};
use crate::failure::Failure;
use crate::file::reason;

/// Longest line of a daemon: a piece of data in base64, or the statistics.
const MAX_REPLY_BYTES: u64 = 1 << 20;

/// Which daemon to ask.
#[derive(Clone, Debug, Args)]
pub(crate) struct ControlArgs {
    /// Control socket of the daemon [default: that of the one daemon that runs].
    #[arg(long, value_name = "PATH", env = "NETSTACKD_CONTROL")]
    pub(crate) control: Option<PathBuf>,
}

impl ControlArgs {
    /// Returns the path of the socket.
    fn find(&self) -> Result<PathBuf, Failure> {
        if let Some(path) = &self.control {
            return Ok(path.clone());
        }
        let place = path::directory();
        let place = place.map_or(
            "no directory (XDG_RUNTIME_DIR is not set)".to_owned(),
            |place| place.display().to_string(),
        );
        let mut found = path::living();
        match (found.pop(), found.is_empty()) {
            (Some(path), true) => Ok(path),
            (None, _) => Err(Failure::Control(format!(
                "no running netstackd has a control socket in {place}: start one (netstackd run), or name its socket \
                 (--control PATH)"
            ))),
            (Some(last), false) => {
                found.push(last);
                found.sort();
                let paths: Vec<String> = found
                    .iter()
                    .map(|path| path.display().to_string())
                    .collect();
                Err(Failure::Control(format!(
                    "{} daemons are running: say which one with --control: {}",
                    paths.len(),
                    paths.join(", ")
                )))
            }
        }
    }
}

/// A connection to a daemon that speaks our protocol.
#[derive(Debug)]
pub(crate) struct Connection {
    reader: BufReader<UnixStream>,
    requests: Requests,
    pub(crate) hello: Hello,
    shown: String,
}

/// The way of requests to the daemon.
#[derive(Debug)]
pub(crate) struct Requests(UnixStream);

impl Requests {
    /// Sends a request, or a part of one.
    ///
    /// # Errors
    /// The daemon is gone.
    pub(crate) fn send(&mut self, request: &Request) -> io::Result<()> {
        let mut value = serde_json::to_value(request)?;
        if let Value::Object(fields) = &mut value {
            fields.insert("protocol".to_owned(), PROTOCOL.into());
        }
        let mut line = serde_json::to_vec(&value)?;
        line.push(b'\n');
        self.0.write_all(&line)
    }
}

impl Connection {
    /// Connects to the daemon.
    ///
    /// # Errors
    /// Returns [`Failure::Control`] if none answers, or one of another version.
    pub(crate) fn open(args: &ControlArgs) -> Result<Self, Failure> {
        let path = args.find()?;
        let shown = path.display().to_string();
        let stream = UnixStream::connect(&path).map_err(|error| {
            let advice = match error.kind() {
                io::ErrorKind::PermissionDenied => {
                    "run this as the user that netstackd runs as, or let it make the socket for others, too \
                     (--control-mode)"
                }
                _ => "check that netstackd runs, and that this is its socket",
            };
            Failure::Control(format!(
                "the control socket {shown} does not answer ({}): {advice}",
                reason(&error)
            ))
        })?;
        let writer = stream.try_clone().map_err(|error| {
            Failure::Control(format!(
                "the control socket {shown} cannot be used twice ({}): raise the limit of open files (ulimit -n)",
                reason(&error)
            ))
        })?;
        let mut reader = BufReader::new(stream);
        match read_reply(&mut reader, &shown)? {
            Reply::Hello(hello) if hello.protocol == PROTOCOL => Ok(Self {
                reader,
                requests: Requests(writer),
                hello,
                shown,
            }),
            Reply::Hello(hello) => Err(Failure::Control(format!(
                "the netstackd at {shown} speaks version {} of the protocol, and this program version {PROTOCOL}: use \
                 the program of the same version, {}",
                hello.protocol, hello.version
            ))),
            Reply::Error { message } => Err(Failure::Control(message)),
            _ => Err(strange(&shown)),
        }
    }

    /// Sends a request.
    ///
    /// # Errors
    /// The daemon is gone.
    pub(crate) fn send(&mut self, request: &Request) -> Result<(), Failure> {
        let sent = self.requests.send(request);
        sent.map_err(|error| self.gone(&error))
    }

    /// Waits for the next reply.
    ///
    /// # Errors
    /// Returns [`Failure::Refused`] for a reply that is an error, [`Failure::Control`] if the daemon is gone.
    pub(crate) fn reply(&mut self) -> Result<Reply, Failure> {
        match read_reply(&mut self.reader, &self.shown)? {
            Reply::Error { message } => Err(Failure::Refused(message)),
            reply => Ok(reply),
        }
    }

    /// Limits the time for which the daemon is waited for.
    ///
    /// # Errors
    /// The daemon is gone.
    pub(crate) fn set_timeout(&self, time: Duration) -> Result<(), Failure> {
        let set = self.socket().set_read_timeout(Some(time));
        set.map_err(|error| self.gone(&error))
    }

    /// Returns the socket. What it receives is read with [`Connection::reply`], unless that has nothing to read.
    pub(crate) fn socket(&self) -> &UnixStream {
        self.reader.get_ref()
    }

    /// Reads `count` bytes that are no reply.
    ///
    /// # Errors
    /// The daemon is gone.
    pub(crate) fn read_raw(&mut self, count: u64) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        let read = self.reader.by_ref().take(count).read_to_end(&mut bytes);
        let is_whole = |read: &usize| *read as u64 == count;
        let read = read.and_then(|read| {
            let cut = || io::ErrorKind::UnexpectedEof.into();
            is_whole(&read).then_some(()).ok_or_else(cut)
        });
        read.map(|()| bytes).map_err(|error| self.gone(&error))
    }

    fn gone(&self, error: &io::Error) -> Failure {
        Failure::Control(format!(
            "the netstackd at {} is gone ({}): check whether it still runs",
            self.shown,
            reason(error)
        ))
    }

    /// Returns a second handle for requests, for another thread.
    ///
    /// # Errors
    /// The system has no descriptor left.
    pub(crate) fn requests(&self) -> Result<Requests, Failure> {
        self.requests.0.try_clone().map(Requests).map_err(|error| {
            Failure::Control(format!(
                "the control socket cannot be used twice ({}): raise the limit of open files (ulimit -n)",
                reason(&error)
            ))
        })
    }

    /// Asks the daemon to stop at the first SIGINT or SIGTERM, so that its sums can be printed. The second one ends the
    /// program.
    ///
    /// # Errors
    /// The signals cannot be watched.
    pub(crate) fn stop_at_signal(&self) -> Result<(), Failure> {
        let mut requests = self.requests()?;
        let cannot = |e: io::Error| Failure::Stack(format!("cannot watch signals: {e}"));
        let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(cannot)?;
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                for (count, signal) in signals.forever().enumerate() {
                    if count > 0 || requests.send(&Request::Stop {}).is_err() {
                        std::process::exit(128 + signal);
                    }
                }
            })
            .map(drop)
            .map_err(cannot)
    }
}

fn read_reply(reader: &mut BufReader<UnixStream>, shown: &str) -> Result<Reply, Failure> {
    let gone = |why: &str| {
        Failure::Control(format!(
            "the netstackd at {shown} {why}: check whether it still runs"
        ))
    };
    let mut line = Vec::new();
    let read = reader
        .by_ref()
        .take(MAX_REPLY_BYTES)
        .read_until(b'\n', &mut line);
    match read {
        Ok(0) => Err(gone("has closed the connection")),
        Ok(_) => serde_json::from_slice(&line).map_err(|_| strange(shown)),
        Err(error) => Err(gone(&format!("is gone ({})", reason(&error)))),
    }
}

/// Returns the failure for a reply that belongs to no request of ours.
pub(crate) fn strange(shown: &str) -> Failure {
    Failure::Control(format!(
        "{shown} answers as no netstackd does: check that it is the control socket of one, of the same version"
    ))
}
