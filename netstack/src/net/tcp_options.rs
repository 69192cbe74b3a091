//! Socket options of a TCP stream, which may be changed while the connection lives.

use std::io;

use super::handle::checked_ttl;
use super::tcp_stream::TcpStream;
use crate::base::time::Duration;
use crate::stack::foreign::wake_all;

/// Shortest time of a timer, and longest.
const TIMES: [Duration; 2] = [
    Duration::from_millis(1),
    Duration::from_secs(30 * 24 * 3_600),
];

/// Most keepalive probes.
const MAX_PROBES: u32 = 255;

pub(super) fn invalid(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

/// Checks a time that a program gives.
///
/// # Errors
/// `InvalidInput` unless it is between 1 ms and 30 days.
pub(super) fn checked_time(what: &str, time: Duration) -> io::Result<Duration> {
    let [least, most] = TIMES;
    if (least..=most).contains(&time) {
        return Ok(time);
    }
    Err(invalid(format!(
        "{what}: {time:?} is no time for it; give 1 ms to 30 days"
    )))
}

/// Checks a number of keepalive probes.
///
/// # Errors
/// `InvalidInput` unless it is from 1 to 255.
pub(super) fn checked_probes(count: u32) -> io::Result<u8> {
    let probes = u8::try_from(count).ok().filter(|&probes| probes > 0);
    probes.ok_or_else(|| {
        invalid(format!(
            "set_keepalive_count: {count} is no number of probes; give 1 to {MAX_PROBES}"
        ))
    })
}

/// Least segment that a connection may be held to, in bytes.
const MIN_SEGMENT_BYTES: u16 = 88;

/// Checks the size of a segment.
///
/// # Errors
/// `InvalidInput` if it is less than 88.
pub(super) fn checked_segment(bytes: u16) -> io::Result<u16> {
    if bytes < MIN_SEGMENT_BYTES {
        return Err(invalid(format!(
            "set_max_segment: {bytes} bytes are too few; give at least {MIN_SEGMENT_BYTES}"
        )));
    }
    Ok(bytes)
}

/// Least size of a buffer, and the largest, in bytes.
const BUFFER_BYTES: std::ops::RangeInclusive<u32> = 2_048..=1 << 30;

/// Checks the size of a buffer.
///
/// # Errors
/// `InvalidInput` unless it is from 2 KiB to 1 GiB.
pub(super) fn checked_buffer(what: &str, bytes: u32) -> io::Result<usize> {
    if BUFFER_BYTES.contains(&bytes) {
        return Ok(bytes as usize);
    }
    Err(invalid(format!(
        "{what}: {bytes} bytes are no size for it; give 2048 to 1073741824"
    )))
}

/// Checks a time to linger; returns true if closing is a reset.
///
/// # Errors
/// `InvalidInput` for a time that is not zero.
pub(super) fn checked_linger(linger: Option<Duration>) -> io::Result<bool> {
    match linger {
        None => Ok(false),
        Some(Duration::ZERO) => Ok(true),
        Some(_) => Err(invalid(
            "set_linger: give None or zero; to wait for the peer, shut the stream down and read to its end"
                .to_owned(),
        )),
    }
}

/// Checks a type of service; ECN's two bits are TCP's own.
///
/// # Errors
/// `InvalidInput` for more than eight bits.
pub(super) fn checked_tos(tos: u32) -> io::Result<u8> {
    u8::try_from(tos).map_err(|_| {
        invalid(format!(
            "set_tos: {tos} has more than eight bits; give 0 to 255"
        ))
    })
}

impl TcpStream {
    /// Turns Nagle's algorithm off (`true`) or on (RFC 9293 section 3.7.4).
    ///
    /// ```
    /// # netstack::net::example_pair(async |client, _server| {
    /// client.set_nodelay(true)?;
    /// assert!(client.nodelay()?);
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as tokio does.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.handle()
            .with_state(|state| state.tcp.set_nodelay(nodelay));
        self.handle().drive();
        Ok(())
    }

    /// Returns true if Nagle's algorithm is off.
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as tokio does.
    pub fn nodelay(&self) -> io::Result<bool> {
        Ok(self.handle().with_state(|state| state.tcp.nodelay()))
    }

    /// Sets the time to live (IPv6: hop limit) of the packets that this connection sends.
    ///
    /// ```
    /// # netstack::net::example_pair(async |client, _server| {
    /// client.set_ttl(3)?;
    /// assert_eq!(client.ttl()?, 3);
    /// assert!(client.set_ttl(256).is_err());
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` unless it is from 1 to 255.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        let ttl = checked_ttl(ttl)?;
        self.handle().with_state(|state| state.ttl = ttl);
        Ok(())
    }

    /// Returns the time to live (IPv6: hop limit) of the packets that this connection sends.
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as tokio does.
    pub fn ttl(&self) -> io::Result<u32> {
        Ok(self.handle().with_state(|state| u32::from(state.ttl)))
    }

    /// Sets the type of service (IPv6: traffic class) of the packets that this connection sends: the DSCP in its
    /// upper six bits. The two bits of ECN are left out.
    ///
    /// ```
    /// # netstack::net::example_pair(async |client, _server| {
    /// client.set_tos(0xb8)?; // Expedited forwarding
    /// assert_eq!(client.tos()?, 0xb8);
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` for more than eight bits.
    pub fn set_tos(&self, tos: u32) -> io::Result<()> {
        let tos = checked_tos(tos)? & 0xfc;
        self.handle().with_state(|state| state.traffic_class = tos);
        Ok(())
    }

    /// Returns the type of service (IPv6: traffic class) of the packets that this connection sends.
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as tokio does.
    pub fn tos(&self) -> io::Result<u32> {
        let tos = self.handle().with_state(|state| state.traffic_class);
        Ok(u32::from(tos))
    }

    /// Probes the peer after it was silent for `idle`; `None`: never (RFC 9293 section 3.8.4).
    ///
    /// ```
    /// # netstack::net::example_pair(async |client, _server| {
    /// use std::time::Duration;
    ///
    /// // A peer that is gone is noticed after 60 + 3 * 5 seconds.
    /// client.set_keepalive(Some(Duration::from_secs(60)))?;
    /// client.set_keepalive_interval(Duration::from_secs(5))?;
    /// client.set_keepalive_count(3)?;
    /// assert!(client.set_keepalive(Some(Duration::ZERO)).is_err());
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` unless it is between 1 ms and 30 days.
    pub fn set_keepalive(&self, idle: Option<Duration>) -> io::Result<()> {
        if let Some(idle) = idle {
            checked_time("set_keepalive", idle)?;
        }
        let now = self.handle().host.clock.now();
        self.handle()
            .with_state(|state| state.tcp.set_keepalive(idle, now));
        self.handle().drive();
        Ok(())
    }

    /// Sets the time from one keepalive probe to the next (RFC 9293 section 3.8.4).
    ///
    /// # Errors
    /// `InvalidInput` unless it is between 1 ms and 30 days.
    pub fn set_keepalive_interval(&self, interval: Duration) -> io::Result<()> {
        let interval = checked_time("set_keepalive_interval", interval)?;
        self.handle()
            .with_state(|state| state.tcp.set_keepalive_interval(interval));
        Ok(())
    }

    /// Sets the number of unanswered keepalive probes that end the connection.
    ///
    /// # Errors
    /// `InvalidInput` unless it is from 1 to 255.
    pub fn set_keepalive_count(&self, count: u32) -> io::Result<()> {
        let probes = checked_probes(count)?;
        self.handle()
            .with_state(|state| state.tcp.set_keepalive_probes(probes));
        Ok(())
    }

    /// Sets the most bytes that are queued to be sent and acknowledged, which does not follow the path any more
    /// (`SO_SNDBUF`). What is queued stays. The memory that connections share may permit less.
    ///
    /// ```
    /// # netstack::net::example_pair(async |client, _server| {
    /// client.set_send_buffer_size(64 << 10)?;
    /// assert_eq!(client.send_buffer_size()?, 64 << 10);
    /// assert!(client.set_send_buffer_size(10).is_err());
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` unless it is from 2 KiB to 1 GiB.
    pub fn set_send_buffer_size(&self, bytes: u32) -> io::Result<()> {
        let bytes = checked_buffer("set_send_buffer_size", bytes)?;
        let mut wakers = Vec::new();
        self.handle().with_state(|state| {
            let readiness = state.tcp.set_send_buffer(bytes);
            state.collect_wakers(readiness, &mut wakers);
        });
        wake_all(wakers);
        Ok(())
    }

    /// Returns the most bytes that are queued to be sent and acknowledged now: a size that was not set follows the path.
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as tokio does.
    pub fn send_buffer_size(&self) -> io::Result<u32> {
        let bytes = self.handle().with_state(|state| state.tcp.send_buffer());
        Ok(u32::try_from(bytes).unwrap_or(u32::MAX))
    }

    /// Sets the most bytes that wait to be read, which are not tuned any more (`SO_RCVBUF`). The window that the peer was
    /// offered is not taken back; later ones are no larger than this, than their scale permits, and than the memory that
    /// connections share permits.
    ///
    /// ```
    /// # netstack::net::example_pair(async |client, _server| {
    /// client.set_recv_buffer_size(64 << 10)?;
    /// assert_eq!(client.recv_buffer_size()?, 64 << 10);
    /// assert!(client.set_recv_buffer_size(10).is_err());
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` unless it is from 2 KiB to 1 GiB.
    pub fn set_recv_buffer_size(&self, bytes: u32) -> io::Result<()> {
        checked_buffer("set_recv_buffer_size", bytes)?;
        self.handle()
            .with_state(|state| state.tcp.set_recv_buffer(bytes));
        self.handle().drive();
        Ok(())
    }

    /// Returns the most bytes that wait to be read now: a size that was not set follows the reader.
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as tokio does.
    pub fn recv_buffer_size(&self) -> io::Result<u32> {
        Ok(self.handle().with_state(|state| state.tcp.recv_buffer()))
    }

    /// Limits the segments that are sent to `bytes` without IP and TCP headers, TCP options included; a smaller limit
    /// stays.
    ///
    /// ```
    /// # netstack::net::example_pair(async |client, _server| {
    /// client.set_max_segment(1_000)?;
    /// assert!(client.set_max_segment(10).is_err());
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` if it is less than 88.
    pub fn set_max_segment(&self, bytes: u16) -> io::Result<()> {
        let bytes = checked_segment(bytes)?;
        self.handle()
            .with_state(|state| state.tcp.set_max_mss(bytes));
        Ok(())
    }

    /// Aborts the connection if the peer does not acknowledge within `timeout` what was written before; `None`:
    /// never for that reason. As on Linux (`TCP_USER_TIMEOUT`), it also ends a connection whose peer keeps its window
    /// closed and answers probes. The connection ends between one and two timeouts after the write.
    ///
    /// ```
    /// # netstack::net::example_pair(async |client, _server| {
    /// let timeout = Some(std::time::Duration::from_secs(300));
    /// client.set_user_timeout(timeout)?;
    /// assert_eq!(client.user_timeout()?, timeout);
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` unless it is between 1 ms and 30 days.
    pub fn set_user_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        if let Some(timeout) = timeout {
            checked_time("set_user_timeout", timeout)?;
        }
        self.handle()
            .with_state(|state| state.tcp.set_user_timeout(timeout));
        self.handle().drive();
        Ok(())
    }

    /// Returns the user timeout: see [`set_user_timeout`](Self::set_user_timeout).
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as the other options do.
    pub fn user_timeout(&self) -> io::Result<Option<Duration>> {
        Ok(self.handle().with_state(|state| state.tcp.user_timeout()))
    }

    /// With zero, dropping the stream resets the connection and discards data that was not
    /// delivered; with `None`, dropping closes it in the background.
    ///
    /// ```
    /// # netstack::net::example_pair(async |client, server| {
    /// use netstack::net::Interest;
    ///
    /// client.set_zero_linger()?;
    /// assert_eq!(client.linger()?, Some(std::time::Duration::ZERO));
    /// drop(client);
    /// assert!(server.ready(Interest::READABLE).await?.is_error());
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` for other durations: a stack never blocks in drop.
    pub fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        let resets = checked_linger(linger)?;
        self.handle().connection.set_reset_on_close(resets);
        Ok(())
    }

    /// Makes dropping the stream a reset, as [`TcpStream::set_linger`] with zero.
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as tokio does.
    pub fn set_zero_linger(&self) -> io::Result<()> {
        self.set_linger(Some(Duration::ZERO))
    }

    /// Returns zero if dropping the stream is a reset, else `None`.
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as tokio does.
    pub fn linger(&self) -> io::Result<Option<Duration>> {
        let resets = self.handle().connection.reset_on_close();
        Ok(resets.then_some(Duration::ZERO))
    }
}
