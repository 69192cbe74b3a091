//! `forward`: ports of this machine into the stack's network, and ports of the stack to this machine.
//!
//! | module | |
//! |---|---|
//! | [`spec`] | a forwarded port, as it is written |
//! | [`tcp`], [`udp`] | connections and datagrams |

pub(crate) mod spec;
mod tcp;
mod udp;

use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};
use std::sync::Arc;

use clap::Args;
use netstack::net::{Prefix, Stack};
use rustix::thread::CapabilitySet;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use self::spec::{Forward, Protocol};
use crate::cli::RunArgs;
use crate::confine::Needs;
use crate::failure::Failure;
use crate::file::reason;
use crate::job::{Fixed, Job, without_rules};
use crate::proxy::gateway;
use crate::run;

/// Most connections, and most flows of UDP, of one forwarded port.
const FLOWS_MAX: usize = 4_096;

/// Examples as `--help` prints them.
pub(crate) const EXAMPLES: &str = "\
Examples:
  netstackd forward --tun t0 --addr 10.77.0.2/24 --publish 8080=10.77.0.1:80
      connections to 127.0.0.1:8080 of this machine go to 10.77.0.1:80, from the stack's address
  netstackd forward … --publish 192.0.2.1:8080=10.77.0.1:80,keep-client
      the same, from the client's address
  netstackd forward … --expose 10.77.0.2:22=127.0.0.1:22 --expose udp:10.77.0.2:53=127.0.0.1:53
      connections and datagrams to the stack go to this machine";

/// Flags of `forward`.
#[derive(Debug, Args)]
pub struct ForwardArgs {
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    ports: PortArgs,
    /// Brings a port of the stack to an address of this machine: [tcp:|udp:]ADDR:PORT=ADDR:PORT[,keep-client].
    #[arg(long, value_name = "SPEC", value_parser = spec::parse_expose)]
    expose: Vec<Forward>,
}

/// Flags about ports of this machine, which `exec` has, too.
#[derive(Clone, Debug, Args)]
pub struct PortArgs {
    /// Brings a port of this machine into the stack's network: [tcp:|udp:][ADDR:]PORT=ADDR:PORT[,keep-client].
    #[arg(long, value_name = "SPEC", value_parser = spec::parse_publish)]
    publish: Vec<Forward>,
}

/// Runs the forwarder until a signal ends it.
///
/// # Errors
/// As [`run::run`].
pub(crate) fn run(args: ForwardArgs) -> Result<(), Failure> {
    let ForwardArgs { run, ports, expose } = args;
    if ports.publish.is_empty() && expose.is_empty() {
        return Err(Failure::Usage(
            "no port is given: add --publish PORT=ADDR:PORT or --expose ADDR:PORT=ADDR:PORT"
                .to_owned(),
        ));
    }
    run::run_with(run.without_services(), run::Beginning::Job, |settings| {
        without_rules(settings)?;
        let needs = needs(&ports, &expose);
        let published = ports.clone();
        Ok(Job {
            needs,
            wrap: |device| device,
            prepare: move || open(&published),
            begin: |stack: &Stack, open| {
                let runtime = gateway::runtime("forward")?;
                publish(runtime.handle(), stack, open)?;
                for forward in expose {
                    let places = Arc::new(Semaphore::new(FLOWS_MAX));
                    let started = match forward.protocol {
                        Protocol::Tcp => tcp::expose(runtime.handle(), stack, forward, places),
                        Protocol::Udp => udp::expose(runtime.handle(), stack, forward, places),
                    };
                    started.map_err(|error| refused("--expose", forward, &error))?;
                }
                // Its ports stay as they are.
                Ok(Fixed(runtime))
            },
        })
    })
}

/// Returns the rights that flows need while the forwarder runs.
fn needs(ports: &PortArgs, expose: &[Forward]) -> Needs {
    let capabilities = if expose.iter().any(|forward| forward.keep_client) {
        // To connect from the client's address and port.
        CapabilitySet::NET_ADMIN | CapabilitySet::NET_BIND_SERVICE
    } else {
        CapabilitySet::empty()
    };
    let count = ports.publish.len() + expose.len();
    Needs {
        sockets: true,
        capabilities,
        descriptors: (count as u64).saturating_mul(FLOWS_MAX as u64),
        ..Needs::default()
    }
}

/// A socket of this machine for a published port.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpListener),
    Udp(UdpSocket),
}

/// Opens the ports of this machine that are published.
///
/// # Errors
/// A port is taken, or may not be used.
pub(crate) fn open(ports: &PortArgs) -> Result<Vec<(Forward, Socket)>, Failure> {
    let open = |forward: &Forward| {
        let socket = match forward.protocol {
            Protocol::Tcp => TcpListener::bind(forward.listen).map(Socket::Tcp),
            Protocol::Udp => UdpSocket::bind(forward.listen).map(Socket::Udp),
        };
        let socket = socket.map_err(|error| refused("--publish", *forward, &error))?;
        Ok((*forward, socket))
    };
    ports.publish.iter().map(open).collect()
}

/// Brings ports of this machine into the stack's network.
///
/// # Errors
/// The system refuses.
pub(crate) fn publish(
    runtime: &Handle,
    stack: &Stack,
    open: Vec<(Forward, Socket)>,
) -> Result<(), Failure> {
    if open.iter().any(|(forward, _)| forward.keep_client) {
        answer_for_everybody(stack);
    }
    for (forward, socket) in open {
        let places = Arc::new(Semaphore::new(FLOWS_MAX));
        let started = match socket {
            Socket::Tcp(listener) => tcp::publish(runtime, stack, (forward, listener), places),
            Socket::Udp(socket) => udp::publish(runtime, stack, (forward, socket), places),
        };
        started.map_err(|error| refused("--publish", forward, &error))?;
    }
    Ok(())
}

/// A stack may connect from the addresses that it answers for: those of the clients.
fn answer_for_everybody(stack: &Stack) {
    let everybody = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
    for prefix in everybody.into_iter().flat_map(|any| Prefix::new(any, 0)) {
        // It fails if the stack does already.
        let _ = stack.add_any_address(prefix);
    }
}

fn refused(flag: &str, forward: Forward, error: &std::io::Error) -> Failure {
    use std::io::ErrorKind::{AddrInUse, AddrNotAvailable, PermissionDenied};
    let why = reason(error);
    let text = |advice: &str| {
        format!(
            "{flag} {forward} cannot listen on {}: {why}: {advice}",
            forward.listen
        )
    };
    match error.kind() {
        AddrInUse => Failure::InUse(text("choose another port")),
        AddrNotAvailable => Failure::Usage(text("name an address that is there")),
        PermissionDenied => Failure::Privilege(text("choose a port above 1023, or run as root")),
        _ => Failure::Stack(text("try again")),
    }
}
