//! The sending half: the bytes that are queued, in flight, and SACKed by the peer, and the window
//! that the peer offers.

pub(crate) mod inflight;
pub(crate) mod queue;
pub(crate) mod rate;
pub(crate) mod record;
pub(crate) mod window;
