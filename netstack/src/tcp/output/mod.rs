//! The sending of segments: the choice of the next one, its headers, and delayed acknowledgments.

mod apply;
pub(super) mod delayed_ack;
pub(super) mod emit;
mod mtu_probe;
mod pick;
pub(super) mod select;
