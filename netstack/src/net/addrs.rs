//! The forms in which a program gives the address of a socket.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// Addresses of sockets, as `tokio::net::ToSocketAddrs`: a [`SocketAddr`], an address with a port, a text such as
/// `"10.77.0.2:80"`, or a slice of addresses, which are tried in turn.
///
/// Names of hosts are not looked up: which resolver a program asks, and over which network, is its own
/// decision. A text that is no address is an error.
pub trait ToSocketAddrs {
    /// The addresses.
    type Iter: Iterator<Item = SocketAddr> + Send;

    /// Returns the addresses.
    ///
    /// # Errors
    /// `InvalidInput` if a text is not an address and port.
    fn to_socket_addrs(&self) -> io::Result<Self::Iter>;
}

/// One address.
type One = std::option::IntoIter<SocketAddr>;

fn one(address: impl Into<SocketAddr>) -> io::Result<One> {
    Ok(Some(address.into()).into_iter())
}

fn not_an_address(text: &str, example: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        format!(
            "\"{text}\" is not an address such as {example}: look names up first, this stack has no resolver"
        ),
    )
}

macro_rules! addresses {
    ($($kind:ty),+) => {
        $(impl ToSocketAddrs for $kind {
            type Iter = One;

            fn to_socket_addrs(&self) -> io::Result<One> {
                one(*self)
            }
        })+
    };
}

addresses!(
    SocketAddr,
    SocketAddrV4,
    SocketAddrV6,
    (IpAddr, u16),
    (Ipv4Addr, u16),
    (Ipv6Addr, u16)
);

impl ToSocketAddrs for str {
    type Iter = One;

    fn to_socket_addrs(&self) -> io::Result<One> {
        match self.parse::<SocketAddr>() {
            Ok(address) => one(address),
            Err(_) => Err(not_an_address(self, "10.77.0.2:80 or [fd00::2]:80")),
        }
    }
}

impl ToSocketAddrs for String {
    type Iter = One;

    fn to_socket_addrs(&self) -> io::Result<One> {
        self.as_str().to_socket_addrs()
    }
}

impl ToSocketAddrs for (&str, u16) {
    type Iter = One;

    fn to_socket_addrs(&self) -> io::Result<One> {
        let (text, port) = *self;
        match text.parse::<IpAddr>() {
            Ok(address) => one((address, port)),
            Err(_) => Err(not_an_address(text, "10.77.0.2 or fd00::2")),
        }
    }
}

impl<'a> ToSocketAddrs for &'a [SocketAddr] {
    type Iter = std::iter::Copied<std::slice::Iter<'a, SocketAddr>>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        Ok(self.iter().copied())
    }
}

impl<T: ToSocketAddrs + ?Sized> ToSocketAddrs for &T {
    type Iter = T::Iter;

    fn to_socket_addrs(&self) -> io::Result<T::Iter> {
        (**self).to_socket_addrs()
    }
}

/// Calls `attempt` with each address until one succeeds.
///
/// # Errors
/// That of the last attempt; `InvalidInput` without an address.
pub(super) fn first<A: ToSocketAddrs, R>(
    addresses: &A,
    mut attempt: impl FnMut(SocketAddr) -> io::Result<R>,
) -> io::Result<R> {
    let mut last_error = None;
    for address in addresses.to_socket_addrs()? {
        match attempt(address) {
            Ok(result) => return Ok(result),
            Err(error) => last_error = Some(error),
        }
    }
    Err(last_error.unwrap_or_else(no_address))
}

/// Returns the error of a call without an address.
pub(super) fn no_address() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "no address was given")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(addresses: impl ToSocketAddrs) -> Vec<String> {
        let addresses = addresses.to_socket_addrs().expect("addresses");
        addresses.map(|address| address.to_string()).collect()
    }

    #[test]
    fn each_form_gives_its_addresses() {
        let address: SocketAddr = "10.0.0.1:80".parse().expect("an address");
        assert_eq!(of(address), ["10.0.0.1:80"]);
        assert_eq!(of("[fd00::2]:80"), ["[fd00::2]:80"]);
        assert_eq!(of(("10.0.0.1", 80)), ["10.0.0.1:80"]);
        assert_eq!(of((Ipv4Addr::LOCALHOST, 80)), ["127.0.0.1:80"]);
        assert_eq!(of(&[address, address][..]), ["10.0.0.1:80", "10.0.0.1:80"]);
        assert_eq!(of(String::from("10.0.0.1:80")), ["10.0.0.1:80"]);
    }

    #[test]
    fn a_name_is_refused_with_a_reason() {
        let error = "example.org:80".to_socket_addrs().expect_err("a name");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(error.to_string().contains("no resolver"), "{error}");
    }
}
