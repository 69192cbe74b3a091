//! Both TUN devices against the real kernel, each test in a network namespace of its own.
//!
//! Needs `/dev/net/tun` and the right to make network namespaces (root); without them the tests fail.

mod faults;
mod host;
mod offload;
mod traffic;
mod wire;
