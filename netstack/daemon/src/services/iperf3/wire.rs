//! The control connection of iperf3: states of one byte, JSON behind its length, errors.

use std::io;
use std::time::Duration;

use netstack::net::TcpStream;
use netstack::net::time::Time;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Bytes of a cookie, a zero at its end among them.
pub(super) const COOKIE_BYTES: usize = 37;
/// The identity of a test.
pub(super) type Cookie = [u8; COOKIE_BYTES];

/// Time that a client has for the next part of a conversation.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// Time that a client which is turned away has to read so.
const FAREWELL: Duration = Duration::from_secs(5);

/// A state, as it is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i8)]
pub(super) enum State {
    TestStart = 1,
    TestRunning = 2,
    TestEnd = 4,
    ParamExchange = 9,
    CreateStreams = 10,
    ClientTerminate = 12,
    ExchangeResults = 13,
    DisplayResults = 14,
    IperfDone = 16,
    AccessDenied = -1,
    ServerError = -2,
}

impl State {
    /// Returns the state that a client sends as this byte, if it may send it.
    pub(super) fn of_client(byte: u8) -> Option<Self> {
        [Self::TestEnd, Self::ClientTerminate, Self::IperfDone]
            .into_iter()
            .find(|state| *state as i8 as u8 == byte)
    }
}

/// The reasons for the end of a test, by the numbers that iperf3 gives them; its client has a sentence for each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub(super) enum Fault {
    Duration = 5,
    Streams = 6,
    Block = 7,
    Omit = 12,
    NotThere = 13,
    Sctp = 18,
    Datagram = 20,
    Message = 110,
    Params = 114,
    Results = 117,
    Silence = 144,
    Expired = 160,
    Missing = 204,
}

/// The reason why a conversation ends.
#[derive(Debug)]
pub(super) enum End {
    /// The client is to be told.
    Fault(Fault),
    /// The client has gone, or has given up.
    Gone,
}

impl From<Fault> for End {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

/// The control connection of a test.
#[derive(Debug)]
pub(super) struct Control<'a> {
    stream: TcpStream,
    time: &'a Time,
}

impl<'a> Control<'a> {
    pub(super) fn new(stream: TcpStream, time: &'a Time) -> Self {
        Self { stream, time }
    }

    pub(super) async fn send(&mut self, state: State) -> Result<(), End> {
        self.write(&[state as i8 as u8]).await
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), End> {
        let written = self.time.timeout(PATIENCE, self.stream.write_all(bytes));
        Ok(written.await??)
    }

    /// Waits for the next state of the client, as long as it takes. Cancel-safe.
    pub(super) async fn state(&mut self) -> Result<State, End> {
        let mut byte = [0; 1];
        if self.stream.read(&mut byte).await? == 0 {
            return Err(End::Gone);
        }
        State::of_client(byte[0]).ok_or(End::Fault(Fault::Message))
    }

    /// Reads JSON of at most `most` bytes; what is no such JSON is the fault.
    pub(super) async fn read_json(&mut self, most: usize, fault: Fault) -> Result<Value, End> {
        let stream = &mut self.stream;
        let read = self.time.timeout(PATIENCE, async move {
            let len = usize::try_from(stream.read_u32().await?).unwrap_or(usize::MAX);
            if len > most {
                return Ok(None);
            }
            let mut text = Vec::new();
            // What is promised takes no memory before it is there.
            let read = stream.take(len as u64).read_to_end(&mut text).await?;
            Ok::<_, io::Error>((read == len).then_some(text))
        });
        let text = read.await??.ok_or(fault)?;
        serde_json::from_slice(&text).map_err(|_| End::Fault(fault))
    }

    pub(super) async fn write_json(&mut self, value: &Value) -> Result<(), End> {
        let text = value.to_string();
        let len = u32::try_from(text.len()).unwrap_or(u32::MAX);
        self.write(&[&len.to_be_bytes(), text.as_bytes()].concat())
            .await
    }

    /// Tells the client why the test has ended.
    pub(super) async fn fail(mut self, fault: Fault) {
        let state = State::ServerError as i8 as u8;
        let number = (fault as u32).to_be_bytes();
        // The second number is one of the system's errors: there is none.
        let message = [&[state], &number[..], &[0; 4]].concat();
        if self.write(&message).await.is_ok() {
            finish(self.stream, self.time).await;
        }
    }
}

/// Turns a client away that comes while a test runs.
pub(super) async fn deny(mut stream: TcpStream, time: &Time) {
    let state = [State::AccessDenied as i8 as u8];
    let written = time.timeout(FAREWELL, stream.write_all(&state));
    if matches!(written.await, Ok(Ok(()))) {
        finish(stream, time).await;
    }
}

/// Closes a connection behind what was sent: what the client sends meanwhile would make a reset of its end.
async fn finish(mut stream: TcpStream, time: &Time) {
    let end = time.timeout(FAREWELL, async {
        stream.shutdown().await?;
        while stream.recv_payload().await?.is_some() {}
        Ok::<_, io::Error>(())
    });
    // The connection ends in any case.
    let _ = end.await;
}
