//! One host with its peer: it takes the steps of a case and says what came of each.

use super::normal::{digest, is_of_own_accord, line};
use super::peer::Peer;
use super::step::{Body, Call, PEER_SERVER, PEER_UDP, Place, Step, pattern};
use crate::pktscript::host::{Called, Host, Op, OptionValue, Returned, Shutdown, SocketId};
use crate::pktscript::wire::read::{SeenBody, read};
use crate::pktscript::wire::show;

/// Virtual time between two steps, in microseconds: so long that no answer is left out because there was one just before.
const PAUSE: i64 = 1_000_000;

/// States of a connection.
const STATES: [&str; 9] = [
    "SYN_SENT",
    "SYN_RCVD",
    "ESTABLISHED",
    "FIN_WAIT_1",
    "FIN_WAIT_2",
    "CLOSING",
    "CLOSE_WAIT",
    "LAST_ACK",
    "TIME_WAIT",
];

/// One host under a case.
pub(super) struct Side<'a> {
    name: &'static str,
    host: &'a mut dyn Host,
    /// Its time is real: nothing waits for it.
    is_real: bool,
    peer: Peer,
    listener: Option<SocketId>,
    udp: Option<SocketId>,
    stream: Option<SocketId>,
    /// The packets of both directions as text.
    trace: Vec<String>,
}

impl<'a> Side<'a> {
    /// Opens the sockets of a case.
    ///
    /// # Errors
    /// The host refuses one of them.
    pub(super) fn new(
        name: &'static str,
        host: &'a mut dyn Host,
        is_real: bool,
        place: Place,
    ) -> Result<Self, String> {
        let mut side = Self {
            name,
            host,
            is_real,
            peer: Peer::new(place),
            listener: None,
            udp: None,
            stream: None,
            trace: Vec::new(),
        };
        side.listener = Some(side.open(false, place.open)?);
        side.udp = Some(side.open(true, place.open)?);
        if let Some(listener) = side.listener {
            side.must(Op::Listen(listener, 16))?;
        }
        let _ = side.sent(&[]);
        Ok(side)
    }

    fn open(&mut self, udp: bool, port: u16) -> Result<SocketId, String> {
        let local = self.peer.place.path.to;
        let id = self.must(Op::Socket {
            v6: local.is_ipv6(),
            udp,
            nonblocking: true,
        })?;
        let id = SocketId::try_from(id).map_err(|error| error.to_string())?;
        self.must(Op::Bind(id, (local, port).into()))?;
        Ok(id)
    }

    fn must(&mut self, op: Op) -> Result<i64, String> {
        let what = format!("{op:?}");
        match self.host.call(op) {
            Called::Returned(Returned::Value(value, _)) => Ok(value),
            other => Err(format!("{}: {what}: {other:?}", self.name)),
        }
    }

    /// Returns the words for a step, with the state in which the connection of the case is before it.
    pub(super) fn describe(&mut self, step: &Step) -> String {
        let is_plain = match step {
            Step::Packet(packet) => !matches!(packet.body, Body::Tcp(_)),
            Step::Call(_, when) => !when.is_empty(),
        };
        if is_plain {
            return step.to_string();
        }
        let mut states = STATES.iter();
        let state = states.find(|state| self.host.count(state).is_some_and(|count| count > 0));
        format!("{step} in {}", state.unwrap_or(&"no state"))
    }

    /// Takes a step. Returns what the host sent and returned.
    ///
    /// # Errors
    /// The host itself failed.
    pub(super) fn perform(&mut self, step: &Step) -> Result<Vec<String>, String> {
        if !self.is_real {
            let until = self.host.now() + PAUSE;
            self.host.wait(until, false, false)?;
        }
        self.trace.push(format!("{step}"));
        match step {
            Step::Call(call, _) => {
                let result = self.call(*call);
                self.trace.push(format!("  = {result}"));
                let mut lines = vec![result];
                lines.extend(self.sent(&[]));
                Ok(lines)
            }
            Step::Packet(packet) => {
                let bytes = self.peer.build(packet);
                if bytes.is_empty() {
                    return Ok(Vec::new());
                }
                self.trace.push(format!("  < {}", hex(&bytes)));
                let delivered = self.host.deliver(&bytes);
                if !self.is_real {
                    delivered?;
                }
                // The device refuses what is no IP, as the host would.
                Ok(self.sent(&bytes))
            }
        }
    }

    /// Takes what the host sent. `arrived` is what it may answer.
    fn sent(&mut self, arrived: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some((_, bytes)) = self.host.packet() {
            let Some(seen) = read(&bytes) else {
                lines.push(format!("no IP packet {}", hex(&bytes)));
                continue;
            };
            if is_of_own_accord(&seen, &bytes) || self.peer.place.is_of_another(seen.dst) {
                continue;
            }
            self.peer.hears(&bytes, &seen);
            let line = line(&bytes, &seen, &self.peer, arrived);
            let port = match &seen.body {
                SeenBody::Tcp { .. } => show::seen(&seen, None),
                _ => line.clone(),
            };
            self.trace.push(format!("  {port}"));
            self.trace.push(format!("    {}", hex(&bytes)));
            lines.push(line);
        }
        lines
    }

    fn call(&mut self, call: Call) -> String {
        let peer = self.peer.place.path.from;
        let op = match call {
            Call::Accept => self.listener.map(|socket| Op::Accept {
                socket,
                nonblocking: true,
            }),
            Call::Connect => {
                return match self.open(false, self.peer.place.open + 1) {
                    Ok(id) => {
                        self.stream = Some(id);
                        let to = (peer, PEER_SERVER).into();
                        shown(&self.host.call(Op::Connect(id, to)))
                    }
                    Err(error) => error,
                };
            }
            Call::Read(len) => self.stream.map(|socket| receive(socket, len)),
            Call::Write(len) => self.stream.map(|socket| send(socket, len, None)),
            Call::ShutdownWrite => self.stream.map(|id| Op::Shutdown(id, Shutdown::Write)),
            Call::Close => self.stream.take().map(Op::Close),
            Call::Error => self
                .stream
                .map(|id| Op::GetOption(id, "SOL_SOCKET", "SO_ERROR".to_owned())),
            Call::UdpConnect => self.udp.map(|id| Op::Connect(id, (peer, PEER_UDP).into())),
            Call::UdpRead => self.udp.map(|socket| receive(socket, 65_535)),
            Call::UdpWrite(len) => self
                .udp
                .map(|socket| send(socket, len, Some((peer, PEER_UDP).into()))),
        };
        let Some(op) = op else {
            return "no socket".to_owned();
        };
        let is_accept = matches!(op, Op::Accept { .. });
        let called = self.host.call(op);
        if is_accept && let Called::Returned(Returned::Value(id, _)) = &called {
            self.stream = SocketId::try_from(*id).ok();
            return "a connection".to_owned();
        }
        shown(&called)
    }

    /// Ends every flow and socket, and returns the trace.
    pub(super) fn end(mut self) -> Vec<String> {
        if let Some(id) = self.stream.take() {
            let linger = OptionValue::Linger {
                on: true,
                seconds: 0,
            };
            let name = "SO_LINGER".to_owned();
            let _ = self
                .host
                .call(Op::SetOption(id, "SOL_SOCKET", name, linger));
            let _ = self.host.call(Op::Close(id));
        }
        for id in [self.listener, self.udp].into_iter().flatten() {
            let _ = self.host.call(Op::Close(id));
        }
        for reset in self.peer.farewell() {
            let _ = self.host.deliver(&reset);
        }
        while self.host.packet().is_some() {}
        self.trace
    }
}

fn receive(socket: SocketId, len: usize) -> Op {
    Op::Receive {
        socket,
        len,
        peek: false,
        dont_wait: true,
        wait_all: false,
    }
}

fn send(socket: SocketId, len: usize, to: Option<std::net::SocketAddr>) -> Op {
    Op::Send {
        socket,
        data: pattern(0, len, 0x55),
        to,
        fast_open: false,
        dont_wait: true,
    }
}

/// Returns the result of a call as text.
fn shown(called: &Called) -> String {
    match called {
        Called::Returned(Returned::Value(value, data)) if data.is_empty() => value.to_string(),
        Called::Returned(Returned::Value(_, data)) => digest(data),
        Called::Returned(Returned::Error(name)) => (*name).to_owned(),
        Called::Returned(Returned::Option(OptionValue::Int(value))) => format!("option {value}"),
        other => format!("{other:?}"),
    }
}

/// Returns the bytes of a packet, with a gap behind each 16.
fn hex(bytes: &[u8]) -> String {
    let lines = bytes.chunks(16).map(|chunk| {
        let digits = chunk.iter().map(|byte| format!("{byte:02x}"));
        digits.collect::<String>()
    });
    lines.collect::<Vec<_>>().join(" ")
}
