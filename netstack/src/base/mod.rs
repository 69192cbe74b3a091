//! What every layer of the stack stands on: time, randomness, limits and counters.
//!
//! Imports nothing above it, reads no clock, draws no ambient randomness.

pub mod config;
pub mod counters;
pub mod link;
pub mod rng;
pub mod time;

pub use config::{Config, ConfigError, TcpConfig};
pub use counters::{Counters, DropReason};
pub use link::{LinkCaps, OffloadCaps};
pub use rng::Rng;
pub use time::Instant;
