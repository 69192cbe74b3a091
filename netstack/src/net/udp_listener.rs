//! UDP by flow: one socket for each pair of endpoints.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;

use super::addrs::ToSocketAddrs;
use super::stack::Stack;
use super::udp_socket::UdpSocket;
use crate::demux::Destinations;
use crate::stack::udp::app;

/// Accepts flows of UDP: the first datagram of a pair of endpoints makes a socket that is connected to its
/// sender, bound to the destination that it chose, and receives everything else of that flow.
///
/// A flow has the queue and the limits of any socket, so one that is not read loses its own datagrams and no
/// others. It ends when its socket is dropped; what comes later begins a new flow. UDP has no end of its own, so a
/// program gives flows up that were idle for too long:
///
/// ```no_run
/// # async fn example(stack: &netstack::net::Stack) -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use netstack::net::{Destinations, UdpListener};
///
/// let everything = Destinations {
///     prefixes: vec!["0.0.0.0/0".parse()?],
///     ports: 1..=u16::MAX,
/// };
/// let listener = UdpListener::bind_any(stack, everything)?;
/// loop {
///     let (flow, client) = listener.accept().await?;
///     println!("{client} asks {}", flow.local_addr()?);
///     tokio::spawn(async move {
///         let idle = Duration::from_secs(60);
///         while let Ok(Ok((payload, _))) = tokio::time::timeout(idle, flow.recv_payload_from()).await {
///             let _ = flow.send_payload_to(payload, client).await;
///         }
///     });
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct UdpListener(UdpSocket);

/// Datagrams that begin no flow after which [`UdpListener::accept`] lets other tasks run.
const REFUSED_PER_TURN: usize = 64;

/// Returns a future that is ready when it is polled again, for which it wakes its task at once.
fn give_way() -> impl Future<Output = ()> {
    let mut polled = false;
    std::future::poll_fn(move |cx| {
        if std::mem::replace(&mut polled, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

impl UdpListener {
    /// Accepts flows to `address`: one of the stack's, or the unspecified one for all of that family; with
    /// port 0 the stack chooses the port.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// use netstack::net::{UdpListener, UdpSocket};
    ///
    /// let listener = UdpListener::bind(&stack, "10.77.0.2:7")?;
    /// let client = UdpSocket::bind(&stack, "10.77.0.2:0").await?;
    /// client.send_to(b"hello", listener.local_addr()?).await?;
    /// let (flow, peer) = listener.accept().await?;
    /// assert_eq!(peer, client.local_addr()?);
    /// assert_eq!(flow.recv(&mut [0; 16]).await?, 5);
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// `AddrInUse` or `AddrNotAvailable`.
    pub fn bind(stack: &Stack, address: impl ToSocketAddrs) -> io::Result<Self> {
        UdpSocket::bind_now(stack, address).map(Self)
    }

    /// Accepts flows to the destinations that no other socket takes: see [`UdpSocket::bind_any`].
    ///
    /// # Errors
    /// As [`UdpSocket::bind_any`].
    pub fn bind_any(stack: &Stack, destinations: Destinations) -> io::Result<Self> {
        UdpSocket::bind_any(stack, destinations).map(Self)
    }

    /// Accepts the next flow; returns its socket, whose queue has the first datagram, and its peer. As many
    /// tasks as like may wait. Cancel-safe: a cancelled call has taken no datagram.
    ///
    /// # Errors
    /// The stack ended: the error says why.
    pub async fn accept(&self) -> io::Result<(UdpSocket, SocketAddr)> {
        let host = self.0.host();
        loop {
            for _ in 0..REFUSED_PER_TURN {
                let first = self.0.recv_datagram().await?;
                let peer = first.from;
                if let Some(socket) = app::flow(host, first)? {
                    return Ok((UdpSocket::of(Arc::clone(host), socket), peer));
                }
            }
            give_way().await;
        }
    }

    /// Returns the address that it is bound to; unspecified, with port 0, for many destinations.
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as tokio does.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}
