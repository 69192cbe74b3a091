//! `exec`: runs a command in a network namespace of its own, whose only network is the stack.
//!
//! The program starts itself once more. That second process enters the namespaces, makes the TUN device, hands its
//! descriptor over, and becomes the command when the stack serves. So the command is a child of this program like any
//! other, with its terminal, and nothing of this program runs inside.
//!
//! | module | |
//! |---|---|
//! | [`inside`] | the second process |
//! | [`hand_over`] | the descriptor's way from one to the other |
//! | `network` | addresses and routes inside |
//! | `resolver` | who answers queries for names inside |
//! | `command` | signals to the command, and its end |

mod command;
pub(crate) mod hand_over;
pub(crate) mod inside;
mod network;
mod resolver;

use std::ffi::OsString;
use std::fs::File;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use clap::Args;
use netstack::device::pcap::{Capture, CaptureConfig};
use netstack::device::{self, Device};
use netstack::net::Stack;

use crate::cli::{self, parse_exec_mtu};
use crate::clock::start_clock;
use crate::failure::Failure;
use crate::file::reason;
use crate::forward::{self, PortArgs};
use crate::impaired;
use crate::probe::now;
use crate::proxy::args::OutboundArgs;
use crate::proxy::gateway;
use crate::settings::default_config;
use crate::values::parse_memory;

/// Exit code of failures of this program, as `env` and `timeout` have it.
const FAILED: u8 = 125;
/// Time that data which the command left behind has to go out.
const GRACE: Duration = Duration::from_secs(5);
/// Pause between two looks whether it has.
const PAUSE: Duration = Duration::from_millis(5);

/// The exit codes as `--help` prints them.
pub(crate) const EXIT_CODES: &str = "\
Examples:
  netstackd exec -- curl https://example.org/
  netstackd exec --impair loss=1%,delay=50ms -- curl -o /dev/null https://example.org/
  netstackd exec --upstream socks5://127.0.0.1:1080 --dns virtual -- ssh host
  netstackd exec --rule 'reject any 25' --map-host-loopback 10.77.0.3 -- sh

Exit codes:
  that of the command; 128 and the number of the signal that ended it
  2    a flag or its value is wrong
  125  the network could not be made
  126  the command cannot be run
  127  the command is not found";

/// Flags of `exec`.
#[derive(Debug, Args)]
pub struct ExecArgs {
    #[command(flatten)]
    outbound: OutboundArgs,
    #[command(flatten)]
    ports: PortArgs,
    /// TOML file of which the keys upstream and rules are used, behind the rules of the command line.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Largest IP packet on the link, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 1500, value_parser = parse_exec_mtu)]
    mtu: u16,
    /// Memory for packets, in bytes, or with K, M or G: at least 1M [default: a sixteenth of the machine's, from 32M to 1G].
    #[arg(long, value_name = "BYTES", value_parser = parse_memory)]
    memory: Option<usize>,
    /// Captures every packet of the device to this file.
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,
    /// Without IPv6 inside.
    #[arg(long)]
    no_ipv6: bool,
    /// The command is root inside, so that it may change its network and capture. Without root outside it is as powerless as before.
    #[arg(long)]
    map_root: bool,
    /// The command and its arguments.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Runs the command, and returns its exit code.
pub(crate) fn run(args: ExecArgs) -> ExitCode {
    match execute(&args) {
        Ok(code) => ExitCode::from(code),
        // The process inside has said why.
        Err(Stop::Inside) => ExitCode::from(FAILED),
        Err(Stop::Failure(failure)) => {
            eprintln!("netstackd: {failure}");
            ExitCode::from(match failure {
                Failure::Usage(_) | Failure::Config(_) => failure.exit_code(),
                _ => FAILED,
            })
        }
    }
}

/// Why the command was not run.
#[derive(Debug)]
enum Stop {
    Failure(Failure),
    /// The process inside ended, and has said why.
    Inside,
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

fn execute(args: &ExecArgs) -> Result<u8, Stop> {
    let configured = cli::configured_policy(args.config.as_deref())?;
    let plan = args
        .outbound
        .plan(&configured, None, None, resolver::of_machine())?;
    // Before the command is there: no signal gets lost.
    let signals = command::signals()?;
    let (child, mut handed) = hand_over::start(args)?;
    let mut child = command::Child::new(child);
    let fd = handed.descriptor(&mut child)?;
    let devices =
        device::from_fds(vec![fd], args.mtu).map_err(|error| Failure::Device(error.to_string()))?;
    let devices = match args.outbound.impairments() {
        Some((up, down)) => {
            let seed = args.outbound.impair_seed;
            let wrap = |device| impaired::wrap(device, up.clone(), down.clone(), seed);
            devices.into_iter().map(wrap).collect()
        }
        None => devices,
    };
    let (clock, origin) = start_clock(None);
    let (devices, capture) = captured(devices, args, origin)?;
    let mut config = default_config();
    config.memory_bytes = args.memory;
    let mut builder = Stack::builder().config(config);
    for (address, prefix) in network::of_stack(!args.no_ipv6) {
        builder = builder.address(address, prefix);
    }
    let stack = builder
        .clock(clock)
        .start(devices)
        .map_err(|error| Failure::Stack(format!("cannot start the stack: {error}")))?;
    let running = gateway::start(&stack, plan)?;
    let published = forward::open(&args.ports, Vec::new())?;
    let ports = forward::Frame::new(&stack, running.carrier());
    ports.publish(published)?;
    // Nobody takes the place of the process whose child the command is.
    running.carrier().go_on(Vec::new());
    handed.go()?;
    let code = child.wait(signals);
    drain(&stack);
    drop(running);
    let stopped = stack.shutdown(Duration::ZERO);
    if let Some(capture) = capture {
        let finished = capture.finish().map(drop);
        finished.map_err(|error| {
            Failure::Stack(format!("the capture is incomplete: {}", reason(&error)))
        })?;
    }
    // The device is gone with its last user: what the command did is done.
    let _ = stopped;
    Ok(code)
}

/// Waits until what the command sent has arrived: the kernel goes on with it when the command has ended.
fn drain(stack: &Stack) {
    let end = now() + GRACE;
    while stack.connections() > 0 && now() < end {
        thread::sleep(PAUSE);
    }
}

/// The queues of the device, and the capture that they are wrapped in, if any.
type Captured = (Vec<Box<dyn Device>>, Option<Capture>);

/// Captures the packets of the device, if that is asked for. `origin` is the Unix time of the stack's time zero.
fn captured(
    devices: Vec<Box<dyn Device>>,
    args: &ExecArgs,
    origin: Duration,
) -> Result<Captured, Failure> {
    let Some(path) = &args.pcap else {
        return Ok((devices, None));
    };
    let config = CaptureConfig {
        origin,
        ..Default::default()
    };
    let capture = File::create(path)
        .and_then(|file| Capture::start(file, config))
        .map_err(|error| {
            Failure::Usage(format!(
                "--pcap {} cannot be written: {}: name a file in a directory that can be written to",
                path.display(),
                reason(&error)
            ))
        })?;
    let tap = |device| Box::new(capture.tap(device)) as Box<dyn Device>;
    Ok((devices.into_iter().map(tap).collect(), Some(capture)))
}
