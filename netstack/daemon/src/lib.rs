//! `netstackd`: a host of its own behind a TUN device.
//!
//! The binary is [`main`]. The rest is a library only so that tests can start the same program and
//! use the same kernel-side clients. This crate owns the command line, the configuration file, the
//! classic services over the stack's own sockets, the signals, and the demo. It never looks into a
//! packet.
//!
//! # From the command line to a running host
//!
//! | module | |
//! |---|---|
//! | [`cli`], `file` | the flags and the configuration file; each value is parsed by [`values`] and [`places`] |
//! | [`sources`] | where each setting came from, so that a message blames the right place |
//! | [`config`], `reload` | `check` and `config`; what SIGHUP changes |
//! | [`settings`] | the two merged and checked: the only form that the rest accepts |
//! | [`run`] | brings a daemon up: the order of everything |
//! | `serving` | the main thread: events, signals |
//! | `setup` | opens what needs rights: the device, sockets, files |
//! | [`confine`] | gives up the rights that nothing needs any more |
//! | `limits` | compares the limits of the process with what the settings need |
//! | [`supervisor`] | systemd and the like: descriptors from it, messages to it |
//! | [`proxy`] | brings every flow that enters the device to its destination |
//! | [`forward`] | brings ports of the machine into the stack's network, and the stack's to the machine |
//! | [`record`], [`replay`] | write down everything that a stack depends on, and repeat it |
//! | [`exec`] | runs a command whose only network is the stack |
//! | `current` | the stack that serves now, for all who ask for it |
//! | `restart` | hands the device and all connections over to another process, or takes them |
//! | `carried` | the flows of a job between the stack and the machine, which go over, too |
//! | `control` | the control socket: what the daemon shows, and what it is asked to do |
//! | [`watch`] | the dashboard in the terminal |
//! | `web`, `metrics` | the dashboard in a browser; `/metrics` for Prometheus |
//! | `logs`, `output` | logs, and lines that hold up nothing |
//! | [`client`] | the commands that ask a running daemon |
//! | [`documents`] | manual pages and completions |
//! | [`demo`] | runs the daemon in a network namespace and tests it with the kernel's sockets |
//! | `clock` | the time of the stack beside that of people |
//! | [`failure`] | the sentence and the exit code with which the program ends |
//!
//! For tests and benchmarks:
//!
//! | module | |
//! |---|---|
//! | [`namespace`] | a network namespace of the program's own |
//! | [`child`] | the daemon as a child process |
//! | [`probe`] | clients on kernel sockets: streams, datagrams, ping, a SYN flood |
//!
//! ```no_run
//! use std::net::SocketAddr;
//!
//! use netstackd::child::Daemon;
//! use netstackd::probe::datagram;
//!
//! # fn example() -> Result<(), Box<dyn std::error::Error>> {
//! // In a network namespace of its own: the daemon is 10.77.0.2 behind t0, the kernel 10.77.0.1.
//! let arguments = ["--tun=t0", "--addr=10.77.0.2/24", "--host-addr=10.77.0.1"];
//! let mut daemon = Daemon::start("target/release/netstackd".as_ref(), &arguments)?;
//! let echo: SocketAddr = "10.77.0.2:7".parse()?;
//! let echoed = datagram::echo(echo, [1, 100, 1_472].into_iter())?;
//! println!("{echoed} datagrams came back");
//! daemon.terminate()?;
//! # Ok(())
//! # }
//! ```

mod carried;
pub mod child;
pub mod cli;
pub mod client;
mod clock;
pub mod config;
pub mod confine;
mod console;
mod control;
mod current;
pub mod demo;
mod descriptors;
mod device;
pub mod documents;
pub mod exec;
pub mod failure;
mod file;
mod flags;
pub mod forward;
mod heap;
mod impaired;
mod job;
mod limits;
pub mod logs;
mod metrics;
pub mod namespace;
mod numbered;
mod output;
mod pcap;
mod pcapng;
pub mod places;
pub mod probe;
pub mod proxy;
pub mod record;
mod recording;
mod reload;
pub mod replay;
mod report;
mod restart;
pub mod run;
mod services;
mod serving;
mod session;
pub mod settings;
mod setup;
pub mod sources;
pub mod supervisor;
pub mod values;
pub mod watch;
mod web;

use std::process::ExitCode;
use std::sync::Arc;

use cli::Command;
use failure::Failure;

/// Runs the command line of this process and returns its exit code.
///
/// Reports a failure as one sentence on stderr and one of the documented exit codes.
pub fn main() -> ExitCode {
    survive_full_files();
    match dispatch() {
        Ok(code) => code,
        Err(failure) => {
            output::print_last(format!("netstackd: {failure}"));
            failure.into()
        }
    }
}

/// Makes a write to a file that may grow no further an error: without a handler the signal of it ends the program.
fn survive_full_files() {
    // Where it cannot be registered, the signal does what it does by default.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default());
}

fn dispatch() -> Result<ExitCode, Failure> {
    let done = match cli::parse(std::env::args_os())? {
        None => Ok(()),
        Some(Command::Run(args)) => run::run(args),
        Some(Command::Replay(args)) => return replay::run(&args),
        Some(Command::Check(args)) => config::check(&args),
        Some(Command::Config(command)) => config::run(&command),
        Some(Command::Demo(args)) => demo::run(&args),
        Some(Command::Proxy(args)) => proxy::run(args),
        Some(Command::Forward(args)) => forward::run(args),
        Some(Command::Exec(args)) => return Ok(exec::run(args)),
        Some(Command::ExecInside(args)) => exec::inside::run(args),
        Some(Command::Documents(command)) => cli::document(&command),
        Some(Command::Client(command)) => client::run(&command),
    };
    done.map(|()| ExitCode::SUCCESS)
}
