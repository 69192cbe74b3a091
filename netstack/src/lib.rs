//! A userspace IP, UDP and TCP stack.

pub mod base;
pub mod demux;
pub mod device;
pub mod engine;
pub mod icmp;
pub mod ip;
pub mod net;
pub mod stack;
pub mod tcp;
pub mod udp;

pub use base::counters::{Counter, DropReason};
pub use base::{Config, TcpConfig};
pub use packet::Payload;
