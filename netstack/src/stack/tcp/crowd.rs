//! The answer that a worker keeps about a full table.

use crate::base::Instant;
use crate::ip::peer::PeerNet;

/// A sample of a full table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crowd {
    /// When it was taken.
    pub(super) seen: Instant,
    /// The peer that has most connections, if it has many.
    pub(super) peer: Option<PeerNet>,
    /// A connection was idle for long.
    pub(super) is_idle: bool,
}
