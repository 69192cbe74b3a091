//! The end-to-end benchmark: one client measures the stack behind its TUN device and the kernel's own
//! stack in the same run.
//!
//! This crate links nothing of the stack. It measures the daemon as it is installed, in a process and a
//! network namespace of its own.

pub mod beside;
pub mod client;
pub mod clock;
pub mod host;
pub mod measure;
pub mod netns;
pub mod peer;
pub mod report;
pub mod server;
