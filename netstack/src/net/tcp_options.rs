//! Socket options of a TCP stream, which may be changed while the connection lives.

use std::io;

use super::handle::checked_ttl;
use super::tcp_stream::TcpStream;
use crate::base::time::Duration;

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
    /// ```no_run
    /// # fn example(stream: &netstack::net::TcpStream) -> std::io::Result<()> {
    /// stream.set_keepalive(Some(std::time::Duration::from_secs(60)))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as tokio does.
    pub fn set_keepalive(&self, idle: Option<Duration>) -> io::Result<()> {
        let now = self.handle().host.clock.now();
        self.handle()
            .with_state(|state| state.tcp.set_keepalive(idle, now));
        self.handle().drive();
        Ok(())
    }

    /// Sets the time between keepalive probes, and how many may remain unanswered before the connection is aborted
    /// (RFC 9293 section 3.8.4).
    ///
    /// # Errors
    /// `InvalidInput` if `interval` or `probes` is zero.
    pub fn set_keepalive_probes(&self, interval: Duration, probes: u8) -> io::Result<()> {
        if interval.is_zero() || probes == 0 {
            return Err(invalid(
                "set_keepalive_probes: the interval and the number of probes must not be zero"
                    .to_owned(),
            ));
        }
        self.handle().with_state(|state| {
            state.tcp.set_keepalive_interval(interval);
            state.tcp.set_keepalive_probes(probes);
        });
        Ok(())
    }

    /// Limits the segments that are sent to `mss` bytes, TCP options included; a smaller limit stays.
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as other options do.
    pub fn set_max_mss(&self, mss: u16) -> io::Result<()> {
        self.handle().with_state(|state| state.tcp.set_max_mss(mss));
        Ok(())
    }

    /// Aborts the connection if the peer does not acknowledge within `timeout` what was written before; `None`:
    /// never for that reason. As on Linux (`TCP_USER_TIMEOUT`), it also ends a connection whose peer keeps its window
    /// closed and answers probes. The connection ends between one and two timeouts after the write.
    ///
    /// ```no_run
    /// # fn example(stream: &netstack::net::TcpStream) -> std::io::Result<()> {
    /// stream.set_user_timeout(Some(std::time::Duration::from_secs(300)))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as the other options do.
    pub fn set_user_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
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
    /// # Errors
    /// `InvalidInput` for other durations: a stack never blocks in drop.
    pub fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        let connection = &self.handle().connection;
        match linger {
            None => connection.set_reset_on_close(false),
            Some(Duration::ZERO) => connection.set_reset_on_close(true),
            Some(_) => return Err(no_linger()),
        }
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

/// Returns the error for a time to linger that is not zero.
pub(super) fn no_linger() -> io::Error {
    invalid(
        "set_linger: only None and zero can be had; shut the stream down and wait instead"
            .to_owned(),
    )
}
