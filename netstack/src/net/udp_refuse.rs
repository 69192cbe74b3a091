//! Answering a datagram with an ICMP error.

use std::io;

use super::udp_socket::UdpSocket;
use crate::icmp::error::Unreachable;
use crate::stack::udp::app::Ends;
use crate::udp::Datagram;

impl UdpSocket {
    /// Answers a datagram that this socket received with an ICMP error: for its sender the port is closed, or cannot be
    /// reached. As every ICMP error, it is limited in its rate, and is not sent about datagrams to groups.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// use netstack::net::{UdpSocket, Unreachable};
    ///
    /// let server = UdpSocket::bind(&stack, "10.77.0.2:53").await?;
    /// let client = UdpSocket::bind(&stack, "10.77.0.2:0").await?;
    /// client.connect("10.77.0.2:53").await?;
    /// client.send(b"?").await?;
    /// let question = server.recv_datagram().await?;
    /// server.refuse(question, Unreachable::Port).await?;
    /// let error = client.recv(&mut [0; 8]).await.unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` if this socket receives nothing at the datagram's destination, or the stack ended.
    pub async fn refuse(&self, datagram: Datagram, reason: Unreachable) -> io::Result<()> {
        let ends = Ends {
            source: Some(datagram.to),
            to: Some(datagram.from),
            refused: Some(reason),
            ..Ends::default()
        };
        self.send_whole(datagram.payload, ends).await
    }
}
