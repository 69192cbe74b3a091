//! Socket options of the kernel.

use std::io;
use std::time::Duration;

use rustix::net::sockopt;
use socket2::Socket;

use crate::pktscript::host::OptionValue;

fn secs(value: i64) -> Duration {
    Duration::from_secs(u64::try_from(value).unwrap_or(0))
}

fn int<T: TryInto<i64>>(value: T) -> OptionValue {
    OptionValue::Int(value.try_into().unwrap_or(i64::MAX))
}

/// Sets an option; `None` if it is not known here.
pub(super) fn set(
    socket: &Socket,
    level: &str,
    name: &str,
    value: OptionValue,
) -> Option<io::Result<()>> {
    let number = match value {
        OptionValue::Int(number) => number,
        OptionValue::Linger { on, seconds } => {
            let linger = on.then(|| secs(seconds));
            return (name == "SO_LINGER").then(|| socket.set_linger(linger));
        }
    };
    let size = usize::try_from(number).unwrap_or(0);
    let word = u32::try_from(number).unwrap_or(0);
    let byte = u8::try_from(number).unwrap_or(0);
    Some(match (level, name) {
        ("SOL_SOCKET", "SO_REUSEADDR") => socket.set_reuse_address(number != 0),
        ("SOL_SOCKET", "SO_RCVBUF") => socket.set_recv_buffer_size(size),
        ("SOL_SOCKET", "SO_SNDBUF") => socket.set_send_buffer_size(size),
        ("SOL_SOCKET", "SO_KEEPALIVE") => socket.set_keepalive(number != 0),
        ("SOL_TCP", "TCP_NODELAY") => socket.set_tcp_nodelay(number != 0),
        ("SOL_TCP", "TCP_CORK") => {
            sockopt::set_tcp_cork(socket, number != 0).map_err(io::Error::from)
        }
        ("SOL_TCP", "TCP_QUICKACK") => {
            sockopt::set_tcp_quickack(socket, number != 0).map_err(io::Error::from)
        }
        ("SOL_TCP", "TCP_KEEPIDLE") => {
            sockopt::set_tcp_keepidle(socket, secs(number)).map_err(io::Error::from)
        }
        ("SOL_TCP", "TCP_KEEPINTVL") => {
            sockopt::set_tcp_keepintvl(socket, secs(number)).map_err(io::Error::from)
        }
        ("SOL_TCP", "TCP_KEEPCNT") => {
            sockopt::set_tcp_keepcnt(socket, word).map_err(io::Error::from)
        }
        ("SOL_TCP", "TCP_USER_TIMEOUT") => {
            sockopt::set_tcp_user_timeout(socket, word).map_err(io::Error::from)
        }
        ("SOL_TCP", "TCP_MAXSEG") => socket.set_tcp_mss(word),
        ("SOL_IP", "IP_TTL") => socket.set_ttl_v4(word),
        ("SOL_IP", "IP_TOS") => sockopt::set_ip_tos(socket, byte).map_err(io::Error::from),
        ("SOL_IPV6", "IPV6_UNICAST_HOPS") => socket.set_unicast_hops_v6(word),
        ("SOL_IPV6", "IPV6_TCLASS") => {
            sockopt::set_ipv6_tclass(socket, word).map_err(io::Error::from)
        }
        _ => return None,
    })
}

/// Reads an option; `None` if it is not known here.
pub(super) fn get(socket: &Socket, level: &str, name: &str) -> Option<io::Result<OptionValue>> {
    Some(match (level, name) {
        ("SOL_SOCKET", "SO_ERROR") => socket.take_error().map(|error| {
            let number = error.and_then(|error| error.raw_os_error());
            int(number.unwrap_or(0))
        }),
        ("SOL_SOCKET", "SO_RCVBUF") => socket.recv_buffer_size().map(int),
        ("SOL_SOCKET", "SO_SNDBUF") => socket.send_buffer_size().map(int),
        ("SOL_SOCKET", "SO_REUSEADDR") => socket.reuse_address().map(int),
        ("SOL_SOCKET", "SO_KEEPALIVE") => socket.keepalive().map(int),
        ("SOL_SOCKET", "SO_LINGER") => socket.linger().map(|linger| OptionValue::Linger {
            on: linger.is_some(),
            seconds: linger.map_or(0, |time| i64::try_from(time.as_secs()).unwrap_or(i64::MAX)),
        }),
        ("SOL_TCP", "TCP_NODELAY") => socket.tcp_nodelay().map(int),
        ("SOL_TCP", "TCP_MAXSEG") => socket.tcp_mss().map(int),
        ("SOL_TCP", "TCP_KEEPIDLE") => socket.tcp_keepalive_time().map(|time| int(time.as_secs())),
        ("SOL_TCP", "TCP_KEEPINTVL") => socket
            .tcp_keepalive_interval()
            .map(|time| int(time.as_secs())),
        ("SOL_TCP", "TCP_KEEPCNT") => socket.tcp_keepalive_retries().map(int),
        ("SOL_TCP", "TCP_USER_TIMEOUT") => sockopt::tcp_user_timeout(socket)
            .map(int)
            .map_err(io::Error::from),
        ("SOL_IP", "IP_TTL") => socket.ttl_v4().map(int),
        ("SOL_IP", "IP_TOS") => socket.tos_v4().map(int),
        ("SOL_IPV6", "IPV6_UNICAST_HOPS") => socket.unicast_hops_v6().map(int),
        ("SOL_IPV6", "IPV6_TCLASS") => sockopt::ipv6_tclass(socket)
            .map(int)
            .map_err(io::Error::from),
        _ => return None,
    })
}
