//! The locked stack: the pure protocol core behind ordered locks, shared by workers and sockets.
//!
//! The only part of the library that locks. It reads no clock and does no I/O: a worker of the engine
//! brings packets and the time, and takes away packets and deadlines.
//!
//! | module | |
//! |---|---|
//! | `levels` | the lock order |
//! | `shared` | every lock, in one structure |
//! | `rx`, `rx_tcp`, `rx_udp`, `rx_icmp` | packets in |
//! | `tx` | packets out |
//! | `app_tcp`, `udp`, `control` | what applications call |
//! | `conn`, `listener`, `flows` | what is behind the locks |
//! | `mailbox`, `local`, `deferred` | how work reaches a worker, and what waits until nothing is locked |

pub mod deferred;
pub mod host;
mod icmp;
mod ip;
pub mod levels;
pub mod local;
pub mod mailbox;
pub mod tcp;
pub mod turn;
pub mod udp;

use std::net::IpAddr;

use crate::base::ConfigError;

/// Why a stack could not be set up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// The configuration contradicts itself.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// An address that the stack cannot have.
    #[error("address {address}/{len}: {why}")]
    Address {
        /// The address.
        address: IpAddr,
        /// Its prefix length.
        len: u8,
        /// What is wrong with it.
        why: String,
    },
    /// No address at all.
    #[error("the stack has no address; give it at least one")]
    NoAddress,
}
