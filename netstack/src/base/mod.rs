//! The foundation of every layer: time, randomness, limits and counters, also by the names of the MIBs.
//!
//! Imports no other module, reads no clock and uses no global random generator.

mod changeable;
pub mod config;
pub mod congestion;
pub mod counters;
mod fate;
pub mod limits;
mod link;
pub mod mib;
mod mtu_probing;
pub mod rng;
pub mod time;

pub use changeable::Limits;
pub use config::{Config, ConfigError, EchoPolicy, TcpConfig};
pub use counters::{Counters, DropReason};
pub use fate::Discarded;
pub(crate) use fate::{Fate, FateCell};
pub use link::{LinkCaps, OffloadCaps};
pub use mtu_probing::{MtuProbing, UnknownMtuProbing};
pub use rng::Rng;
pub use time::Instant;
