//! Both TUN devices against the real kernel, each test in a network namespace of its own.
//!
//! The header of `host.rs` lists the rights that they need.

mod faults;
mod host;
mod mtu;
mod offload;
mod prepared;
mod traffic;
mod wire;
