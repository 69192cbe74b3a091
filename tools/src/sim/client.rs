//! The work of a host with another one.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use netstack::net::{EchoSocket, Stack, TcpStream, UdpSocket};

use super::scenario::{Ask, Work};
use super::service::PORT;
use super::stream::{self, Exchange, StreamError};
use super::world::Shared;

/// Longest time that a piece of work may take. No link is so bad that an undisturbed one needs it.
const PATIENCE: Duration = Duration::from_secs(4 * 3_600);
/// Time to wait for the answer to a datagram.
const ANSWER: Duration = Duration::from_secs(3);

/// Does a piece of work and notes how it ended. `may_fail`: its connections may end with an error.
pub(super) async fn work(stack: Stack, ask: Ask, to: IpAddr, may_fail: bool, world: Shared) {
    let name = format!("{} asks {} ({:?})", ask.from, ask.to, ask.work);
    let time = stack.time();
    if time.sleep(ask.after).await.is_err() {
        return;
    }
    let done = time
        .timeout(PATIENCE, attempt(&stack, &ask, to, may_fail))
        .await;
    match done {
        Ok(Ok(())) => world.note(&format!("{name}: done")),
        Ok(Err(StreamError::Wrong(what))) => world.fault(format!("{name}: {what}")),
        Ok(Err(StreamError::Ended(error))) if may_fail => {
            world.note(&format!("{name}: {error}"));
        }
        Ok(Err(StreamError::Ended(error))) => world.fault(format!("{name}: {error}")),
        Err(error) => world.fault(format!("{name}: not done after {PATIENCE:?} ({error})")),
    }
}

async fn attempt(stack: &Stack, ask: &Ask, to: IpAddr, may_fail: bool) -> Result<(), StreamError> {
    let seed = ask.seed;
    let service = SocketAddr::new(to, PORT);
    match ask.work {
        Work::Bulk { up, down } => {
            let exchange = Exchange {
                seed,
                up,
                down,
                rounds: 1,
            };
            one(stack, service, exchange, Duration::ZERO).await
        }
        Work::Requests {
            count,
            bytes,
            pause,
        } => {
            let exchange = Exchange {
                seed,
                up: bytes / 4 + 1,
                down: bytes,
                rounds: count,
            };
            one(stack, service, exchange, pause).await
        }
        Work::Short { count, bytes } => {
            for number in 0..u64::from(count) {
                let seed = seed.wrapping_add(number);
                let exchange = Exchange {
                    seed,
                    up: bytes,
                    down: bytes,
                    rounds: 1,
                };
                let done = one(stack, service, exchange, Duration::ZERO).await;
                give_up_unless(done, may_fail)?;
            }
            Ok(())
        }
        Work::Idle { count, rest } => {
            let each = |number: u64| {
                let seed = seed.wrapping_add(number);
                let exchange = Exchange {
                    seed,
                    up: 10,
                    down: 10,
                    rounds: 3,
                };
                one(stack, service, exchange, rest)
            };
            let all = (0..u64::from(count)).map(each);
            for done in futures::future::join_all(all).await {
                give_up_unless(done, may_fail)?;
            }
            Ok(())
        }
        Work::Datagrams { count, bytes } => datagrams(stack, service, (seed, count, bytes)).await,
        Work::Pings { count, bytes } => pings(stack, to, (seed, count, bytes)).await,
        Work::Hoard { count, rest } => hoard(stack, service, count, rest).await,
    }
}

/// Goes on after an error that may be.
fn give_up_unless(done: Result<(), StreamError>, may_fail: bool) -> Result<(), StreamError> {
    match done {
        Err(StreamError::Ended(_)) if may_fail => Ok(()),
        other => other,
    }
}

async fn one(
    stack: &Stack,
    service: SocketAddr,
    exchange: Exchange,
    pause: Duration,
) -> Result<(), StreamError> {
    let stream = TcpStream::connect(stack, service).await?;
    stream::ask(stream, exchange, Some((stack.time(), pause))).await
}

/// Opens connections that ask for much and read nothing of it.
async fn hoard(
    stack: &Stack,
    service: SocketAddr,
    count: u32,
    rest: Duration,
) -> Result<(), StreamError> {
    use tokio::io::AsyncWriteExt as _;
    let mut held = Vec::new();
    for number in 0..u64::from(count) {
        let Ok(mut stream) = TcpStream::connect(stack, service).await else {
            continue;
        };
        stream.set_linger(Some(Duration::ZERO))?;
        let exchange = Exchange {
            seed: number,
            up: 0,
            down: 4 << 20,
            rounds: 1,
        };
        if stream.write_all(&exchange.to_bytes()).await.is_ok() {
            held.push(stream);
        }
    }
    stack.time().sleep(rest).await?;
    Ok(())
}

/// Returns true for an error that a socket reports of a path that fails: it is no fault.
fn is_reported(error: &io::Error) -> bool {
    error.kind() != io::ErrorKind::ConnectionAborted
}

async fn datagrams(
    stack: &Stack,
    service: SocketAddr,
    (seed, count, bytes): (u64, u32, u64),
) -> Result<(), StreamError> {
    let any = if service.is_ipv4() {
        "0.0.0.0:0"
    } else {
        "[::]:0"
    };
    let socket = UdpSocket::bind_now(stack, any)?;
    let time = stack.time();
    let mut answer = vec![0; 65_536];
    for number in 0..u64::from(count) {
        let mut data = vec![0; bytes as usize + 8];
        data[..8].copy_from_slice(&number.to_be_bytes());
        stream::fill(seed.wrapping_add(number), 0, &mut data[8..]);
        match socket.send_to(&data, service).await {
            Err(error) if is_reported(&error) => continue,
            other => other?,
        };
        let Ok(received) = time.timeout(ANSWER, socket.recv_from(&mut answer)).await else {
            continue;
        };
        match received {
            Ok((len, from)) => check_datagram(&answer[..len], from, service, (seed, count, bytes))?,
            Err(error) if is_reported(&error) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Checks an answer, which may be a late one or a duplicate.
fn check_datagram(
    data: &[u8],
    from: SocketAddr,
    service: SocketAddr,
    (seed, count, bytes): (u64, u32, u64),
) -> Result<(), StreamError> {
    let wrong = |what: String| Err(StreamError::Wrong(what));
    if from != service {
        return wrong(format!("an answer from {from}"));
    }
    let Some((number, rest)) = data.split_first_chunk::<8>() else {
        return wrong(format!("an answer of {} bytes", data.len()));
    };
    let number = u64::from_be_bytes(*number);
    let mut expected = vec![0; bytes as usize];
    stream::fill(seed.wrapping_add(number), 0, &mut expected);
    if number >= u64::from(count) || rest != expected {
        return wrong(format!(
            "an answer of {} bytes that nobody sent",
            data.len()
        ));
    }
    Ok(())
}

async fn pings(
    stack: &Stack,
    to: IpAddr,
    (seed, count, bytes): (u64, u32, u64),
) -> Result<(), StreamError> {
    let any = if to.is_ipv4() { "0.0.0.0" } else { "::" };
    let any: IpAddr = any.parse().map_err(io::Error::other)?;
    let socket = EchoSocket::bind(stack, any)?;
    let time = stack.time();
    let mut payload = vec![0; bytes as usize];
    stream::fill(seed, 0, &mut payload);
    for number in 0..count {
        match socket.send_to(&payload, number as u16, to).await {
            Err(error) if is_reported(&error) => continue,
            other => other?,
        }
        let Ok(received) = time.timeout(ANSWER, socket.recv()).await else {
            continue;
        };
        match received {
            Ok(reply) if reply.from == to && reply.payload[..] == payload[..] => {}
            Ok(reply) => {
                let what = format!(
                    "a reply of {} bytes from {}",
                    reply.payload.len(),
                    reply.from
                );
                return Err(StreamError::Wrong(what));
            }
            Err(error) if is_reported(&error) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
