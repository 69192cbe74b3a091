//! The congestion control algorithm of a socket: by default the stack's, from its configuration.

use std::io;

use super::{TcpListener, TcpStream};
use crate::tcp::Algorithm;

impl TcpStream {
    /// Changes the congestion control algorithm, as `TCP_CONGESTION` does in Linux. The congestion window stays.
    ///
    /// ```no_run
    /// # fn example(stream: &netstack::net::TcpStream) -> Result<(), Box<dyn std::error::Error>> {
    /// stream.set_congestion("bbr".parse()?);
    /// assert_eq!(stream.congestion().map(|algorithm| algorithm.name()), Some("bbr"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_congestion(&self, algorithm: Algorithm) {
        self.handle()
            .with_state(|state| state.tcp.set_congestion(algorithm));
        self.handle().drive();
    }

    /// Returns the congestion control algorithm; `None` if the connection ended before it was open.
    pub fn congestion(&self) -> Option<Algorithm> {
        self.handle().with_state(|state| state.tcp.congestion())
    }
}

impl TcpListener {
    /// Chooses the congestion control algorithm of the connections that are established from now on.
    ///
    /// # Errors
    /// `AlreadyExists` if this listener has another one: it is chosen once.
    pub fn set_congestion(&self, algorithm: Algorithm) -> io::Result<()> {
        let chosen = *self.listener().congestion.get_or_init(|| algorithm);
        if chosen == algorithm {
            return Ok(());
        }
        Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            format!("set_congestion: this listener has {chosen} already; bind another listener"),
        ))
    }
}
