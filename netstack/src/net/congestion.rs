//! The congestion control algorithm of a connection: by default its listener's, or the stack's.

use super::TcpStream;
use crate::tcp::Algorithm;

impl TcpStream {
    /// Changes the congestion control algorithm, as `TCP_CONGESTION` does in Linux. The congestion window stays.
    ///
    /// ```
    /// # netstack::net::example_pair(async |client, _server| {
    /// client.set_congestion("bbr".parse()?);
    /// assert_eq!(client.congestion().map(|algorithm| algorithm.name()), Some("bbr"));
    /// # Ok(())
    /// # }).unwrap();
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
