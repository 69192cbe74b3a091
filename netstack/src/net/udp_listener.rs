//! UDP by flow: one socket for each pair of endpoints.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::Duration;

use super::addrs::ToSocketAddrs;
use super::stack::Stack;
use super::time::Time;
use super::udp_socket::UdpSocket;
use crate::demux::Destinations;
use crate::stack::mailbox::Message;
use crate::stack::udp::app;

/// Accepts flows of UDP: the first datagram of a pair of endpoints makes a socket that is connected to its
/// sender, bound to the destination that it chose, and receives everything else of that flow.
///
/// A flow has the queue and the limits of any socket, so one that is not read loses its own datagrams and no
/// others. It ends when its socket is dropped; what comes later begins a new flow. UDP has no end of its own, so flows
/// end when they are idle for too long, if [`UdpListener::set_idle_timeout`] says so:
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
/// listener.set_idle_timeout(Some(Duration::from_secs(60)));
/// loop {
///     let (flow, client) = listener.accept().await?;
///     println!("{client} asks {}", flow.local_addr()?);
///     tokio::spawn(async move {
///         // Until the flow is idle for a minute: then `recv_payload_from` fails with `TimedOut`.
///         while let Ok((payload, _)) = flow.recv_payload_from().await {
///             let _ = flow.send_payload_to(payload, client).await;
///         }
///     });
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct UdpListener {
    socket: UdpSocket,
    idle: Arc<Idle>,
}

/// The time after which idle flows of a listener end.
#[derive(Debug, Default)]
struct Idle {
    /// In nanoseconds; 0: they do not end.
    nanos: AtomicU64,
    /// A task looks for idle flows.
    is_watched: AtomicBool,
}

impl Idle {
    fn timeout(&self) -> Option<Duration> {
        let nanos = self.nanos.load(Ordering::Relaxed);
        (nanos > 0).then(|| Duration::from_nanos(nanos))
    }
}

/// Shortest time between two looks for idle flows. Each look visits all sockets, under the lock of their table.
const SHORTEST_PERIOD: Duration = Duration::from_millis(100);

/// Returns the time between two looks for flows that are idle for `timeout`.
fn period_of(timeout: Duration) -> Duration {
    (timeout / 4).max(SHORTEST_PERIOD)
}

/// Looks for idle flows four times in each timeout, but at most ten times a second, until the listener and its flows are gone, or the stack ends.
async fn end_idle_flows(time: Time, listener: Weak<Idle>) {
    let mut period = Duration::from_secs(1);
    loop {
        let idle = listener.upgrade();
        if let Some(timeout) = idle.as_ref().and_then(|idle| idle.timeout()) {
            period = period_of(timeout);
        }
        let is_gone = idle.is_none();
        drop(idle);
        if time.sleep(period).await.is_err() {
            return;
        }
        if app::end_idle(time.host()) == 0 && is_gone {
            return;
        }
    }
}

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
        UdpSocket::bind_now(stack, address).map(Self::of)
    }

    /// Accepts flows to the destinations that no other socket takes: see [`UdpSocket::bind_any`].
    ///
    /// # Errors
    /// As [`UdpSocket::bind_any`].
    pub fn bind_any(stack: &Stack, destinations: Destinations) -> io::Result<Self> {
        UdpSocket::bind_any(stack, destinations).map(Self::of)
    }

    fn of(socket: UdpSocket) -> Self {
        Self {
            socket,
            idle: Arc::default(),
        }
    }

    /// Ends the flows that are accepted from now on when nothing came and nothing was sent for `idle`, or up to a quarter
    /// or 100 ms longer, and nothing waits to be received: calls of the flow's socket fail with `TimedOut` then, and what comes later
    /// begins a new flow. `None`, as at first: they end when their sockets are dropped.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// use std::time::Duration;
    /// use netstack::net::{UdpListener, UdpSocket};
    ///
    /// let listener = UdpListener::bind(&stack, "10.77.0.2:7")?;
    /// listener.set_idle_timeout(Some(Duration::from_millis(20)));
    /// let client = UdpSocket::bind(&stack, "10.77.0.2:0").await?;
    /// client.send_to(b"hello", listener.local_addr()?).await?;
    /// let (flow, _) = listener.accept().await?;
    /// assert_eq!(flow.recv(&mut [0; 16]).await?, 5);
    /// let idle = flow.recv(&mut [0; 16]).await.unwrap_err();
    /// assert_eq!(idle.kind(), std::io::ErrorKind::TimedOut);
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    pub fn set_idle_timeout(&self, idle: Option<Duration>) {
        let nanos = idle.map_or(0, |idle| {
            u64::try_from(idle.as_nanos()).unwrap_or(u64::MAX).max(1)
        });
        self.idle.nanos.store(nanos, Ordering::Relaxed);
        if nanos > 0 && !self.idle.is_watched.swap(true, Ordering::AcqRel) {
            let host = self.socket.host();
            let watch = end_idle_flows(Time::of(host), Arc::downgrade(&self.idle));
            let mailbox = &host.workers[0].mailbox;
            mailbox.send(Message::Spawn(Box::pin(watch)));
        }
    }

    /// Accepts the next flow; returns its socket, whose queue has the first datagram, and its peer. As many
    /// tasks as like may wait. Cancel-safe: a cancelled call has taken no datagram.
    ///
    /// # Errors
    /// The stack ended: the error says why.
    pub async fn accept(&self) -> io::Result<(UdpSocket, SocketAddr)> {
        let host = self.socket.host();
        loop {
            for _ in 0..REFUSED_PER_TURN {
                let first = self.socket.recv_datagram().await?;
                let peer = first.from;
                if let Some(socket) = app::flow(host, first, self.idle.timeout())? {
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
        self.socket.local_addr()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_timeout_does_not_look_for_idle_flows_all_the_time() {
        let period = |millis| period_of(Duration::from_millis(millis)).as_millis();
        assert_eq!(period(60_000), 15_000);
        assert_eq!([1, 8, 400].map(period), [100; 3]);
        assert_eq!(period_of(Duration::ZERO), SHORTEST_PERIOD);
    }
}
