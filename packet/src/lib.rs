//! Zero-copy packet parsing and building, and the buffers that packets live in.
//!
//! Bytes come in as a slice and go out as a view that says what was verified; nothing is copied,
//! nothing panics, whatever the bytes are. Layers: [`ip`] reads IP headers and says exactly how to
//! answer bad ones; [`tcp`], [`udp`], [`icmp`] read what is in them; [`build`] writes packets back to
//! front; [`frame`] is a packet on its way through the stack; [`buf`] is the memory under all of it.
//!
//! It keeps no state between packets, opens no device, and knows no clock.

pub mod buf;
pub mod build;
pub mod checksum;
pub mod frame;
pub mod icmp;
pub mod ip;
mod proto;
pub mod tcp;
pub mod udp;

pub use buf::{Buffers, Payload, Pool, SlabMut};
pub use checksum::RxChecksum;
pub use frame::{Chunks, RxPacket, TxPacket};
pub use proto::IpProto;

/// The examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
