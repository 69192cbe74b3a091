//! An end of the link, as it is written on the command line: `t0@left=10.9.0.1/24,fd09::1/64`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::thread;

use ipnet::IpNet;
use tun_rs::DeviceBuilder;

use super::port::Port;
use crate::live::namespace::{enter, path_of};

/// Longest interface name, in bytes.
const NAME_BYTES_MAX: usize = 15;
/// Packets that the kernel queues for a device: what a few connections may have under way.
const TX_QUEUE_PACKETS: u32 = 10_000;

/// One end: a TUN device, its namespace and its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The name of the interface.
    name: String,
    /// The network namespace; `None`: the one that the program runs in.
    namespace: Option<PathBuf>,
    /// Addresses of the kernel on the interface.
    addresses: Vec<IpNet>,
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (place, addresses) = text.split_once('=').unwrap_or((text, ""));
        let (name, namespace) = match place.split_once('@') {
            Some((name, namespace)) => (name, Some(namespace)),
            None => (place, None),
        };
        let is_name = (1..=NAME_BYTES_MAX).contains(&name.len())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && !b"/:%\"\\".contains(&byte));
        if !is_name || name == "." || name == ".." {
            return Err(format!(
                "'{name}' is no name of an interface: use 1 to 15 letters, digits, '-', '_' or '.'"
            ));
        }
        if namespace == Some("") {
            return Err(
                "there is nothing behind '@': name a namespace, or leave '@' out".to_owned(),
            );
        }
        let addresses = addresses
            .split(',')
            .filter(|address| !address.is_empty())
            .map(|address| {
                address.parse().map_err(|_| {
                    format!(
                        "'{address}' is no address: write ADDRESS/PREFIX, for example 10.9.0.1/24"
                    )
                })
            });
        Ok(Self {
            name: name.to_owned(),
            namespace: namespace.map(path_of),
            addresses: addresses.collect::<Result<_, _>>()?,
        })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match &self.namespace {
            Some(path) => write!(f, " in {}", path.display()),
            None => Ok(()),
        }
    }
}

impl Endpoint {
    /// Makes the device, with `mtu`, and gives it its addresses.
    ///
    /// # Errors
    /// Returns a sentence that says what is missing and what to do.
    pub fn open(&self, mtu: u16, offload: bool) -> Result<Port, String> {
        let Some(path) = &self.namespace else {
            return self.open_here(mtu, offload);
        };
        // A thread of its own: only it changes its namespace, and the device stays behind.
        let open = || {
            enter(path)?;
            self.open_here(mtu, offload)
        };
        thread::scope(|scope| scope.spawn(open).join())
            .unwrap_or_else(|_| Err(format!("{self}: the device was not made")))
    }

    fn builder(&self, mtu: u16, offload: bool, has_long_queue: bool) -> DeviceBuilder {
        let mut builder = DeviceBuilder::new()
            .name(self.name.clone())
            .offload(offload)
            .mtu(mtu);
        if has_long_queue {
            builder = builder.with(|options| {
                options.tx_queue_len(TX_QUEUE_PACKETS);
            });
        }
        for address in &self.addresses {
            builder = match address {
                IpNet::V4(net) => builder.ipv4(net.addr(), net.prefix_len(), None),
                IpNet::V6(net) => builder.ipv6(net.addr(), net.prefix_len()),
            };
        }
        builder
    }

    fn open_here(&self, mtu: u16, offload: bool) -> Result<Port, String> {
        let made = match self.builder(mtu, offload, true).build_sync() {
            // Root of a user namespace may make a device, but not set the length of its queue.
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                self.builder(mtu, offload, false).build_sync()
            }
            made => made,
        };
        let device = made.map_err(|error| {
            let advice = match error.kind() {
                std::io::ErrorKind::PermissionDenied => "run this as root",
                std::io::ErrorKind::NotFound => "load the kernel's tun module (modprobe tun)",
                std::io::ErrorKind::ResourceBusy => "give it another name",
                _ => "look whether the name is free and /dev/net/tun is there",
            };
            format!("the TUN device {self} cannot be made ({error}): {advice}")
        })?;
        Port::new(&device, offload).map_err(|error| format!("the TUN device {self}: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_name_with_a_namespace_and_addresses() {
        let end: Endpoint = "t0@left=10.9.0.1/24,fd09::1/64".parse().expect("good");
        assert_eq!(end.name, "t0");
        assert_eq!(end.namespace, Some("/run/netns/left".into()));
        assert_eq!(end.addresses.len(), 2);
        let end: Endpoint = "t1@17".parse().expect("good");
        assert_eq!(end.namespace, Some("/proc/17/ns/net".into()));
        let end: Endpoint = "t1@/proc/self/ns/net".parse().expect("good");
        assert_eq!(end.to_string(), "t1 in /proc/self/ns/net");
        assert_eq!("t1".parse::<Endpoint>().expect("good").namespace, None);
    }

    #[test]
    fn mistakes_are_named_with_advice() {
        for (text, what, advice) in [
            ("", "''", "1 to 15"),
            ("a-name-that-is-too-long", "too-long", "1 to 15"),
            ("a/b", "a/b", "1 to 15"),
            ("t0@", "@", "name a namespace"),
            ("t0=10.9.0.1", "10.9.0.1", "ADDRESS/PREFIX"),
            ("t0=10.9.0.1/33", "10.9.0.1/33", "ADDRESS/PREFIX"),
        ] {
            let error = text.parse::<Endpoint>().expect_err(text);
            assert!(error.contains(what) && error.contains(advice), "{error}");
        }
    }
}
