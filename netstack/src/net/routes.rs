//! The routes of a stack.

use super::stack::Stack;
use crate::ip::prefix::Prefix;
use crate::ip::routes::Route;
use crate::stack::routes::{self, RouteChangeError};

/// The routes, which say where packets may go. The longest prefix decides.
///
/// A stack begins with a default route for each family of which it has an address, and with the subnets of its
/// addresses. Everything leaves through its one link, so a route has no gateway.
///
/// A change concerns what is sent from then on: `connect` and the sends of datagrams fail where there is no route
/// (`NetworkUnreachable`), or one that refuses ([`RouteKind`](super::RouteKind)). Pings, handshakes and ICMP errors are
/// not answered there. TCP connections that are open stay open.
impl Stack {
    /// Adds a route.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// use std::io::ErrorKind;
    /// use netstack::net::{Route, RouteKind, TcpStream};
    ///
    /// // Nothing but its subnet, and there is one host that it must not talk to.
    /// stack.remove_route("0.0.0.0/0".parse()?)?;
    /// stack.add_route(Route {
    ///     kind: RouteKind::Prohibit,
    ///     ..Route::new("10.77.0.9/32".parse()?)
    /// })?;
    /// let error = TcpStream::connect(&stack, "192.0.2.1:80").await.unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::NetworkUnreachable);
    /// let error = TcpStream::connect(&stack, "10.77.0.9:80").await.unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    /// let routes = stack.routes().map(|route| route.to_string());
    /// assert_eq!(routes.collect::<Vec<_>>(), ["prohibit 10.77.0.9/32", "10.77.0.0/24"]);
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// There is a route to the network already, or too many; the source is not the stack's; the MTU is too small.
    pub fn add_route(&self, route: Route) -> Result<(), RouteChangeError> {
        routes::add(&self.host, route, false)
    }

    /// Adds a route in the place of the one to the same network, if there is one.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// use netstack::net::Route;
    ///
    /// let slim = Route { mtu: Some(576), ..Route::new("0.0.0.0/0".parse()?) };
    /// assert!(stack.add_route(slim).is_err(), "there is a default route");
    /// stack.replace_route(slim)?;
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// There are too many; the source is not the stack's; the MTU is too small.
    pub fn replace_route(&self, route: Route) -> Result<(), RouteChangeError> {
        routes::add(&self.host, route, true)
    }

    /// Removes the route to exactly this network.
    ///
    /// # Errors
    /// There is none.
    pub fn remove_route(&self, prefix: Prefix) -> Result<(), RouteChangeError> {
        routes::remove(&self.host, prefix)
    }

    /// Returns the routes: IPv4 before IPv6, and the longest prefix first.
    pub fn routes(&self) -> impl Iterator<Item = Route> {
        let addressing = self.host.ip.addressing.get();
        let routes: Vec<Route> = addressing.routes.iter().copied().collect();
        routes.into_iter()
    }
}
