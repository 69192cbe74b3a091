//! Options of the socket that an `nc` carries.

use std::io;
use std::time::Duration;

use netstack::net::{TcpSocket, TcpStream, UdpSocket};
use serde::{Deserialize, Serialize};

/// Options to set. What is left out stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SocketOptions {
    /// The time to live, in IPv6 the hop limit.
    pub(crate) ttl: Option<u32>,
    /// The type of service, in IPv6 the traffic class.
    pub(crate) tos: Option<u32>,
    /// True: small segments do not wait for an acknowledgment.
    pub(crate) nodelay: Option<bool>,
    /// Time after which a close gives up what was not sent; 0 resets at once.
    pub(crate) linger_millis: Option<u64>,
    /// Silence of the peer after which it is probed; 0: never.
    pub(crate) keepalive_millis: Option<u64>,
    /// Time from one probe to the next.
    pub(crate) keepalive_interval_millis: Option<u64>,
    /// Probes without an answer that end a connection.
    pub(crate) keepalive_count: Option<u32>,
}

/// Sets options at a `TcpSocket` or a `TcpStream`: both have the same setters.
macro_rules! set_tcp {
    ($options:expr, $socket:expr) => {{
        let (options, socket) = ($options, $socket);
        if let Some(ttl) = options.ttl {
            socket.set_ttl(ttl)?;
        }
        if let Some(tos) = options.tos {
            socket.set_tos(tos)?;
        }
        if let Some(nodelay) = options.nodelay {
            socket.set_nodelay(nodelay)?;
        }
        if let Some(millis) = options.linger_millis {
            socket.set_linger(Some(Duration::from_millis(millis)))?;
        }
        // First, so that the first probe is followed by others at the interval that is asked for.
        if let Some(millis) = options.keepalive_interval_millis {
            socket.set_keepalive_interval(Duration::from_millis(millis))?;
        }
        if let Some(count) = options.keepalive_count {
            socket.set_keepalive_count(count)?;
        }
        if let Some(millis) = options.keepalive_millis {
            socket.set_keepalive((millis > 0).then(|| Duration::from_millis(millis)))?;
        }
        Ok(())
    }};
}

impl SocketOptions {
    /// Sets them at a socket that is not connected yet.
    ///
    /// # Errors
    /// A value is out of range.
    pub(super) fn set_socket(&self, socket: &TcpSocket) -> io::Result<()> {
        set_tcp!(self, socket)
    }

    /// Sets them at a connection.
    ///
    /// # Errors
    /// A value is out of range.
    pub(super) fn set_stream(&self, stream: &TcpStream) -> io::Result<()> {
        set_tcp!(self, stream)
    }

    /// Sets those that datagrams have.
    ///
    /// # Errors
    /// A value is out of range, or an option is one of connections.
    pub(super) fn set_datagrams(&self, socket: &UdpSocket) -> io::Result<()> {
        let of_both = Self {
            ttl: self.ttl,
            tos: self.tos,
            ..Self::default()
        };
        if *self != of_both {
            let message = "datagrams have only the options ttl and tos: leave the others out";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        if let Some(ttl) = self.ttl {
            socket.set_ttl(ttl)?;
        }
        if let Some(tos) = self.tos {
            socket.set_tos(tos)?;
        }
        Ok(())
    }
}
