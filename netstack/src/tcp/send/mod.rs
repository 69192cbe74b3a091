//! The sending half: what waits, what is in flight, what the peer holds.

pub(crate) mod inflight;
pub(crate) mod queue;
pub(crate) mod scoreboard;
pub(crate) mod window;
