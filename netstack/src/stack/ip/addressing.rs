//! Addresses and routes as one value that is replaced whole.
//!
//! Workers keep a reference to the current one and look at a version number once per turn, so that
//! no packet takes a lock to learn whether it is for us.

use std::net::{IpAddr, SocketAddr};

use crate::ip::addresses::AddressTable;
use crate::ip::prefix::Prefix;
use crate::ip::routes::RouteTable;
use crate::stack::SetupError;

/// What this host is called and whom it can reach.
#[derive(Clone, Debug)]
pub(crate) struct Addressing {
    /// Our addresses.
    pub(crate) addresses: AddressTable,
    /// Our routes.
    pub(crate) routes: RouteTable,
}

impl Addressing {
    /// From addresses with prefix lengths: each subnet is on the link, and everything else is
    /// reached through the link too, as on any point-to-point device.
    pub(crate) fn new(addresses: &[(IpAddr, u8)]) -> Result<Self, SetupError> {
        let mut table = AddressTable::new();
        let mut routes = RouteTable::new();
        for &(address, len) in addresses {
            let bad = |why: String| SetupError::Address { address, len, why };
            let prefix = Prefix::new(address, len).map_err(|error| bad(error.to_string()))?;
            table.add(prefix).map_err(|error| bad(error.to_string()))?;
            let everything = match address {
                IpAddr::V4(_) => IpAddr::from([0; 4]),
                IpAddr::V6(_) => IpAddr::from([0; 16]),
            };
            // Two addresses of one subnet, or of one family, name the same route twice.
            let _ = routes.add_on_link(prefix.network());
            if let Ok(default) = Prefix::new(everything, 0) {
                let _ = routes.add_on_link(default);
            }
        }
        if addresses.is_empty() {
            return Err(SetupError::NoAddress);
        }
        Ok(Self {
            addresses: table,
            routes,
        })
    }

    /// True if a socket may be bound to this address.
    pub(crate) fn can_bind(&self, local: &SocketAddr) -> bool {
        if local.ip().is_unspecified() {
            return self
                .addresses
                .iter()
                .any(|prefix| prefix.address().is_ipv4() == local.is_ipv4());
        }
        self.addresses.is_local(local.ip())
    }
}
