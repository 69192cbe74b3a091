//! The time for which a connection had something to send, and what held it back meanwhile (RFC 4898,
//! tcpEStatsPerfSndLimTimeRwin and its siblings; Linux's `tcpi_busy_time`, `tcpi_rwnd_limited` and `tcpi_sndbuf_limited`).
//!
//! At the end of each turn the connection knows what it waits for. That is what the time until the end of the next
//! turn is counted for.

use core::time::Duration;

use super::phase::Phase;
use super::tcb::{Flags, Tcb};
use crate::base::Instant;

/// The limit of a connection that has something to send.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Limit {
    /// It has nothing to send.
    #[default]
    Idle,
    /// The path: the congestion window, pacing, acknowledgments.
    Path,
    /// The peer's window.
    RecvWindow,
    /// The application, which has more to send than the send buffer takes.
    SendBuffer,
}

/// The time spent with each limit, in milliseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SendTimes {
    limit: Limit,
    /// When the limit began, modulo 2^32: it is noted more often than that.
    since_millis: u32,
    path_millis: u32,
    recv_window_millis: u32,
    send_buffer_millis: u32,
}

/// The time for which a connection had something to send.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct BusyTimes {
    pub(super) busy: Duration,
    pub(super) recv_window_limited: Duration,
    pub(super) send_buffer_limited: Duration,
}

/// The time spent with each limit while nothing waits to be sent.
#[derive(Clone, Copy, Debug, Default)]
#[cfg_attr(feature = "checkpoint", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct RestingTimes([u32; 3]);

impl RestingTimes {
    pub(super) fn wake(self) -> SendTimes {
        let [path_millis, recv_window_millis, send_buffer_millis] = self.0;
        SendTimes {
            path_millis,
            recv_window_millis,
            send_buffer_millis,
            ..SendTimes::default()
        }
    }
}

impl SendTimes {
    fn note(&mut self, limit: Limit, now: Instant) {
        if limit == self.limit && limit == Limit::Idle {
            return;
        }
        let now = now.as_millis() as u32;
        let spent = now.wrapping_sub(self.since_millis);
        self.since_millis = now;
        let total = match core::mem::replace(&mut self.limit, limit) {
            Limit::Idle => return,
            Limit::Path => &mut self.path_millis,
            Limit::RecvWindow => &mut self.recv_window_millis,
            Limit::SendBuffer => &mut self.send_buffer_millis,
        };
        *total = total.saturating_add(spent);
    }

    /// Returns the times up to `now`, or up to the end of the last turn if that is earlier.
    pub(super) fn rest(mut self, now: Instant) -> RestingTimes {
        self.end(now);
        RestingTimes([
            self.path_millis,
            self.recv_window_millis,
            self.send_buffer_millis,
        ])
    }

    /// Ends the limit at `now`, or at the end of the last turn if that is earlier.
    fn end(&mut self, now: Instant) {
        let since_then = (now.as_millis() as u32).wrapping_sub(self.since_millis);
        if now != Instant::ZERO && since_then < 1 << 31 {
            self.note(Limit::Idle, now);
        }
    }

    /// Returns the times up to `now`, or up to the end of the last turn if that is earlier.
    pub(super) fn totals(mut self, now: Instant) -> BusyTimes {
        self.end(now);
        let millis = |millis: u32| Duration::from_millis(u64::from(millis));
        let recv_window_limited = millis(self.recv_window_millis);
        let send_buffer_limited = millis(self.send_buffer_millis);
        BusyTimes {
            busy: millis(self.path_millis) + recv_window_limited + send_buffer_limited,
            recv_window_limited,
            send_buffer_limited,
        }
    }
}

impl Tcb {
    /// Notes what the connection waits for at the end of a turn.
    #[inline]
    pub(super) fn note_send_times(&mut self, now: Instant) {
        let limit = self.send_limit();
        self.send_times.note(limit, now);
    }

    fn send_limit(&self) -> Limit {
        let has_unsent = self.has_unsent();
        if self.phase == Phase::Closed || (!has_unsent && self.flight.outstanding() == 0) {
            return Limit::Idle;
        }
        let segment = self.payload_mss();
        if self.cc.room(self.flight.pipe()) < segment {
            return Limit::Path;
        }
        if !has_unsent {
            return match self.flags.contains(Flags::WANT_WRITE) {
                true => Limit::SendBuffer,
                false => Limit::Path,
            };
        }
        let edge = self.flight.una() + self.peer.wnd;
        let usable = edge.since(self.flight.nxt());
        match usable < segment.min(self.unsent()) {
            true => Limit::RecvWindow,
            false => Limit::Path,
        }
    }
}
