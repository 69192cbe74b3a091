//! Stacks in one process, on threads of their own: two that are joined by a link in memory, or one alone.

use std::net::SocketAddr;
use std::time::Duration;

use netstack::device::channel::{ChannelConfig, PacketPipe, channel};
use netstack::device::memory::{self, LinkConfig};
use netstack::net::Stack;

/// Address of the client's stack.
pub const CLIENT: &str = "10.77.0.1";
/// Address of the server's stack.
pub const SERVER: &str = "10.77.0.2";

/// Starts a client's and a server's stack with one worker each.
///
/// # Panics
/// A stack cannot be started.
pub fn stacks() -> (Stack, Stack) {
    stacks_over(&LinkConfig {
        tso: true,
        tx_checksum: true,
        ..LinkConfig::default()
    })
}

/// Starts a client's and a server's stack with one worker each over this link.
///
/// # Panics
/// A stack cannot be started.
pub fn stacks_over(link: &LinkConfig) -> (Stack, Stack) {
    let (a, b) = memory::pair(link);
    let start = |device, address: &str| {
        Stack::builder()
            .address(address.parse().expect("address"), 24)
            .seed([7; 32])
            .start(vec![Box::new(device)])
            .expect("stack")
    };
    (start(a, CLIENT), start(b, SERVER))
}

/// Starts a stack with addresses of both families that has nobody to talk to; returns it with the end of its device.
///
/// # Panics
/// The stack cannot be started.
pub fn alone() -> (Stack, PacketPipe) {
    let (device, pipe) = channel(ChannelConfig::default());
    let stack = Stack::builder()
        .address(SERVER.parse().expect("address"), 24)
        .address("fd00::2".parse().expect("address"), 64)
        .start(vec![Box::new(device)])
        .expect("stack");
    (stack, pipe)
}

/// Returns a port of the server.
///
/// # Panics
/// Never: the address is a constant.
pub fn server(port: u16) -> SocketAddr {
    SocketAddr::new(SERVER.parse().expect("address"), port)
}

/// Fails instead of waiting for ever.
///
/// # Panics
/// A minute passed.
pub async fn bounded<T>(future: impl Future<Output = T>) -> T {
    bounded_as("it", future).await
}

/// As [`bounded`]; the message names `what` waits.
///
/// # Panics
/// A minute passed.
pub async fn bounded_as<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future)
        .await
        .unwrap_or_else(|_| panic!("{what} waits for ever"))
}
