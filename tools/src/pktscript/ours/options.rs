//! Socket options.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use netstack::net::{TcpSocket, UdpSocket};

use super::Ours;
use super::errors::{name, returned};
use super::fast_open::FastOpenSetting;
use super::sockets::{Kind, Socket, Stream, error, zero};
use crate::pktscript::host::{Called, OptionValue, Returned, SocketId};
use crate::pktscript::run::errno;

/// Returns an option as one that is not here.
fn missing(name: &str) -> Called {
    Called::Returned(Returned::Unsupported(name.to_owned()))
}

fn int(value: impl Into<i64>) -> Called {
    Called::Returned(Returned::Option(OptionValue::Int(value.into())))
}

/// Returns the result of a setter; `None` if there is no such option.
fn set(result: Option<io::Result<()>>, name: &str) -> Called {
    match result {
        Some(Ok(())) => zero(),
        Some(Err(failed)) => Called::Returned(returned(&failed)),
        None => missing(name),
    }
}

fn secs(value: i64) -> Duration {
    Duration::from_secs(u64::try_from(value).unwrap_or(0))
}

fn user_timeout(millis: i64) -> Option<Duration> {
    u64::try_from(millis)
        .ok()
        .filter(|millis| *millis > 0)
        .map(Duration::from_millis)
}

fn linger(value: OptionValue) -> Option<Duration> {
    match value {
        OptionValue::Linger { on: true, seconds } => Some(secs(seconds)),
        _ => None,
    }
}

impl Ours {
    pub(super) fn set_option(
        &mut self,
        id: SocketId,
        level: &str,
        name: &str,
        value: OptionValue,
    ) -> Called {
        let fast_open = self.fast_open;
        self.with(id, |socket| {
            let number = match value {
                OptionValue::Int(number) => number,
                OptionValue::Linger { .. } => 0,
            };
            if name.starts_with("TCP_FASTOPEN") {
                return set_fast_open(socket, name, number, fast_open);
            }
            if (level, name) == ("SOL_SOCKET", "SO_REUSEADDR") {
                // An address is free once its listener is closed, whatever this says.
                return zero();
            }
            let keeps = keepalive(socket, name, number);
            match &socket.kind {
                Kind::Fresh(fresh) | Kind::Deferred(fresh, _) => {
                    set(fresh_option(fresh, level, name, number, value, keeps), name)
                }
                Kind::Stream(stream) => set(
                    stream_option(stream, level, name, number, value, keeps),
                    name,
                ),
                Kind::Udp(udp) => set(udp_option(udp, level, name, number), name),
                _ => missing(name),
            }
        })
    }

    pub(super) fn get_option(&mut self, id: SocketId, level: &str, option: &str) -> Called {
        let recv_space = self.recv_space;
        self.with(id, |socket| match (level, option) {
            ("SOL_SOCKET", "SO_ERROR") => so_error(socket),
            ("SOL_SOCKET", "SO_RCVBUF")
                if matches!(
                    socket.kind,
                    Kind::Fresh(_) | Kind::Connecting(_) | Kind::Listener(..)
                ) =>
            {
                int(recv_space)
            }
            ("SOL_SOCKET", "SO_KEEPALIVE") => int(socket.keepalive),
            ("SOL_TCP", "TCP_KEEPIDLE") => int(i64::try_from(socket.keep_idle_secs).unwrap_or(0)),
            _ => match &socket.kind {
                Kind::Fresh(fresh) => fresh_value(fresh, option),
                Kind::Stream(stream) => stream_value(stream, option),
                Kind::Udp(udp) => udp_value(udp, option),
                _ => missing(option),
            },
        })
    }
}

/// Sets an option of Fast Open.
fn set_fast_open(socket: &mut Socket, name: &str, number: i64, setting: FastOpenSetting) -> Called {
    let pending = u32::try_from(number).unwrap_or(0);
    match (name, &socket.kind) {
        ("TCP_FASTOPEN_CONNECT", Kind::Fresh(_)) => {
            if !setting.may_connect() {
                return error("EOPNOTSUPP");
            }
            socket.defers_connect = number != 0;
            zero()
        }
        ("TCP_FASTOPEN", Kind::Fresh(fresh)) => {
            // For FreeBSD it is a switch, and for sockets that connect, too.
            socket.data_connects = number != 0;
            if setting.may_listen() {
                return set(Some(fresh.set_fast_open(pending)), name);
            }
            zero()
        }
        ("TCP_FASTOPEN", Kind::Listener(listener, _)) => {
            listener.set_fast_open(if setting.may_listen() { pending } else { 0 });
            zero()
        }
        _ => missing(name),
    }
}

/// Notes `SO_KEEPALIVE` and `TCP_KEEPIDLE`, which the stack has as one. Returns what they are together.
fn keepalive(socket: &mut Socket, name: &str, number: i64) -> Option<Duration> {
    match name {
        "SO_KEEPALIVE" => socket.keepalive = number != 0,
        "TCP_KEEPIDLE" => socket.keep_idle_secs = u64::try_from(number).unwrap_or(0),
        _ => {}
    }
    socket
        .keepalive
        .then(|| Duration::from_secs(socket.keep_idle_secs))
}

fn fresh_option(
    socket: &TcpSocket,
    level: &str,
    name: &str,
    number: i64,
    value: OptionValue,
    keeps: Option<Duration>,
) -> Option<io::Result<()>> {
    let bytes = u32::try_from(number).unwrap_or(0);
    let word = u16::try_from(number).unwrap_or(0);
    Some(match (level, name) {
        ("SOL_SOCKET", "SO_RCVBUF") => socket.set_recv_buffer_size(bytes),
        ("SOL_SOCKET", "SO_SNDBUF") => socket.set_send_buffer_size(bytes),
        ("SOL_SOCKET", "SO_KEEPALIVE") | ("SOL_TCP", "TCP_KEEPIDLE") => socket.set_keepalive(keeps),
        ("SOL_SOCKET", "SO_LINGER") => socket.set_linger(linger(value)),
        ("SOL_TCP", "TCP_NODELAY") => socket.set_nodelay(number != 0),
        ("SOL_TCP", "TCP_MAXSEG") => socket.set_max_segment(word),
        ("SOL_TCP", "TCP_KEEPINTVL") => socket.set_keepalive_interval(secs(number)),
        ("SOL_TCP", "TCP_KEEPCNT") => socket.set_keepalive_count(bytes),
        ("SOL_TCP", "TCP_USER_TIMEOUT") => socket.set_user_timeout(user_timeout(number)),
        ("SOL_IP", "IP_TTL") | ("SOL_IPV6", "IPV6_UNICAST_HOPS") => socket.set_ttl(bytes),
        ("SOL_IP", "IP_TOS") | ("SOL_IPV6", "IPV6_TCLASS") => socket.set_tos(bytes),
        _ => return None,
    })
}

fn stream_option(
    stream: &Stream,
    level: &str,
    name: &str,
    number: i64,
    value: OptionValue,
    keeps: Option<Duration>,
) -> Option<io::Result<()>> {
    let stream = Arc::clone(stream);
    let stream = stream.get_ref();
    let bytes = u32::try_from(number).unwrap_or(0);
    let word = u16::try_from(number).unwrap_or(0);
    Some(match (level, name) {
        ("SOL_SOCKET", "SO_RCVBUF") => stream.set_recv_buffer_size(bytes),
        ("SOL_SOCKET", "SO_SNDBUF") => stream.set_send_buffer_size(bytes),
        ("SOL_SOCKET", "SO_KEEPALIVE") | ("SOL_TCP", "TCP_KEEPIDLE") => stream.set_keepalive(keeps),
        ("SOL_SOCKET", "SO_LINGER") => stream.set_linger(linger(value)),
        ("SOL_TCP", "TCP_NODELAY") => stream.set_nodelay(number != 0),
        ("SOL_TCP", "TCP_MAXSEG") => stream.set_max_segment(word),
        ("SOL_TCP", "TCP_KEEPINTVL") => stream.set_keepalive_interval(secs(number)),
        ("SOL_TCP", "TCP_KEEPCNT") => stream.set_keepalive_count(bytes),
        ("SOL_TCP", "TCP_USER_TIMEOUT") => stream.set_user_timeout(user_timeout(number)),
        ("SOL_IP", "IP_TTL") | ("SOL_IPV6", "IPV6_UNICAST_HOPS") => stream.set_ttl(bytes),
        ("SOL_IP", "IP_TOS") | ("SOL_IPV6", "IPV6_TCLASS") => stream.set_tos(bytes),
        _ => return None,
    })
}

fn udp_option(socket: &UdpSocket, level: &str, name: &str, number: i64) -> Option<io::Result<()>> {
    let word = u32::try_from(number).unwrap_or(0);
    Some(match (level, name) {
        ("SOL_SOCKET", "SO_RCVBUF") => socket.set_recv_buffer_size(word),
        ("SOL_IP", "IP_TTL") | ("SOL_IPV6", "IPV6_UNICAST_HOPS") => socket.set_ttl(word),
        ("SOL_IP", "IP_TOS") | ("SOL_IPV6", "IPV6_TCLASS") => socket.set_tos(word),
        _ => return None,
    })
}

/// Returns the pending error and forgets it.
fn so_error(socket: &mut Socket) -> Called {
    let pending = match &socket.kind {
        Kind::Failed => socket.error.take(),
        Kind::Stream(stream) => match stream.get_ref().take_error() {
            Ok(pending) => pending.and_then(|failed| name(&failed)),
            Err(failed) => return Called::Returned(returned(&failed)),
        },
        _ => None,
    };
    int(pending.and_then(errno).unwrap_or(0))
}

fn value<T: Into<i64>>(result: io::Result<T>) -> Called {
    match result {
        Ok(value) => int(value),
        Err(failed) => Called::Returned(returned(&failed)),
    }
}

fn fresh_value(socket: &TcpSocket, option: &str) -> Called {
    match option {
        "SO_SNDBUF" => value(socket.send_buffer_size()),
        "SO_REUSEADDR" => value(socket.reuseaddr()),
        "TCP_NODELAY" => value(socket.nodelay()),
        "TCP_KEEPCNT" => value(socket.keepalive_count()),
        "TCP_KEEPINTVL" => match socket.keepalive_interval() {
            Ok(interval) => int(i64::try_from(interval.as_secs()).unwrap_or(i64::MAX)),
            Err(failed) => Called::Returned(returned(&failed)),
        },
        "IP_TTL" | "IPV6_UNICAST_HOPS" => value(socket.ttl()),
        "IP_TOS" | "IPV6_TCLASS" => value(socket.tos()),
        _ => missing(option),
    }
}

fn stream_value(stream: &Stream, option: &str) -> Called {
    let stream = stream.get_ref();
    match option {
        "SO_RCVBUF" => value(stream.recv_buffer_size()),
        "SO_SNDBUF" => value(stream.send_buffer_size()),
        "TCP_NODELAY" => value(stream.nodelay()),
        "TCP_MAXSEG" => int(stream.info().mss),
        "IP_TTL" | "IPV6_UNICAST_HOPS" => value(stream.ttl()),
        "IP_TOS" | "IPV6_TCLASS" => value(stream.tos()),
        "TCP_USER_TIMEOUT" => match stream.user_timeout() {
            Ok(time) => {
                let millis = time.map_or(0, |time| time.as_millis());
                int(i64::try_from(millis).unwrap_or(i64::MAX))
            }
            Err(_) => error("EINVAL"),
        },
        _ => missing(option),
    }
}

fn udp_value(socket: &UdpSocket, option: &str) -> Called {
    match option {
        "SO_RCVBUF" => value(socket.recv_buffer_size()),
        "IP_TTL" | "IPV6_UNICAST_HOPS" => value(socket.ttl()),
        "IP_TOS" | "IPV6_TCLASS" => value(socket.tos()),
        _ => missing(option),
    }
}
