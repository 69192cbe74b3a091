//! The addresses on the link: each is a usable host of its subnet, and the kernel's differs from the
//! daemon's.

use std::fmt::Display;
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

use crate::failure::Failure;
use crate::sources::Sources;

/// The addresses of one family: ours with its prefix, and the kernel's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link<N, A> {
    /// The address that the daemon answers as, and the subnet.
    pub ours: N,
    /// The kernel's address on the link.
    pub host: A,
}

/// The addresses of one family, as the flags or the file give them, and what is allowed in the subnet.
struct Candidates<'a, A> {
    /// The key of our address; `host-` before it makes the key of the kernel's.
    key: &'static str,
    ours: A,
    prefix: u8,
    /// The kernel's address, if one is given.
    host: Option<A>,
    /// The kernel's side is as another program has made it.
    prepared: bool,
    is_usable: &'a dyn Fn(A) -> bool,
    is_inside: &'a dyn Fn(A) -> bool,
}

impl<A: Copy + Eq + Display> Candidates<'_, A> {
    /// Returns the kernel's address: the given one, or the first free one of `hosts`.
    fn host(&self, mut hosts: impl Iterator<Item = A>, sources: &Sources) -> Result<A, Failure> {
        let &Self {
            key, ours, prefix, ..
        } = self;
        if !(self.is_usable)(ours) {
            return Err(sources.fault(
                key,
                &format!(
                    "{ours}/{prefix} is not the address of one host in its subnet: \
                     use an address that is neither reserved, multicast, loopback, nor the subnet itself"
                ),
            ));
        }
        let Some(host) = self.host else {
            if self.prepared {
                return Ok(ours);
            }
            return hosts
                .find(|&host| host != ours && (self.is_usable)(host))
                .ok_or_else(|| {
                    let message = "leaves no address for the kernel's side: give one, or use a shorter prefix";
                    sources.fault(key, &format!("{ours}/{prefix} {message}"))
                });
        };
        let host_key = format!("host-{key}");
        if host == ours {
            return Err(sources.fault(
                &host_key,
                &format!("{host} is the daemon's own address: use another one of its subnet"),
            ));
        }
        if !(self.is_inside)(host) || !(self.is_usable)(host) {
            return Err(sources.fault(
                &host_key,
                &format!(
                    "{host} is not a host address in the subnet of {ours}/{prefix}: \
                     use another one of that subnet"
                ),
            ));
        }
        Ok(host)
    }
}

/// Reports a kernel's address in a family in which the daemon has none.
fn host_alone(key: &str, host: impl Display, sources: &Sources) -> Failure {
    sources.fault(
        &format!("host-{key}"),
        &format!("{host} is given without {key}: give {key} as ADDRESS/PREFIX, too"),
    )
}

/// Checks the IPv4 addresses and fills in the kernel's.
pub(super) fn link_v4(
    ours: Option<Ipv4Net>,
    host: Option<Ipv4Addr>,
    prepared: bool,
    sources: &Sources,
) -> Result<Option<Link<Ipv4Net, Ipv4Addr>>, Failure> {
    let Some(ours) = ours else {
        return host.map_or(Ok(None), |host| Err(host_alone("addr", host, sources)));
    };
    let is_usable = |addr: Ipv4Addr| {
        let first = addr.octets()[0];
        let is_edge =
            ours.prefix_len() < 31 && (addr == ours.network() || addr == ours.broadcast());
        first != 0 && first < 224 && !addr.is_loopback() && !is_edge
    };
    let candidates = Candidates {
        key: "addr",
        ours: ours.addr(),
        prefix: ours.prefix_len(),
        host,
        prepared,
        is_usable: &is_usable,
        // A single address has no subnet: the kernel's is its peer, and may be any.
        is_inside: &|addr| ours.prefix_len() == 32 || ours.contains(&addr),
    };
    let host = candidates.host(ours.hosts(), sources)?;
    Ok(Some(Link { ours, host }))
}

/// Checks the IPv6 addresses and fills in the kernel's.
pub(super) fn link_v6(
    ours: Option<Ipv6Net>,
    host: Option<Ipv6Addr>,
    prepared: bool,
    sources: &Sources,
) -> Result<Option<Link<Ipv6Net, Ipv6Addr>>, Failure> {
    let Some(ours) = ours else {
        return host.map_or(Ok(None), |host| Err(host_alone("addr6", host, sources)));
    };
    let is_usable = |addr: Ipv6Addr| {
        // The all-zero host part is the subnet-router anycast address (RFC 4291 section 2.6.1).
        let is_anycast = ours.prefix_len() < 127 && addr == ours.network();
        !addr.is_unspecified()
            && !addr.is_loopback()
            && !addr.is_multicast()
            && addr.to_ipv4_mapped().is_none()
            && !is_anycast
    };
    let candidates = Candidates {
        key: "addr6",
        ours: ours.addr(),
        prefix: ours.prefix_len(),
        host,
        prepared,
        is_usable: &is_usable,
        is_inside: &|addr| ours.prefix_len() == 128 || ours.contains(&addr),
    };
    let host = candidates.host(ours.hosts(), sources)?;
    Ok(Some(Link { ours, host }))
}
