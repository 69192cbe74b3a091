//! The gateway, which takes flows from a stack and brings them out: the rules, the sockets, and the bounds of both.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use netstack::net::{Destinations, EchoListener, Prefix, Stack, SynListener, UdpListener};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{Semaphore, watch};

use super::dial::Dialer;
use super::flows;
use super::names::Names;
use super::rules::{Action, Policy, Protocol};
use super::upstream::{Target, Upstream};
use crate::carried::{Adopted, Carrier};
use crate::failure::Failure;
use crate::file::reason;
use crate::probe::now;

/// Port of DNS.
const DNS: u16 = 53;
/// Most pings that wait for an answer.
const PINGS_MAX: usize = 256;
/// Time between two messages about flows that failed.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// The parts of a gateway.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) policy: Policy,
    pub(crate) dialer: Dialer,
    pub(crate) udp_idle: Duration,
    pub(crate) max_connections: usize,
    pub(crate) max_udp_flows: usize,
    /// Answers queries for names with virtual addresses.
    pub(crate) names: Option<Names>,
    /// The stack's own addresses at port 53 stand for this one.
    pub(crate) resolver: Option<SocketAddr>,
    /// This address stands for the machine's loopback address.
    pub(crate) loopback: Option<IpAddr>,
}

impl Plan {
    /// Returns the most sockets of the machine at once.
    pub(super) fn descriptors(&self) -> u64 {
        let most = [self.max_connections, self.max_udp_flows, PINGS_MAX];
        most.iter().map(|count| *count as u64).sum()
    }
}

/// A gateway at work.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) dialer: Dialer,
    /// The connections, which another process may go on with.
    pub(super) carrier: Arc<Carrier>,
    pub(super) connections: Arc<Semaphore>,
    pub(super) datagram_flows: Arc<Semaphore>,
    pub(super) pings: Arc<Semaphore>,
    policy: watch::Receiver<Arc<Policy>>,
    own: Vec<IpAddr>,
    names: Option<Arc<Names>>,
    resolver: Option<SocketAddr>,
    loopback: Option<IpAddr>,
    /// When the last message was printed, in milliseconds.
    told: AtomicU64,
}

/// The way of one flow.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) action: Action,
    pub(super) target: Target,
}

/// Keeps a gateway running. Dropping it ends its flows.
#[derive(Debug)]
pub(crate) struct Running {
    gateway: Arc<Gateway>,
    runtime: Threads,
    policy: watch::Sender<Arc<Policy>>,
}

/// A runtime that ends without waiting: flows that wait for the machine's resolver would hold up the end.
#[derive(Debug)]
struct Threads(Option<Runtime>, Handle);

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Running {
    /// Returns the way to give flows that begin from then on other rules. Those that are there stay.
    pub(crate) fn policies(&self) -> watch::Sender<Arc<Policy>> {
        self.policy.clone()
    }

    /// Returns the connections, which rest at first.
    pub(crate) fn carrier(&self) -> &Arc<Carrier> {
        &self.gateway.carrier
    }

    /// Begins a flow anew.
    pub(crate) fn adopt(&self, adopted: Adopted) {
        // A proxy publishes no port.
        let Adopted::Inner(client) = adopted else {
            return;
        };
        let gateway = Arc::clone(&self.gateway);
        self.runtime.1.spawn(async move {
            let place = Arc::clone(&gateway.connections).try_acquire_owned();
            flows::accepted(&gateway, client).await;
            drop(place);
        });
    }

    /// Returns the names that have virtual addresses.
    pub(crate) fn names(&self) -> Option<&Names> {
        self.gateway.names.as_deref()
    }
}

/// Makes a runtime with a thread for each core.
///
/// # Errors
/// The system has no threads left.
pub(crate) fn runtime(name: &str) -> Result<Runtime, Failure> {
    Builder::new_multi_thread()
        .thread_name(name)
        .enable_all()
        .build()
        .map_err(|error| {
            Failure::Stack(format!(
                "the threads of {name} cannot be started ({}): raise the limit of processes (ulimit -u)",
                reason(&error)
            ))
        })
}

/// Starts to take every flow that enters `stack`.
///
/// # Errors
/// Something else takes them already, or the system has no threads left.
pub(crate) fn start(stack: &Stack, plan: Plan) -> Result<Running, Failure> {
    let everything = [
        Prefix::new(Ipv4Addr::UNSPECIFIED.into(), 0),
        Prefix::new(Ipv6Addr::UNSPECIFIED.into(), 0),
    ];
    let everything: Vec<Prefix> = everything.into_iter().flatten().collect();
    for prefix in &everything {
        stack.add_any_address(*prefix).map_err(|error| {
            Failure::Stack(format!("the stack does not take every address: {error}"))
        })?;
    }
    let destinations = Destinations {
        prefixes: everything.clone(),
        ports: 1..=u16::MAX,
    };
    let failed = |what: &str, error: std::io::Error| {
        Failure::Stack(format!(
            "the stack does not take every flow of {what}: {error}"
        ))
    };
    let syns = SynListener::bind_any(stack, destinations.clone()).map_err(|e| failed("TCP", e))?;
    let datagrams = UdpListener::bind_any(stack, destinations).map_err(|e| failed("UDP", e))?;
    datagrams.set_idle_timeout(Some(plan.udp_idle));
    let pings = EchoListener::bind(stack, everything).map_err(|e| failed("ICMP", e))?;
    let (sender, policy) = watch::channel(Arc::new(plan.policy));
    let runtime = runtime("proxy")?;
    let connections = Arc::new(Semaphore::new(plan.max_connections));
    let gateway = Arc::new(Gateway {
        dialer: plan.dialer,
        carrier: Carrier::new(runtime.handle(), Some(Arc::clone(&connections))),
        connections,
        datagram_flows: Arc::new(Semaphore::new(plan.max_udp_flows)),
        pings: Arc::new(Semaphore::new(PINGS_MAX)),
        policy,
        own: stack.addresses().iter().map(|own| own.address()).collect(),
        names: plan.names.map(Arc::new),
        resolver: plan.resolver,
        loopback: plan.loopback,
        told: AtomicU64::new(0),
    });
    runtime.spawn(flows::tcp(Arc::clone(&gateway), syns));
    runtime.spawn(flows::udp(Arc::clone(&gateway), datagrams));
    runtime.spawn(flows::pings(Arc::clone(&gateway), pings));
    let handle = runtime.handle().clone();
    Ok(Running {
        gateway,
        runtime: Threads(Some(runtime), handle),
        policy: sender,
    })
}

impl Gateway {
    /// Decides about a flow.
    pub(super) async fn route(&self, protocol: Protocol, to: SocketAddr) -> Route {
        let direct = |address| Route {
            action: Action::Direct,
            target: Target::Address(address),
        };
        if self.loopback == Some(to.ip()) {
            let here: IpAddr = match to.ip() {
                IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            };
            return direct(SocketAddr::new(here, to.port()));
        }
        if self.is_own(to.ip()) {
            return match self.resolver {
                Some(resolver) if to.port() == DNS => direct(resolver),
                // Nobody listens at the other ports.
                _ => Route {
                    action: Action::Reject,
                    target: Target::Address(to),
                },
            };
        }
        let action = self.policy.borrow().decide(protocol, to);
        let target = match &self.names {
            Some(names) if names.contains(to.ip()) => match names.name(to.ip()).await {
                Some(name) => Target::Name(name, to.port()),
                // No name has it: there is nothing to connect to.
                None => {
                    return Route {
                        action: Action::Reject,
                        target: Target::Address(to),
                    };
                }
            },
            _ => Target::Address(to),
        };
        Route { action, target }
    }

    /// Returns the names that answer queries to `to`, if they do.
    pub(super) fn answers_names(&self, to: SocketAddr) -> Option<&Arc<Names>> {
        self.names.as_ref().filter(|_| to.port() == DNS)
    }

    /// Returns the present upstream proxy.
    pub(super) fn upstream(&self) -> Option<Upstream> {
        self.policy.borrow().upstream.clone()
    }

    /// Returns whether an address is the stack's own.
    pub(super) fn is_own(&self, address: IpAddr) -> bool {
        self.own.contains(&address)
    }

    /// Prints a message about a flow, unless one was printed a moment ago: whoever makes flows fail does not fill a disk.
    pub(super) fn tell(&self, message: &str) {
        let millis = u64::try_from(now().as_millis()).unwrap_or(u64::MAX);
        let last = self.told.load(Ordering::Relaxed);
        let every = u64::try_from(TELL_EVERY.as_millis()).unwrap_or(u64::MAX);
        if last != 0 && millis.saturating_sub(last) < every {
            return;
        }
        let swapped =
            self.told
                .compare_exchange(last, millis, Ordering::Relaxed, Ordering::Relaxed);
        if swapped.is_ok() {
            eprintln!("netstackd: {message}");
        }
    }
}
