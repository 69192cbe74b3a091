//! The connections of one worker that hold memory.
//!
//! A connection enters the list when it is driven while it holds something, and leaves it in a round that finds
//! that it holds nothing. So a packet costs one look at a flag.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::super::tcp::connection::{Connection, ConnectionState};
use crate::base::Instant;

/// A connection that holds memory.
pub(in crate::stack) struct Holder {
    pub(in crate::stack) connection: Weak<Connection>,
    /// Its [`Tcp::progress`](crate::tcp::Tcp::progress) at `since`.
    progress: u64,
    /// The time since which it has made no progress worth its memory.
    since: Instant,
}

/// A holder makes progress if it moves this part of what it holds within [`STALL`].
const PROGRESS_PART: usize = 16;

/// The time after which a holder that makes no progress may be given up.
pub(in crate::stack) const STALL: Duration = Duration::from_secs(1);

impl Holder {
    /// Notes how far the connection has come, and returns for how long it has made no progress.
    pub(in crate::stack) fn stalled(
        &mut self,
        state: &ConnectionState,
        pinned: usize,
        now: Instant,
    ) -> Duration {
        let progress = state.tcp.progress();
        let moved = progress.saturating_sub(self.progress);
        if moved > (pinned / PROGRESS_PART) as u64 {
            self.progress = progress;
            self.since = now;
        }
        now.saturating_since(self.since)
    }
}

/// The list, and when it is looked at next.
#[derive(Default)]
pub(in crate::stack) struct Holders {
    pub(in crate::stack) list: Vec<Holder>,
    /// The first holder that the next round copies for.
    pub(in crate::stack) next: usize,
    /// When the next round is due.
    pub(in crate::stack) due: Instant,
    /// A round has something to do.
    pub(in crate::stack) wanted: bool,
}

impl Holders {
    /// Notes that `connection` of this worker was driven, if it holds memory or waits for some.
    pub(in crate::stack) fn note(
        &mut self,
        connection: &Arc<Connection>,
        state: &ConnectionState,
        now: Instant,
    ) {
        if (state.tcp.pinned() > 0 || state.starved) && connection.list() {
            self.wanted = true;
            self.list.push(Holder {
                connection: Arc::downgrade(connection),
                progress: state.tcp.progress(),
                since: now,
            });
        }
    }

    /// Returns when the next round is due, if there is anything to do in it.
    pub(in crate::stack) fn deadline(&self) -> Option<Instant> {
        self.wanted.then_some(self.due)
    }
}
