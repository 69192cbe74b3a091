//! Calls of a script: their arguments understood.

use std::net::{IpAddr, SocketAddr};

use super::names;
use super::sockets::Sockets;
use crate::pktscript::ast::{Call, Expr};
use crate::pktscript::host::{Events, Op, OptionValue, Shutdown};
use crate::pktscript::settings::Settings;
use crate::pktscript::wire::bytes_at;

/// The most bytes that one call may send or receive.
const MAX_CALL_BYTES: i64 = 64 << 20;

/// The flag of `F_GETFL` for sockets that do not block.
pub(super) const O_NONBLOCK: i64 = 0o4000;

/// The flag of `sendto` for data that connects.
const MSG_FASTOPEN: i64 = 0x2000_0000;

/// The reason why a call is not made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum CallError {
    /// It, or something in it, is not supported.
    Unsupported(String),
    /// It makes no sense.
    Wrong(String),
}

pub(super) type Understood<T> = Result<T, CallError>;

pub(super) fn unsupported<T>(what: impl Into<String>) -> Understood<T> {
    Err(CallError::Unsupported(what.into()))
}

fn wrong<T>(what: impl Into<String>) -> Understood<T> {
    Err(CallError::Wrong(what.into()))
}

/// A call with what is needed to understand its arguments.
pub(super) struct Reader<'a> {
    pub(super) call: &'a Call,
    sockets: &'a Sockets,
    pub(super) settings: &'a Settings,
}

/// Returns the number that an expression stands for.
pub(super) fn number(expr: &Expr) -> Understood<i64> {
    match expr {
        Expr::Int(value) => Ok(*value),
        Expr::Word(name) => match names::number(name) {
            Some(value) => Ok(value),
            None => unsupported(name.clone()),
        },
        Expr::Or(left, right) => Ok(number(left)? | number(right)?),
        Expr::List(list) => match &list[..] {
            [one] => number(one),
            _ => wrong("a list of one number is expected"),
        },
        Expr::Apply(name, arguments) if name == "htons" => match &arguments[..] {
            [one] => number(one),
            _ => wrong("htons has one argument"),
        },
        _ => wrong("a number is expected"),
    }
}

impl<'a> Reader<'a> {
    pub(super) fn new(call: &'a Call, sockets: &'a Sockets, settings: &'a Settings) -> Self {
        Self {
            call,
            sockets,
            settings,
        }
    }

    pub(super) fn argument(&self, index: usize) -> Understood<&'a Expr> {
        match self.call.arguments.get(index) {
            Some(expr) => Ok(expr),
            None => wrong(format!("{} has too few arguments", self.call.name)),
        }
    }

    pub(super) fn number(&self, index: usize) -> Understood<i64> {
        number(self.argument(index)?)
    }

    fn fd(&self) -> Understood<u32> {
        let fd = self.number(0)?;
        match self.sockets.id(fd) {
            Some(id) => Ok(id),
            None => wrong(format!("the script has no socket {fd}")),
        }
    }

    pub(super) fn is_word(&self, index: usize, word: &str) -> bool {
        matches!(self.call.arguments.get(index), Some(Expr::Word(found)) if found == word)
    }

    /// Returns an address argument; `usual` for `...`.
    fn address(&self, index: usize, usual: SocketAddr) -> Understood<SocketAddr> {
        let expr = self.argument(index)?;
        if *expr == Expr::Ellipsis {
            return Ok(usual);
        }
        let port = expr.field("sin_port").or_else(|| expr.field("sin6_port"));
        let address = expr.field("sin_addr").or_else(|| expr.field("sin6_addr"));
        let text = match address {
            Some(Expr::Apply(name, arguments)) if name.starts_with("inet") => arguments.last(),
            _ => None,
        };
        match (port, text) {
            (Some(port), Some(Expr::Text(text))) => {
                let port = u16::try_from(number(port)?).unwrap_or(0);
                match text.parse::<IpAddr>() {
                    Ok(address) => Ok(SocketAddr::new(address, port)),
                    Err(_) => wrong(format!("`{text}` is no address")),
                }
            }
            _ => unsupported("an address of this form"),
        }
    }

    /// Returns the length in argument `index`.
    fn len(&self, index: usize) -> Understood<usize> {
        check_len(self.number(index)?)
    }

    fn flags(&self, index: usize) -> Understood<i64> {
        let bits = self.number(index)?;
        let missing = [
            "MSG_OOB",
            "MSG_TRUNC",
            "MSG_EOR",
            "MSG_ERRQUEUE",
            "MSG_MORE",
            "MSG_ZEROCOPY",
        ];
        match names::flags_in(bits, &missing) {
            Some(name) => unsupported(name),
            None => Ok(bits),
        }
    }

    /// Refuses pointers to nothing, which no safe interface can pass.
    fn check_buffer(&self, index: usize) -> Understood<()> {
        if self.is_word(index, "NULL") {
            return unsupported("NULL as a buffer");
        }
        Ok(())
    }

    fn receive(&self, len: usize, flags: i64) -> Understood<Op> {
        Ok(Op::Receive {
            socket: self.fd()?,
            len,
            peek: flags & 2 != 0,
            dont_wait: flags & 0x40 != 0,
            wait_all: flags & 0x100 != 0,
        })
    }

    fn send(
        &self,
        text: Option<&str>,
        len: usize,
        flags: i64,
        to: Option<SocketAddr>,
    ) -> Understood<Op> {
        let offset = self.sockets.sent(self.number(0)?);
        let data = match text {
            Some(text) => text.bytes().chain(std::iter::repeat(0)).take(len).collect(),
            None => bytes_at(offset, len),
        };
        Ok(Op::Send {
            socket: self.fd()?,
            data,
            to,
            dont_wait: flags & 0x40 != 0,
            fast_open: flags & MSG_FASTOPEN != 0,
        })
    }

    fn text(&self, index: usize) -> Option<&'a str> {
        match self.call.arguments.get(index) {
            Some(Expr::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// Returns the lengths of buffers in `[{..., 10}, {..., 20}]` together.
    fn vectors(&self, list: &Expr) -> Understood<usize> {
        let Expr::List(list) = list else {
            return wrong("a list of buffers is expected");
        };
        let mut total: i64 = 0;
        for buffer in list {
            match buffer {
                Expr::Struct(fields) => match &fields[..] {
                    [Expr::Ellipsis, len] => total = total.saturating_add(number(len)?),
                    _ => return unsupported("a buffer of this form"),
                },
                _ => return unsupported("a buffer of this form"),
            }
        }
        check_len(total)
    }

    /// Returns the operation that the call stands for.
    pub(super) fn op(&self) -> Understood<Op> {
        match self.call.name.as_str() {
            "socket" => self.socket(),
            "bind" => Ok(Op::Bind(
                self.fd()?,
                self.address(1, self.settings.bind_address())?,
            )),
            "connect" => Ok(Op::Connect(
                self.fd()?,
                self.address(1, self.settings.connect_address())?,
            )),
            "listen" => Ok(Op::Listen(self.fd()?, self.number(1)?)),
            "accept" => Ok(Op::Accept {
                socket: self.fd()?,
                nonblocking: false,
            }),
            "accept4" => Ok(Op::Accept {
                socket: self.fd()?,
                nonblocking: self.number(3)? & O_NONBLOCK != 0,
            }),
            "shutdown" => {
                let how = match self.number(1)? {
                    0 => Shutdown::Read,
                    1 => Shutdown::Write,
                    2 => Shutdown::Both,
                    other => return unsupported(format!("shutdown({other})")),
                };
                Ok(Op::Shutdown(self.fd()?, how))
            }
            "close" => Ok(Op::Close(self.fd()?)),
            "fcntl" => self.fcntl(),
            "ioctl" => self.ioctl(),
            "setsockopt" | "getsockopt" => self.option(),
            "poll" => self.poll(),
            _ => self.data(),
        }
    }

    fn socket(&self) -> Understood<Op> {
        let v6 = match self.argument(0)? {
            Expr::Ellipsis => self.settings.v6,
            domain => match number(domain)? {
                2 => false,
                10 => true,
                _ => return unsupported("a socket of this domain"),
            },
        };
        let kind = self.number(1)?;
        let udp = match kind & 0xf {
            1 => false,
            2 => true,
            _ => return unsupported("a socket of this type"),
        };
        Ok(Op::Socket {
            v6,
            udp,
            nonblocking: kind & O_NONBLOCK != 0,
        })
    }

    fn fcntl(&self) -> Understood<Op> {
        if self.is_word(1, "F_GETFL") {
            return Ok(Op::IsNonblocking(self.fd()?));
        }
        if self.is_word(1, "F_SETFL") {
            let nonblocking = self.number(2)? & O_NONBLOCK != 0;
            return Ok(Op::SetNonblocking(self.fd()?, nonblocking));
        }
        unsupported("this request of fcntl")
    }

    fn ioctl(&self) -> Understood<Op> {
        if self.is_word(1, "SIOCINQ") || self.is_word(1, "FIONREAD") {
            return Ok(Op::Unread(self.fd()?));
        }
        if self.is_word(1, "SIOCOUTQ") || self.is_word(1, "TIOCOUTQ") {
            return Ok(Op::Unsent(self.fd()?));
        }
        match self.argument(1)? {
            Expr::Word(name) => unsupported(name.clone()),
            _ => unsupported("this request of ioctl"),
        }
    }

    fn option(&self) -> Understood<Op> {
        let level = match self.argument(1)? {
            Expr::Word(name) => match name.as_str() {
                "SOL_SOCKET" => "SOL_SOCKET",
                "SOL_TCP" | "IPPROTO_TCP" => "SOL_TCP",
                "SOL_IP" | "IPPROTO_IP" => "SOL_IP",
                "SOL_IPV6" | "IPPROTO_IPV6" => "SOL_IPV6",
                other => return unsupported(other),
            },
            _ => return unsupported("an option by its number"),
        };
        let name = match self.argument(2)? {
            Expr::Word(name) => name.clone(),
            _ => return unsupported("an option by its number"),
        };
        if self.call.name == "getsockopt" {
            return Ok(Op::GetOption(self.fd()?, level, name));
        }
        let value = self.argument(3)?;
        let value = match (value.field("onoff"), value.field("linger")) {
            (Some(on), Some(seconds)) => OptionValue::Linger {
                on: number(on)? != 0,
                seconds: number(seconds)?,
            },
            _ if matches!(value, Expr::Struct(_) | Expr::Text(_)) => {
                return unsupported(name);
            }
            _ => OptionValue::Int(number(value)?),
        };
        Ok(Op::SetOption(self.fd()?, level, name, value))
    }

    fn poll(&self) -> Understood<Op> {
        let Expr::List(list) = self.argument(0)? else {
            return wrong("poll waits for a list of sockets");
        };
        let mut sockets = Vec::new();
        for one in list {
            let (Some(fd), Some(events)) = (one.field("fd"), one.field("events")) else {
                return wrong("poll waits for `{fd=…, events=…}`");
            };
            let fd = number(fd)?;
            let Some(id) = self.sockets.id(fd) else {
                return wrong(format!("the script has no socket {fd}"));
            };
            sockets.push((id, Events::from_bits_truncate(number(events)?)));
        }
        Ok(Op::Poll {
            sockets,
            timeout_millis: self.number(2)?,
        })
    }

    /// Returns calls that send or receive.
    fn data(&self) -> Understood<Op> {
        match self.call.name.as_str() {
            "read" => {
                self.check_buffer(1)?;
                self.receive(self.len(2)?, 0)
            }
            "recv" | "recvfrom" => {
                self.check_buffer(1)?;
                self.receive(self.len(2)?, self.flags(3)?)
            }
            "readv" => self.receive(self.vectors(self.argument(1)?)?, 0),
            "recvmsg" => self.receive(self.message()?, self.flags(2)?),
            "write" => {
                self.check_buffer(1)?;
                self.send(self.text(1), self.len(2)?, 0, None)
            }
            "send" => {
                self.check_buffer(1)?;
                self.send(self.text(1), self.len(2)?, self.flags(3)?, None)
            }
            "sendto" => {
                self.check_buffer(1)?;
                let flags = self.flags(3)?;
                let to = match self.argument(4)? {
                    Expr::Int(0) => None,
                    Expr::Word(word) if word == "NULL" => None,
                    _ => Some(self.address(4, self.settings.connect_address())?),
                };
                self.send(self.text(1), self.len(2)?, flags, to)
            }
            "writev" => self.send(None, self.vectors(self.argument(1)?)?, 0, None),
            "sendmsg" => {
                let flags = self.flags(2)?;
                let to = (flags & MSG_FASTOPEN != 0).then(|| self.settings.connect_address());
                self.send(None, self.message()?, flags, to)
            }
            other => unsupported(format!("the call {other}")),
        }
    }

    /// Returns the room in the buffers of a message.
    fn message(&self) -> Understood<usize> {
        let message = self.argument(1)?;
        if message
            .field("msg_control")
            .is_some_and(|list| *list != Expr::List(Vec::new()))
        {
            return unsupported("control messages");
        }
        match message.field("msg_iov") {
            Some(list) => self.vectors(list),
            None => wrong("a message has a msg_iov"),
        }
    }
}

fn check_len(len: i64) -> Understood<usize> {
    match usize::try_from(len) {
        Ok(len) if len as i64 <= MAX_CALL_BYTES => Ok(len),
        _ => unsupported(format!("a buffer of {len} bytes")),
    }
}
