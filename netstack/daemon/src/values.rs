//! The values that flags and configuration keys share, each parsed and checked in one place.
//!
//! * **Define.** [`TunName`], [`Queues`], [`Services`] and the network types hold only what the
//!   kernel or the stack can accept.
//! * **Enforce.** They are made only by `FromStr` (or `TryFrom` for numbers), for flags and for the
//!   file alike.
//! * **Consume.** Everything behind [`crate::settings::Settings`] takes them without a second check.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{Ipv4Net, Ipv6Net};
use netstack::base::Config;
use netstack::device::OffloadMode;
use serde::Deserialize;

/// Longest interface name, in bytes (`IFNAMSIZ` less the terminating zero).
const MAX_NAME_BYTES: usize = 15;

/// Most queues of a multi-queue TUN device (the kernel's `MAX_TAP_QUEUES`).
pub const MAX_QUEUES: usize = 256;

/// The name of a TUN interface.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct TunName(String);

impl TunName {
    /// Returns the name as the kernel knows it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TunName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for TunName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fits = (1..=MAX_NAME_BYTES).contains(&text.len());
        let clean = text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'/' && byte != b':' && byte != b'%');
        if fits && clean && text != "." && text != ".." {
            Ok(Self(text.to_owned()))
        } else {
            Err("use 1 to 15 printable ASCII characters without '/', ':' and '%'".to_owned())
        }
    }
}

impl TryFrom<String> for TunName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// The number of queues, and so of workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queues(usize);

impl Queues {
    /// Returns the number, from 1 to [`MAX_QUEUES`].
    pub fn get(self) -> usize {
        self.0
    }

    /// Returns one queue per core that this process may use.
    pub fn per_core() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self(cores.min(MAX_QUEUES))
    }
}

impl TryFrom<u64> for Queues {
    type Error = String;

    fn try_from(count: u64) -> Result<Self, String> {
        match usize::try_from(count) {
            Ok(count) if (1..=MAX_QUEUES).contains(&count) => Ok(Self(count)),
            _ => Err(format!("use 1 to {MAX_QUEUES}, one for each core is best")),
        }
    }
}

impl FromStr for Queues {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::try_from(text.parse::<u64>().unwrap_or(0))
    }
}

/// Parses `auto`, `on` or `off`.
///
/// # Errors
/// Returns a sentence that names the allowed values.
pub fn parse_offload(text: &str) -> Result<OffloadMode, String> {
    match text {
        "auto" => Ok(OffloadMode::Auto),
        "on" => Ok(OffloadMode::On),
        "off" => Ok(OffloadMode::Off),
        _ => Err("use auto or on or off".to_owned()),
    }
}

/// One of the services that the daemon runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Sends back everything that it receives (RFC 862).
    Echo,
    /// Throws away everything that it receives (RFC 863).
    Discard,
    /// Sends the date and time (RFC 867).
    Daytime,
    /// Sends an endless pattern of characters (RFC 864).
    Chargen,
    /// Serves the files of a directory, or one page with live counters.
    Http,
    /// Measures throughput with the client iperf3.
    Iperf3,
}

impl Service {
    /// Every service.
    pub const ALL: [Self; 6] = [
        Self::Echo,
        Self::Discard,
        Self::Daytime,
        Self::Chargen,
        Self::Http,
        Self::Iperf3,
    ];

    /// The services that run unless others are named: whoever wants to be measured says so.
    const USUAL: [Self; 5] = [
        Self::Echo,
        Self::Discard,
        Self::Daytime,
        Self::Chargen,
        Self::Http,
    ];

    /// Returns the name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Discard => "discard",
            Self::Daytime => "daytime",
            Self::Chargen => "chargen",
            Self::Http => "http",
            Self::Iperf3 => "iperf3",
        }
    }

    /// Returns the standard port, of TCP and (except for http) of UDP.
    pub const fn port(self) -> u16 {
        match self {
            Self::Echo => 7,
            Self::Discard => 9,
            Self::Daytime => 13,
            Self::Chargen => 19,
            Self::Http => 80,
            Self::Iperf3 => 5201,
        }
    }
}

/// The services to run, without repetition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Services(Vec<Service>);

impl Services {
    /// Returns no service.
    pub(crate) fn none() -> Self {
        Self(Vec::new())
    }

    /// Returns the services in the order given.
    pub fn iter(&self) -> impl Iterator<Item = Service> + '_ {
        self.0.iter().copied()
    }

    fn from_names<'a>(names: impl Iterator<Item = &'a str>) -> Result<Self, String> {
        let mut chosen = Vec::new();
        for name in names {
            let service = Service::ALL
                .into_iter()
                .find(|service| service.name() == name)
                .ok_or_else(|| {
                    let all = Self(Service::ALL.to_vec());
                    format!("there is no service '{name}': use {all}")
                })?;
            if !chosen.contains(&service) {
                chosen.push(service);
            }
        }
        Ok(Self(chosen))
    }
}

impl Default for Services {
    fn default() -> Self {
        Self(Service::USUAL.to_vec())
    }
}

impl fmt::Display for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, service) in self.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{}", service.name())?;
        }
        Ok(())
    }
}

impl FromStr for Services {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::from_names(text.split(',').map(str::trim))
    }
}

impl<'de> Deserialize<'de> for Services {
    /// Reads a list of names, or one string with commas as on the command line.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected a list of service names")]
        enum Form {
            List(Vec<String>),
            Text(String),
        }
        match Form::deserialize(deserializer)? {
            Form::List(names) => Self::from_names(names.iter().map(String::as_str)),
            Form::Text(text) => text.parse(),
        }
        .map_err(serde::de::Error::custom)
    }
}

/// Parses the permissions of a file, in octal digits.
pub(crate) fn parse_mode(text: &str) -> Result<u32, String> {
    let mode = u32::from_str_radix(text, 8)
        .ok()
        .filter(|mode| *mode <= 0o777);
    mode.ok_or_else(|| "write octal digits such as 0600, 0660 or 0666".to_owned())
}

/// Parses an IPv4 address with its prefix.
pub(crate) fn parse_net4(text: &str) -> Result<Ipv4Net, String> {
    text.parse()
        .map_err(|_| "write it as ADDRESS/PREFIX, for example 10.77.0.2/24".to_owned())
}

/// Parses an IPv6 address with its prefix.
pub(crate) fn parse_net6(text: &str) -> Result<Ipv6Net, String> {
    text.parse()
        .map_err(|_| "write it as ADDRESS/PREFIX, for example fd77::2/64".to_owned())
}

/// Parses an IPv4 address.
pub(crate) fn parse_ip4(text: &str) -> Result<Ipv4Addr, String> {
    text.parse()
        .map_err(|_| "write an IPv4 address, for example 10.77.0.1".to_owned())
}

/// Parses an IPv6 address.
pub(crate) fn parse_ip6(text: &str) -> Result<Ipv6Addr, String> {
    text.parse()
        .map_err(|_| "write an IPv6 address, for example fd77::1".to_owned())
}

/// Parses a number of bytes; the bounds of the families are checked together with the addresses.
pub(crate) fn parse_mtu(text: &str) -> Result<u16, String> {
    text.parse()
        .map_err(|_| "use 576 to 65535, at least 1280 with IPv6".to_owned())
}

/// Parses an amount of memory: bytes, or a number with K, M or G.
pub(crate) fn parse_memory(text: &str) -> Result<usize, String> {
    let units = [('K', 10), ('M', 20), ('G', 30)];
    let unit = units
        .iter()
        .find_map(|&(unit, shift)| Some((text.strip_suffix(unit)?, shift)));
    let (number, shift) = unit.unwrap_or((text, 0));
    number
        .parse::<usize>()
        .ok()
        .and_then(|number| number.checked_mul(1 << shift))
        .filter(|bytes| *bytes >= Config::MIN_MEMORY_BYTES)
        .ok_or_else(|| {
            "use at least 1M; write bytes, or a number with K, M or G, as in 15M".to_owned()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_the_kernel_would_refuse_are_refused_here() {
        for good in ["t0", "netstack-0", "abcdefghijklmno"] {
            assert_eq!(good.parse::<TunName>().expect(good).as_str(), good);
        }
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "tun%d",
            "a b",
            "abcdefghijklmnop",
            "é",
        ] {
            assert!(bad.parse::<TunName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn memory_is_bytes_or_has_a_unit() {
        for (text, bytes) in [
            ("1048576", 1 << 20),
            ("1024K", 1 << 20),
            ("15M", 15 << 20),
            ("2G", 2 << 30),
        ] {
            assert_eq!(parse_memory(text), Ok(bytes));
        }
        for bad in ["", "M", "1023K", "-1M", "1.5G", "15MB", "99999999999G"] {
            assert!(parse_memory(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn queues_have_bounds_on_both_sides() {
        assert!("0".parse::<Queues>().is_err());
        assert!("257".parse::<Queues>().is_err());
        assert!("-1".parse::<Queues>().is_err());
        assert!("many".parse::<Queues>().is_err());
        assert_eq!("256".parse::<Queues>().map(Queues::get), Ok(256));
    }

    #[test]
    fn services_are_a_set_in_the_order_given() {
        let services: Services = "discard,echo,discard".parse().expect("known names");
        assert_eq!(services.to_string(), "discard,echo");
        let refusal = "echo,finger".parse::<Services>().expect_err("unknown");
        assert!(refusal.contains("finger") && refusal.contains("chargen"));
    }
}
