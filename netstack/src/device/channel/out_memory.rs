//! Memory for the packets to the program.

use bytes::{Bytes, BytesMut};
use packet::buf::SMALL_SLAB_BYTES;

use super::buffer::Lender;

/// Bytes of a piece of memory for short packets: as long as a program keeps one of them, it keeps such a piece.
const PIECE_BYTES: usize = SMALL_SLAB_BYTES;

/// Bytes from which a packet, or a run of packets, is worth a slab: as long as the program keeps one of them, it keeps the slab.
pub(super) const SLAB_BYTES_MIN: usize = 16 << 10;

/// Memory for the packets to the program: short ones share pieces, and a long one, or a run of packets, has a slab of the
/// stack, which goes back to it when the program drops the packets.
#[derive(Debug)]
pub(in crate::device) struct OutMemory {
    /// Used again where the program has dropped all packets in it.
    piece: BytesMut,
}

impl OutMemory {
    pub(in crate::device) fn new() -> Self {
        Self {
            piece: BytesMut::with_capacity(PIECE_BYTES),
        }
    }

    /// Returns `len` bytes that `write` has written.
    ///
    /// # Errors
    /// That of `write`.
    pub(in crate::device) fn fill<E>(
        &mut self,
        len: usize,
        lender: &Lender,
        write: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<Bytes, E> {
        let slab = (len >= SLAB_BYTES_MIN).then(|| lender.lend(len)).flatten();
        if let Some(mut slab) = slab {
            write(slab.as_mut_slice().get_mut(..len).unwrap_or(&mut []))?;
            return Ok(slab.freeze(0..len).into());
        }
        // A packet that could not be written may have left a part.
        self.piece.clear();
        self.piece.resize(len, 0);
        write(&mut self.piece)?;
        Ok(self.piece.split().freeze())
    }
}
