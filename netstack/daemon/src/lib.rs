//! `netstackd`: a host of its own behind a TUN device.
//!
//! The binary is [`main`]. The rest is a library only so that tests can start the same program and
//! use the same kernel-side clients. This crate owns the command line, the configuration file, the
//! classic services over the stack's own sockets, the signals, and the demo. It never looks into a
//! packet.

pub mod child;
pub mod cli;
mod console;
pub mod demo;
pub mod failure;
mod file;
pub mod namespace;
pub mod probe;
mod report;
pub mod run;
mod services;
pub mod settings;
pub mod sources;
pub mod values;

use std::process::ExitCode;

use cli::Command;
use failure::Failure;

/// Runs the command line of this process and returns its exit code.
///
/// Reports a failure as one sentence on stderr and one of the documented exit codes.
pub fn main() -> ExitCode {
    match dispatch() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("netstackd: {failure}");
            failure.into()
        }
    }
}

fn dispatch() -> Result<(), Failure> {
    match cli::parse(std::env::args_os())? {
        None => Ok(()),
        Some(Command::Run(args)) => run::run(args),
        Some(Command::Demo(args)) => demo::run(&args),
    }
}
