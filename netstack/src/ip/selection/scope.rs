//! Scopes of addresses (RFC 6724 sections 3.1 and 3.2, RFC 4291 section 2.7).

use core::net::IpAddr;

const LINK_LOCAL: u8 = 2;
const SITE_LOCAL: u8 = 5;
const GLOBAL: u8 = 14;

/// Returns the scope of an address as a number that grows with its reach.
pub fn scope(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(v4) if v4.is_link_local() || v4.is_loopback() => LINK_LOCAL,
        IpAddr::V4(_) => GLOBAL,
        IpAddr::V6(v6) if v6.is_multicast() => v6.octets()[1] & 0xf,
        IpAddr::V6(v6) if v6.is_unicast_link_local() || v6.is_loopback() => LINK_LOCAL,
        IpAddr::V6(v6) if v6.segments()[0] & 0xffc0 == 0xfec0 => SITE_LOCAL,
        IpAddr::V6(_) => GLOBAL,
    }
}
