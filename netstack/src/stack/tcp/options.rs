//! The options of one TCP socket, as they are before it connects or listens.

use std::sync::Arc;

use super::authenticator::Keys;
use super::filter::Filter;
use crate::base::TcpConfig;
use crate::ip::selection::source::SourcePreference;

/// Options of a socket that is to connect or to listen. A listener's connections take them over.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// TCP's limits and policies: the stack's, or a copy that was changed for this socket.
    pub(crate) config: Arc<TcpConfig>,
    /// Time to live / hop limit.
    pub(crate) ttl: u8,
    /// DSCP in the upper six bits.
    pub(crate) traffic_class: u8,
    /// The kind of source address that a connection is opened from.
    pub(crate) source_preference: SourcePreference,
    /// Closing is a reset.
    pub(crate) reset_on_close: bool,
    /// A listener lets the program decide about each SYN.
    pub(crate) defers: bool,
    /// A listener takes the SYNs that this lets through.
    pub(crate) filter: Filter,
    /// The keys with which connections are authenticated.
    pub(crate) keys: Option<Keys>,
}

impl Options {
    /// Creates the options of a socket for which nothing was set.
    pub(crate) fn new(config: &Arc<TcpConfig>, ttl: u8) -> Self {
        Self {
            config: Arc::clone(config),
            ttl,
            traffic_class: 0,
            source_preference: SourcePreference::Default,
            reset_on_close: false,
            defers: false,
            filter: Filter::default(),
            keys: None,
        }
    }

    /// Creates the options of a listener with that backlog, for tests.
    #[cfg(test)]
    pub(crate) fn with_backlog(backlog: usize) -> Self {
        let config = TcpConfig {
            backlog,
            ..TcpConfig::default()
        };
        Self::new(&Arc::new(config), 64)
    }

    /// Changes TCP's limits and policies for this socket alone.
    pub(crate) fn configure(&mut self, change: impl FnOnce(&mut TcpConfig)) {
        change(Arc::make_mut(&mut self.config));
    }
}
