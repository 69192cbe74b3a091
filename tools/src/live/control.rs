//! The control socket of a `netstackd`, as docs/CONTROL.md describes it: one JSON object a line, both ways.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::eventually;

/// The version of the protocol.
const PROTOCOL: u64 = 1;

/// Longest line of a daemon.
const MAX_LINE_BYTES: usize = 1 << 20;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes of a stream that one line carries.
const PIECE_BYTES: usize = 32 << 10;

/// Most bytes that wait to be sent to the daemon.
const MAX_WAITING_BYTES: usize = 256 << 10;

/// A client of a daemon. It never blocks unless it says so.
#[derive(Debug)]
struct Client {
    stream: UnixStream,
    received: Vec<u8>,
    sending: VecDeque<u8>,
    shown: String,
}

impl Client {
    /// Connects, and reads who answers.
    fn open(path: &Path) -> Result<Self, String> {
        let shown = path.display().to_string();
        let opened = UnixStream::connect(path).and_then(|stream| {
            stream.set_nonblocking(true)?;
            Ok(stream)
        });
        let stream = opened.map_err(|error| {
            format!(
                "the control socket {shown} does not answer ({error}): check that netstackd runs, and that this is \
                 its socket"
            )
        })?;
        let mut client = Self {
            stream,
            received: Vec::new(),
            sending: VecDeque::new(),
            shown,
        };
        let hello = client.wait()?;
        if hello["reply"] != "hello" || hello["protocol"] != PROTOCOL {
            return Err(format!(
                "{} speaks another protocol than version {PROTOCOL}: use a netstackd of the same version",
                client.shown
            ));
        }
        Ok(client)
    }

    fn gone(&self, why: impl std::fmt::Display) -> String {
        format!("the netstackd at {} is gone ({why})", self.shown)
    }

    /// Queues a line, and sends what can be sent.
    fn send(&mut self, mut request: Value, begins: bool) -> Result<(), String> {
        if begins {
            request["protocol"] = PROTOCOL.into();
        }
        self.sending.extend(request.to_string().into_bytes());
        self.sending.push_back(b'\n');
        self.flush()
    }

    fn flush(&mut self) -> Result<(), String> {
        while !self.sending.is_empty() {
            match self.stream.write(self.sending.as_slices().0) {
                Ok(count) => drop(self.sending.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(self.gone(error)),
            }
        }
        Ok(())
    }

    /// Returns the next line, if it has come.
    fn next(&mut self) -> Result<Option<Value>, String> {
        self.flush()?;
        let mut piece = [0; 16 << 10];
        loop {
            if let Some(end) = self.received.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.received.drain(..=end).collect();
                let value = serde_json::from_slice(&line);
                return value
                    .map(Some)
                    .map_err(|_| format!("{} answers as no netstackd does", self.shown));
            }
            if self.received.len() > MAX_LINE_BYTES {
                return Err(format!("{} answers as no netstackd does", self.shown));
            }
            match self.stream.read(&mut piece) {
                Ok(0) => return Err(self.gone("it has closed the connection")),
                Ok(count) => self
                    .received
                    .extend_from_slice(piece.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.gone(error)),
            }
        }
    }

    /// Waits for the next line.
    fn wait(&mut self) -> Result<Value, String> {
        let answer = eventually(PATIENCE, || self.next().transpose());
        answer.unwrap_or_else(|| Err(format!("{} does not answer", self.shown)))
    }
}

/// A connection to ask for sockets.
#[derive(Debug)]
pub struct Sockets(Client);

impl Sockets {
    /// Connects to a daemon.
    ///
    /// # Errors
    /// None answers.
    pub fn open(path: &Path) -> Result<Self, String> {
        Client::open(path).map(Self)
    }

    /// Returns the rows of sockets in these states, named as `ss` names them, and with this local end.
    ///
    /// # Errors
    /// The daemon is gone.
    pub fn list(
        &mut self,
        states: &[&str],
        local: Option<SocketAddr>,
    ) -> Result<Vec<Value>, String> {
        let local: Vec<Value> = local
            .iter()
            .map(|local| json!({ "prefix": prefix(*local), "port": local.port() }))
            .collect();
        self.0.send(
            json!({ "request": "ss", "netids": ["tcp"], "states": states, "local": local }),
            true,
        )?;
        let mut rows = Vec::new();
        loop {
            let reply = self.0.wait()?;
            match reply["reply"].as_str() {
                Some("socket") => rows.push(reply),
                Some("end") => return Ok(rows),
                _ => return Err(format!("{}: {}", self.0.shown, reply["message"])),
            }
        }
    }

    /// Waits until a socket listens at this address.
    ///
    /// # Errors
    /// None does, for seconds.
    pub fn await_listener(&mut self, local: SocketAddr) -> Result<(), String> {
        let found = eventually(PATIENCE, || match self.list(&["listening"], Some(local)) {
            Ok(rows) => (!rows.is_empty()).then_some(Ok(())),
            Err(why) => Some(Err(why)),
        });
        found.unwrap_or_else(|| Err(format!("nothing listens at {local}")))
    }
}

fn prefix(address: SocketAddr) -> String {
    let bits = if address.is_ipv4() { 32 } else { 128 };
    format!("{}/{bits}", address.ip())
}

/// News of a socket that a daemon carries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum News {
    /// It is connected.
    Connected {
        /// The daemon's end.
        local: SocketAddr,
        /// The peer's end.
        remote: Option<SocketAddr>,
    },
    /// Bytes of a stream, or a datagram.
    Data(Vec<u8>),
    /// The peer has closed its half.
    Eof,
    /// The options of [`Nc::set_options`] are in force.
    OptionsSet,
    /// The socket is closed.
    Ended,
    /// It has failed, with the daemon's sentence.
    Failed(String),
}

/// Options of a socket, by the keys of docs/CONTROL.md. What is left out stays as it is.
#[derive(Clone, Debug, Default)]
pub struct SocketOptions(Map<String, Value>);

impl SocketOptions {
    /// Adds an option, or changes its value.
    pub fn set(&mut self, key: &str, value: Value) {
        self.0.insert(key.to_owned(), value);
    }
}

/// A socket of the daemon's stack, which its request `nc` carries. The daemon reads what arrives at once.
#[derive(Debug)]
pub struct Nc {
    client: Client,
    /// Messages that came while an answer was awaited.
    early: VecDeque<News>,
    is_over: bool,
}

impl Nc {
    fn begin(path: &Path, request: Value) -> Result<Self, String> {
        let mut client = Client::open(path)?;
        client.send(request, true)?;
        Ok(Self {
            client,
            early: VecDeque::new(),
            is_over: false,
        })
    }

    /// Waits for the first connection to `local`. Only [`Sockets::await_listener`] says when it listens.
    ///
    /// # Errors
    /// The daemon does not answer.
    pub fn listen(path: &Path, local: SocketAddr, options: &SocketOptions) -> Result<Self, String> {
        Self::begin(
            path,
            json!({ "request": "nc", "listen": true, "local": local, "options": options.0 }),
        )
    }

    /// Connects to `remote`.
    ///
    /// # Errors
    /// The daemon does not answer.
    pub fn connect(
        path: &Path,
        local: Option<SocketAddr>,
        remote: SocketAddr,
        options: &SocketOptions,
    ) -> Result<Self, String> {
        Self::begin(
            path,
            json!({ "request": "nc", "remote": remote, "local": local, "options": options.0 }),
        )
    }

    /// Binds a socket for datagrams and connects it to `remote`, or to the first that sends to it, and waits until it is
    /// bound. Returns its local end, too.
    ///
    /// # Errors
    /// The daemon does not answer, or cannot bind it.
    pub fn datagrams(
        path: &Path,
        local: Option<SocketAddr>,
        remote: Option<SocketAddr>,
        options: &SocketOptions,
    ) -> Result<(Self, SocketAddr), String> {
        let listens = remote.is_none();
        let mut nc = Self::begin(
            path,
            json!({
                "request": "nc", "udp": true, "listen": listens, "remote": remote, "local": local, "options": options.0,
            }),
        )?;
        match eventually(PATIENCE, || nc.news()) {
            Some(News::Connected { local, .. }) => Ok((nc, local)),
            Some(News::Failed(why)) => Err(format!("a UDP socket: {why}")),
            _ => Err("a UDP socket is not there in time".to_owned()),
        }
    }

    /// Returns what has happened, one thing after the other. After the end nothing more happens.
    pub fn news(&mut self) -> Option<News> {
        self.early.pop_front().or_else(|| self.next())
    }

    fn next(&mut self) -> Option<News> {
        if self.is_over {
            return None;
        }
        let reply = match self.client.next() {
            Ok(reply) => reply?,
            Err(why) => {
                self.is_over = true;
                return Some(News::Failed(why));
            }
        };
        let address = |name: &str| reply[name].as_str().and_then(|text| text.parse().ok());
        let news = match reply["reply"].as_str() {
            Some("connected") => News::Connected {
                local: address("local")?,
                remote: address("remote"),
            },
            Some("data") => {
                let text = reply["data"].as_str().unwrap_or_default();
                News::Data(STANDARD.decode(text).unwrap_or_default())
            }
            Some("eof") => News::Eof,
            Some("options") => News::OptionsSet,
            Some("end") => News::Ended,
            _ => {
                let why = reply["message"].as_str();
                News::Failed(why.unwrap_or("an answer of another protocol").to_owned())
            }
        };
        self.is_over = matches!(news, News::Ended | News::Failed(_));
        Some(news)
    }

    /// Writes, and returns how many bytes were taken: none if many wait already, or the socket is closed.
    pub fn write(&mut self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        for piece in bytes.chunks(PIECE_BYTES) {
            let is_full = self.client.sending.len() >= MAX_WAITING_BYTES;
            if is_full || self.is_over || self.send_data(piece).is_err() {
                break;
            }
            taken += piece.len();
        }
        taken
    }

    /// Sends a datagram.
    ///
    /// # Errors
    /// The daemon is gone.
    pub fn send_data(&mut self, bytes: &[u8]) -> Result<(), String> {
        let request = json!({ "request": "data", "data": STANDARD.encode(bytes) });
        self.client.send(request, false)
    }

    /// Sets options, and waits until they are in force.
    ///
    /// # Errors
    /// The daemon refuses them, which ends the socket, or does not answer.
    pub fn set_options(&mut self, options: &SocketOptions) -> Result<(), String> {
        let mut request = Value::Object(options.0.clone());
        request["request"] = "options".into();
        self.client.send(request, false)?;
        let answer = eventually(PATIENCE, || {
            while let Some(news) = self.next() {
                match news {
                    News::OptionsSet => return Some(Ok(())),
                    News::Failed(ref why) => {
                        let why = why.clone();
                        self.early.push_back(news);
                        return Some(Err(why));
                    }
                    _ => self.early.push_back(news),
                }
            }
            self.is_over.then(|| Err("the socket is closed".to_owned()))
        });
        answer.unwrap_or_else(|| Err("the options of a socket are not set in time".to_owned()))
    }

    /// Ends the bytes to the peer.
    ///
    /// # Errors
    /// The daemon is gone.
    pub fn end(&mut self) -> Result<(), String> {
        self.client.send(json!({ "request": "eof" }), false)
    }

    /// Closes the socket, behind all that was written.
    ///
    /// # Errors
    /// The daemon is gone.
    pub fn close(&mut self) -> Result<(), String> {
        self.client.send(json!({ "request": "stop" }), false)
    }

    /// Closes the socket and waits until that is done.
    ///
    /// # Errors
    /// The daemon is gone, or does not do it in time.
    pub fn close_now(&mut self) -> Result<(), String> {
        self.close()?;
        let closed = eventually(PATIENCE, || match self.news() {
            Some(News::Ended | News::Failed(_)) => Some(()),
            _ => self.is_over.then_some(()),
        });
        closed.ok_or_else(|| "a socket of the daemon does not close in time".to_owned())
    }
}
