//! Copies of what is queued.

use bytes::Bytes;

/// Returns pieces of bytes as one.
pub(super) fn concat<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Bytes {
    let mut all = Vec::new();
    for piece in pieces {
        all.extend_from_slice(piece);
    }
    all.into()
}
