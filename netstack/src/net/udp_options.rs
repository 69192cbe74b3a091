//! Socket options of a UDP socket.

use std::io;
use std::net::SocketAddr;

use super::handle::checked_ttl;
use super::tcp_options::{checked_buffer, checked_tos};
use super::udp_socket::UdpSocket;
use crate::ip::selection::source::SourcePreference;
use crate::stack::udp::app;
use crate::udp::MtuDiscovery;

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

    /// Sets the most bytes of memory in which datagrams wait to be received (`SO_RCVBUF`). What waits stays. The number of
    /// datagrams has a limit of its own, and the memory that sockets share may permit less.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// let socket = netstack::net::UdpSocket::bind(&stack, "10.77.0.2:7").await?;
    /// socket.set_recv_buffer_size(64 << 10)?;
    /// assert_eq!(socket.recv_buffer_size()?, 64 << 10);
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` unless it is from 2 KiB to 1 GiB.
    pub fn set_recv_buffer_size(&self, bytes: u32) -> io::Result<()> {
        let bytes = checked_buffer("set_recv_buffer_size", bytes)?;
        app::set_queue_bytes(&self.socket, bytes);
        Ok(())
    }

    /// Returns the most bytes of memory in which datagrams wait to be received.
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as other options do.
    pub fn recv_buffer_size(&self) -> io::Result<u32> {
        let bytes = app::queue_bytes(&self.socket);
        Ok(u32::try_from(bytes).unwrap_or(u32::MAX))
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

    /// Sets what becomes of a datagram that does not fit into one packet of its path: it is sent in fragments, which is
    /// the default, or refused, or sent as a probe (`IP_MTU_DISCOVER` of Linux). With the last two, datagrams carry the
    /// don't fragment bit, a call that sends fails with `InvalidInput` if the datagram is too long, and a router's report
    /// about a datagram of a connected socket is an error of the next call.
    ///
    /// A program that finds the path MTU by itself (RFC 8899) sends probes of different sizes, whose arrival its peer
    /// confirms, and says what it found with [`UdpSocket::set_path_mtu`].
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// use netstack::net::{MtuDiscovery, UdpSocket};
    ///
    /// let socket = UdpSocket::bind(&stack, "10.77.0.2:0").await?;
    /// let remote = "10.77.0.9:7".parse()?;
    /// socket.set_path_mtu(remote, 1_280)?;
    /// let largest = vec![0; usize::from(stack.mtu()) - 28];
    ///
    /// socket.set_mtu_discovery(MtuDiscovery::Reject)?;
    /// assert!(socket.send_to(&largest, remote).await.is_err());
    /// socket.send_to(&largest[..1_280 - 28], remote).await?;
    /// // Perhaps the path carries more: the peer's answer will tell.
    /// socket.set_mtu_discovery(MtuDiscovery::Probe)?;
    /// socket.send_to(&largest, remote).await?;
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as other options do.
    pub fn set_mtu_discovery(&self, discovery: MtuDiscovery) -> io::Result<()> {
        self.socket.set_mtu_discovery(discovery);
        Ok(())
    }

    /// Returns what becomes of a datagram that does not fit into one packet of its path.
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as other options do.
    pub fn mtu_discovery(&self) -> io::Result<MtuDiscovery> {
        Ok(self.socket.mtu_discovery())
    }

    /// Returns the MTU of the path to `remote`, as far as it is known: the largest packet, in bytes with its headers
    /// (`IP_MTU` of Linux). A datagram has 28 bytes of headers over IPv4, 48 over IPv6.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// let socket = netstack::net::UdpSocket::bind(&stack, "10.77.0.2:7").await?;
    /// assert_eq!(socket.path_mtu("10.77.0.9:7".parse()?)?, stack.mtu());
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` if `remote` is of another family than the socket.
    pub fn path_mtu(&self, remote: SocketAddr) -> io::Result<u16> {
        self.check_family("path_mtu", remote.ip())?;
        Ok(app::path_mtu(&self.host, remote.ip()))
    }

    /// Notes that the path to `remote` carries packets of `mtu` bytes, headers included, and no larger ones, as the
    /// program found out by itself (RFC 4821 section 9). This counts for all that is sent to that host, TCP included, for
    /// ten minutes; below 552 bytes (IPv4) it counts as 552.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// let socket = netstack::net::UdpSocket::bind(&stack, "10.77.0.2:7").await?;
    /// let remote = "10.77.0.9:7".parse()?;
    /// socket.set_path_mtu(remote, 1_380)?;
    /// assert_eq!(socket.path_mtu(remote)?, 1_380);
    /// assert!(socket.set_path_mtu(remote, 65_535).is_err(), "more than the link carries");
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` if no path of that family may have that MTU, the link has a smaller one, or `remote` is of another
    /// family than the socket.
    pub fn set_path_mtu(&self, remote: SocketAddr, mtu: u16) -> io::Result<()> {
        self.check_family("set_path_mtu", remote.ip())?;
        app::set_path_mtu(&self.host, remote.ip(), mtu)
    }
}
