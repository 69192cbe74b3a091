//! The limits of a running stack.

use super::stack::Stack;
use crate::base::{ConfigError, Limits};
use crate::stack::limits;

/// Limits.
impl Stack {
    /// Returns the limits that can change, as they are.
    pub fn limits(&self) -> Limits {
        limits::current(&self.host)
    }

    /// Changes limits while the stack runs, all or none of them. A lower limit refuses what is new: no connection
    /// ends because of it.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// use netstack::base::Limits;
    /// use netstack::net::{TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind(&stack, "10.77.0.2:80").await?;
    /// let client = TcpStream::connect(&stack, "10.77.0.2:80").await?;
    /// let server = listener.accept().await?;
    /// let before = stack.limits();
    /// stack.set_limits(Limits { max_connections: 1, ..before })?;
    /// assert_eq!(stack.connections(), 2, "both ends stay");
    /// assert!(TcpStream::connect(&stack, "10.77.0.2:80").await.is_err());
    /// let error = stack.set_limits(Limits { backlog: 0, ..before }).unwrap_err();
    /// assert_eq!(error.key, "tcp.backlog");
    /// # drop((client, server));
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// A limit that is out of bounds, by name; less memory than is in use, or than the workers need.
    pub fn set_limits(&self, limits: Limits) -> Result<(), ConfigError> {
        limits::change(&self.host, limits)
    }
}
