//! `impair`: two TUN devices joined by a link that is as bad as one likes.
//!
//! The rules are those of the crate [`impair`](::impair), which knows neither clocks nor devices. Here are the devices, the
//! clock, a thread for each direction, and what people type while it runs.
//!
//! | module | |
//! |---|---|
//! | [`endpoint`] | where a device lies and which addresses it has; opening it |
//! | [`port`] | packets and super-packets in and out of a device |
//! | [`spares`] | buffers that are used again |
//! | [`direction`] | the thread that takes packets from one device to the other |
//! | [`control`] | commands, and what they answer |
//! | [`inputs`] | where commands come from: standard input, a Unix socket, signals |

pub mod control;
pub mod direction;
pub mod endpoint;
pub mod inputs;
pub mod port;
pub mod spares;

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Returns the time since the machine was started.
pub fn now() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    Duration::new(
        u64::try_from(now.tv_sec).unwrap_or_default(),
        u32::try_from(now.tv_nsec).unwrap_or_default(),
    )
}
