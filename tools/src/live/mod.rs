//! Real time: network namespaces, and TUN devices whose other side is the tool, with a host behind them.
//!
//! | module | |
//! |---|---|
//! | `namespace` | namespaces of a thread, their settings, a TUN device in one |
//! | `router` | a device whose packets the kernel hands on to a host, and back |
//! | `daemon` | a `netstackd` that is started in the namespace of a thread |
//! | `control` | the control socket of a `netstackd`: its list of sockets, and connections that it carries |

pub mod control;
pub mod daemon;
pub(crate) mod namespace;
pub(crate) mod router;

use std::time::{Duration, Instant};

pub use daemon::Daemon;

/// Longest sleep between two looks at a device.
pub(crate) const LOOK: Duration = Duration::from_micros(200);

/// Returns the time.
#[allow(clippy::disallowed_methods)] // What is not virtual runs in real time.
pub(crate) fn clock() -> Instant {
    Instant::now()
}

/// Waits until `done` returns something, at most for `patience`.
pub(crate) fn eventually<T>(patience: Duration, mut done: impl FnMut() -> Option<T>) -> Option<T> {
    let end = clock() + patience;
    loop {
        if let Some(found) = done() {
            return Some(found);
        }
        if clock() >= end {
            return None;
        }
        std::thread::sleep(LOOK);
    }
}
