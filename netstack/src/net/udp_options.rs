//! Socket options of a UDP socket.

use std::io;

use super::handle::checked_ttl;
use super::tcp_options::checked_tos;
use super::udp_socket::UdpSocket;
use crate::ip::selection::source::SourcePreference;
use crate::stack::udp::app;

impl UdpSocket {
    /// Takes the error that an ICMP error about an earlier datagram left, so that no other call reports it.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// let socket = netstack::net::UdpSocket::bind(&stack, "10.77.0.2:7").await?;
    /// assert!(socket.take_error()?.is_none());
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as tokio does.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        Ok(app::take_error(&self.socket))
    }

    /// Allows or forbids sending to broadcast addresses.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// let socket = netstack::net::UdpSocket::bind(&stack, "10.77.0.2:7").await?;
    /// assert!(socket.send_to(b"?", "10.77.0.255:7").await.is_err());
    /// socket.set_broadcast(true)?;
    /// assert!(socket.broadcast()?);
    /// socket.send_to(b"?", "10.77.0.255:7").await?;
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as tokio does.
    pub fn set_broadcast(&self, broadcast: bool) -> io::Result<()> {
        self.socket.set_broadcast(broadcast);
        Ok(())
    }

    /// Returns true if it may send to broadcast addresses.
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as tokio does.
    pub fn broadcast(&self) -> io::Result<bool> {
        Ok(self.socket.broadcast())
    }

    /// Sets the type of service (IPv6: traffic class) of the datagrams that this socket sends: DSCP in the upper
    /// six bits, ECN in the lower two, which the program's own protocol may use.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// let socket = netstack::net::UdpSocket::bind(&stack, "10.77.0.2:7").await?;
    /// socket.set_tos(0xb8)?; // Expedited forwarding
    /// assert_eq!(socket.tos()?, 0xb8);
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` for more than eight bits.
    pub fn set_tos(&self, tos: u32) -> io::Result<()> {
        self.socket.set_traffic_class(checked_tos(tos)?);
        Ok(())
    }

    /// Returns the type of service (IPv6: traffic class) of the datagrams that this socket sends.
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as tokio does.
    pub fn tos(&self) -> io::Result<u32> {
        Ok(u32::from(self.socket.traffic_class()))
    }

    /// Sets the kind of source address that it prefers from now on if it is not bound to one (RFC 5014, RFC 6724 section
    /// 5 rule 7). A socket that is connected keeps its address.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// use netstack::net::{SourcePreference, UdpSocket};
    ///
    /// let socket = UdpSocket::bind(&stack, "0.0.0.0:0").await?;
    /// socket.set_source_preference(SourcePreference::Temporary);
    /// assert_eq!(socket.source_preference(), SourcePreference::Temporary);
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    pub fn set_source_preference(&self, preference: SourcePreference) {
        self.socket.set_source_preference(preference);
    }

    /// Returns the kind of source address that it prefers.
    pub fn source_preference(&self) -> SourcePreference {
        self.socket.source_preference()
    }

    /// Sets the time to live (IPv6: hop limit) of the datagrams that this socket sends.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// let socket = netstack::net::UdpSocket::bind(&stack, "10.77.0.2:7").await?;
    /// socket.set_ttl(1)?;
    /// assert_eq!(socket.ttl()?, 1);
    /// assert!(socket.set_ttl(0).is_err());
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` unless it is from 1 to 255.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.socket.set_ttl(checked_ttl(ttl)?);
        Ok(())
    }

    /// Returns the time to live (IPv6: hop limit) of the datagrams that this socket sends.
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as tokio does.
    pub fn ttl(&self) -> io::Result<u32> {
        Ok(u32::from(self.socket.ttl()))
    }
}
