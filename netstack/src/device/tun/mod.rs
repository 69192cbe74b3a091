//! TUN devices of Linux: all of the library that needs the operating system.
//!
//! * [`offload`]: a device with several queues and the virtio-net header, so that packets of up to 64 KiB cross the
//!   kernel boundary in one call, and checksums are computed only where a receiver needs them. The default.
//! * [`plain`]: a device with one queue and bare packets, for any kernel.

mod config;
mod error;
mod fd;
mod link;
mod mtu;
pub mod offload;
mod open;
pub mod plain;
mod queue;
mod wake;

pub(super) use std::os::fd::OwnedFd;

pub use config::{OffloadMode, TunConfig};
pub use error::DeviceError;
pub use link::kernel_drops;
pub use open::{from_fds, open};
