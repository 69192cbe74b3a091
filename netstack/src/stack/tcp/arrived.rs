//! A received segment's packet, as far as it concerns more than the segment's fields.

use super::deferred::Hop;

/// How a segment arrived.
#[derive(Clone, Copy)]
pub(super) struct Arrived<'a> {
    pub(super) hop: Hop,
    /// All of its bytes: an authentication code covers them as they are.
    pub(super) wire: &'a [u8],
}
