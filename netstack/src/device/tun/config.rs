//! The configuration of a TUN device, validated before the kernel is asked.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::DeviceError;

/// Longest interface name, in bytes (the kernel's `IFNAMSIZ` without the terminating zero).
const NAME_BYTES_MAX: usize = 15;
/// Most queues that a TUN device can have (the kernel's `MAX_TAP_QUEUES`).
const QUEUES_MAX: usize = 256;
/// Smallest MTU of IPv4 (RFC 791 section 3.2).
pub(super) const MTU_MIN_V4: u16 = 68;
/// Smallest MTU of IPv6 (RFC 8200 section 5).
const MTU_MIN_V6: u16 = 1280;

/// Use of segmentation and checksum offload by a TUN device.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OffloadMode {
    /// Offload if the kernel supports it.
    #[default]
    Auto,
    /// Offload, or an error if the kernel does not support it.
    On,
    /// No offload.
    Off,
}

impl fmt::Display for OffloadMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::On => "on",
            Self::Off => "off",
        })
    }
}

/// Configuration of a TUN device and of the kernel's side of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunConfig {
    /// Name of the interface.
    pub name: String,
    /// MTU in bytes, IP header included.
    pub mtu: u16,
    /// The kernel's IPv4 address on the device, and the prefix length of its subnet.
    pub host_v4: Option<(Ipv4Addr, u8)>,
    /// The kernel's IPv6 address on the device, and the prefix length of its subnet.
    pub host_v6: Option<(Ipv6Addr, u8)>,
    /// The address at the other end of the device, for a `host_v4` with a prefix length of 32: the kernel
    /// gets a route to it.
    pub peer_v4: Option<Ipv4Addr>,
    /// The address at the other end of the device, for a `host_v6` with a prefix length of 128.
    pub peer_v6: Option<Ipv6Addr>,
    /// The interface exists and is used as it is: see [`TunConfig::prepared`].
    pub prepared: bool,
    /// Number of queues, one per worker.
    pub queues: usize,
    /// Segmentation and checksum offload.
    pub offload: OffloadMode,
}

impl TunConfig {
    /// Creates a configuration with one queue, MTU 1500, offload if the kernel supports it, and no
    /// kernel-side address.
    ///
    /// ```
    /// use netstack::device::{DeviceError, TunConfig};
    ///
    /// let mut config = TunConfig::new("t0");
    /// config.host_v4 = Some(("10.77.0.1".parse()?, 24));
    /// config.validate()?;
    ///
    /// config.mtu = 20;
    /// assert!(matches!(config.validate(), Err(DeviceError::Mtu { min: 68, .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            mtu: 1500,
            host_v4: None,
            host_v6: None,
            peer_v4: None,
            peer_v6: None,
            prepared: false,
            queues: 1,
            offload: OffloadMode::Auto,
        }
    }

    /// Creates a configuration for an interface that exists and is used exactly as it is: its MTU,
    /// addresses, routes, queue length and state stay. `mtu` is taken from the interface. Whoever owns a
    /// persistent device needs no privilege for this.
    ///
    /// ```no_run
    /// // ip tuntap add mode tun name t0 user alice vnet_hdr; ip addr add 10.77.0.1/24 dev t0; ip link set t0 up
    /// let devices = netstack::device::open(&netstack::device::TunConfig::prepared("t0"))?;
    /// # Ok::<(), netstack::device::DeviceError>(())
    /// ```
    pub fn prepared(name: impl Into<String>) -> Self {
        Self {
            prepared: true,
            ..Self::new(name)
        }
    }

    /// Checks everything that can be checked without the kernel.
    ///
    /// # Errors
    /// The first rule broken, in this order: name, queues, MTU, addresses.
    pub fn validate(&self) -> Result<(), DeviceError> {
        self.check_name()?;
        if self.queues == 0 || self.queues > QUEUES_MAX {
            return Err(DeviceError::Queues {
                name: self.name.clone(),
                queues: self.queues,
                why: "the kernel allows at most 256",
                min: 1,
                max: QUEUES_MAX,
            });
        }
        let (min, why) = if self.host_v6.is_some() {
            (MTU_MIN_V6, "IPv6 needs 1280 bytes")
        } else {
            (MTU_MIN_V4, "IPv4 needs 68 bytes")
        };
        if self.mtu < min {
            return Err(DeviceError::Mtu {
                name: self.name.clone(),
                mtu: self.mtu,
                why,
                min,
                max: u16::MAX,
            });
        }
        if let Some((address, prefix)) = self.host_v4 {
            let why = if address.is_multicast() || address.is_broadcast() {
                "it is not a unicast address"
            } else if address.is_unspecified() {
                "it is the unspecified address"
            } else {
                ""
            };
            self.check_address(address.into(), prefix, 32, why)?;
        }
        if let Some((address, prefix)) = self.host_v6 {
            let why = if address.is_multicast() {
                "it is not a unicast address"
            } else if address.is_unspecified() {
                "it is the unspecified address"
            } else {
                ""
            };
            self.check_address(address.into(), prefix, 128, why)?;
        }
        self.check_prepared()?;
        self.check_peer(self.host_v4, self.peer_v4, 32)?;
        self.check_peer(self.host_v6, self.peer_v6, 128)
    }

    /// Checks that nothing is asked of a prepared device.
    fn check_prepared(&self) -> Result<(), DeviceError> {
        let asked = self
            .host_v4
            .map(|(address, prefix)| (address.into(), prefix));
        let asked = asked.or(self
            .host_v6
            .map(|(address, prefix)| (address.into(), prefix)));
        match asked {
            Some((address, prefix)) if self.prepared => Err(DeviceError::BadAddress {
                name: self.name.clone(),
                address,
                prefix,
                why: "a prepared device is used as it is",
            }),
            _ => Ok(()),
        }
    }

    /// Checks that a peer's address goes with a host's address that has no subnet.
    fn check_peer<A: Into<IpAddr> + Copy + PartialEq>(
        &self,
        host: Option<(A, u8)>,
        peer: Option<A>,
        prefix_max: u8,
    ) -> Result<(), DeviceError> {
        let Some(peer) = peer else {
            return Ok(());
        };
        let why = match host {
            None => "the host has no address of that family",
            Some((_, prefix)) if prefix != prefix_max => "the host's address has a subnet already",
            Some((address, _)) if address == peer => "it is the host's own",
            Some(_) => return Ok(()),
        };
        Err(DeviceError::BadPeer {
            name: self.name.clone(),
            address: peer.into(),
            why,
        })
    }

    fn check_name(&self) -> Result<(), DeviceError> {
        let name = self.name.as_str();
        let why = if name.is_empty() {
            "it is empty"
        } else if name.len() > NAME_BYTES_MAX {
            "it is too long"
        } else if name == "." || name == ".." {
            "it names a directory"
        } else if name
            .chars()
            .any(|c| !c.is_ascii_graphic() || matches!(c, '/' | ':' | '%' | '"' | '\\'))
        {
            "it has a character that the kernel refuses or interprets"
        } else {
            return Ok(());
        };
        Err(DeviceError::BadName {
            name: self.name.clone(),
            why,
        })
    }

    fn check_address(
        &self,
        address: IpAddr,
        prefix: u8,
        prefix_max: u8,
        why: &'static str,
    ) -> Result<(), DeviceError> {
        let why = if prefix == 0 || prefix > prefix_max {
            "its prefix length is out of range"
        } else {
            why
        };
        if why.is_empty() {
            return Ok(());
        }
        Err(DeviceError::BadAddress {
            name: self.name.clone(),
            address,
            prefix,
            why,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_the_kernel_would_refuse_or_change_are_refused() {
        for name in [
            "",
            ".",
            "..",
            "a/b",
            "a b",
            "tun%d",
            "eth0:1",
            "sixteen-letters-",
            "a\n",
            "ü",
        ] {
            let error = TunConfig::new(name).validate().expect_err(name);
            assert!(
                matches!(error, DeviceError::BadName { .. }),
                "{name:?}: {error}"
            );
        }
        for name in ["t0", "fifteen-letters", "tun_0.1"] {
            TunConfig::new(name).validate().expect(name);
        }
    }

    #[test]
    fn ipv6_raises_the_smallest_mtu() {
        let mut config = TunConfig::new("t0");
        config.mtu = 68;
        config.validate().expect("IPv4's smallest");
        config.mtu = 67;
        assert!(matches!(
            config.validate(),
            Err(DeviceError::Mtu { min: 68, .. })
        ));
        config.mtu = 1279;
        config.host_v6 = Some((Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1), 64));
        assert!(matches!(
            config.validate(),
            Err(DeviceError::Mtu { min: 1280, .. })
        ));
    }

    #[test]
    fn queues_and_addresses_have_limits() {
        let mut config = TunConfig::new("t0");
        for queues in [0, 257, usize::MAX] {
            config.queues = queues;
            assert!(matches!(config.validate(), Err(DeviceError::Queues { .. })));
        }
        config.queues = 256;
        for (address, prefix) in [
            (Ipv4Addr::new(224, 0, 0, 1), 24),
            (Ipv4Addr::UNSPECIFIED, 24),
            (Ipv4Addr::BROADCAST, 24),
            (Ipv4Addr::new(10, 0, 0, 1), 33),
            (Ipv4Addr::new(10, 0, 0, 1), 0),
        ] {
            config.host_v4 = Some((address, prefix));
            assert!(
                matches!(config.validate(), Err(DeviceError::BadAddress { .. })),
                "{address}/{prefix}"
            );
        }
    }
}
