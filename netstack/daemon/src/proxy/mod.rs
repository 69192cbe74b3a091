//! `proxy`: every flow that enters the TUN device goes to its destination through sockets of this machine, or through an
//! upstream proxy.
//!
//! A connection is answered when its destination has answered: a closed port looks closed, what cannot be reached gets the
//! ICMP error that says so.
//!
//! | module | |
//! |---|---|
//! | [`args`] | the flags |
//! | [`rules`] | which flow goes where |
//! | [`upstream`] | SOCKS5 and HTTP proxies |
//! | [`dial`] | sockets of the machine |
//! | [`gateway`] | what holds all of it together |
//! | [`flows`], [`ping`] | TCP, UDP and pings, one flow at a time |
//! | [`names`] | virtual addresses for names |

pub mod args;
pub(crate) mod dial;
pub(crate) mod flows;
pub(crate) mod gateway;
pub(crate) mod names;
mod ping;
pub mod rules;
pub mod upstream;

use std::sync::Arc;

use clap::Args;
use netstack::device::Device;
use netstack::net::Stack;
use rustix::thread::CapabilitySet;
use tokio::sync::watch;

use self::args::OutboundArgs;
use self::gateway::{Plan, Running};
use self::names::Names;
use self::rules::Policy;
use crate::carried::{Adopted, Carrier};
use crate::cli::{RunArgs, TakeOverArgs};
use crate::confine::Needs;
use crate::failure::Failure;
use crate::impaired;
use crate::job::{Job, Reader, Work};
use crate::run;

/// Flags of `proxy`.
#[derive(Debug, Args)]
pub struct ProxyArgs {
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    outbound: OutboundArgs,
    /// Firewall mark of outgoing packets, so that a routing rule can keep them out of the device.
    #[arg(long, value_name = "NUMBER")]
    mark: Option<u32>,
    /// Interface that outgoing packets leave by.
    #[arg(long, value_name = "NAME", value_parser = parse_interface)]
    bind_interface: Option<String>,
    #[command(flatten)]
    take_over: TakeOverArgs,
}

fn parse_interface(text: &str) -> Result<String, String> {
    let name: crate::values::TunName = text.parse()?;
    Ok(name.as_str().to_owned())
}

/// Runs the proxy until a signal ends it.
///
/// # Errors
/// As [`run::run`].
pub fn run(args: ProxyArgs) -> Result<(), Failure> {
    let ProxyArgs {
        run: run_args,
        outbound,
        mark,
        bind_interface,
        take_over,
    } = args;
    let mut run_args = run_args.without_services();
    let impairments = outbound.impairments();
    if impairments.is_some() {
        // A link has one queue, whatever the device has.
        run_args = run_args.with_one_queue("--impair", "a link has one queue")?;
    }
    let seed = outbound.impair_seed;
    let wrap = |device: Box<dyn Device>| match impairments.clone() {
        Some((up, down)) => impaired::wrap(device, up, down, seed),
        None => device,
    };
    let beginning = run::Beginning::Carried {
        job: "proxy",
        take_over: take_over.path,
    };
    run::run_with(run_args, beginning, |settings| {
        let plan = outbound.plan(&settings.policy, mark, bind_interface, None)?;
        Ok(Job {
            needs: needs(&outbound, &plan),
            wrap,
            prepare: |_| Ok(()),
            begin: |stack: &Stack, ()| {
                let running = gateway::start(stack, plan)?;
                Ok(Proxy {
                    policies: running.policies(),
                    running,
                    outbound: Arc::new(outbound),
                })
            },
        })
    })
}

/// Returns the rights that flows need while the proxy runs.
fn needs(outbound: &OutboundArgs, plan: &Plan) -> Needs {
    // Pings need it where ping sockets are not allowed.
    let mut capabilities = CapabilitySet::NET_RAW;
    if plan.dialer.mark.is_some() {
        capabilities |= CapabilitySet::NET_ADMIN;
    }
    Needs {
        sockets: true,
        files: outbound
            .rules_file()
            .map(ToOwned::to_owned)
            .into_iter()
            .collect(),
        capabilities,
        descriptors: plan.descriptors(),
        ..Needs::default()
    }
}

/// A gateway whose rules follow the configuration.
struct Proxy {
    running: Running,
    policies: watch::Sender<Arc<Policy>>,
    outbound: Arc<OutboundArgs>,
}

impl Work for Proxy {
    fn carrier(&self) -> Option<&Arc<Carrier>> {
        Some(self.running.carrier())
    }

    fn adopt(&self, adopted: Adopted) {
        self.running.adopt(adopted);
    }

    fn names(&self) -> Option<&Names> {
        self.running.names()
    }

    fn reader(&self) -> Reader {
        let (outbound, policies) = (Arc::clone(&self.outbound), self.policies.clone());
        Box::new(move |settings| {
            let policy = outbound.policy(&settings.policy)?;
            Ok(Box::new(move || {
                // Flows that are there stay.
                let is_new = policies.send_if_modified(|present| {
                    let is_new = **present != policy;
                    if is_new {
                        *present = Arc::new(policy);
                    }
                    is_new
                });
                is_new.then_some("rules")
            }))
        })
    }
}
