//! The packetdrill script language on virtual time.

pub mod ast;
pub mod code;
pub mod host;
pub mod kernel;
pub mod ours;
pub mod parser;
pub mod report;
pub mod run;
pub mod settings;
pub mod wire;
