//! Pings with the machine's sockets: ping sockets, which need no privilege where `net.ipv4.ping_group_range` allows them,
//! else raw ones, which do.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket as StdSocket};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use packet::checksum;
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::dial::Dialer;

/// Time that an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Length of an echo header, in bytes.
const HEADER_BYTES: usize = 8;
/// Largest message.
const MESSAGE_MAX: usize = 65_535;

/// The identifier of the next request from a raw socket.
static IDENT: AtomicU16 = AtomicU16::new(1);

/// One request, and what its answer looks like.
struct Request<'a> {
    is_v4: bool,
    is_raw: bool,
    ident: u16,
    seq: u16,
    payload: &'a [u8],
}

/// Sends one echo request with this payload. Returns whether the same payload came back.
///
/// # Errors
/// The system has no sockets for pings for this program.
pub(super) async fn exchange(
    dialer: &Dialer,
    to: IpAddr,
    seq: u16,
    payload: &[u8],
) -> io::Result<bool> {
    let (socket, is_raw) = open(to)?;
    dialer.prepare(SockRef::from(&socket))?;
    socket.set_nonblocking(true)?;
    if socket
        .connect(&SockAddr::from(SocketAddr::new(to, 0)))
        .is_err()
    {
        return Ok(false);
    }
    let request = Request {
        is_v4: to.is_ipv4(),
        is_raw,
        ident: IDENT.fetch_add(1, Ordering::Relaxed),
        seq,
        payload,
    };
    // Such a socket is sent to and received from as one of UDP.
    let socket = UdpSocket::from_std(StdSocket::from(socket))?;
    let answered = async {
        socket.send(&request.message()).await.ok()?;
        loop {
            let mut answer = Vec::with_capacity(MESSAGE_MAX);
            socket.recv_buf(&mut answer).await.ok()?;
            if request.is_answered_by(&answer) {
                return Some(());
            }
        }
    };
    let answered = timeout(ANSWER_TIMEOUT, answered).await;
    Ok(matches!(answered, Ok(Some(()))))
}

fn open(to: IpAddr) -> io::Result<(Socket, bool)> {
    let (domain, protocol) = match to {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
    };
    match Socket::new(domain, Type::DGRAM, Some(protocol)) {
        Ok(socket) => Ok((socket, false)),
        Err(refused) => Socket::new(domain, Type::RAW, Some(protocol))
            .map(|socket| (socket, true))
            .map_err(|_| refused),
    }
}

impl Request<'_> {
    fn message(&self) -> Vec<u8> {
        let kind = if self.is_v4 { 8 } else { 128 };
        let mut message = vec![kind, 0, 0, 0];
        message.extend(self.ident.to_be_bytes());
        message.extend(self.seq.to_be_bytes());
        message.extend(self.payload);
        // The kernel computes that of IPv6, and everything for a ping socket.
        if self.is_v4 && self.is_raw {
            let sum = checksum::of(&message).to_be_bytes();
            if let Some(field) = message.get_mut(2..4) {
                field.copy_from_slice(&sum);
            }
        }
        message
    }

    fn is_answered_by(&self, answer: &[u8]) -> bool {
        // A raw socket of IPv4 shows the IP header, too, and the answers to others.
        let skipped = match answer.first() {
            Some(first) if self.is_raw && self.is_v4 => usize::from(first & 0xf) * 4,
            _ => 0,
        };
        let answer = answer.get(skipped..).unwrap_or_default();
        let Some((header, echoed)) = answer.split_at_checked(HEADER_BYTES) else {
            return false;
        };
        let kind = if self.is_v4 { 0 } else { 129 };
        let is_mine = !self.is_raw || header.get(4..6) == Some(&self.ident.to_be_bytes()[..]);
        is_mine
            && header.first() == Some(&kind)
            && header.get(6..8) == Some(&self.seq.to_be_bytes()[..])
            && echoed == self.payload
    }
}
