//! The packetdrill script language: on virtual time, against the kernel, against a daemon.

pub mod ast;
pub mod code;
pub mod daemon;
pub mod host;
pub mod kernel;
pub mod ours;
pub mod parser;
mod real_time;
pub mod report;
pub mod run;
pub mod settings;
pub mod wire;
