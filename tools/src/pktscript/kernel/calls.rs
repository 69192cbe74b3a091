//! Calls of the kernel.

use std::io;
use std::net::SocketAddr;

use rustix::event::{PollFd, PollFlags, Timespec, poll as poll_now};
use rustix::net::{RecvFlags, SendFlags};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::options;
use crate::pktscript::host::{Events, Op, OptionValue, Returned, Shutdown, SocketId};
use crate::pktscript::run::error_name;

/// The result of a call.
pub(super) enum Result {
    Returned(Returned),
    /// A new socket, which does not block if the flag is set.
    Made(Socket, bool),
}

/// Returns the socket that a call is about.
pub(super) fn socket_of(op: &Op) -> Option<SocketId> {
    match op {
        Op::Socket { .. } | Op::Poll { .. } => None,
        Op::Bind(id, _)
        | Op::Listen(id, _)
        | Op::Connect(id, _)
        | Op::Shutdown(id, _)
        | Op::Close(id)
        | Op::IsNonblocking(id)
        | Op::SetNonblocking(id, _)
        | Op::SetOption(id, ..)
        | Op::GetOption(id, ..)
        | Op::Unread(id)
        | Op::Unsent(id) => Some(*id),
        Op::Accept { socket, .. } | Op::Receive { socket, .. } | Op::Send { socket, .. } => {
            Some(*socket)
        }
    }
}

/// Returns true for calls that may wait.
pub(super) fn may_block(op: &Op) -> bool {
    match op {
        Op::Accept { .. } | Op::Connect(..) => true,
        Op::Receive { dont_wait, .. } | Op::Send { dont_wait, .. } => !dont_wait,
        _ => false,
    }
}

/// Returns an error as the result of a call.
pub(super) fn failed(error: &io::Error) -> Returned {
    match error.raw_os_error() {
        Some(number) => Returned::Error(error_name(number.into())),
        None => Returned::Unsupported(error.to_string()),
    }
}

fn zero(result: io::Result<()>) -> Returned {
    match result {
        Ok(()) => Returned::Value(0, Vec::new()),
        Err(error) => failed(&error),
    }
}

fn count(result: io::Result<usize>) -> Returned {
    match result {
        Ok(count) => Returned::Value(i64::try_from(count).unwrap_or(i64::MAX), Vec::new()),
        Err(error) => failed(&error),
    }
}

fn value(result: io::Result<OptionValue>) -> Returned {
    match result {
        Ok(value) => Returned::Option(value),
        Err(error) => failed(&error),
    }
}

/// The flag of data that connects.
const MSG_FASTOPEN: SendFlags = SendFlags::from_bits_retain(0x2000_0000);

/// Runs a call.
pub(super) fn run(op: &Op, socket: Option<&Socket>, nonblocking: bool) -> Result {
    if let Op::Socket {
        v6,
        udp,
        nonblocking,
    } = op
    {
        return open(*v6, *udp, *nonblocking);
    }
    let Some(socket) = socket else {
        return Result::Returned(Returned::Error("EBADF"));
    };
    if let Op::Accept {
        nonblocking: new_one,
        ..
    } = op
    {
        return match accept(socket) {
            Ok(made) => Result::Made(made, *new_one),
            Err(error) => Result::Returned(failed(&error)),
        };
    }
    Result::Returned(on(op, socket, nonblocking))
}

fn open(v6: bool, udp: bool, nonblocking: bool) -> Result {
    let domain = if v6 { Domain::IPV6 } else { Domain::IPV4 };
    let (kind, protocol) = if udp {
        (Type::DGRAM, Protocol::UDP)
    } else {
        (Type::STREAM, Protocol::TCP)
    };
    let made = Socket::new(domain, kind, Some(protocol)).and_then(|socket| {
        socket.set_nonblocking(nonblocking)?;
        Ok(socket)
    });
    match made {
        Ok(socket) => Result::Made(socket, nonblocking),
        Err(error) => Result::Returned(failed(&error)),
    }
}

fn accept(socket: &Socket) -> io::Result<Socket> {
    let (made, _) = socket.accept()?;
    made.set_nonblocking(false)?;
    Ok(made)
}

/// Runs a call on a socket.
fn on(op: &Op, socket: &Socket, nonblocking: bool) -> Returned {
    match op {
        Op::Bind(_, address) => zero(socket.bind(&SockAddr::from(*address))),
        Op::Connect(_, address) => zero(socket.connect(&SockAddr::from(*address))),
        Op::Listen(_, backlog) => zero(socket.listen(i32::try_from(*backlog).unwrap_or(1))),
        Op::Shutdown(_, how) => zero(socket.shutdown(match how {
            Shutdown::Read => std::net::Shutdown::Read,
            Shutdown::Write => std::net::Shutdown::Write,
            Shutdown::Both => std::net::Shutdown::Both,
        })),
        Op::IsNonblocking(_) => Returned::Value(nonblocking.into(), Vec::new()),
        Op::SetNonblocking(_, nonblocking) => zero(socket.set_nonblocking(*nonblocking)),
        Op::SetOption(_, level, name, value) => match options::set(socket, level, name, *value) {
            Some(result) => zero(result),
            None => Returned::Unsupported(name.clone()),
        },
        Op::GetOption(_, level, name) => match options::get(socket, level, name) {
            Some(result) => value(result),
            None => Returned::Unsupported(name.clone()),
        },
        Op::Unread(_) => count(
            rustix::io::ioctl_fionread(socket)
                .map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX))
                .map_err(io::Error::from),
        ),
        Op::Receive {
            len,
            peek,
            dont_wait,
            wait_all,
            ..
        } => {
            let mut flags = RecvFlags::empty();
            flags.set(RecvFlags::PEEK, *peek);
            flags.set(RecvFlags::DONTWAIT, *dont_wait);
            flags.set(RecvFlags::WAITALL, *wait_all);
            receive(socket, *len, flags)
        }
        Op::Send {
            data,
            to,
            dont_wait,
            fast_open,
            ..
        } => {
            let mut flags = SendFlags::NOSIGNAL;
            flags.set(MSG_FASTOPEN, *fast_open);
            flags.set(SendFlags::DONTWAIT, *dont_wait);
            count(send(socket, data, *to, flags))
        }
        _ => Returned::Unsupported("this call against the kernel".to_owned()),
    }
}

fn receive(socket: &Socket, len: usize, flags: RecvFlags) -> Returned {
    let mut data = vec![0; len];
    match rustix::net::recv(socket, &mut data[..], flags) {
        Ok((received, _)) => {
            data.truncate(received);
            Returned::Value(i64::try_from(received).unwrap_or(i64::MAX), data)
        }
        Err(errno) => failed(&errno.into()),
    }
}

fn send(
    socket: &Socket,
    data: &[u8],
    to: Option<SocketAddr>,
    flags: SendFlags,
) -> io::Result<usize> {
    let sent = match to {
        Some(to) => rustix::net::sendto(socket, data, flags, &to),
        None => rustix::net::send(socket, data, flags),
    };
    sent.map_err(io::Error::from)
}

/// Waits until one of the sockets is ready, for at most `timeout_millis`; for ever if that is negative.
pub(super) fn poll(sockets: &[(Option<Socket>, Events)], timeout_millis: i64) -> Returned {
    let flags = |events: Events| {
        PollFlags::from_bits_truncate(u16::try_from(events.bits()).unwrap_or_default())
    };
    let mut asked: Vec<PollFd<'_>> = sockets
        .iter()
        .filter_map(|(socket, events)| Some(PollFd::new(socket.as_ref()?, flags(*events))))
        .collect();
    // One that is not there is an answer already.
    let is_whole = asked.len() == sockets.len();
    let millis = if is_whole { timeout_millis } else { 0 };
    let timeout = (millis >= 0).then_some(Timespec {
        tv_sec: millis / 1_000,
        tv_nsec: millis % 1_000 * 1_000_000,
    });
    if let Err(errno) = poll_now(&mut asked, timeout.as_ref()) {
        return failed(&errno.into());
    }
    let mut answers = asked.iter();
    let ready = sockets.iter().map(|(socket, _)| match socket {
        Some(_) => answers.next().map_or(Events::empty(), |answer| {
            Events::from_bits_truncate(answer.revents().bits().into())
        }),
        None => Events::NVAL,
    });
    Returned::Ready(ready.collect())
}
