//! Sockets of the machine, with which flows go out.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream, UdpSocket, lookup_host};
use tokio::time::timeout;

use super::upstream::{Refusal, Target};

/// Most addresses of a name that are tried.
const ADDRESSES_MAX: usize = 8;

/// Makes sockets, all with the same options.
#[derive(Clone, Debug, Default)]
pub(crate) struct Dialer {
    /// Firewall mark, by which routes can tell these sockets from others.
    pub(crate) mark: Option<u32>,
    /// Interface that packets leave by.
    pub(crate) interface: Option<String>,
    /// Time that a connection may take to come about.
    pub(crate) timeout: Duration,
}

impl Dialer {
    /// Connects to a destination.
    ///
    /// # Errors
    /// Returns what the sender of the flow is told.
    pub(crate) async fn tcp(&self, target: &Target) -> Result<TcpStream, Refusal> {
        let connect = async {
            let addresses = match target {
                Target::Address(address) => vec![*address],
                Target::Name(name, port) => self.look_up_all(name, *port).await?,
            };
            let mut refusal = Refusal::HOST;
            for address in addresses {
                match self.connect(address).await {
                    Ok(stream) => return Ok(stream),
                    Err(error) => refusal = Refusal::from(&error),
                }
            }
            Err(refusal)
        };
        match timeout(self.timeout, connect).await {
            Ok(connected) => connected,
            Err(_) => Err(Refusal::HOST),
        }
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        self.prepare(SockRef::from(&socket))?;
        let stream = socket.connect(address).await?;
        // What the client sends at once is to go on at once. It fails if the connection is at its end already.
        let _ = stream.set_nodelay(true);
        Ok(stream)
    }

    /// Makes a datagram socket for one destination.
    ///
    /// # Errors
    /// As the system.
    pub(crate) async fn udp(&self, to: SocketAddr) -> io::Result<UdpSocket> {
        let any: IpAddr = match to {
            SocketAddr::V4(_) => [0; 4].into(),
            SocketAddr::V6(_) => [0; 16].into(),
        };
        let socket = UdpSocket::bind((any, 0)).await?;
        self.prepare(SockRef::from(&socket))?;
        socket.connect(to).await?;
        Ok(socket)
    }

    /// Looks up one address of a name.
    ///
    /// # Errors
    /// It has none.
    pub(crate) async fn look_up(&self, name: &str, port: u16) -> Result<SocketAddr, Refusal> {
        let addresses = self.look_up_all(name, port).await?;
        addresses.first().copied().ok_or(Refusal::HOST)
    }

    async fn look_up_all(&self, name: &str, port: u16) -> Result<Vec<SocketAddr>, Refusal> {
        match timeout(self.timeout, lookup_host((name, port))).await {
            Ok(Ok(addresses)) => Ok(addresses.take(ADDRESSES_MAX).collect()),
            _ => Err(Refusal::HOST),
        }
    }

    pub(crate) fn prepare(&self, socket: SockRef<'_>) -> io::Result<()> {
        if let Some(mark) = self.mark {
            socket.set_mark(mark)?;
        }
        if let Some(interface) = &self.interface {
            socket.bind_device(Some(interface.as_bytes()))?;
        }
        Ok(())
    }
}
