//! Changes of the host's routes while it runs.
//!
//! A call that sends looks at the routes as they are then. A worker takes a change up at the beginning of its next turn.

use super::host::Host;
use crate::base::ConfigError;
use crate::ip::prefix::Prefix;
use crate::ip::routes::{Route, RouteError};

/// A change of a host's routes was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteChangeError {
    /// The route cannot be added.
    #[error(transparent)]
    Refused(#[from] RouteError),
    /// The link cannot carry the family.
    #[error(transparent)]
    Link(#[from] ConfigError),
    /// The source of the route is not an address of the host.
    #[error("the source of the route {0} is not an address of this stack: add the address first")]
    Source(Route),
    /// The host has no route to exactly this network.
    #[error("there is no route to {0}: nothing was removed")]
    Unknown(Prefix),
}

/// Adds a route. If `replaces`, it takes the place of the one to the same network.
///
/// # Errors
/// The route cannot be used, there are too many, or the network has a route that it does not replace.
pub(crate) fn add(host: &Host, route: Route, replaces: bool) -> Result<(), RouteChangeError> {
    host.link().validate(route.prefix.address().is_ipv6())?;
    host.ip.addressing.change(|addressing| {
        let is_ours = |source| addressing.addresses.is_local(source);
        if !route.source.is_none_or(is_ours) {
            return Err(RouteChangeError::Source(route));
        }
        if replaces {
            addressing.routes.replace(route)?;
        } else {
            addressing.routes.add(route)?;
        }
        Ok(())
    })
}

/// Removes the route to exactly this network.
///
/// # Errors
/// There is none.
pub(crate) fn remove(host: &Host, prefix: Prefix) -> Result<(), RouteChangeError> {
    host.ip.addressing.change(|addressing| {
        if addressing.routes.remove(prefix) {
            Ok(())
        } else {
            Err(RouteChangeError::Unknown(prefix.network()))
        }
    })
}
