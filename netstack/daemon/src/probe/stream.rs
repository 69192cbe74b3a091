//! TCP clients.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::{ANSWER_TIMEOUT, Moved, RoundTrips, noise, now};

/// Bytes per write and read.
const BLOCK_BYTES: usize = 256 << 10;

/// Connects to `target` without Nagle's delay, and with CUBIC if the kernel has it: a system default
/// such as BBR would measure its own pacing.
///
/// # Errors
///
/// Returns the kernel's error: refused, unreachable, or no answer in [`ANSWER_TIMEOUT`].
pub fn connect(target: SocketAddr) -> std::io::Result<TcpStream> {
    connect_within(target, ANSWER_TIMEOUT)
}

/// As [`connect`], with `limit` as the time limit of connecting and of each later read and write.
///
/// # Errors
///
/// As [`connect`].
pub fn connect_within(target: SocketAddr, limit: Duration) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(target), Type::STREAM, None)?;
    // A kernel without CUBIC keeps its default.
    let _ = socket.set_tcp_congestion(b"cubic");
    socket.set_tcp_nodelay(true)?;
    socket.connect_timeout(&target.into(), limit)?;
    socket.set_read_timeout(Some(limit))?;
    socket.set_write_timeout(Some(limit))?;
    Ok(socket.into())
}

fn open(target: SocketAddr) -> Result<TcpStream, String> {
    connect(target).map_err(|e| format!("cannot connect to {target}: {e}"))
}

/// Runs `write` on a thread of its own and `read` on this one, for the two directions of `stream`.
///
/// If reading fails, it shuts the stream down, so that a writer that waits for room ends, too.
///
/// # Errors
///
/// Returns the error of `read`, or else that of `write`.
pub fn both_ways<W: Send, R>(
    stream: &TcpStream,
    write: impl FnOnce() -> Result<W, String> + Send,
    read: impl FnOnce() -> Result<R, String>,
) -> Result<(W, R), String> {
    thread::scope(|scope| {
        let writer = scope.spawn(write);
        let received = read();
        if received.is_err() {
            // It fails only if the connection is gone already.
            let _ = stream.shutdown(Shutdown::Both);
        }
        let sent = writer
            .join()
            .unwrap_or_else(|_| Err("the writer panicked".to_owned()));
        received.and_then(|received| sent.map(|sent| (sent, received)))
    })
}

/// Sends `total` bytes to an echo service and reads them back at the same time, compares each byte,
/// closes its half and expects the end of the stream.
///
/// # Errors
///
/// Returns the position of the first byte that differs, or the connection's error.
pub fn echo(target: SocketAddr, total: u64) -> Result<Moved, String> {
    let stream = open(target)?;
    // A period that no segment or buffer size divides: a shifted or repeated piece cannot match.
    let period = noise(u64::from(target.port()), 1_048_573);
    let started = now();
    let failed = |what: &str, e: std::io::Error| format!("TCP echo with {target}: {what}: {e}");
    let write = || {
        let mut sent = 0;
        while sent < total {
            let block = block_at(&period, sent, total, BLOCK_BYTES);
            (&stream).write_all(block).map_err(|e| failed("write", e))?;
            sent += block.len() as u64;
        }
        stream
            .shutdown(Shutdown::Write)
            .map_err(|e| failed("shutdown", e))
    };
    let read = || {
        let mut buffer = vec![0; BLOCK_BYTES];
        let mut at = 0;
        loop {
            let got = (&stream).read(&mut buffer).map_err(|e| failed("read", e))?;
            if got == 0 {
                break;
            }
            let mut rest = &buffer[..got];
            while !rest.is_empty() {
                let want = block_at(&period, at, total, rest.len());
                let (now, later) = rest.split_at(want.len());
                if now != want || want.is_empty() {
                    return Err(format!(
                        "TCP echo with {target}: wrong bytes after {at} of {total}"
                    ));
                }
                at += want.len() as u64;
                rest = later;
            }
        }
        if at == total {
            Ok(())
        } else {
            Err(format!(
                "TCP echo with {target}: ended after {at} of {total} bytes"
            ))
        }
    };
    both_ways(&stream, write, read)?;
    Ok(Moved {
        bytes: total,
        took: now().saturating_sub(started),
    })
}

/// Returns the bytes of the stream from position `at` on: as many as lie in one piece, at most `most`.
fn block_at(period: &[u8], at: u64, total: u64, most: usize) -> &[u8] {
    let start = (at % period.len() as u64) as usize;
    let left = usize::try_from(total - at).unwrap_or(usize::MAX);
    let end = period.len().min(start + most.min(left));
    &period[start..end]
}

/// Writes to a discard service for `duration`, closes its half, and waits until the service has read
/// everything and closes, too.
///
/// # Errors
///
/// Returns the connection's error.
pub fn upload(target: SocketAddr, duration: Duration) -> Result<Moved, String> {
    upload_while(target, |_, took| took < duration)
}

/// As [`upload`], for at least `total` bytes.
///
/// # Errors
///
/// As [`upload`].
pub fn upload_bytes(target: SocketAddr, total: u64) -> Result<Moved, String> {
    upload_while(target, |bytes, _| bytes < total)
}

fn upload_while(
    target: SocketAddr,
    go_on: impl Fn(u64, Duration) -> bool,
) -> Result<Moved, String> {
    let mut stream = open(target)?;
    let failed = |e: std::io::Error| format!("TCP to {target}: {e}");
    let block = noise(9, BLOCK_BYTES);
    let started = now();
    let mut bytes = 0;
    while go_on(bytes, now().saturating_sub(started)) {
        stream.write_all(&block).map_err(failed)?;
        bytes += block.len() as u64;
    }
    stream.shutdown(Shutdown::Write).map_err(failed)?;
    match stream.read(&mut [0; 1]).map_err(failed)? {
        0 => Ok(Moved {
            bytes,
            took: now().saturating_sub(started),
        }),
        _ => Err(format!("TCP to {target}: a discard service sent bytes")),
    }
}

/// Characters in a line of chargen, without its end.
const LINE_CHARS: usize = 72;
/// The pattern repeats after each of the 95 printable characters has begun a line.
const CHARGEN_PERIOD: usize = 95 * (LINE_CHARS + 2);

/// Returns the character at position `at` of RFC 864's pattern.
fn chargen_at(at: usize) -> u8 {
    let (line, column) = (at / (LINE_CHARS + 2), at % (LINE_CHARS + 2));
    match column {
        LINE_CHARS => b'\r',
        column if column > LINE_CHARS => b'\n',
        column => b' ' + ((line + column) % 95) as u8,
    }
}

/// Reads from a chargen service for `duration` and compares every character.
///
/// # Errors
///
/// Returns the position of the first wrong character, or the connection's error.
pub fn download(target: SocketAddr, duration: Duration) -> Result<Moved, String> {
    download_while(target, |_, took| took < duration)
}

/// As [`download`], for at least `total` bytes.
///
/// # Errors
///
/// As [`download`].
pub fn download_bytes(target: SocketAddr, total: u64) -> Result<Moved, String> {
    download_while(target, |bytes, _| bytes < total)
}

fn download_while(
    target: SocketAddr,
    go_on: impl Fn(u64, Duration) -> bool,
) -> Result<Moved, String> {
    let mut stream = open(target)?;
    let reference: Vec<u8> = (0..CHARGEN_PERIOD + BLOCK_BYTES).map(chargen_at).collect();
    let mut buffer = vec![0; BLOCK_BYTES];
    let started = now();
    let mut bytes: u64 = 0;
    while go_on(bytes, now().saturating_sub(started)) {
        let got = stream
            .read(&mut buffer)
            .map_err(|e| format!("TCP from {target}: {e}"))?;
        let start = (bytes % CHARGEN_PERIOD as u64) as usize;
        if got == 0 {
            return Err(format!("TCP from {target}: ended after {bytes} bytes"));
        }
        if buffer[..got] != reference[start..start + got] {
            return Err(format!("TCP from {target}: wrong characters after {bytes}"));
        }
        bytes += got as u64;
    }
    Ok(Moved {
        bytes,
        took: now().saturating_sub(started),
    })
}

/// Measures `count` echoes of `len` bytes on one connection, one after the other.
///
/// # Errors
///
/// Returns an error if other bytes come back, or the connection's error.
pub fn round_trips(target: SocketAddr, count: usize, len: usize) -> Result<RoundTrips, String> {
    let mut stream = open(target)?;
    let message = noise(11, len);
    let mut answer = vec![0; len];
    let mut samples = Vec::with_capacity(count);
    for _ in 0..count {
        let sent_at = now();
        exchange(&mut stream, &message, &mut answer)
            .map_err(|e| format!("TCP echo with {target}: {e}"))?;
        samples.push(now().saturating_sub(sent_at));
    }
    Ok(RoundTrips::new(samples))
}

/// Connects, echoes `len` bytes and closes, `count` times, one after the other. Returns the total
/// time.
///
/// # Errors
///
/// Returns the number of the first connection that failed, and its error.
pub fn connections(target: SocketAddr, count: u64, len: usize) -> Result<Duration, String> {
    let message = noise(13, len);
    let mut answer = vec![0; len];
    let started = now();
    for number in 1..=count {
        connect(target)
            .and_then(|mut stream| exchange(&mut stream, &message, &mut answer))
            .map_err(|e| format!("connection {number} of {count} to {target}: {e}"))?;
    }
    Ok(now().saturating_sub(started))
}

/// Writes `message` and reads the same number of bytes back.
///
/// # Errors
///
/// Returns the connection's error, or [`ErrorKind::InvalidData`] if other bytes come back.
pub fn exchange(stream: &mut TcpStream, message: &[u8], answer: &mut [u8]) -> std::io::Result<()> {
    stream.write_all(message)?;
    stream.read_exact(answer)?;
    if message == answer {
        Ok(())
    } else {
        Err(std::io::Error::new(
            ErrorKind::InvalidData,
            "other bytes came back",
        ))
    }
}

/// Writes `request` and reads until the service closes.
///
/// # Errors
///
/// Returns the connection's error.
pub fn read_all(target: SocketAddr, request: &[u8]) -> Result<Vec<u8>, String> {
    let mut stream = open(target)?;
    let mut answer = Vec::new();
    stream
        .write_all(request)
        .and_then(|()| stream.read_to_end(&mut answer))
        .map_err(|e| format!("TCP with {target}: {e}"))?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pattern_is_that_of_the_rfc() {
        let text: Vec<u8> = (0..CHARGEN_PERIOD).map(chargen_at).collect();
        let lines: Vec<&[u8]> = text.chunks(LINE_CHARS + 2).collect();
        assert!(lines[0].starts_with(b" !\"#$%&'()*+,-./0123456789:;<=>?@AB"));
        assert!(lines[1].starts_with(b"!\"#$%&'()*+,-./0123456789:;<=>?@ABC"));
        assert!(lines[94].starts_with(b"~ !\"#"));
        assert!(lines.iter().all(|line| line.ends_with(b"\r\n")));
        assert_eq!(chargen_at(CHARGEN_PERIOD), chargen_at(0));
    }
}
