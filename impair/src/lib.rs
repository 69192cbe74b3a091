//! One direction of a bad link: rate and queue, loss, delay, reordering, corruption, duplication, MTU.
//!
//! A [`Wire`] takes packets, the time and a seed as arguments and has neither a clock nor a thread: the same calls give
//! the same packets. What a wire does to packets is an [`Impairment`], written as people type it
//! (`rate=10mbit,delay=50ms,loss=1%`), and changed while packets are under way.
//!
//! Each packet passes, in this order, the MTU, the queue in front of the rate, loss, corruption, duplication, and delay
//! with jitter and reordering.
//!
//! A TUN device with offload carries super-packets of up to 64 KiB that stand for many packets. **Every rule holds for each
//! of their segments**: each has its own length in the queue, its own draw for loss, its own delay. Segments that remain
//! neighbours and leave within [`QUANTUM`] of each other stay together, so that a link of many gigabits does not pay for
//! each of them.
//!
//! | module | |
//! |---|---|
//! | [`settings`] | what a wire does, parsed and printed |
//! | [`frame`] | a packet or super-packet, and how it is cut |
//! | `join` | datagrams that become a super-packet again |
//! | [`wire`] | the wire itself |
//! | `queue`, `codel` | the queue in front of a rate, and its drop policies |
//! | `under_way` | what is behind the queue, in the order of arrival |
//! | `chance` | random loss, in bursts or not |
//! | `too_big` | what becomes of packets that are longer than the MTU |
//!
//! ```
//! use std::time::Duration;
//!
//! use impair::{Frame, Impairment, Wire};
//!
//! let mut wire = Wire::new("delay=20ms".parse().expect("known keys"), 7);
//! wire.push(Frame::bare(vec![0x45; 100]), Duration::ZERO);
//! assert_eq!(wire.next(), Some(Duration::from_millis(20)));
//! assert!(wire.pop(Duration::from_millis(19)).is_none());
//! assert_eq!(wire.pop(Duration::from_millis(20)).map(|frame| frame.bytes().len()), Some(100));
//! ```

mod chance;
mod codel;
pub mod frame;
mod join;
mod queue;
pub mod settings;
mod too_big;
mod under_way;
mod values;
pub mod wire;

pub use frame::{Checksum, Frame};
pub use settings::{Impairment, SettingError};
pub use wire::{QUANTUM, Stats, Wire};
