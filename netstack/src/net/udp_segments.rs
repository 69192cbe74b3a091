//! Datagrams of one length that are sent or received in one call, as `UDP_SEGMENT` and `UDP_GRO` of Linux do it.

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use packet::Payload;

use super::tcp_options::invalid;
use super::udp_ready::or_would_block;
use super::udp_socket::UdpSocket;
use crate::stack::udp::app::{self, Ends};
use crate::stack::waiters::{Wait, wait};
use crate::udp::{SEGMENTS_MAX, Segments};

/// Returns the ends of the datagrams of `segment` bytes each that `len` bytes become.
fn segments(
    len: usize,
    segment: u16,
    source: Option<SocketAddr>,
    remote: SocketAddr,
) -> io::Result<Ends> {
    if segment == 0 && len > 0 {
        return Err(invalid(
            "send_segments: datagrams of 0 bytes; give the length of each".to_owned(),
        ));
    }
    let count = len.div_ceil(segment.max(1).into());
    if count > SEGMENTS_MAX {
        return Err(invalid(format!(
            "send_segments: {len} bytes in segments of {segment} are {count} datagrams; send at most {SEGMENTS_MAX} in one call"
        )));
    }
    Ok(Ends {
        source,
        to: Some(remote),
        segment: if count > 1 { segment } else { 0 },
        ..Ends::default()
    })
}

/// Datagrams of one length in one call.
impl UdpSocket {
    /// Sends `data` as datagrams of `segment` bytes each, of which the last may have fewer, to `remote`; at most 128.
    /// One call, and one packet where the device cuts UDP itself (`UDP_SEGMENT` of Linux). Cancel-safe: a cancelled
    /// call has sent nothing.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// # use netstack::net::UdpSocket;
    /// let client = UdpSocket::bind(&stack, "10.77.0.2:1").await?;
    /// let server = UdpSocket::bind(&stack, "10.77.0.2:2").await?;
    /// let to = server.local_addr()?;
    /// client.send_segments_to(b"onetwo3", 3, to).await?;
    /// client.try_send_segments(b"fourfive", 4, None, to)?;
    /// for len in [3, 3, 1, 4, 4] {
    ///     assert_eq!(server.recv(&mut [0; 16]).await?, len);
    /// }
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` if `segment` is 0, `data` longer than 65,507 bytes, or the datagrams more than 128; otherwise as
    /// [`UdpSocket::send_to`].
    pub async fn send_segments_to(
        &self,
        data: &[u8],
        segment: u16,
        remote: SocketAddr,
    ) -> io::Result<()> {
        self.send_copy(data, segments(data.len(), segment, None, remote)?)
            .await
    }

    /// [`UdpSocket::send_segments_to`] if there is room for it now. `source` is the source as in
    /// [`UdpSocket::send_payload_from`], if it is not the socket's own address.
    ///
    /// # Errors
    /// `WouldBlock` if there is no room; otherwise as [`UdpSocket::send_segments_to`].
    pub fn try_send_segments(
        &self,
        data: &[u8],
        segment: u16,
        source: Option<SocketAddr>,
        remote: SocketAddr,
    ) -> io::Result<()> {
        self.try_send_copy(data, segments(data.len(), segment, source, remote)?)
            .map(drop)
    }

    /// Sends `payload` as [`UdpSocket::send_segments_to`] does, without a copy. `source` is the source as in
    /// [`UdpSocket::send_payload_from`], if it is not the socket's own address.
    ///
    /// # Errors
    /// As [`UdpSocket::send_segments_to`].
    pub async fn send_payload_segments(
        &self,
        payload: Payload,
        segment: u16,
        source: Option<SocketAddr>,
        remote: SocketAddr,
    ) -> io::Result<()> {
        let ends = segments(payload.len(), segment, source, remote)?;
        let payload = app::own_payload(&self.host, payload)?;
        self.send_whole(payload, ends).await
    }

    /// Receives one datagram, and with it those behind it that the device handed over in one piece: a burst of one sender over
    /// a device that merges UDP (`UDP_GRO` of Linux). Without a copy. As many tasks as like may wait. Cancel-safe: a
    /// cancelled call has taken nothing.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// # use netstack::net::UdpSocket;
    /// let client = UdpSocket::bind(&stack, "10.77.0.2:1").await?;
    /// let server = UdpSocket::bind(&stack, "10.77.0.2:2").await?;
    /// client.send_segments_to(b"onetwo3", 3, server.local_addr()?).await?;
    /// // All of them at once, or one after the other: `segment` tells where each ends.
    /// let mut received = Vec::new();
    /// while received.len() < 3 {
    ///     let burst = server.recv_segments().await?;
    ///     let each = usize::from(burst.segment.max(1));
    ///     received.extend(burst.payload.chunks(each).map(<[u8]>::to_vec));
    /// }
    /// assert_eq!(received, [&b"one"[..], b"two", b"3"]);
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`UdpSocket::recv_datagram`].
    pub async fn recv_segments(&self) -> io::Result<Segments> {
        wait(
            |wait| app::poll_recv_segments(&self.host, &self.socket, wait),
            |ticket| app::forget(&self.socket, ticket),
        )
        .await
    }

    /// Receives what [`UdpSocket::recv_segments`] does, if it is there.
    ///
    /// # Errors
    /// `WouldBlock` if no datagram is there; otherwise as [`UdpSocket::recv_segments`].
    pub fn try_recv_segments(&self) -> io::Result<Segments> {
        or_would_block(app::poll_recv_segments(
            &self.host,
            &self.socket,
            Wait::Never,
        ))
    }

    /// Polls for datagrams, as [`UdpSocket::recv_segments`]. Of the tasks that poll, the latest is woken.
    ///
    /// # Errors
    /// As there.
    pub fn poll_recv_segments(&self, cx: &mut Context<'_>) -> Poll<io::Result<Segments>> {
        app::poll_recv_segments(&self.host, &self.socket, cx.into())
    }
}
