//! One client's connection: lines of bounded length in, replies out.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Interest};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

use super::protocol::{MAX_LINE_BYTES, PROTOCOL, Reply, Request};
use crate::descriptors;

/// Bytes of replies after which they are sent.
const FLUSH_BYTES: usize = 32 << 10;

/// Bytes that a client has [`ANSWER_TIME`] to read.
const RAW_BYTES: usize = 1 << 20;

/// Time that a client has to read an answer.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// The lines that a client sends.
#[derive(Debug)]
pub(crate) struct Lines {
    reader: BufReader<OwnedReadHalf>,
    line: Vec<u8>,
}

/// A message of a client.
#[derive(Debug)]
pub(crate) enum Line {
    Request(Request),
    /// A line that is no request: the sentence that says why.
    Wrong(String),
}

/// The replies to a client.
#[derive(Debug)]
pub(crate) struct Replies {
    writer: OwnedWriteHalf,
    waiting: Vec<u8>,
}

/// Splits a connection.
pub(super) fn split(stream: UnixStream) -> (Lines, Replies) {
    let (reader, writer) = stream.into_split();
    let lines = Lines {
        reader: BufReader::new(reader),
        line: Vec::new(),
    };
    let replies = Replies {
        writer,
        waiting: Vec::new(),
    };
    (lines, replies)
}

impl Lines {
    /// Returns the next line; `None` at the end. Cancel-safe: a cancelled call keeps what it has read.
    ///
    /// # Errors
    /// The connection failed, or a line is longer than [`MAX_LINE_BYTES`].
    pub(crate) async fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            let available = self.reader.fill_buf().await?;
            if available.is_empty() {
                return Ok(None);
            }
            let end = available.iter().position(|&byte| byte == b'\n');
            let piece = available.get(..end.unwrap_or(available.len()));
            self.line.extend_from_slice(piece.unwrap_or_default());
            let used = end.map_or(available.len(), |end| end + 1);
            self.reader.consume(used);
            if self.line.len() > MAX_LINE_BYTES {
                return Err(io::Error::other(format!(
                    "a request is longer than {MAX_LINE_BYTES} bytes: send shorter lines"
                )));
            }
            if end.is_some() {
                let line = parse(&self.line);
                self.line.clear();
                return Ok(Some(line));
            }
        }
    }
}

fn parse(line: &[u8]) -> Line {
    match parse_request(line) {
        Ok(request) => Line::Request(request),
        Err(why) => Line::Wrong(why),
    }
}

fn parse_request(line: &[u8]) -> Result<Request, String> {
    let mut value: serde_json::Value = serde_json::from_slice(line)
        .map_err(|error| format!("the request is not JSON ({error}): send one object a line"))?;
    let fields = value
        .as_object_mut()
        .ok_or("the request is not a JSON object: send {\"protocol\":1,\"request\":\"stats\"}")?;
    let version = fields.remove("protocol");
    let request: Request = serde_json::from_value(value).map_err(|error| {
        format!("the request cannot be understood: {error}: see docs/CONTROL.md")
    })?;
    let is_part = matches!(
        request,
        Request::Data { .. }
            | Request::Eof {}
            | Request::Options(_)
            | Request::Stop {}
            | Request::Descriptors {}
            | Request::Ready {}
            | Request::Taken { .. }
    );
    match version.map(|version| version.as_u64()) {
        Some(Some(PROTOCOL)) => Ok(request),
        None if is_part => Ok(request),
        None => Err(format!(
            "the request names no version: add \"protocol\":{PROTOCOL}"
        )),
        Some(_) => Err(format!(
            "the request is for another version of the protocol: this daemon speaks {PROTOCOL}"
        )),
    }
}

impl Replies {
    /// Adds a reply, and sends them when there are many.
    ///
    /// # Errors
    /// The connection failed, or the client did not read in time.
    pub(super) async fn add(&mut self, reply: &Reply) -> io::Result<()> {
        serde_json::to_writer(&mut self.waiting, reply)?;
        self.waiting.push(b'\n');
        if self.waiting.len() >= FLUSH_BYTES {
            return self.flush().await;
        }
        Ok(())
    }

    /// Adds a reply and sends all.
    ///
    /// # Errors
    /// As [`Replies::add`].
    pub(crate) async fn send(&mut self, reply: &Reply) -> io::Result<()> {
        self.add(reply).await?;
        self.flush().await
    }

    /// Sends a reply however long the client takes to read it: only its own request waits.
    ///
    /// # Errors
    /// The connection failed.
    pub(super) async fn send_patiently(&mut self, reply: &Reply) -> io::Result<()> {
        serde_json::to_writer(&mut self.waiting, reply)?;
        self.waiting.push(b'\n');
        let sent = self.writer.write_all(&self.waiting).await;
        self.reset();
        sent
    }

    /// Returns the process of the client, if it can be told.
    pub(crate) fn client_process(&self) -> Option<u32> {
        let socket: &UnixStream = self.writer.as_ref();
        let pid = socket.peer_cred().ok()?.pid()?;
        u32::try_from(pid).ok().filter(|pid| *pid > 0)
    }

    /// Sends descriptors.
    ///
    /// # Errors
    /// As [`Replies::add`].
    pub(crate) async fn send_descriptors(&mut self, fds: &[impl AsFd]) -> io::Result<()> {
        let socket: &UnixStream = self.writer.as_ref();
        for some in fds.chunks(descriptors::MOST) {
            let sent = socket.async_io(Interest::WRITABLE, || descriptors::send(socket, some));
            let sent = timeout(ANSWER_TIME, sent).await;
            sent.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
        }
        Ok(())
    }

    /// Sends bytes that are no line.
    ///
    /// # Errors
    /// As [`Replies::add`].
    pub(crate) async fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        for piece in bytes.chunks(RAW_BYTES) {
            let sent = timeout(ANSWER_TIME, self.writer.write_all(piece)).await;
            sent.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
        }
        Ok(())
    }

    /// Sends what waits.
    ///
    /// # Errors
    /// As [`Replies::add`].
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        let sent = timeout(ANSWER_TIME, self.writer.write_all(&self.waiting)).await;
        self.reset();
        sent.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    fn reset(&mut self) {
        self.waiting.clear();
        self.waiting.shrink_to(2 * FLUSH_BYTES);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_wrong_request_is_a_sentence() {
        for (line, says) in [
            ("hello", "not JSON"),
            ("[1]", "not a JSON object"),
            (r#"{"request":"stats"}"#, "add \"protocol\":1"),
            (r#"{"protocol":2,"request":"stats"}"#, "speaks 1"),
            (
                r#"{"protocol":1,"request":"reboot"}"#,
                "unknown variant `reboot`",
            ),
            (
                r#"{"protocol":1,"request":"ss","colour":1}"#,
                "unknown field `colour`",
            ),
            (r#"{"protocol":1}"#, "missing field `request`"),
            (
                r#"{"protocol":1,"request":"ping","address":"here"}"#,
                "invalid",
            ),
        ] {
            let why = parse_request(line.as_bytes()).expect_err(line);
            assert!(why.contains(says) && !why.contains('\n'), "{line}: {why}");
        }
        for line in [
            r#"{"protocol":1,"request":"stats"}"#,
            r#"{"protocol":1,"request":"ss","states":["time-wait"]}"#,
            r#"{"request":"stop"}"#,
            r#"{"request":"data","data":"aGk="}"#,
        ] {
            parse_request(line.as_bytes()).expect(line);
        }
    }
}
