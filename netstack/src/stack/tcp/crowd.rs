//! What a worker remembers of a full table.

use crate::base::Instant;
use crate::ip::peer::PeerNet;

/// What a worker saw last in a full table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crowd {
    pub(super) seen: Instant,
    /// The peer that has most connections, if it has many.
    pub(super) peer: Option<PeerNet>,
    /// A connection was idle for long.
    pub(super) is_idle: bool,
}

impl Default for Crowd {
    fn default() -> Self {
        Self {
            seen: Instant::ZERO,
            peer: None,
            is_idle: false,
        }
    }
}
