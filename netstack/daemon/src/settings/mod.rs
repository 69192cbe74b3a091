//! The settings of `run`: flags and file merged, defaults filled in, and checked against each other.
//!
//! * **Define.** [`Settings`]: addresses that are usable hosts of their subnets, a kernel side that
//!   differs from ours, an MTU that both families allow.
//! * **Enforce.** [`Settings::from_parts`] is the only constructor; flags win over the file.
//! * **Consume.** [`crate::run`] opens the device and starts the stack without checking them again.

mod links;
mod served;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use netstack::base::Config;
use netstack::device::OffloadMode;
use netstack::net::{Prefix, Route};

use crate::confine::Sandbox;
use crate::confine::identity::Account;
use crate::failure::Failure;
use crate::file::check_limits;
use crate::logs::{Levels, LogFormat};
pub use crate::places::ControlPath;
use crate::places::{Address, Descriptors, RouteText};
use crate::proxy::rules::{Policy, RuleList};
use crate::proxy::upstream::Upstream;
use crate::sources::Sources;
use crate::supervisor::passed::Passed;
use crate::values::{Queues, Services, TunName};
pub use links::Link;
use links::{link_v4, link_v6};
pub use served::{Http, PerPeer};

/// Smallest MTU with IPv4 alone: every host must accept 576 bytes (RFC 791 section 3.1).
pub const MIN_MTU_V4: u16 = 576;
/// Smallest MTU of a link that carries IPv6 (RFC 8200 section 5).
pub const MIN_MTU_V6: u16 = 1280;
/// MTU when none is given.
const DEFAULT_MTU: u16 = 1500;
/// Time that SIGTERM gives the connections to close, unless the file sets another.
const DEFAULT_GRACE: Duration = Duration::from_secs(5);

/// Permissions of the control socket: the user's that the daemon runs as.
const DEFAULT_CONTROL_MODE: u32 = 0o600;

/// Time that a peer has to take what a service wrote, unless the file sets another: the global default of RFC
/// 9293 section 3.9.1.1. None of the services has a reason to wait longer.
const DEFAULT_USER_TIMEOUT: Duration = Duration::from_secs(300);

/// Returns the limits of a stack for which nothing is configured.
pub(crate) fn default_config() -> Config {
    let mut config = Config::default();
    config.tcp.user_timeout = Some(DEFAULT_USER_TIMEOUT);
    config
}

/// The values that the flags or the file give; `None` for those that they leave out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// `--tun`
    pub tun: Option<TunName>,
    /// `--tun-fd`
    pub tun_fd: Option<Descriptors>,
    /// `--prepared`
    pub prepared: Option<bool>,
    /// Key `addresses` of the file.
    pub addresses: Option<Vec<Address>>,
    /// Key `routes` of the file.
    pub routes: Option<Vec<RouteText>>,
    /// `--addr`
    pub addr: Option<Ipv4Net>,
    /// `--addr6`
    pub addr6: Option<Ipv6Net>,
    /// `--host-addr`
    pub host_addr: Option<Ipv4Addr>,
    /// `--host-addr6`
    pub host_addr6: Option<Ipv6Addr>,
    /// `--mtu`
    pub mtu: Option<u16>,
    /// `--queues`
    pub queues: Option<Queues>,
    /// `--offload`
    pub offload: Option<OffloadMode>,
    /// `--services`
    pub services: Option<Services>,
    /// `--pcap`
    pub pcap: Option<PathBuf>,
    /// `--admin`
    pub admin: Option<SocketAddr>,
    /// `--dashboard`
    pub dashboard: Option<SocketAddr>,
    /// `--log`
    pub log: Option<Levels>,
    /// `--log-format`
    pub log_format: Option<LogFormat>,
    /// `--control`
    pub control: Option<ControlPath>,
    /// `--control-mode`
    pub control_mode: Option<u32>,
    /// `--user`
    pub user: Option<Account>,
    /// `--group`
    pub group: Option<Account>,
    /// `--sandbox`
    pub sandbox: Option<Sandbox>,
    /// Key `grace` of the file.
    pub grace: Option<Duration>,
    /// `--http-root`
    pub http_root: Option<PathBuf>,
    /// `--http-listing`
    pub http_listing: Option<bool>,
    /// Key `http-header-timeout` of the file.
    pub http_header_timeout: Option<Duration>,
    /// Key `http-requests` of the file.
    pub http_requests: Option<u32>,
    /// Key `connections-per-peer` of the file.
    pub connections_per_peer: Option<u32>,
    /// Key `upstream` of the file.
    pub upstream: Option<Upstream>,
    /// Key `rules` of the file.
    pub rules: Option<RuleList>,
}

impl Parts {
    /// Returns the rules and the upstream proxy.
    pub(crate) fn policy(&self) -> Policy {
        let rules = self.rules.clone().unwrap_or_default();
        Policy::new(rules.0, self.upstream.clone())
    }
}

/// The settings of `run`.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The interface's name.
    pub tun: TunName,
    /// The descriptors of the device, if another program has opened it.
    pub tun_fd: Option<Descriptors>,
    /// The device exists, and is used as it is.
    pub prepared: bool,
    /// Further addresses that the daemon answers as.
    pub further: Vec<Prefix>,
    /// Routes beside those that a stack begins with.
    pub routes: Vec<Route>,
    /// The IPv4 addresses, if any.
    pub v4: Option<Link<Ipv4Net, Ipv4Addr>>,
    /// The IPv6 addresses, if any; at least one of the two families is there.
    pub v6: Option<Link<Ipv6Net, Ipv6Addr>>,
    /// Largest IP packet on the link, in bytes.
    pub mtu: u16,
    /// Queues of the device; each has a worker.
    pub queues: Queues,
    /// Segmentation and checksum offload.
    pub offload: OffloadMode,
    /// The services to run.
    pub services: Services,
    /// The file that packets are captured to.
    pub pcap: Option<PathBuf>,
    /// The loopback address that the dashboard and `/metrics` are served on, if any.
    pub admin: Option<SocketAddr>,
    /// The address of the daemon that the stack serves the same on, if any.
    pub dashboard: Option<SocketAddr>,
    /// The levels of the logs.
    pub log: Levels,
    /// The form of the logs.
    pub log_format: LogFormat,
    /// The control socket.
    pub control: ControlPath,
    /// The permissions of the control socket.
    pub control_mode: u32,
    /// The user that the daemon becomes, if any.
    pub user: Option<Account>,
    /// The group that it becomes a member of, if not the user's.
    pub group: Option<Account>,
    /// How much the daemon is restricted.
    pub sandbox: Sandbox,
    /// The descriptors that the supervisor has passed on.
    pub passed: Passed,
    /// Time that a graceful stop may take.
    pub grace: Duration,
    /// The settings of http.
    pub http: Http,
    /// Connections of one peer to each service.
    pub per_peer: PerPeer,
    /// The rules and the upstream proxy, for `proxy`.
    pub policy: Policy,
    /// The stack's limits.
    pub stack: Config,
    /// Where the values came from, for messages about them.
    pub sources: Sources,
}

impl Settings {
    /// Fills in defaults and checks the parts against each other.
    ///
    /// # Errors
    ///
    /// Returns [`Failure::Usage`] with the flag, or [`Failure::Config`] with the line of the file, and
    /// what to do.
    pub fn from_parts(parts: Parts, stack: Config, sources: Sources) -> Result<Self, Failure> {
        check_limits(&stack, &sources)?;
        let is_given = parts.tun_fd.is_some();
        let tun = parts
            .tun
            .clone()
            .or_else(|| is_given.then(|| "fd".parse().ok()).flatten());
        let tun = tun.ok_or_else(|| {
            usage("no device name is given: add --tun NAME, or tun = \"NAME\" to the configuration file")
        })?;
        let prepared = parts.prepared.unwrap_or(false) || is_given;
        if prepared {
            host_of_prepared(&parts, &sources)?;
        }
        let v4 = link_v4(parts.addr, parts.host_addr, prepared, &sources)?;
        let v6 = link_v6(parts.addr6, parts.host_addr6, prepared, &sources)?;
        if v4.is_none() && v6.is_none() {
            return Err(usage(
                "no address is given: add --addr ADDRESS/PREFIX, --addr6 ADDRESS/PREFIX or both",
            ));
        }
        let mtu = parts.mtu.unwrap_or(DEFAULT_MTU);
        let least = if v6.is_some() { MIN_MTU_V6 } else { MIN_MTU_V4 };
        if mtu < least {
            let family = if v6.is_some() { "IPv6" } else { "IPv4" };
            return Err(sources.fault(
                "mtu",
                &format!("{mtu} is out of range: use {least} to 65535 with {family}"),
            ));
        }
        // A descriptor is a queue.
        let inherited = parts.tun_fd.as_ref().map(|fds| fds.0.len() as u64);
        let inherited = inherited.and_then(|count| Queues::try_from(count).ok());
        let queues = inherited.or(parts.queues);
        let settings = Self {
            http: Http::from_parts(&parts, &sources)?,
            per_peer: PerPeer::from_parts(&parts, &sources)?,
            policy: parts.policy(),
            tun,
            tun_fd: parts.tun_fd,
            prepared,
            further: further(parts.addresses, v4, v6, &sources)?,
            routes: routes(parts.routes, &sources)?,
            v4,
            v6,
            mtu,
            queues: queues.unwrap_or_else(Queues::per_core),
            offload: parts.offload.unwrap_or_default(),
            services: parts.services.unwrap_or_default(),
            pcap: parts.pcap,
            admin: parts.admin,
            dashboard: parts.dashboard,
            log: parts.log.unwrap_or_default(),
            log_format: parts.log_format.unwrap_or_default(),
            control: parts.control.unwrap_or_default(),
            control_mode: parts.control_mode.unwrap_or(DEFAULT_CONTROL_MODE),
            user: parts.user,
            group: parts.group,
            sandbox: parts.sandbox.unwrap_or_default(),
            passed: Passed::default(),
            grace: parts.grace.unwrap_or(DEFAULT_GRACE),
            stack,
            sources,
        };
        settings.check_dashboard()?;
        Ok(settings)
    }

    /// The stack can serve at its own addresses alone.
    fn check_dashboard(&self) -> Result<(), Failure> {
        let Some(address) = self.dashboard else {
            return Ok(());
        };
        let addresses = self.addresses();
        if addresses.iter().any(|own| own.address() == address.ip()) {
            return Ok(());
        }
        let own: Vec<String> = addresses
            .iter()
            .map(|own| own.address().to_string())
            .collect();
        let text = format!(
            "{address} is no address of the daemon: use one of {}",
            own.join(", ")
        );
        Err(self.sources.fault("dashboard", &text))
    }

    /// Returns the addresses that the daemon answers as.
    pub fn addresses(&self) -> Vec<Prefix> {
        let v4 = self.v4.map(|link| prefix_of(IpNet::V4(link.ours)));
        let v6 = self.v6.map(|link| prefix_of(IpNet::V6(link.ours)));
        let further = self.further.iter().copied();
        v4.into_iter().chain(v6).flatten().chain(further).collect()
    }
}

fn prefix_of(net: IpNet) -> Option<Prefix> {
    Prefix::new(net.addr(), net.prefix_len()).ok()
}

/// A prepared device has its kernel's side already.
fn host_of_prepared(parts: &Parts, sources: &Sources) -> Result<(), Failure> {
    for (key, host) in [
        ("host-addr", parts.host_addr.map(IpAddr::V4)),
        ("host-addr6", parts.host_addr6.map(IpAddr::V6)),
    ] {
        if let Some(host) = host {
            let text = format!(
                "{host} is for a device that netstackd sets up: leave it out with --prepared and --tun-fd"
            );
            return Err(sources.fault(key, &text));
        }
    }
    Ok(())
}

fn further(
    addresses: Option<Vec<Address>>,
    v4: Option<Link<Ipv4Net, Ipv4Addr>>,
    v6: Option<Link<Ipv6Net, Ipv6Addr>>,
    sources: &Sources,
) -> Result<Vec<Prefix>, Failure> {
    let first = [
        v4.map(|link| IpAddr::V4(link.ours.addr())),
        v6.map(|link| IpAddr::V6(link.ours.addr())),
    ];
    let kernel = [
        v4.map(|link| IpAddr::V4(link.host)),
        v6.map(|link| IpAddr::V6(link.host)),
    ];
    let mut known: Vec<IpAddr> = first.into_iter().flatten().collect();
    let mut further = Vec::new();
    for Address(prefix) in addresses.unwrap_or_default() {
        let address = prefix.address();
        let wrong = |why: &str| sources.fault("addresses", &format!("{prefix} {why}"));
        let has_family = known.iter().any(|one| one.is_ipv4() == address.is_ipv4());
        if known.contains(&address) {
            return Err(wrong("is there twice: give each address once"));
        }
        if kernel.contains(&Some(address)) {
            return Err(wrong(
                "is the kernel's address on the device: use another one",
            ));
        }
        if !has_family {
            return Err(wrong(
                "is of a family of which the daemon has no first address: give addr or addr6, too",
            ));
        }
        if address.is_unspecified() || address.is_loopback() || address.is_multicast() {
            return Err(wrong("is not the address of one host: use one that is"));
        }
        known.push(address);
        further.push(prefix);
    }
    Ok(further)
}

fn routes(routes: Option<Vec<RouteText>>, sources: &Sources) -> Result<Vec<Route>, Failure> {
    let mut known: Vec<Route> = Vec::new();
    for RouteText(route) in routes.unwrap_or_default() {
        if known.iter().any(|one| one.prefix == route.prefix) {
            let text = format!(
                "{} is there twice: give one route to each network",
                route.prefix
            );
            return Err(sources.fault("routes", &text));
        }
        known.push(route);
    }
    Ok(known)
}

fn usage(text: impl Into<String>) -> Failure {
    Failure::Usage(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(addr: &str, addr6: &str) -> Parts {
        Parts {
            tun: "t0".parse().ok(),
            addr: addr.parse().ok(),
            addr6: addr6.parse().ok(),
            ..Parts::default()
        }
    }

    fn settle(parts: Parts) -> Result<Settings, String> {
        Settings::from_parts(parts, Config::default(), Sources::default()).map_err(|failure| {
            assert_eq!(failure.exit_code(), 2);
            let text = failure.to_string();
            assert!(!text.contains('\n') && text.contains(": "), "{text}");
            text
        })
    }

    #[test]
    fn the_kernel_gets_the_first_free_host_address() {
        let settings = settle(parts("10.77.0.2/24", "fd77::2/64")).expect("good");
        assert_eq!(
            settings.v4.map(|l| l.host),
            Some(Ipv4Addr::new(10, 77, 0, 1))
        );
        assert_eq!(settings.v6.map(|l| l.host), "fd77::1".parse().ok());
        let settings = settle(parts("10.77.0.1/24", "fd77::1/64")).expect("good");
        assert_eq!(
            settings.v4.map(|l| l.host),
            Some(Ipv4Addr::new(10, 77, 0, 2))
        );
        assert_eq!(settings.v6.map(|l| l.host), "fd77::2".parse().ok());
        let settings = settle(parts("10.77.0.1/31", "fd77::1/127")).expect("good");
        assert_eq!(
            settings.v4.map(|l| l.host),
            Some(Ipv4Addr::new(10, 77, 0, 0))
        );
        assert_eq!(settings.v6.map(|l| l.host), "fd77::".parse().ok());
    }

    #[test]
    fn addresses_that_are_no_host_are_refused() {
        for addr in [
            "10.77.0.0/24",
            "10.77.0.255/24",
            "224.0.0.1/8",
            "127.0.0.2/8",
            "0.0.0.1/8",
            "10.0.0.1/32",
        ] {
            let text = settle(parts(addr, "-")).expect_err(addr);
            assert!(text.starts_with(&format!("--addr {addr}")), "{text}");
        }
        for addr in [
            "fd77::/64",
            "ff02::1/64",
            "::1/64",
            "fd77::2/128",
            "::ffff:10.0.0.1/96",
        ] {
            let text = settle(parts("-", addr)).expect_err(addr);
            assert!(text.starts_with("--addr6 "), "{text}");
        }
    }

    #[test]
    fn the_kernels_address_must_be_another_one_of_the_subnet() {
        for host in ["10.77.0.2", "10.78.0.1", "10.77.0.255"] {
            let mut bad = parts("10.77.0.2/24", "-");
            bad.host_addr = host.parse().ok();
            assert!(settle(bad).expect_err(host).starts_with("--host-addr "));
        }
        let mut bad = parts("-", "fd77::2/64");
        bad.host_addr6 = "fd78::1".parse().ok();
        assert!(
            settle(bad)
                .expect_err("outside")
                .starts_with("--host-addr6 ")
        );
        let mut bad = parts("-", "fd77::2/64");
        bad.host_addr = "10.0.0.1".parse().ok();
        assert!(settle(bad).expect_err("no --addr").contains("without addr"));
    }

    #[test]
    fn the_mtu_must_suit_the_families() {
        let mut small = parts("10.77.0.2/24", "-");
        small.mtu = Some(576);
        assert!(settle(small.clone()).is_ok());
        small.addr6 = "fd77::2/64".parse().ok();
        assert!(settle(small).expect_err("too small").contains("--mtu 576"));
        let mut tiny = parts("10.77.0.2/24", "-");
        tiny.mtu = Some(500);
        assert!(
            settle(tiny)
                .expect_err("too small")
                .contains("576 to 65535")
        );
    }
}
