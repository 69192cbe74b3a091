//! The memory of slabs: pieces that go back to the system when they are freed.
//!
//! A general allocator keeps freed blocks of a few kilobytes for itself: one block in use above them is enough. So
//! a long slab is a mapping of its own, and short slabs of one size are cut out of blocks, each of which
//! is freed when all of its slabs are.

// Not part of any stack's lock order: no other lock is taken while this one is held.
#![allow(clippy::disallowed_types)]

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};

use bytes::BytesMut;
use memmap2::MmapMut;

/// Length, in bytes, from which memory is a mapping of its own.
const MAPPED_BYTES: usize = 32 << 10;

/// Length of a block that slabs are cut out of, in bytes.
const BLOCK_BYTES: usize = 256 << 10;

/// The bytes of one slab.
pub(super) enum Store {
    Mapped(MmapMut),
    Piece(BytesMut),
    Boxed(Box<[u8]>),
}

impl Deref for Store {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(bytes) => bytes,
            Self::Piece(bytes) => bytes,
            Self::Boxed(bytes) => bytes,
        }
    }
}

impl DerefMut for Store {
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Mapped(bytes) => bytes,
            Self::Piece(bytes) => bytes,
            Self::Boxed(bytes) => bytes,
        }
    }
}

impl Store {
    /// Returns memory of `len` bytes for a single use. Returns `None` if the system has none.
    pub(super) fn single(len: usize) -> Option<Self> {
        if len >= MAPPED_BYTES {
            return MmapMut::map_anon(len).ok().map(Self::Mapped);
        }
        Some(Self::Boxed(vec![0; len].into_boxed_slice()))
    }

    /// Returns the address of the first byte.
    pub(super) fn address(&self) -> usize {
        self.as_ptr().addr()
    }
}

/// Cuts slabs of one length out of blocks.
#[derive(Default)]
pub(super) struct Cutter(Mutex<BytesMut>);

impl Cutter {
    /// Returns memory of `len` bytes. Returns `None` if the system has none.
    pub(super) fn cut(&self, len: usize) -> Option<Store> {
        if len == 0 || len >= MAPPED_BYTES {
            return Store::single(len);
        }
        let mut block = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if block.len() < len {
            *block = BytesMut::zeroed(BLOCK_BYTES / len * len);
        }
        Some(Store::Piece(block.split_to(len)))
    }
}
