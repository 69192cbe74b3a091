//! Errors of setting a stack up.

use std::net::IpAddr;

use crate::base::ConfigError;

/// The reason why a stack could not be set up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// The configuration contradicts itself.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The stack cannot have this address.
    #[error("address {address}/{len}: {why}")]
    Address {
        /// The address.
        address: IpAddr,
        /// Its prefix length.
        len: u8,
        /// The reason.
        why: String,
    },
    /// No address was given.
    #[error("the stack has no address; give it at least one")]
    NoAddress,
}
