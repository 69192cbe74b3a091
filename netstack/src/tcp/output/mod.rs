//! The sending of segments: the choice of the next one, its headers, and delayed acknowledgments.

pub(super) mod delayed_ack;
pub(super) mod emit;
mod mtu_probe;
pub(super) mod select;
