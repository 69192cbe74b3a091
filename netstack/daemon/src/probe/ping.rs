//! Echo requests of any size, over raw ICMP sockets.

use std::fmt;
use std::io::{self, ErrorKind, Read as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::{ANSWER_TIMEOUT, RoundTrips, noise, now};

/// Most bytes that an echo request carries: 65,535 less the IPv4 and the ICMP header.
pub const MAX_PING_BYTES: usize = 65_507;
const ICMP_HEADER_BYTES: usize = 8;

/// An error of a ping.
#[derive(Debug)]
pub enum PingError {
    /// No raw socket could be opened.
    Socket {
        /// The address to ping.
        target: IpAddr,
        /// The kernel's reason.
        error: io::Error,
    },
    /// No answer arrived in [`ANSWER_TIMEOUT`].
    NoAnswer {
        /// The address that was pinged.
        target: IpAddr,
        /// The number of bytes sent.
        len: usize,
    },
    /// An answer arrived with other bytes than those sent.
    OtherBytes {
        /// The address that was pinged.
        target: IpAddr,
        /// The number of bytes sent.
        len: usize,
    },
    /// The kernel refused to send or to receive.
    Io {
        /// The address that was pinged.
        target: IpAddr,
        /// The number of bytes sent.
        len: usize,
        /// The kernel's reason.
        error: io::Error,
    },
}

impl fmt::Display for PingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket { target, error } => {
                write!(f, "cannot open a raw socket to ping {target}: {error}")
            }
            Self::NoAnswer { target, len } => {
                write!(f, "ping {target} with {len} bytes: no answer")
            }
            Self::OtherBytes { target, len } => {
                write!(f, "ping {target} with {len} bytes: other bytes came back")
            }
            Self::Io { target, len, error } => {
                write!(f, "ping {target} with {len} bytes: {error}")
            }
        }
    }
}

impl std::error::Error for PingError {}

impl From<PingError> for String {
    fn from(error: PingError) -> Self {
        error.to_string()
    }
}

/// Pings one address.
#[derive(Debug)]
pub struct Pinger {
    socket: Socket,
    target: IpAddr,
    ident: u16,
    sequence: u16,
    buffer: Vec<u8>,
}

impl Pinger {
    /// Creates a pinger in this namespace; `ident` must differ from that of every other pinger there.
    ///
    /// # Errors
    ///
    /// Returns an error without `CAP_NET_RAW` in the namespace, or without a route to `target`.
    pub fn new(target: IpAddr, ident: u16) -> Result<Self, PingError> {
        let (domain, protocol, any) = match target {
            IpAddr::V4(_) => (
                Domain::IPV4,
                Protocol::ICMPV4,
                IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            ),
            IpAddr::V6(_) => (
                Domain::IPV6,
                Protocol::ICMPV6,
                IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            ),
        };
        let open = || {
            let socket = Socket::new(domain, Type::RAW, Some(protocol))?;
            socket.set_recv_buffer_size(1 << 20)?;
            socket.set_send_buffer_size(1 << 20)?;
            socket.set_read_timeout(Some(ANSWER_TIMEOUT))?;
            socket.bind(&SocketAddr::new(any, 0).into())?;
            socket.connect(&SocketAddr::new(target, 0).into())?;
            Ok::<_, io::Error>(socket)
        };
        let socket = open().map_err(|error| PingError::Socket { target, error })?;
        Ok(Self {
            socket,
            target,
            ident,
            sequence: 0,
            buffer: vec![0; 1 << 17],
        })
    }

    /// Sends `len` bytes, waits until the same bytes come back, and returns the round trip time.
    ///
    /// # Errors
    ///
    /// Returns an error if no answer arrives in [`ANSWER_TIMEOUT`], or one with other bytes.
    pub fn ping(&mut self, len: usize) -> Result<Duration, PingError> {
        self.sequence = self.sequence.wrapping_add(1);
        let target = self.target;
        let payload = noise(u64::from(self.sequence), len);
        let request = self.request(&payload);
        let sent_at = now();
        self.socket
            .send(&request)
            .map_err(|error| PingError::Io { target, len, error })?;
        loop {
            let got = match self.socket.read(&mut self.buffer) {
                Ok(got) => got,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Err(PingError::NoAnswer { target, len });
                }
                Err(error) => return Err(PingError::Io { target, len, error }),
            };
            let took = now().saturating_sub(sent_at);
            let Some(answer) = self.answer(got) else {
                continue;
            };
            return if answer == payload {
                Ok(took)
            } else {
                Err(PingError::OtherBytes { target, len })
            };
        }
    }

    /// Measures `count` pings of `len` bytes, one after the other.
    ///
    /// # Errors
    ///
    /// As [`Self::ping`].
    pub fn round_trips(&mut self, count: usize, len: usize) -> Result<RoundTrips, PingError> {
        let samples = (0..count)
            .map(|_| self.ping(len))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(RoundTrips::new(samples))
    }

    fn request(&self, payload: &[u8]) -> Vec<u8> {
        let kind = if self.target.is_ipv4() { 8 } else { 128 };
        let mut request = vec![kind, 0, 0, 0];
        request.extend_from_slice(&self.ident.to_be_bytes());
        request.extend_from_slice(&self.sequence.to_be_bytes());
        request.extend_from_slice(payload);
        // The kernel chooses the IPv6 source address, so it computes the ICMPv6 checksum itself.
        if self.target.is_ipv4() {
            let sum = internet_checksum(&request);
            request[2..4].copy_from_slice(&sum.to_be_bytes());
        }
        request
    }

    /// Returns the payload of the message just read if it answers the last request.
    fn answer(&self, got: usize) -> Option<&[u8]> {
        let mut message = self.buffer.get(..got)?;
        let wanted = match self.target {
            // A raw IPv4 socket returns the IP header, too.
            IpAddr::V4(_) => {
                let header_bytes = usize::from(message.first()? & 0x0f) * 4;
                message = message.get(header_bytes..)?;
                0
            }
            IpAddr::V6(_) => 129,
        };
        let (header, payload) = message.split_at_checked(ICMP_HEADER_BYTES)?;
        let ours = header[0] == wanted
            && header[4..6] == self.ident.to_be_bytes()
            && header[6..8] == self.sequence.to_be_bytes();
        ours.then_some(payload)
    }
}

/// Computes the Internet checksum (RFC 1071), for packets built by hand.
pub fn internet_checksum(bytes: &[u8]) -> u16 {
    let mut sum: u64 = 0;
    for pair in bytes.chunks(2) {
        let low = pair.get(1).copied().unwrap_or(0);
        sum += u64::from(u16::from_be_bytes([pair[0], low]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_of_a_checksummed_message_is_zero() {
        for len in [0, 1, 2, 7, 1000] {
            let mut bytes = noise(len as u64, len + 4);
            bytes[2..4].fill(0);
            let sum = internet_checksum(&bytes);
            bytes[2..4].copy_from_slice(&sum.to_be_bytes());
            assert_eq!(internet_checksum(&bytes), 0);
        }
    }
}
