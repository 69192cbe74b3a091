//! TCP: bulk in, bulk out, echo, round trips, and connections per second.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use socket2::{Domain, Protocol, Socket, Type};

use super::{ANSWER_TIMEOUT, RoundTrips};
use crate::clock::Stopwatch;
use crate::server::BULK_BYTES;

/// The result of a bulk transfer.
#[derive(Clone, Copy, Debug)]
pub struct Moved {
    /// Bytes that reached the server (in) or the client (out, echo).
    pub bytes: u64,
    /// Seconds from the first byte to the end of the slowest flow.
    pub seconds: f64,
}

impl Moved {
    /// Returns the rate in gigabits per second.
    pub fn gbps(self) -> f64 {
        self.bytes as f64 * 8.0 / self.seconds / 1e9
    }

    fn all(flows: impl IntoIterator<Item = Result<Moved>>) -> Result<Moved> {
        let mut total = Moved {
            bytes: 0,
            seconds: f64::MIN_POSITIVE,
        };
        for flow in flows {
            let flow = flow?;
            total.bytes += flow.bytes;
            total.seconds = total.seconds.max(flow.seconds);
        }
        Ok(total)
    }
}

/// Returns a connection with CUBIC (whatever the default of the host is), no Nagle, and time limits.
pub fn connect(to: SocketAddr) -> Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    socket
        .set_tcp_congestion(b"cubic")
        .context("client: CUBIC is not available (modprobe tcp_cubic)")?;
    socket.set_tcp_nodelay(true)?;
    socket.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    socket.set_write_timeout(Some(ANSWER_TIMEOUT))?;
    // A blocking connect, so that its time includes no poll.
    socket
        .connect(&to.into())
        .with_context(|| format!("connect to {to}"))?;
    Ok(socket.into())
}

fn each_flow(
    to: SocketAddr,
    flows: usize,
    run: impl Fn(TcpStream, Stopwatch) -> Result<Moved> + Sync,
) -> Result<Moved> {
    let streams = (0..flows)
        .map(|_| connect(to))
        .collect::<Result<Vec<_>>>()?;
    let clock = Stopwatch::start();
    thread::scope(|scope| {
        let run = &run;
        let threads: Vec<_> = streams
            .into_iter()
            .map(|stream| scope.spawn(move || run(stream, clock)))
            .collect();
        Moved::all(threads.into_iter().map(|thread| {
            thread
                .join()
                .map_err(|_| anyhow!("a client thread panicked"))?
        }))
    })
}

/// Sends to a discard service for `time`; the measurement ends when the service has read everything and
/// closed its half.
pub fn bulk_in(to: SocketAddr, flows: usize, time: Duration) -> Result<Moved> {
    each_flow(to, flows, |mut stream, clock| {
        let buffer = vec![b'x'; BULK_BYTES];
        let mut bytes = 0;
        while clock.elapsed() < time {
            bytes += stream.write(&buffer).context("write to discard")? as u64;
        }
        stream.shutdown(Shutdown::Write)?;
        let rest = stream
            .read(&mut [0; 1])
            .context("wait for discard to read everything and close")?;
        ensure!(rest == 0, "discard sent a byte");
        Ok(Moved {
            bytes,
            seconds: clock.seconds(),
        })
    })
}

/// Receives from a chargen service for `time`.
pub fn bulk_out(to: SocketAddr, flows: usize, time: Duration) -> Result<Moved> {
    each_flow(to, flows, |mut stream, clock| {
        let mut buffer = vec![0; BULK_BYTES];
        let mut bytes = 0;
        while clock.elapsed() < time {
            let read = stream.read(&mut buffer).context("read from chargen")?;
            ensure!(read > 0, "chargen closed after {bytes} bytes");
            bytes += read as u64;
        }
        Ok(Moved {
            bytes,
            seconds: clock.seconds(),
        })
    })
}

/// Sends to an echo service on one connection and receives the bytes again; counts each byte once.
pub fn echo(to: SocketAddr, time: Duration) -> Result<Moved> {
    each_flow(to, 1, |mut reader, clock| {
        let mut writer = reader.try_clone()?;
        let sender = thread::spawn(move || -> Result<u64> {
            let buffer = vec![b'x'; BULK_BYTES];
            let mut bytes = 0;
            while clock.elapsed() < time {
                bytes += writer.write(&buffer).context("write to echo")? as u64;
            }
            writer.shutdown(Shutdown::Write)?;
            Ok(bytes)
        });
        let mut buffer = vec![0; BULK_BYTES];
        let mut bytes = 0;
        loop {
            match reader.read(&mut buffer).context("read from echo")? {
                0 => break,
                read => bytes += read as u64,
            }
        }
        let seconds = clock.seconds();
        let sent = sender
            .join()
            .map_err(|_| anyhow!("the writing thread panicked"))??;
        ensure!(sent == bytes, "{sent} bytes sent, {bytes} came back");
        Ok(Moved { bytes, seconds })
    })
}

/// Measures round trips of one byte for `time`.
pub fn round_trips(to: SocketAddr, time: Duration) -> Result<RoundTrips> {
    let mut stream = connect(to)?;
    let clock = Stopwatch::start();
    let mut nanos = Vec::new();
    while clock.elapsed() < time {
        let trip = Stopwatch::start();
        ping(&mut stream)?;
        nanos.push(trip.elapsed().as_nanos() as u64);
    }
    RoundTrips::of(nanos).context("no round trip")
}

/// Sends one byte and receives it again.
pub fn ping(stream: &mut TcpStream) -> Result<()> {
    stream.write_all(b"x").context("write one byte")?;
    stream.read_exact(&mut [0; 1]).context("read one byte")
}

/// Connects, echoes one byte and closes, on `threads` threads for `time`. Returns the connections per
/// second.
pub fn connections(to: SocketAddr, threads: usize, time: Duration) -> Result<f64> {
    let clock = Stopwatch::start();
    let counts = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(move || -> Result<u64> {
                    let mut count = 0;
                    while clock.elapsed() < time {
                        let mut stream = connect(to)?;
                        ping(&mut stream)?;
                        count += 1;
                    }
                    Ok(count)
                })
            })
            .collect();
        workers
            .into_iter()
            .map(|worker| {
                worker
                    .join()
                    .map_err(|_| anyhow!("a client thread panicked"))?
            })
            .collect::<Result<Vec<u64>>>()
    })?;
    Ok(counts.iter().sum::<u64>() as f64 / clock.seconds())
}

/// Returns true if a time limit has passed; false if the server failed.
pub fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
