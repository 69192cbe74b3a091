//! What to send, and when an acknowledgment is due.

pub(super) mod delayed_ack;
pub(super) mod emit;
pub(super) mod select;
