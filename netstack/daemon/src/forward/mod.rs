//! `forward`: ports of this machine into the stack's network, and ports of the stack to this machine.
//!
//! | module | |
//! |---|---|
//! | [`spec`] | a forwarded port, as it is written |
//! | [`tcp`], [`udp`] | connections and datagrams |

pub(crate) mod spec;
mod tcp;
mod udp;

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};
use std::sync::Arc;

use clap::Args;
use netstack::net::{Prefix, Stack, SynListener, UdpListener};
use rustix::thread::CapabilitySet;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;

use self::spec::{Forward, Protocol};
use crate::carried::packed::Shared;
use crate::carried::relay::reset;
use crate::carried::{Adopted, Carrier};
use crate::cli::{RunArgs, TakeOverArgs};
use crate::confine::Needs;
use crate::failure::Failure;
use crate::file::reason;
use crate::job::{Job, Listening, Reader, Work, without_rules};
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
    #[command(flatten)]
    take_over: TakeOverArgs,
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
    let ForwardArgs {
        run,
        ports,
        expose,
        take_over,
    } = args;
    if ports.publish.is_empty() && expose.is_empty() {
        return Err(Failure::Usage(
            "no port is given: add --publish PORT=ADDR:PORT or --expose ADDR:PORT=ADDR:PORT"
                .to_owned(),
        ));
    }
    let beginning = run::Beginning::Carried {
        job: "forward",
        take_over: take_over.path,
    };
    run::run_with(run.without_services(), beginning, |settings| {
        without_rules(settings)?;
        let needs = needs(&ports, &expose);
        let published = ports.clone();
        Ok(Job {
            needs,
            wrap: |device| device,
            prepare: move |listening| open(&published, listening),
            begin: |stack: &Stack, open| {
                let runtime = gateway::runtime("forward")?;
                let carrier = Carrier::new(runtime.handle(), None);
                let frame = Frame::new(stack, &carrier);
                let listening = frame.publish(open)?;
                for forward in &expose {
                    let port = frame.port(*forward);
                    let exposed = port.expose();
                    exposed.map_err(|error| refused("--expose", *forward, &error))?;
                }
                Ok(Forwarder {
                    frame,
                    listening,
                    published: ports.publish,
                    exposed: expose,
                    _runtime: runtime,
                })
            },
        })
    })
}

/// The forwarder at work. Its ports stay as they are.
struct Forwarder {
    frame: Frame,
    listening: Vec<(String, Shared)>,
    published: Vec<Forward>,
    exposed: Vec<Forward>,
    _runtime: Runtime,
}

impl Work for Forwarder {
    fn reader(&self) -> Reader {
        Box::new(|settings| {
            without_rules(settings)?;
            Ok(Box::new(|| None))
        })
    }

    fn carrier(&self) -> Option<&Arc<Carrier>> {
        Some(&self.frame.carrier)
    }

    fn adopt(&self, adopted: Adopted) {
        let runtime = self.frame.carrier.runtime();
        match adopted {
            Adopted::Inner(inner) => {
                let local = inner.local_addr().ok();
                let is_it = |forward: &&Forward| {
                    forward.protocol == Protocol::Tcp && Some(forward.listen) == local
                };
                match self.exposed.iter().find(is_it) {
                    Some(forward) => {
                        let port = self.frame.port(*forward);
                        runtime.spawn(async move { tcp::accepted(&port, inner).await });
                    }
                    // It fails only if the connection is at its end already.
                    None => drop(inner.set_zero_linger()),
                }
            }
            Adopted::Client(client) => {
                let name = &client.forward;
                let is_it = |forward: &&Forward| forward.to_string() == *name;
                match self.published.iter().find(is_it) {
                    Some(forward) => {
                        let port = self.frame.port(*forward);
                        let live = self.frame.carrier.enter();
                        runtime.spawn(async move {
                            tcp::inwards(&port, client.outer, client.peer, live).await;
                        });
                    }
                    None => reset(&client.outer),
                }
            }
        }
    }

    fn listening(&self) -> Vec<(String, Shared)> {
        self.listening.clone()
    }
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

/// Opens the ports of this machine that are published. Those on which a daemon that is taken over listens come from it.
///
/// # Errors
/// A port is taken, or may not be used.
pub(crate) fn open(
    ports: &PortArgs,
    mut listening: Listening,
) -> Result<Vec<(Forward, Socket)>, Failure> {
    let mut open = |forward: &Forward| {
        let name = forward.port_name();
        let at = listening.iter().position(|(other, _)| *other == name);
        let passed = at.map(|at| listening.swap_remove(at).1);
        let socket = match (forward.protocol, passed) {
            (Protocol::Tcp, Some(fd)) => Ok(Socket::Tcp(fd.into())),
            (Protocol::Udp, Some(fd)) => Ok(Socket::Udp(fd.into())),
            (Protocol::Tcp, None) => TcpListener::bind(forward.listen).map(Socket::Tcp),
            (Protocol::Udp, None) => UdpSocket::bind(forward.listen).map(Socket::Udp),
        };
        let socket = socket.map_err(|error| refused("--publish", *forward, &error))?;
        Ok((*forward, socket))
    };
    ports.publish.iter().map(&mut open).collect()
}

/// The surroundings of forwarded ports.
#[derive(Clone)]
pub(crate) struct Frame {
    stack: Stack,
    carrier: Arc<Carrier>,
}

/// A forwarded port with what it needs.
#[derive(Clone)]
struct Port {
    frame: Frame,
    forward: Forward,
    /// Places for its connections or flows.
    places: Arc<Semaphore>,
}

impl Frame {
    /// Takes what ports need: the flows of `carrier` run on its runtime.
    pub(crate) fn new(stack: &Stack, carrier: &Arc<Carrier>) -> Self {
        Self {
            stack: stack.clone(),
            carrier: Arc::clone(carrier),
        }
    }

    fn port(&self, forward: Forward) -> Port {
        Port {
            frame: self.clone(),
            forward,
            places: Arc::new(Semaphore::new(FLOWS_MAX)),
        }
    }

    /// Brings ports of this machine into the stack's network. Returns their sockets by the names of the ports.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn publish(
        &self,
        open: Vec<(Forward, Socket)>,
    ) -> Result<Vec<(String, Shared)>, Failure> {
        if open.iter().any(|(forward, _)| forward.keep_client) {
            answer_for_everybody(&self.stack);
        }
        let publish = |(forward, socket): (Forward, Socket)| {
            let published = self.port(forward).publish(socket);
            let shared = published.map_err(|error| refused("--publish", forward, &error))?;
            Ok((forward.port_name(), shared))
        };
        open.into_iter().map(publish).collect()
    }
}

impl Port {
    /// Serves a port of this machine.
    fn publish(self, socket: Socket) -> io::Result<Shared> {
        let runtime = self.frame.carrier.runtime().clone();
        let _inside = runtime.enter();
        Ok(match socket {
            Socket::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                let listener = Arc::new(tokio::net::TcpListener::from_std(listener)?);
                runtime.spawn(tcp::publish(self, Arc::clone(&listener)));
                listener as Shared
            }
            Socket::Udp(socket) => {
                socket.set_nonblocking(true)?;
                let socket = Arc::new(tokio::net::UdpSocket::from_std(socket)?);
                runtime.spawn(udp::publish(self, Arc::clone(&socket)));
                socket as Shared
            }
        })
    }

    /// Serves a port of the stack.
    fn expose(self) -> io::Result<()> {
        let runtime = self.frame.carrier.runtime().clone();
        let (stack, listen) = (&self.frame.stack, self.forward.listen);
        match self.forward.protocol {
            Protocol::Tcp => {
                let listener = SynListener::bind(stack, listen)?;
                runtime.spawn(tcp::expose(self, listener));
            }
            Protocol::Udp => {
                let listener = UdpListener::bind(stack, listen)?;
                runtime.spawn(udp::expose(self, listener));
            }
        }
        Ok(())
    }
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
