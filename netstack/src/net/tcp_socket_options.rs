//! The options of a TCP socket before it connects or listens, with tokio's names.

use std::io;

use super::handle::checked_ttl;
use super::tcp_options::{
    checked_buffer, checked_linger, checked_probes, checked_segment, checked_time, checked_tos,
};
use super::tcp_socket::TcpSocket;
use crate::base::TcpConfig;
use crate::base::time::Duration;
use crate::ip::selection::source::SourcePreference;
use crate::tcp::Algorithm;

/// Options.
impl TcpSocket {
    fn configure(&self, change: impl FnOnce(&mut TcpConfig)) {
        self.with(|draft| draft.options.configure(change));
    }

    /// Lets the address be bound again at once, or not. A listener's address is always free for another one once
    /// it is closed, whatever its connections do: nothing changes here.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// let socket = netstack::net::TcpSocket::new_v4(&stack);
    /// socket.set_reuseaddr(false)?;
    /// assert!(socket.reuseaddr()?);
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as tokio does.
    pub fn set_reuseaddr(&self, _reuse: bool) -> io::Result<()> {
        Ok(())
    }

    /// Returns true: see [`TcpSocket::set_reuseaddr`].
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as tokio does.
    pub fn reuseaddr(&self) -> io::Result<bool> {
        Ok(true)
    }

    /// Sets the most bytes that a connection queues to be sent and acknowledged.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// let socket = netstack::net::TcpSocket::new_v4(&stack);
    /// socket.set_send_buffer_size(1 << 20)?;
    /// assert_eq!(socket.send_buffer_size()?, 1 << 20);
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` unless it is from 2 KiB to 1 GiB.
    pub fn set_send_buffer_size(&self, bytes: u32) -> io::Result<()> {
        let bytes = checked_buffer("set_send_buffer_size", bytes)?;
        self.configure(|config| {
            config.send_buffer = bytes;
            config.send_buffer_initial = bytes;
        });
        Ok(())
    }

    /// Returns the most bytes that a connection queues to be sent and acknowledged.
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as tokio does.
    pub fn send_buffer_size(&self) -> io::Result<u32> {
        let bytes = self.with(|draft| draft.options.config.send_buffer);
        Ok(u32::try_from(bytes).unwrap_or(u32::MAX))
    }

    /// Sets the receive window: its size is fixed then, and not tuned any more.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// let socket = netstack::net::TcpSocket::new_v4(&stack);
    /// socket.set_recv_buffer_size(1 << 20)?;
    /// assert_eq!(socket.recv_buffer_size()?, 1 << 20);
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` unless it is from 2 KiB to 1 GiB.
    pub fn set_recv_buffer_size(&self, bytes: u32) -> io::Result<()> {
        let bytes = checked_buffer("set_recv_buffer_size", bytes)?;
        self.configure(|config| {
            config.recv_buffer_initial = bytes;
            config.recv_buffer_max = bytes;
        });
        Ok(())
    }

    /// Returns the largest receive window.
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as tokio does.
    pub fn recv_buffer_size(&self) -> io::Result<u32> {
        let bytes = self.with(|draft| draft.options.config.recv_buffer_max);
        Ok(u32::try_from(bytes).unwrap_or(u32::MAX))
    }

    /// Lets the listener take data with a SYN, from clients that bring a cookie which the stack gave to their address
    /// (TCP Fast Open, RFC 7413), for at most `pending` connections whose handshake is not done; 0 is off, as it is by
    /// default. Connections then come earlier, and a read finds the data.
    ///
    /// Only for services that may do what the data says twice: the network can deliver a SYN again when the connection
    /// that it opened is gone (section 6.1).
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// let socket = netstack::net::TcpSocket::new_v4(&stack);
    /// socket.set_fast_open(64)?;
    /// assert_eq!(socket.fast_open()?, 64);
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as the others do.
    pub fn set_fast_open(&self, pending: u32) -> io::Result<()> {
        self.configure(|config| config.fast_open_backlog = pending as usize);
        Ok(())
    }

    /// Returns how many connections may wait for the end of their handshake after a SYN with data.
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as the others do.
    pub fn fast_open(&self) -> io::Result<u32> {
        let pending = self.with(|draft| draft.options.config.fast_open_backlog);
        Ok(u32::try_from(pending).unwrap_or(u32::MAX))
    }

    /// Sets the largest segment that is offered and sent, in bytes without IP and TCP headers.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// let socket = netstack::net::TcpSocket::new_v4(&stack);
    /// socket.set_max_segment(1_200)?;
    /// assert!(socket.set_max_segment(10).is_err());
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` if it is less than 88.
    pub fn set_max_segment(&self, bytes: u16) -> io::Result<()> {
        let bytes = checked_segment(bytes)?;
        // The stack's own limit holds for each socket.
        let bytes = bytes.min(self.host.tcp.config.max_mss);
        self.with(|draft| draft.options.configure(|tcp| tcp.max_mss = bytes));
        Ok(())
    }

    /// Chooses the congestion control algorithm.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// let socket = netstack::net::TcpSocket::new_v4(&stack);
    /// socket.set_congestion("bbr".parse()?);
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    pub fn set_congestion(&self, algorithm: Algorithm) {
        self.configure(|config| config.congestion = algorithm);
    }

    /// Turns Nagle's algorithm off (`true`) or on.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// let socket = netstack::net::TcpSocket::new_v4(&stack);
    /// socket.set_nodelay(true)?;
    /// assert!(socket.nodelay()?);
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as tokio does.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.configure(|config| config.nagle = !nodelay);
        Ok(())
    }

    /// Returns true if Nagle's algorithm is off.
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as tokio does.
    pub fn nodelay(&self) -> io::Result<bool> {
        Ok(self.with(|draft| !draft.options.config.nagle))
    }

    /// Sets the time to live (IPv6: hop limit), that of the handshake included.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// let socket = netstack::net::TcpSocket::new_v4(&stack);
    /// socket.set_ttl(255)?;
    /// socket.set_tos(0xb8)?; // Expedited forwarding
    /// assert!(socket.set_ttl(0).is_err() && socket.set_tos(256).is_err());
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` unless it is from 1 to 255.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        let ttl = checked_ttl(ttl)?;
        self.with(|draft| draft.options.ttl = ttl);
        Ok(())
    }

    /// Sets the type of service (IPv6: traffic class), as [`TcpStream::set_tos`].
    ///
    /// # Errors
    /// `InvalidInput` for more than eight bits.
    pub fn set_tos(&self, tos: u32) -> io::Result<()> {
        let tos = checked_tos(tos)? & 0xfc;
        self.with(|draft| draft.options.traffic_class = tos);
        Ok(())
    }

    /// Returns the type of service (IPv6: traffic class).
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as tokio does.
    pub fn tos(&self) -> io::Result<u32> {
        Ok(self.with(|draft| draft.options.traffic_class.into()))
    }

    /// Returns the time to live (IPv6: hop limit).
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as tokio does.
    pub fn ttl(&self) -> io::Result<u32> {
        Ok(self.with(|draft| draft.options.ttl.into()))
    }

    /// Probes the peer after it was silent for `idle`; `None`: never.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// let socket = netstack::net::TcpSocket::new_v4(&stack);
    /// use std::time::Duration;
    ///
    /// socket.set_keepalive(Some(Duration::from_secs(60)))?;
    /// assert_eq!(socket.keepalive()?, Some(Duration::from_secs(60)));
    /// socket.set_keepalive_interval(Duration::from_secs(5))?;
    /// socket.set_keepalive_count(3)?;
    /// assert_eq!(socket.keepalive_interval()?, Duration::from_secs(5));
    /// assert_eq!(socket.keepalive_count()?, 3);
    /// socket.set_user_timeout(Some(Duration::from_secs(300)))?;
    /// assert!(socket.set_keepalive_count(0).is_err());
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` unless it is between 1 ms and 30 days.
    pub fn set_keepalive(&self, idle: Option<Duration>) -> io::Result<()> {
        if let Some(idle) = idle {
            checked_time("set_keepalive", idle)?;
        }
        self.configure(|config| config.keepalive_idle = idle);
        Ok(())
    }

    /// Returns the silence after which the peer is probed; `None`: it never is.
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as tokio does.
    pub fn keepalive(&self) -> io::Result<Option<Duration>> {
        Ok(self.with(|draft| draft.options.config.keepalive_idle))
    }

    /// Sets the time from one keepalive probe to the next.
    ///
    /// # Errors
    /// `InvalidInput` unless it is between 1 ms and 30 days.
    pub fn set_keepalive_interval(&self, interval: Duration) -> io::Result<()> {
        let interval = checked_time("set_keepalive_interval", interval)?;
        self.configure(|config| config.keepalive_interval = interval);
        Ok(())
    }

    /// Returns the time from one keepalive probe to the next.
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as tokio does.
    pub fn keepalive_interval(&self) -> io::Result<Duration> {
        Ok(self.with(|draft| draft.options.config.keepalive_interval))
    }

    /// Sets the number of unanswered keepalive probes that end a connection.
    ///
    /// # Errors
    /// `InvalidInput` unless it is from 1 to 255.
    pub fn set_keepalive_count(&self, count: u32) -> io::Result<()> {
        let probes = checked_probes(count)?;
        self.configure(|config| config.keepalive_probes = probes);
        Ok(())
    }

    /// Returns the number of unanswered keepalive probes that end a connection.
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as tokio does.
    pub fn keepalive_count(&self) -> io::Result<u32> {
        Ok(self.with(|draft| draft.options.config.keepalive_probes.into()))
    }

    /// Aborts a connection whose peer does not acknowledge within `timeout`, as [`TcpStream::set_user_timeout`]; `None`:
    /// never for that reason.
    ///
    /// # Errors
    /// `InvalidInput` unless it is between 1 ms and 30 days.
    pub fn set_user_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        if let Some(timeout) = timeout {
            checked_time("set_user_timeout", timeout)?;
        }
        self.configure(|config| config.user_timeout = timeout);
        Ok(())
    }

    /// Sets what dropping a stream does, as [`TcpStream::set_linger`].
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// let socket = netstack::net::TcpSocket::new_v4(&stack);
    /// socket.set_linger(None)?;
    /// assert_eq!(socket.linger()?, None);
    /// socket.set_zero_linger()?;
    /// assert_eq!(socket.linger()?, Some(std::time::Duration::ZERO));
    /// assert!(socket.set_linger(Some(std::time::Duration::from_secs(1))).is_err());
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` for a time that is not zero.
    pub fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        let resets = checked_linger(linger)?;
        self.with(|draft| draft.options.reset_on_close = resets);
        Ok(())
    }

    /// Returns what [`TcpSocket::set_linger`] set.
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as tokio does.
    pub fn linger(&self) -> io::Result<Option<Duration>> {
        let resets = self.with(|draft| draft.options.reset_on_close);
        Ok(resets.then_some(Duration::ZERO))
    }

    /// Sets the kind of source address that it prefers if it is not bound to one (RFC 5014, RFC 6724 section 5 rule 7).
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// use netstack::net::{SourcePreference, TcpSocket};
    ///
    /// let socket = TcpSocket::new_v6(&stack);
    /// socket.set_source_preference(SourcePreference::Public);
    /// assert_eq!(socket.source_preference(), SourcePreference::Public);
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    pub fn set_source_preference(&self, preference: SourcePreference) {
        self.with(|draft| draft.options.source_preference = preference);
    }

    /// Returns the kind of source address that it prefers.
    pub fn source_preference(&self) -> SourcePreference {
        self.with(|draft| draft.options.source_preference)
    }

    /// Returns `None`: nothing can go wrong before it connects or listens.
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as tokio does.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        Ok(None)
    }

    /// Makes dropping a stream a reset.
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as tokio does.
    pub fn set_zero_linger(&self) -> io::Result<()> {
        self.set_linger(Some(Duration::ZERO))
    }
}
