//! A stream of UDP: datagrams with a time and a number at their beginning.

use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use netstack::base::Instant;
use netstack::net::UdpSocket;
use netstack::net::time::Time;

use super::stream::{Counts, Role};

/// The answer to the first datagram of a stream, as it is on the wire.
const WELCOME: &[u8; 4] = b"6789";
/// Length of that first datagram.
const GREETING_BYTES: usize = 4;

/// The pace of a stream that is to send so many bits in a second.
#[derive(Debug)]
pub(super) struct Pace<'a> {
    time: &'a Time,
    begin: Instant,
    rate: u64,
    bits: u128,
}

impl<'a> Pace<'a> {
    pub(super) fn new(time: &'a Time, rate: u64) -> Self {
        Self {
            time,
            begin: time.now(),
            rate,
            bits: 0,
        }
    }

    /// Waits until more may be sent, after `bytes` were.
    ///
    /// # Errors
    /// The stack ended.
    pub(super) async fn after(&mut self, bytes: u64) -> io::Result<()> {
        if self.rate == 0 {
            return Ok(());
        }
        self.bits += u128::from(bytes) * 8;
        let nanos = self.bits * 1_000_000_000 / u128::from(self.rate);
        let due = self.begin + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        if due > self.time.now() {
            self.time.sleep_until(due).await?;
        }
        Ok(())
    }
}

/// Answers the first datagram of a stream; false if it is none.
pub(super) async fn greet(flow: &UdpSocket) -> bool {
    let first = flow.recv_payload_from().await;
    first.is_ok_and(|(first, _)| first.len() == GREETING_BYTES) && flow.send(WELCOME).await.is_ok()
}

/// Carries data until the test is over.
pub(super) async fn run(flow: &UdpSocket, mut role: Role, time: &Time) {
    // It fails only for a value that is none.
    let _ = flow.set_tos(role.test.params.tos.into());
    if !role.begins().await {
        return;
    }
    match role.counts.sends {
        true => role.until_over(send(flow, &role, time)).await,
        false => role.until_over(receive(flow, &role, time)).await,
    }
}

async fn send(flow: &UdpSocket, role: &Role, time: &Time) {
    let params = &role.test.params;
    let mut datagram = vec![b'0'; params.len];
    let mut pace = Pace::new(time, params.rate);
    let origin = time.now();
    let mut number = 0_u64;
    loop {
        number += 1;
        let elapsed = time.now().saturating_since(origin);
        let head = head_of(elapsed, number, params.wide_counters);
        for (to, from) in datagram.iter_mut().zip(head) {
            *to = from;
        }
        match flow.send(&datagram).await {
            Ok(len) => {
                role.counts.bytes.fetch_add(len as u64, Ordering::Relaxed);
                role.counts.packets.store(number, Ordering::Relaxed);
            }
            // An ICMP error about an earlier one: the client closes its end at the end of a test.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(_) => return,
        }
        if pace.after(params.len as u64).await.is_err() {
            return;
        }
    }
}

/// Returns the beginning of a datagram: seconds, microseconds, and its number in four or eight bytes.
fn head_of(elapsed: Duration, number: u64, is_wide: bool) -> Vec<u8> {
    let seconds = u32::try_from(elapsed.as_secs()).unwrap_or(u32::MAX);
    let mut head = seconds.to_be_bytes().to_vec();
    head.extend(elapsed.subsec_micros().to_be_bytes());
    match is_wide {
        true => head.extend(number.to_be_bytes()),
        // It begins anew, as the client's does.
        false => head.extend((number as u32).to_be_bytes()),
    }
    head
}

async fn receive(flow: &UdpSocket, role: &Role, time: &Time) {
    let origin = time.now();
    let mut account = Account::default();
    while let Ok((datagram, _)) = flow.recv_payload_from().await {
        let arrived = time.now().saturating_since(origin);
        account.take(&datagram, arrived, role.test.params.wide_counters);
        let len = datagram.len() as u64;
        role.counts.bytes.fetch_add(len, Ordering::Relaxed);
        account.publish(&role.counts);
    }
}

/// The datagrams that have come, and how regularly they did.
#[derive(Debug, Default)]
struct Account {
    /// The highest number that has come.
    highest: u64,
    lost: u64,
    /// Time from the sender's clock to ours, whose difference is not known, in microseconds.
    transit: Option<i64>,
    /// RFC 1889 appendix A.8, in nanoseconds.
    jitter: i64,
}

impl Account {
    fn take(&mut self, datagram: &[u8], arrived: Duration, is_wide: bool) {
        let number = |at: usize| {
            let bytes = datagram.get(at..at + 4)?;
            Some(u32::from_be_bytes(bytes.try_into().ok()?))
        };
        let wide = |at: usize| {
            let bytes = datagram.get(at..at + 8)?;
            Some(u64::from_be_bytes(bytes.try_into().ok()?))
        };
        let counter = match is_wide {
            true => wide(8),
            false => number(8).map(u64::from),
        };
        let (Some(seconds), Some(micros), Some(counter)) = (number(0), number(4), counter) else {
            return;
        };
        if counter > self.highest {
            self.lost = self.lost.saturating_add(counter - 1 - self.highest);
            self.highest = counter;
        } else {
            // One that was counted as lost has come late.
            self.lost = self.lost.saturating_sub(1);
        }
        let sent = i64::from(seconds) * 1_000_000 + i64::from(micros);
        let arrived = i64::try_from(arrived.as_micros()).unwrap_or(i64::MAX);
        let transit = arrived.saturating_sub(sent);
        let variation = self.transit.map_or(0, |last| transit.abs_diff(last));
        self.transit = Some(transit);
        let variation = i64::try_from(variation.saturating_mul(1_000)).unwrap_or(i64::MAX);
        self.jitter += (variation - self.jitter) / 16;
    }

    fn publish(&self, counts: &Counts) {
        let jitter = u64::try_from(self.jitter).unwrap_or_default();
        counts.packets.store(self.highest, Ordering::Relaxed);
        counts.errors.store(self.lost, Ordering::Relaxed);
        counts.jitter.store(jitter, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn what_does_not_come_is_lost_until_it_comes() {
        for is_wide in [false, true] {
            let mut account = Account::default();
            for (number, lost) in [(1, 0), (2, 0), (5, 2), (4, 1), (6, 1), (3, 0), (3, 0)] {
                let head = head_of(millis(number), number, is_wide);
                account.take(&head, millis(number + 7), is_wide);
                assert_eq!(account.lost, lost, "{number}");
            }
            assert_eq!((account.highest, account.jitter), (6, 0));
            // Nonsense changes nothing, or counts as what it says, without an overflow.
            account.take(b"short", millis(9), is_wide);
            account.take(&[0xff; 16], millis(9), is_wide);
            account.take(&[0; 16], millis(9), is_wide);
            assert!(account.lost > 4_000_000_000);
        }
    }

    #[test]
    fn jitter_is_the_smoothed_difference_of_neighbours() {
        let mut account = Account::default();
        account.take(&head_of(millis(0), 1, false), millis(100), false);
        account.take(&head_of(millis(10), 2, false), millis(126), false);
        // 16 ms more than the one before, of which a sixteenth counts.
        assert_eq!(account.jitter, 1_000_000);
        account.take(&head_of(millis(20), 3, false), millis(136), false);
        assert_eq!(account.jitter, 1_000_000 - 62_500);
    }
}
