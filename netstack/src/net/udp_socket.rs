//! A UDP socket.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use packet::Payload;
use tokio::io::ReadBuf;

use super::stack::Stack;
use crate::stack::host::Shared;
use crate::stack::udp::app::UdpCell;

/// Sends and receives datagrams, as `tokio::net::UdpSocket` does.
///
/// A datagram longer than the path's MTU is sent in fragments. One that does not fit the caller's
/// buffer is cut, as with the kernel. An ICMP error about an earlier datagram is reported once.
pub struct UdpSocket {
    shared: Arc<Shared>,
    cell: Arc<UdpCell>,
}

impl fmt::Debug for UdpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UdpSocket({})", self.cell.local())
    }
}

impl UdpSocket {
    /// Binds to `address`: one of the stack's, or unspecified for all of that family; port 0 picks
    /// one. Fails with `AddrInUse` or `AddrNotAvailable`.
    pub async fn bind(stack: &Stack, address: SocketAddr) -> io::Result<Self> {
        Self::bind_now(stack, address)
    }

    /// [`UdpSocket::bind`] without the `async`: nothing is waited for.
    pub fn bind_now(stack: &Stack, address: SocketAddr) -> io::Result<Self> {
        let cell = stack.shared.udp_bind(address, 1)?.pop();
        let cell = cell.ok_or_else(|| io::Error::other("bind: no socket was made"))?;
        Ok(Self {
            shared: Arc::clone(&stack.shared),
            cell,
        })
    }

    /// Binds one socket per worker to the same address: what arrives at worker `i` goes to socket
    /// `i`. A task that [`Stack::spawn_on`] runs there answers without a hand-off between threads.
    pub fn bind_per_worker(stack: &Stack, address: SocketAddr) -> io::Result<Vec<Self>> {
        let cells = stack.shared.udp_bind(address, stack.workers())?;
        let socket = |cell| Self {
            shared: Arc::clone(&stack.shared),
            cell,
        };
        Ok(cells.into_iter().map(socket).collect())
    }

    /// From now on only datagrams of `remote` are received, and [`UdpSocket::send`] goes there.
    pub async fn connect(&self, remote: SocketAddr) -> io::Result<()> {
        self.shared.udp_connect(&self.cell, remote)
    }

    /// The address that it is bound to.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.cell.local())
    }

    /// The peer given to [`UdpSocket::connect`]; `NotConnected` without one.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.shared
            .udp_peer(&self.cell)
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Sends one datagram to `remote`; returns its length.
    pub async fn send_to(&self, data: &[u8], remote: SocketAddr) -> io::Result<usize> {
        let mut payload = self.shared.udp_payload(data)?;
        std::future::poll_fn(|cx| {
            self.shared
                .udp_poll_send(&self.cell, cx, &mut payload, Some(remote))
        })
        .await?;
        Ok(data.len())
    }

    /// Sends one datagram to the connected peer; returns its length.
    pub async fn send(&self, data: &[u8]) -> io::Result<usize> {
        let mut payload = self.shared.udp_payload(data)?;
        std::future::poll_fn(|cx| {
            self.shared
                .udp_poll_send(&self.cell, cx, &mut payload, None)
        })
        .await?;
        Ok(data.len())
    }

    /// Sends `payload` as one datagram without a copy.
    pub async fn send_payload_to(&self, payload: Payload, remote: SocketAddr) -> io::Result<()> {
        let mut payload = payload;
        std::future::poll_fn(|cx| {
            self.shared
                .udp_poll_send(&self.cell, cx, &mut payload, Some(remote))
        })
        .await
    }

    /// Receives one datagram into `out`; returns its length there and its sender.
    pub async fn recv_from(&self, out: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let (payload, from) = self.recv_payload_from().await?;
        let count = payload.len().min(out.len());
        out[..count].copy_from_slice(&payload[..count]);
        Ok((count, from))
    }

    /// Receives one datagram into `out`; returns its length there.
    pub async fn recv(&self, out: &mut [u8]) -> io::Result<usize> {
        self.recv_from(out).await.map(|(count, _)| count)
    }

    /// Receives one datagram without a copy, and its sender.
    pub async fn recv_payload_from(&self) -> io::Result<(Payload, SocketAddr)> {
        std::future::poll_fn(|cx| self.poll_recv_payload_from(cx)).await
    }

    /// [`UdpSocket::recv_payload_from`] for hand-written futures.
    pub fn poll_recv_payload_from(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(Payload, SocketAddr)>> {
        self.shared.udp_poll_recv(&self.cell, cx)
    }

    /// Receives one datagram into `out`, for hand-written futures.
    pub fn poll_recv_from(
        &self,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<SocketAddr>> {
        self.poll_recv_payload_from(cx).map_ok(|(payload, from)| {
            let count = payload.len().min(out.remaining());
            out.put_slice(&payload[..count]);
            from
        })
    }

    /// Receives a datagram that is there; `WouldBlock` if none is.
    pub fn try_recv_from(&self, out: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        match self.poll_recv_payload_from(&mut cx) {
            Poll::Ready(result) => result.map(|(payload, from)| {
                let count = payload.len().min(out.len());
                out[..count].copy_from_slice(&payload[..count]);
                (count, from)
            }),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Sends a datagram if there is room for it now; `WouldBlock` if not.
    pub fn try_send_to(&self, data: &[u8], remote: SocketAddr) -> io::Result<usize> {
        let mut payload = self.shared.udp_payload(data)?;
        let mut cx = Context::from_waker(std::task::Waker::noop());
        match self
            .shared
            .udp_poll_send(&self.cell, &mut cx, &mut payload, Some(remote))
        {
            Poll::Ready(result) => result.map(|()| data.len()),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Sets the time to live (IPv6: hop limit) of what this socket sends.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        let ttl = u8::try_from(ttl)
            .ok()
            .filter(|&ttl| ttl > 0)
            .ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "set_ttl: give a value from 1 to 255",
                )
            })?;
        self.cell.set_ttl(ttl);
        Ok(())
    }

    /// The time to live (IPv6: hop limit) of what this socket sends.
    pub fn ttl(&self) -> io::Result<u32> {
        Ok(u32::from(self.cell.ttl()))
    }
}

impl Drop for UdpSocket {
    fn drop(&mut self) {
        self.shared.udp_unbind(&self.cell);
    }
}
