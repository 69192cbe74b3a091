//! `ping`: ICMP echo requests from the daemon's addresses.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use netstack::net::{EchoReply, EchoSocket};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until};

use super::Target;
use super::channel::{Line, Lines, Replies};
use super::protocol::{End, PingRequest, Pong, Reply, Request};

/// Shortest time between two requests.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(2);

/// Requests whose answer is waited for: the sequence numbers come again after twice as many.
const MAX_OPEN: u64 = 1 << 15;

/// The requests that were sent.
struct Sent {
    sent: u64,
    /// The times of the last ones, and whether they were answered.
    open: HashMap<u16, (Instant, bool)>,
}

impl Sent {
    fn next(&mut self, now: Instant) -> u16 {
        self.sent += 1;
        let seq = self.sent as u16;
        self.open.insert(seq, (now, false));
        if self.sent > MAX_OPEN {
            self.open.remove(&((self.sent - MAX_OPEN) as u16));
        }
        seq
    }

    fn answer(&mut self, reply: &EchoReply, now: Instant) -> Option<Pong> {
        let (sent_at, is_answered) = self.open.get_mut(&reply.seq)?;
        let rtt = now.duration_since(*sent_at).as_micros();
        Some(Pong {
            from: reply.from,
            seq: reply.seq,
            bytes: reply.payload.len(),
            rtt_micros: u64::try_from(rtt).unwrap_or(u64::MAX),
            is_duplicate: std::mem::replace(is_answered, true),
        })
    }
}

/// Pings until the client has had enough.
///
/// # Errors
/// The client is gone.
pub(super) async fn serve(
    target: &Target,
    wanted: &PingRequest,
    lines: &mut Lines,
    replies: &mut Replies,
) -> io::Result<()> {
    let socket = match bind(target, wanted) {
        Ok(socket) => socket,
        Err(error) => return replies.send(&super::session::error_reply(&error)).await,
    };
    match exchange(&socket, wanted, lines, replies).await? {
        Ok(end) => replies.send(&Reply::End(end)).await,
        Err(message) => replies.send(&Reply::Error { message }).await,
    }
}

fn bind(target: &Target, wanted: &PingRequest) -> io::Result<EchoSocket> {
    let any = match wanted.address {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = EchoSocket::bind(&target.stack(), wanted.source.unwrap_or(any))?;
    if let Some(ttl) = wanted.ttl {
        socket.set_ttl(ttl.into())?;
    }
    Ok(socket)
}

fn ticks(wanted: &PingRequest) -> Interval {
    let period = Duration::from_millis(wanted.interval_millis).max(SHORTEST_INTERVAL);
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Returns the sums, or why a request could not be sent. Fails if the client is gone.
async fn exchange(
    socket: &EchoSocket,
    wanted: &PingRequest,
    lines: &mut Lines,
    replies: &mut Replies,
) -> io::Result<Result<End, String>> {
    let payload: Vec<u8> = (0..wanted.size).map(|at| at as u8).collect();
    let mut sent = Sent {
        sent: 0,
        open: HashMap::new(),
    };
    let mut end = End::default();
    let mut ticks = ticks(wanted);
    let mut deadline = None;
    let is_last = |sent: &Sent| wanted.count.is_some_and(|most| sent.sent >= most);
    loop {
        tokio::select! {
            _ = ticks.tick(), if !is_last(&sent) => {
                let seq = sent.next(Instant::now());
                if let Err(error) = socket.send_to(&payload, seq, wanted.address).await {
                    return Ok(Err(format!("{} cannot be asked: {error}", wanted.address)));
                }
                if is_last(&sent) {
                    let patience = Duration::from_millis(wanted.timeout_millis.min(3_600_000));
                    deadline = Some(Instant::now() + patience);
                }
            }
            reply = socket.recv() => {
                let reply = match reply {
                    Ok(reply) => reply,
                    Err(error) => return Ok(Err(error.to_string())),
                };
                if let Some(pong) = sent.answer(&reply, Instant::now()) {
                    end.answered += u64::from(!pong.is_duplicate);
                    replies.send_patiently(&Reply::Pong(pong)).await?;
                }
                if is_last(&sent) && end.answered >= sent.sent {
                    break;
                }
            }
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => break,
            line = lines.next() => match line? {
                Some(Line::Request(Request::Stop {})) => break,
                Some(_) => {}
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            },
        }
    }
    end.count = sent.sent;
    Ok(Ok(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_numbers_are_remembered_up_to_a_bound() {
        let now = Instant::now();
        let mut sent = Sent {
            sent: 0,
            open: HashMap::new(),
        };
        for _ in 0..200_000 {
            sent.next(now);
        }
        assert_eq!(sent.open.len() as u64, MAX_OPEN);
    }
}
