//! Zero-copy packet parsing and building, and the buffers that packets live in.

pub mod buf;

pub use buf::{Buffers, Payload, Pool, SlabMut};
