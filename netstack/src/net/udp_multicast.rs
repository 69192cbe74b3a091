//! Multicast groups of a UDP socket.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::udp_socket::UdpSocket;
use crate::ip::multicast::change::Change;
use crate::stack::multicast::app;

/// Memberships and options of multicast groups.
///
/// A socket receives what is sent to a group once it has joined it: every socket that joined the group and is bound
/// to the port gets a copy. Bind it to the unspecified address, or to the group itself to receive nothing else.
/// Routers on the link learn of memberships, and of the sources that are wanted, by IGMPv3 and MLDv2.
///
/// A member receives what any source sends, unless it chooses: [`UdpSocket::join_source_group`] receives from the sources
/// that were joined alone, [`UdpSocket::block_source`] from all but those that were blocked.
impl UdpSocket {
    /// Joins an IPv4 group. `interface` is `0.0.0.0` or an address of the stack, which has one interface.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// use std::net::Ipv4Addr;
    /// use netstack::net::UdpSocket;
    ///
    /// let group = Ipv4Addr::new(239, 1, 2, 3);
    /// let member = UdpSocket::bind(&stack, "0.0.0.0:5000").await?;
    /// member.join_multicast_v4(group, Ipv4Addr::UNSPECIFIED)?;
    /// let sender = UdpSocket::bind(&stack, "10.77.0.2:0").await?;
    /// sender.send_to(b"to all", (group, 5000)).await?;
    /// let (len, from) = member.recv_from(&mut [0; 16]).await?;
    /// assert_eq!((len, from), (6, sender.local_addr()?));
    /// member.leave_multicast_v4(group, Ipv4Addr::UNSPECIFIED)?;
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` for an address that is no group, or on a socket of the other family; `AddrInUse` if it is a
    /// member already; `AddrNotAvailable` for another interface, or if the stack has no IPv4 address; `OutOfMemory`
    /// for too many groups.
    pub fn join_multicast_v4(&self, multiaddr: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
        app::check_interface_v4(&self.host, interface)?;
        self.change("join_multicast_v4", multiaddr, Change::Join)
    }

    /// Joins an IPv6 group. `interface` is 0, or 1 for the stack's only interface.
    ///
    /// # Errors
    /// As [`UdpSocket::join_multicast_v4`].
    pub fn join_multicast_v6(&self, multiaddr: &Ipv6Addr, interface: u32) -> io::Result<()> {
        app::check_interface_v6(interface)?;
        self.change("join_multicast_v6", *multiaddr, Change::Join)
    }

    /// Leaves an IPv4 group. A socket that is dropped leaves its groups by itself.
    ///
    /// # Errors
    /// `AddrNotAvailable` if it is no member, or for another interface; `InvalidInput` for what is no group of the socket's
    /// family.
    pub fn leave_multicast_v4(&self, multiaddr: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
        app::check_interface_v4(&self.host, interface)?;
        self.change("leave_multicast_v4", multiaddr, Change::Leave)
    }

    /// Leaves an IPv6 group. A socket that is dropped leaves its groups by itself.
    ///
    /// # Errors
    /// As [`UdpSocket::leave_multicast_v4`].
    pub fn leave_multicast_v6(&self, multiaddr: &Ipv6Addr, interface: u32) -> io::Result<()> {
        app::check_interface_v6(interface)?;
        self.change("leave_multicast_v6", *multiaddr, Change::Leave)
    }

    /// Joins a group to receive what `source` sends, and no source that was not joined (`MCAST_JOIN_SOURCE_GROUP` of
    /// RFC 3678). A socket chooses up to 64 sources of each group. One that had joined the group receives from `source`
    /// alone from now on, if it had blocked none.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// use std::net::Ipv4Addr;
    /// use netstack::net::UdpSocket;
    ///
    /// let group = Ipv4Addr::new(232, 1, 2, 3);
    /// let sender = UdpSocket::bind(&stack, "10.77.0.2:0").await?;
    /// let [wants, wants_not] = [(); 2].map(|()| UdpSocket::bind_shared(&stack, "0.0.0.0:5000"));
    /// let (wants, wants_not) = (wants?, wants_not?);
    /// wants.join_source_group(group.into(), sender.local_addr()?.ip())?;
    /// wants_not.join_source_group(group.into(), "192.0.2.1".parse()?)?;
    /// sender.send_to(b"hello", (group, 5000)).await?;
    /// assert_eq!(wants.recv(&mut [0; 16]).await?, 5);
    /// assert!(wants_not.try_recv_from(&mut [0; 16]).is_err());
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`UdpSocket::join_multicast_v4`]; `InvalidInput` if `source` is no address of one host of the family, or
    /// sources were blocked before; `AddrNotAvailable` if it was joined before; `OutOfMemory` for too many sources.
    pub fn join_source_group(&self, group: IpAddr, source: IpAddr) -> io::Result<()> {
        self.change("join_source_group", group, Change::JoinSource(source))
    }

    /// Receives no more what `source` sends to a group (`MCAST_LEAVE_SOURCE_GROUP`). With the last source the socket
    /// leaves the group.
    ///
    /// # Errors
    /// `AddrNotAvailable` if the source was not joined; `InvalidInput` if the group was not, or sources were blocked.
    pub fn leave_source_group(&self, group: IpAddr, source: IpAddr) -> io::Result<()> {
        self.change("leave_source_group", group, Change::LeaveSource(source))
    }

    /// Receives what every source sends to a group that was joined, but for `source` and those blocked before
    /// (`MCAST_BLOCK_SOURCE`): up to 64.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// use netstack::net::UdpSocket;
    /// let socket = UdpSocket::bind(&stack, "0.0.0.0:5000").await?;
    /// let (group, source) = ("239.1.2.3".parse()?, "192.0.2.1".parse()?);
    /// assert!(socket.block_source(group, source).is_err(), "join the group first");
    /// socket.join_multicast_v4([239, 1, 2, 3].into(), [0; 4].into())?;
    /// socket.block_source(group, source)?;
    /// socket.unblock_source(group, source)?;
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` if the group was not joined or some of its sources were, or if `source` is no address of one host
    /// of the family; `AddrNotAvailable` if it is blocked already; `OutOfMemory` for too many sources.
    pub fn block_source(&self, group: IpAddr, source: IpAddr) -> io::Result<()> {
        self.change("block_source", group, Change::Block(source))
    }

    /// Receives again what `source`, which was blocked, sends to a group (`MCAST_UNBLOCK_SOURCE`).
    ///
    /// # Errors
    /// `AddrNotAvailable` if the source is not blocked; `InvalidInput` if the group was not joined, or some of its
    /// sources were.
    pub fn unblock_source(&self, group: IpAddr, source: IpAddr) -> io::Result<()> {
        self.change("unblock_source", group, Change::Unblock(source))
    }

    fn change(&self, call: &str, group: impl Into<IpAddr>, change: Change) -> io::Result<()> {
        app::change(&self.host, &self.socket, call, group.into(), change)
    }

    /// Sets whether sockets of this stack that joined a group get what this socket sends to it; they do unless it is
    /// turned off.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// let socket = netstack::net::UdpSocket::bind(&stack, "10.77.0.2:7").await?;
    /// assert!(socket.multicast_loop_v4()?);
    /// socket.set_multicast_loop_v4(false)?;
    /// assert!(!socket.multicast_loop_v4()?);
    /// assert!(socket.set_multicast_loop_v6(false).is_err(), "the socket is bound to IPv4");
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` on a socket of the other family.
    pub fn set_multicast_loop_v4(&self, on: bool) -> io::Result<()> {
        self.check_family("set_multicast_loop_v4", Ipv4Addr::UNSPECIFIED)?;
        self.socket.set_multicast_loop(on);
        Ok(())
    }

    /// Returns whether sockets of this stack that joined a group get what this socket sends to it.
    ///
    /// # Errors
    /// `InvalidInput` on a socket of the other family.
    pub fn multicast_loop_v4(&self) -> io::Result<bool> {
        self.check_family("multicast_loop_v4", Ipv4Addr::UNSPECIFIED)?;
        Ok(self.socket.multicast_loop())
    }

    /// Sets the same for IPv6 as [`UdpSocket::set_multicast_loop_v4`].
    ///
    /// # Errors
    /// `InvalidInput` on a socket of the other family.
    pub fn set_multicast_loop_v6(&self, on: bool) -> io::Result<()> {
        self.check_family("set_multicast_loop_v6", Ipv6Addr::UNSPECIFIED)?;
        self.socket.set_multicast_loop(on);
        Ok(())
    }

    /// Returns the same for IPv6 as [`UdpSocket::multicast_loop_v4`].
    ///
    /// # Errors
    /// `InvalidInput` on a socket of the other family.
    pub fn multicast_loop_v6(&self) -> io::Result<bool> {
        self.check_family("multicast_loop_v6", Ipv6Addr::UNSPECIFIED)?;
        Ok(self.socket.multicast_loop())
    }

    /// Sets the time to live of datagrams to IPv4 groups: 1 if not called, so that no router passes them on; 0 keeps
    /// them on this host.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// let socket = netstack::net::UdpSocket::bind(&stack, "10.77.0.2:7").await?;
    /// assert_eq!(socket.multicast_ttl_v4()?, 1);
    /// socket.set_multicast_ttl_v4(16)?;
    /// assert_eq!((socket.multicast_ttl_v4()?, socket.ttl()?), (16, 64));
    /// assert!(socket.set_multicast_ttl_v4(256).is_err());
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` above 255, and on a socket of the other family.
    pub fn set_multicast_ttl_v4(&self, ttl: u32) -> io::Result<()> {
        self.check_family("set_multicast_ttl_v4", Ipv4Addr::UNSPECIFIED)?;
        self.socket
            .set_multicast_ttl(checked("set_multicast_ttl_v4", ttl)?);
        Ok(())
    }

    /// Returns the time to live of datagrams to IPv4 groups.
    ///
    /// # Errors
    /// `InvalidInput` on a socket of the other family.
    pub fn multicast_ttl_v4(&self) -> io::Result<u32> {
        self.check_family("multicast_ttl_v4", Ipv4Addr::UNSPECIFIED)?;
        Ok(self.socket.multicast_ttl().into())
    }

    /// Sets the hop limit of datagrams to IPv6 groups, as [`UdpSocket::set_multicast_ttl_v4`] does for IPv4.
    ///
    /// # Errors
    /// `InvalidInput` above 255, and on a socket of the other family.
    pub fn set_multicast_hops_v6(&self, hops: u32) -> io::Result<()> {
        self.check_family("set_multicast_hops_v6", Ipv6Addr::UNSPECIFIED)?;
        self.socket
            .set_multicast_ttl(checked("set_multicast_hops_v6", hops)?);
        Ok(())
    }

    /// Returns the hop limit of datagrams to IPv6 groups.
    ///
    /// # Errors
    /// `InvalidInput` on a socket of the other family.
    pub fn multicast_hops_v6(&self) -> io::Result<u32> {
        self.check_family("multicast_hops_v6", Ipv6Addr::UNSPECIFIED)?;
        Ok(self.socket.multicast_ttl().into())
    }

    pub(super) fn check_family(&self, call: &str, any: impl Into<IpAddr>) -> io::Result<()> {
        app::check_family(&self.socket, call, any.into())
    }
}

fn checked(call: &str, ttl: u32) -> io::Result<u8> {
    u8::try_from(ttl).map_err(|_| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{call}: {ttl} is no time to live; give a value from 0 to 255"),
        )
    })
}
