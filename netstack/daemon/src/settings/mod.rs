//! The settings of `run`: flags and file merged, defaults filled in, and checked against each other.
//!
//! * **Define.** [`Settings`]: addresses that are usable hosts of their subnets, a kernel side that
//!   differs from ours, an MTU that both families allow.
//! * **Enforce.** [`Settings::from_parts`] is the only constructor; flags win over the file.
//! * **Consume.** [`crate::run`] opens the device and starts the stack without checking them again.

mod links;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use netstack::base::Config;
use netstack::device::OffloadMode;

use crate::failure::Failure;
use crate::sources::Sources;
pub use crate::values::ControlPath;
use crate::values::{Queues, Services, TunName};
pub use links::Link;
use links::{link_v4, link_v6};

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
    /// `--control`
    pub control: Option<ControlPath>,
    /// `--control-mode`
    pub control_mode: Option<u32>,
    /// Key `grace` of the file.
    pub grace: Option<Duration>,
}

impl Parts {
    /// Returns these values, and those of `other` for what these leave out.
    pub fn or(self, other: Self) -> Self {
        Self {
            tun: self.tun.or(other.tun),
            addr: self.addr.or(other.addr),
            addr6: self.addr6.or(other.addr6),
            host_addr: self.host_addr.or(other.host_addr),
            host_addr6: self.host_addr6.or(other.host_addr6),
            mtu: self.mtu.or(other.mtu),
            queues: self.queues.or(other.queues),
            offload: self.offload.or(other.offload),
            services: self.services.or(other.services),
            pcap: self.pcap.or(other.pcap),
            control: self.control.or(other.control),
            control_mode: self.control_mode.or(other.control_mode),
            grace: self.grace.or(other.grace),
        }
    }

    /// Returns the flags that were given, by name without dashes.
    pub(crate) fn flags(&self) -> Vec<&'static str> {
        let given = [
            ("tun", self.tun.is_some()),
            ("addr", self.addr.is_some()),
            ("addr6", self.addr6.is_some()),
            ("host-addr", self.host_addr.is_some()),
            ("host-addr6", self.host_addr6.is_some()),
            ("mtu", self.mtu.is_some()),
            ("queues", self.queues.is_some()),
            ("offload", self.offload.is_some()),
            ("services", self.services.is_some()),
            ("pcap", self.pcap.is_some()),
            ("control", self.control.is_some()),
            ("control-mode", self.control_mode.is_some()),
        ];
        let given = given.into_iter().filter(|(_, is_given)| *is_given);
        given.map(|(name, _)| name).collect()
    }
}

/// The settings of `run`.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The interface's name.
    pub tun: TunName,
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
    /// The control socket.
    pub control: ControlPath,
    /// The permissions of the control socket.
    pub control_mode: u32,
    /// Time that a graceful stop may take.
    pub grace: Duration,
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
        let tun = parts.tun.ok_or_else(|| {
            usage("no device name is given: add --tun NAME, or tun = \"NAME\" to the configuration file")
        })?;
        let v4 = link_v4(parts.addr, parts.host_addr, &sources)?;
        let v6 = link_v6(parts.addr6, parts.host_addr6, &sources)?;
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
        Ok(Self {
            tun,
            v4,
            v6,
            mtu,
            queues: parts.queues.unwrap_or_else(Queues::per_core),
            offload: parts.offload.unwrap_or_default(),
            services: parts.services.unwrap_or_default(),
            pcap: parts.pcap,
            control: parts.control.unwrap_or_default(),
            control_mode: parts.control_mode.unwrap_or(DEFAULT_CONTROL_MODE),
            grace: parts.grace.unwrap_or(DEFAULT_GRACE),
            stack,
            sources,
        })
    }

    /// Returns the addresses that the daemon answers as.
    pub fn addresses(&self) -> Vec<IpNet> {
        let v4 = self.v4.map(|link| IpNet::V4(link.ours));
        let v6 = self.v6.map(|link| IpNet::V6(link.ours));
        v4.into_iter().chain(v6).collect()
    }
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

    #[test]
    fn flags_win_over_the_file() {
        let flags = Parts {
            mtu: Some(1400),
            ..Parts::default()
        };
        let file = Parts {
            mtu: Some(9000),
            ..parts("10.77.0.2/24", "-")
        };
        let settings = settle(flags.or(file)).expect("good");
        assert_eq!((settings.mtu, settings.tun.as_str()), (1400, "t0"));
    }
}
