//! The flags that `proxy` and `exec` share: where flows go, and what happens to packets on the way.

use std::fs::File;
use std::io::Read as _;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use impair::Impairment;
use ipnet::Ipv4Net;

use super::dial::Dialer;
use super::gateway::Plan;
use super::names::{DEFAULT_NET, Names};
use super::rules::{Policy, Rule};
use super::upstream::Upstream;
use crate::failure::Failure;
use crate::file::reason;

/// Largest file of rules, in bytes.
const RULES_FILE_MAX: u64 = 1 << 20;
/// Longest time that a connection may take to come about: the stack keeps a SYN for a minute.
const CONNECT_TIMEOUT_MAX: Duration = Duration::from_secs(55);
/// Longest time that a flow of UDP may be idle.
const UDP_IDLE_MAX: Duration = Duration::from_secs(24 * 3600);
/// Most connections or flows.
const FLOWS_MAX: u64 = 1_000_000;
/// Port of DNS.
const DNS_PORT: u16 = 53;

/// Flags about flows.
#[derive(Clone, Debug, Args)]
pub struct OutboundArgs {
    /// Upstream proxy for what no rule names: socks5://[USER:PASSWORD@]HOST:PORT or http://… (CONNECT).
    #[arg(long, value_name = "URL")]
    upstream: Option<Upstream>,
    /// Rule "direct|proxy|reject|drop [tcp|udp|icmp] DESTINATIONS [PORTS]"; the first that holds decides. Several are
    /// allowed.
    #[arg(long = "rule", value_name = "RULE")]
    rules: Vec<Rule>,
    /// File with a rule, or "upstream URL", on each line; read behind the rules of the command line, and before those of the
    /// configuration.
    #[arg(long = "rules", value_name = "FILE")]
    rules_file: Option<PathBuf>,
    /// Resolver for queries to the stack's own address: ADDRESS[:PORT] of one; or virtual[=NETWORK] for every query:
    /// names get virtual addresses, and are looked up where the flow goes.
    #[arg(long, value_name = "HOW", value_parser = parse_dns)]
    dns: Option<Dns>,
    /// An address that stands for 127.0.0.1 (::1) of this machine.
    #[arg(long, value_name = "ADDR")]
    map_host_loopback: Option<IpAddr>,
    /// Time after which an idle flow of UDP ends.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_udp_idle)]
    udp_idle: Duration,
    /// Time that a connection may take to come about.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_connect_timeout)]
    connect_timeout: Duration,
    /// Most TCP connections at a time.
    #[arg(long, value_name = "N", default_value_t = 16_384, value_parser = clap::value_parser!(u64).range(1..=FLOWS_MAX))]
    max_connections: u64,
    /// Most flows of UDP at a time.
    #[arg(long, value_name = "N", default_value_t = 4_096, value_parser = clap::value_parser!(u64).range(1..=FLOWS_MAX))]
    max_udp_flows: u64,
    /// Makes the link bad, in each direction: rate, delay, loss and more, for example loss=1%,delay=50ms.
    #[arg(long, value_name = "KEY=VALUE,…")]
    impair: Option<Impairment>,
    /// The same for packets towards the stack, in the place of --impair.
    #[arg(long, value_name = "KEY=VALUE,…")]
    impair_up: Option<Impairment>,
    /// The same for packets from the stack, in the place of --impair.
    #[arg(long, value_name = "KEY=VALUE,…")]
    impair_down: Option<Impairment>,
    /// Seed of the link's random decisions.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub(crate) impair_seed: u64,
}

/// The resolver of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dns {
    Resolver(SocketAddr),
    Virtual(Ipv4Net),
}

fn parse_dns(text: &str) -> Result<Dns, String> {
    let advice = "write a resolver's ADDRESS or ADDRESS:PORT, virtual, or virtual=NETWORK such as virtual=198.18.0.0/15";
    if let Some(net) = text.strip_prefix("virtual") {
        let net = match net.strip_prefix('=') {
            Some(net) => net,
            None if net.is_empty() => DEFAULT_NET,
            None => return Err(advice.to_owned()),
        };
        let net: Ipv4Net = net.parse().map_err(|_| advice.to_owned())?;
        if net.prefix_len() > 30 {
            return Err(
                "the network of virtual addresses is too small: use at most /30".to_owned(),
            );
        }
        return Ok(Dns::Virtual(net));
    }
    let whole = text.parse().ok();
    let bare = || {
        let address = text.parse::<IpAddr>().ok()?;
        Some(SocketAddr::new(address, DNS_PORT))
    };
    whole
        .or_else(bare)
        .map(Dns::Resolver)
        .ok_or_else(|| advice.to_owned())
}

fn parse_time(text: &str, most: Duration) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).ok();
    time.filter(|time| (Duration::from_millis(1)..=most).contains(time))
        .ok_or_else(|| {
            let most = humantime::format_duration(most);
            format!("write a time with its unit, from 1ms to {most}, for example 30s")
        })
}

fn parse_udp_idle(text: &str) -> Result<Duration, String> {
    parse_time(text, UDP_IDLE_MAX)
}

fn parse_connect_timeout(text: &str) -> Result<Duration, String> {
    parse_time(text, CONNECT_TIMEOUT_MAX)
}

impl OutboundArgs {
    /// Returns the rules and the upstream proxy of the command line, of the file of rules as it is now, and of the
    /// configuration; the first that names an upstream wins.
    ///
    /// # Errors
    /// Returns [`Failure::Config`] with the line of the file.
    pub(crate) fn policy(&self, configured: &Policy) -> Result<Policy, Failure> {
        let mut policy = Policy::default();
        for rule in &self.rules {
            policy
                .push(rule.clone())
                .map_err(|why| Failure::Usage(format!("--rule: {why}")))?;
        }
        if let Some(path) = &self.rules_file {
            let shown = path.display();
            let mut text = String::new();
            let read = File::open(path)
                .and_then(|file| file.take(RULES_FILE_MAX + 1).read_to_string(&mut text));
            read.map_err(|error| {
                let why = reason(&error);
                Failure::Config(format!(
                    "{shown} cannot be read: {why}: name a file of rules"
                ))
            })?;
            if text.len() as u64 > RULES_FILE_MAX {
                return Err(Failure::Config(format!(
                    "{shown} is longer than {RULES_FILE_MAX} bytes: name a file of rules"
                )));
            }
            policy
                .read(&text)
                .map_err(|why| Failure::Config(format!("{shown}, {why}")))?;
        }
        for rule in configured.rules() {
            policy
                .push(rule.clone())
                .map_err(|why| Failure::Config(format!("key 'rules': {why}")))?;
        }
        let read = policy.upstream.take();
        let upstream = self.upstream.clone().or(read);
        policy.upstream = upstream.or_else(|| configured.upstream.clone());
        Ok(policy)
    }

    /// Returns the file of rules, which is read again.
    pub(crate) fn rules_file(&self) -> Option<&Path> {
        self.rules_file.as_deref()
    }

    /// Returns what the gateway is made of; `resolver` answers queries to the stack's own address unless a flag says
    /// otherwise.
    ///
    /// # Errors
    /// As [`OutboundArgs::policy`].
    pub(crate) fn plan(
        &self,
        configured: &Policy,
        mark: Option<u32>,
        interface: Option<String>,
        resolver: Option<SocketAddr>,
    ) -> Result<Plan, Failure> {
        let (names, resolver) = match self.dns {
            Some(Dns::Virtual(net)) => (Some(Names::new(net)), None),
            Some(Dns::Resolver(resolver)) => (None, Some(resolver)),
            None => (None, resolver),
        };
        Ok(Plan {
            policy: self.policy(configured)?,
            dialer: Dialer {
                mark,
                interface,
                timeout: self.connect_timeout,
            },
            udp_idle: self.udp_idle,
            max_connections: usize::try_from(self.max_connections).unwrap_or(usize::MAX),
            max_udp_flows: usize::try_from(self.max_udp_flows).unwrap_or(usize::MAX),
            names,
            resolver,
            loopback: self.map_host_loopback,
        })
    }

    /// Returns what happens to packets towards the stack, and to those from it; `None` if nothing does.
    pub(crate) fn impairments(&self) -> Option<(Impairment, Impairment)> {
        let both = self.impair.as_ref();
        let (up, down) = (self.impair_up.as_ref(), self.impair_down.as_ref());
        both.or(up).or(down)?;
        let of = |side: Option<&Impairment>| side.or(both).cloned().unwrap_or_default();
        Some((of(up), of(down)))
    }
}
