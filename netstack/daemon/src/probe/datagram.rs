//! UDP clients.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::{ANSWER_TIMEOUT, RoundTrips, noise, now};

/// Most bytes that a UDP datagram carries over IPv4: 65,535 less the IP and UDP headers.
pub const MAX_DATAGRAM_BYTES: usize = 65_507;

/// Opens a UDP socket connected to `target`, with room for the largest datagrams.
///
/// # Errors
///
/// Returns the kernel's reason.
pub fn connect(target: SocketAddr) -> Result<UdpSocket, String> {
    let (domain, any) = match target {
        SocketAddr::V4(_) => (Domain::IPV4, IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        SocketAddr::V6(_) => (Domain::IPV6, IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
    };
    let open = || {
        let socket = Socket::new(domain, Type::DGRAM, None)?;
        socket.set_recv_buffer_size(4 << 20)?;
        socket.set_send_buffer_size(4 << 20)?;
        socket.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        socket.bind(&SocketAddr::new(any, 0).into())?;
        socket.connect(&target.into())?;
        Ok::<UdpSocket, std::io::Error>(socket.into())
    };
    open().map_err(|e| format!("cannot open a UDP socket to {target}: {e}"))
}

/// Sends a datagram of each size to an echo service, one after the other, and compares the answers.
/// Returns their number.
///
/// # Errors
///
/// Returns the first size without an answer in [`ANSWER_TIMEOUT`], or with another answer.
pub fn echo(target: SocketAddr, sizes: impl Iterator<Item = usize>) -> Result<u64, String> {
    let socket = connect(target)?;
    let source = noise(u64::from(target.port()), MAX_DATAGRAM_BYTES * 2);
    let mut buffer = vec![0; 1 << 17];
    let mut count = 0;
    for size in sizes {
        // Another part of the noise each time, so that a late answer cannot pass for this one.
        let start = count as usize % MAX_DATAGRAM_BYTES;
        exchange(&socket, &source[start..start + size], &mut buffer)
            .map_err(|why| format!("UDP echo of {size} bytes with {target}: {why}"))?;
        count += 1;
    }
    Ok(count)
}

fn exchange(socket: &UdpSocket, datagram: &[u8], buffer: &mut [u8]) -> Result<Duration, String> {
    let sent_at = now();
    socket.send(datagram).map_err(|e| e.to_string())?;
    match socket.recv(buffer) {
        Ok(got) if buffer[..got] == *datagram => Ok(now().saturating_sub(sent_at)),
        Ok(got) => Err(format!("{got} other bytes came back")),
        Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            Err("no answer".to_owned())
        }
        Err(e) => Err(e.to_string()),
    }
}

/// Measures `count` echoes of `len` bytes, one after the other.
///
/// # Errors
///
/// As [`echo`].
pub fn round_trips(target: SocketAddr, count: usize, len: usize) -> Result<RoundTrips, String> {
    let socket = connect(target)?;
    let datagram = noise(7, len);
    let mut buffer = vec![0; 1 << 17];
    let samples = (0..count)
        .map(|_| exchange(&socket, &datagram, &mut buffer))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|why| format!("UDP echo of {len} bytes with {target}: {why}"))?;
    Ok(RoundTrips::new(samples))
}

/// Sends one datagram and returns the answer.
///
/// # Errors
///
/// Returns an error if no answer arrives in [`ANSWER_TIMEOUT`].
pub fn ask(target: SocketAddr, question: &[u8]) -> Result<Vec<u8>, String> {
    let socket = connect(target)?;
    let mut buffer = vec![0; 1 << 17];
    let got = socket
        .send(question)
        .and_then(|_| socket.recv(&mut buffer))
        .map_err(|e| format!("no UDP answer from {target}: {e}"))?;
    buffer.truncate(got);
    Ok(buffer)
}
