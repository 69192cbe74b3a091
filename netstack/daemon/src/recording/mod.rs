//! The form of a recording: a pcapng file with the packets of a device, and between them what else the stack depended on.
//!
//! A worker's turn is a function of the worker's state, the time, and what its device gave it: the core is pure, and the
//! services run as tasks on the worker. So a recording is
//!
//! | block | content |
//! |---|---|
//! | header | configuration, seed and link: the state at the beginning |
//! | state | a piece of the checkpoint that the stack is restored from, in a part of a ring |
//! | turn | its time, when the worker wants the next one, and of each packet that was read the device's verdict and the memory |
//! | packet | one that the turn read |
//! | sent | of each packet of a batch the work that was left to the device, and what that did |
//! | packet | one of the batch |
//! | end | why the recording ended |
//!
//! Packets are ordinary packet blocks. The others have a type that pcapng reserves for local use, which other programs
//! pass over: any of them shows the packets of a recording. `docs/TOOLS.md` describes every field.

pub(crate) mod blocks;
pub(crate) mod decisions;
pub(crate) mod effects;
pub(crate) mod packets;
pub(crate) mod reader;
mod text;

pub(crate) use text::{of_settings, settings_of};

/// The version of the form. A reader takes no other.
pub(crate) const FORMAT: u32 = 2;

/// Most bytes of the state with which a part of a ring begins.
pub(crate) const MAX_STATE_BYTES: u64 = 64 << 20;

/// The type of our blocks: the highest bit says that it is for local use, the rest is "NSR".
pub(crate) const BLOCK: u32 = 0x804e_5352;
