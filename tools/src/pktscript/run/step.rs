//! One event: a call or code. Packets and commands have files of their own.

use super::calls::{CallError, Reader, number};
use super::clock::{ANY_TIME_MICROS, is_anchored};
use super::{Blocked, Runner, Step, Stop, UnderTest, seconds};
use crate::pktscript::ast::{Action, Call, Event, Expr, Position};
use crate::pktscript::code::{self, CodeError, Names};
use crate::pktscript::host::{Called, Op, Returned};
use crate::pktscript::wire::byte_at;
use crate::pktscript::wire::flow::Flow;

impl<'a> Runner<'a> {
    /// Does one event.
    pub(super) fn event(&mut self, event: &'a Event) -> Step {
        if let Action::Command(command) = &event.action {
            return self.timed_command(event, command);
        }
        self.start(event.at)?;
        self.check_not_too_late(event)?;
        let span = self.span(event);
        match &event.action {
            Action::Packet(packet) if is_anchored(event) => {
                self.wait_for(event.at, span)?;
                self.inject(event.at, packet)?;
            }
            Action::Packet(packet) => self.expect(event.at, packet, span)?,
            Action::Call(call) => {
                let base = self.base(event);
                self.finish_blocked(true)?;
                self.wait_for(event.at, span)?;
                let end = call.end.map(|end| match event.time {
                    crate::pktscript::ast::Time::Relative(_) => base + end,
                    _ => end,
                });
                self.call(event.at, call, end, span.tolerance)?;
            }
            Action::Code(code) => {
                self.wait_for(event.at, span)?;
                self.code(event.at, code)?;
            }
            Action::Command(_) => {}
        }
        self.before = Some((
            span.to.map_or_else(|| self.now(), |_| span.from),
            is_anchored(event),
        ));
        Ok(())
    }

    /// Makes the host, if there is none yet.
    pub(super) fn start(&mut self, at: Position) -> Step {
        if self.host.is_none() {
            match (self.make)(&mut self.settings) {
                Ok(host) => self.host = Some(host),
                Err(what) => return self.failure(at, what),
            }
        }
        Ok(())
    }

    /// A setting that came too late and is followed by more than closing was needed.
    fn check_not_too_late(&self, event: &Event) -> Step {
        let closes = matches!(&event.action, Action::Call(call) if call.name == "close");
        match &self.too_late {
            Some((at, what)) if !closes => Err(Stop::Unsupported(*at, what.clone())),
            _ => Ok(()),
        }
    }

    /// Turns a problem with a call's arguments into the end of the script.
    fn problem<T>(&self, at: Position, error: CallError) -> Step<T> {
        match error {
            CallError::Unsupported(what) => Err(Stop::Unsupported(at, what)),
            CallError::Wrong(what) => self.failure(at, what),
        }
    }

    /// Makes a call.
    fn call(&mut self, at: Position, call: &'a Call, end: Option<i64>, tolerance: i64) -> Step {
        let op = match Reader::new(call, &self.sockets, &self.settings).op() {
            Ok(op) => op,
            Err(error) => return self.problem(at, error),
        };
        self.before_call(call, &op);
        let now = self.now();
        self.note(format!("{} {}", seconds(now), shown(call)));
        let Some(host) = self.host.as_mut() else {
            return Ok(());
        };
        let called = host.call(op);
        self.collect();
        match called {
            Called::Returned(returned) => {
                let is_missing = matches!(returned, Returned::Unsupported(_));
                if let Some(end) = end
                    && end > now + tolerance
                    && !is_missing
                {
                    let text = format!(
                        "{} returned at {} s, but was expected to block until {} s",
                        call.name,
                        seconds(now),
                        seconds(end)
                    );
                    return self.failure(at, text);
                }
                self.returned(at, call, &returned)
            }
            Called::Blocks => {
                self.blocked = Some(Blocked {
                    at,
                    call,
                    end,
                    tolerance,
                });
                if end.is_none() {
                    // The script expects an answer at once, and goes on when there is one.
                    self.finish_blocked(true)?;
                }
                Ok(())
            }
        }
    }

    /// Notes which socket the next packets are about.
    fn before_call(&mut self, call: &Call, op: &Op) {
        match op {
            Op::Listen(..) => {
                self.under_test = UnderTest::Listening;
                self.flow = None;
            }
            // A second call about the same attempt changes nothing.
            Op::Connect(id, _) if self.connecting == Some(*id) => {}
            Op::Send {
                socket: id,
                to: Some(_),
                ..
            } if self.connecting == Some(*id) => {}
            Op::Send {
                socket: id,
                to: Some(to),
                ..
            }
            | Op::Connect(id, to)
                if self.may_connect(call, op) =>
            {
                self.connecting = Some(*id);
                self.under_test = UnderTest::Connecting;
                self.flow = None;
                self.settings.connect_port = to.port();
                self.settings.remote = to.ip();
            }
            Op::Bind(id, address) => {
                self.settings.bind_port = address.port();
                let fd = call.arguments.first().and_then(|fd| number(fd).ok());
                if fd.is_some_and(|fd| self.sockets.is_udp(fd) && self.sockets.id(fd) == Some(*id))
                {
                    self.flow = None;
                }
            }
            Op::Send { to: Some(to), .. } if self.flow.is_none() => {
                self.settings.connect_port = to.port();
            }
            _ => {}
        }
        let text = call.arguments.get(1);
        if matches!(op, Op::Send { .. }) && matches!(text, Some(Expr::Text(_))) {
            self.is_patterned = false;
        }
    }

    /// Returns true if a call connects: data may, on a socket of TCP that is under test as one that connects.
    fn may_connect(&self, call: &Call, op: &Op) -> bool {
        let fd = call.arguments.first().and_then(|fd| number(fd).ok());
        let is_udp = fd.is_some_and(|fd| self.sockets.is_udp(fd));
        match op {
            Op::Connect(..) => true,
            _ => !is_udp && self.under_test != UnderTest::Listening,
        }
    }

    /// Looks after the call that blocks: compares its result if it has returned. With `wait` it is waited for.
    /// Returns true if none blocks any more.
    pub(super) fn finish_blocked(&mut self, wait: bool) -> Step<bool> {
        let Some(blocked) = &self.blocked else {
            return Ok(true);
        };
        let (at, call, end, tolerance) = (blocked.at, blocked.call, blocked.end, blocked.tolerance);
        let Some(host) = self.host.as_mut() else {
            return Ok(true);
        };
        let mut finished = host.finished();
        if finished.is_none() && wait {
            let until = end.map_or_else(|| host.now() + ANY_TIME_MICROS, |end| end + tolerance);
            if let Err(what) = host.wait(until, false, true) {
                return self.failure(at, what);
            }
            finished = host.finished();
            self.collect();
            if finished.is_none() {
                let text = format!("{} still blocks at {} s", call.name, seconds(until));
                return self.failure(at, text);
            }
        }
        let Some((time, returned)) = finished else {
            return Ok(false);
        };
        self.blocked = None;
        if let Some(end) = end
            && (time - end).abs() > tolerance
        {
            let text = format!(
                "{} returned at {} s, but was expected to return at {} s (tolerance {} s)",
                call.name,
                seconds(time),
                seconds(end),
                seconds(tolerance)
            );
            return self.failure(at, text);
        }
        self.returned(at, call, &returned)?;
        Ok(true)
    }

    /// Compares the result of a call, and notes what it made.
    fn returned(&mut self, at: Position, call: &Call, returned: &Returned) -> Step {
        let reader = Reader::new(call, &self.sockets, &self.settings);
        let wrong = reader
            .check(&with_known_id(call, returned))
            .and_then(|wrong| Ok(wrong.or(reader.check_count(returned)?)));
        match wrong {
            Err(error) => return self.problem(at, error),
            Ok(Some(wrong)) if self.settings.calls_are_optional => {
                self.notes.insert(format!(
                    "{at}: {}: {wrong}, which the script permits",
                    call.name
                ));
            }
            Ok(Some(wrong)) => return self.failure(at, format!("{}: {wrong}", call.name)),
            Ok(None) => {}
        }
        self.note_result(at, call, returned)
    }

    fn note_result(&mut self, at: Position, call: &Call, returned: &Returned) -> Step {
        let Returned::Value(value, data) = returned else {
            return Ok(());
        };
        let fd = call.arguments.first().and_then(|fd| number(fd).ok());
        let count = u32::try_from(*value).unwrap_or(0);
        match (call.name.as_str(), fd) {
            ("socket", _) => {
                let udp = call
                    .arguments
                    .get(1)
                    .and_then(|kind| number(kind).ok())
                    .is_some_and(|kind| kind & 0xf == 2);
                if let Ok(fd) = number(&call.result) {
                    self.sockets.insert(fd, count, udp);
                }
            }
            ("accept" | "accept4", _) => {
                if let Ok(fd) = number(&call.result) {
                    self.sockets.insert(fd, count, false);
                }
            }
            ("close", Some(fd)) => self.sockets.remove(fd),
            ("connect", Some(fd)) if self.sockets.is_udp(fd) => self.udp_flow(fd),
            ("write" | "writev" | "send" | "sendto" | "sendmsg", Some(fd)) => {
                self.sockets.add_sent(fd, count);
            }
            ("read" | "readv" | "recv" | "recvfrom" | "recvmsg", Some(fd)) => {
                return self.received(at, call, fd, data);
            }
            _ => {}
        }
        Ok(())
    }

    /// Checks received data against the pattern of all streams.
    fn received(&mut self, at: Position, call: &Call, fd: i64, data: &[u8]) -> Step {
        let start = if self.sockets.is_udp(fd) {
            0
        } else {
            self.sockets.received(fd)
        };
        for (offset, byte) in (start..).zip(data) {
            if *byte != byte_at(offset) {
                let text = format!(
                    "{}: byte {offset} of the stream is {byte:#04x}, but {:#04x} was sent",
                    call.name,
                    byte_at(offset)
                );
                return self.failure(at, text);
            }
        }
        let peeks = call
            .arguments
            .get(3)
            .and_then(|flags| number(flags).ok())
            .is_some_and(|flags| flags & 2 != 0);
        if !peeks {
            self.sockets
                .add_received(fd, u32::try_from(data.len()).unwrap_or(0));
        }
        Ok(())
    }

    /// Makes the flow of a connected socket for datagrams.
    pub(super) fn udp_flow(&mut self, fd: i64) {
        let id = self.sockets.id(fd);
        let local = id.and_then(|id| self.host.as_mut()?.local(id));
        if let Some(mut local) = local {
            if local.ip().is_unspecified() {
                local.set_ip(self.settings.local);
            }
            self.flow = Some(Flow::new(local, self.settings.connect_address()));
            self.under_test = UnderTest::Flow;
        }
    }

    /// Runs assertions over `tcp_info` of the connection under test.
    fn code(&mut self, at: Position, text: &str) -> Step {
        let needs_info = text.contains("tcpi_");
        let state = |number| Names::from([("tcpi_state".to_owned(), number)]);
        let info = match (&self.flow, self.host.as_mut()) {
            (Some(flow), Some(host)) if needs_info => host.tcp_info(flow.local, flow.remote),
            // A socket without a connection has a state and nothing else: LISTEN, or CLOSED.
            (None, _) if self.under_test == UnderTest::Listening => Ok(state(10)),
            (None, _) => Ok(state(7)),
            _ => Ok(Names::new()),
        };
        let info = match info {
            Ok(info) => info,
            Err(what) => return Err(Stop::Unsupported(at, what)),
        };
        match code::run(text, &info, &mut self.variables) {
            Ok(()) => Ok(()),
            Err(CodeError::Unsupported(what)) => {
                Err(Stop::Unsupported(at, format!("code: {what}")))
            }
            Err(error @ CodeError::False { .. }) => self.failure(at, error.to_string()),
        }
    }
}

/// Returns the result as the script numbers it: a new socket has whatever number the script gives it.
fn with_known_id(call: &Call, returned: &Returned) -> Returned {
    let makes_one = matches!(call.name.as_str(), "socket" | "accept" | "accept4");
    match (returned, number(&call.result)) {
        (Returned::Value(_, data), Ok(fd)) if makes_one && fd >= 0 => {
            Returned::Value(fd, data.clone())
        }
        _ => returned.clone(),
    }
}

/// Returns a call for the log.
fn shown(call: &Call) -> String {
    let arguments: Vec<String> = call.arguments.iter().map(argument).collect();
    let result = argument(&call.result);
    let error = call
        .error
        .as_deref()
        .map_or(String::new(), |name| format!(" {name}"));
    format!("{}({}) = {result}{error}", call.name, arguments.join(", "))
}

fn argument(expr: &Expr) -> String {
    let list = |list: &[Expr]| list.iter().map(argument).collect::<Vec<_>>().join(", ");
    match expr {
        Expr::Ellipsis => "...".to_owned(),
        Expr::Int(value) => value.to_string(),
        Expr::Word(word) => word.clone(),
        Expr::Text(text) => format!("\"{text}\""),
        Expr::Or(left, right) => format!("{}|{}", argument(left), argument(right)),
        Expr::Field(name, value) => format!("{name}={}", argument(value)),
        Expr::List(elements) => format!("[{}]", list(elements)),
        Expr::Struct(fields) => format!("{{{}}}", list(fields)),
        Expr::Apply(name, arguments) => format!("{name}({})", list(arguments)),
    }
}
