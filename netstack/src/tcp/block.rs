//! The memory of a control block.
//!
//! A connection that rests frees its control block, and another connection's record takes that place: if it leaves a
//! rest too small for anything, a million connections leave a hole of 100 MB. So a block is as long as two records
//! are, for an allocator that cuts freed memory (the C library's). `stack::tcp::connection` asserts it.

use core::ops::{Deref, DerefMut};

use super::tcb::Tcb;

/// Length of a control block, in bytes.
pub(crate) const BLOCK_BYTES: usize = 888;

/// Bytes that no control block needs.
const SPARE_BYTES: usize = BLOCK_BYTES - size_of::<Tcb>();

/// A control block, with the bytes that it does not need.
#[derive(Debug)]
pub(super) struct Block {
    tcb: Tcb,
    _spare: [u8; SPARE_BYTES],
}

impl Block {
    /// Puts a control block into memory of its own.
    pub(super) fn boxed(tcb: Tcb) -> Box<Self> {
        Box::new(Self {
            tcb,
            _spare: [0; SPARE_BYTES],
        })
    }

    /// Takes the control block out.
    pub(super) fn into_tcb(self) -> Tcb {
        self.tcb
    }
}

impl Deref for Block {
    type Target = Tcb;

    fn deref(&self) -> &Tcb {
        &self.tcb
    }
}

impl DerefMut for Block {
    fn deref_mut(&mut self) -> &mut Tcb {
        &mut self.tcb
    }
}
