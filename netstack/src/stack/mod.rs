//! The locked stack: the pure protocol core behind ordered locks, shared by workers and sockets.
//!
//! The only part of the library that locks. It reads no clock and does no I/O: a worker of the engine
//! brings packets and the time, and takes away packets and deadlines.
//!
//! ```text
//!             ip/inbound                 a packet arrives
//!            /    |     \
//!  icmp/inbound   |   udp/inbound        it finds its flow
//!            tcp/inbound
//!                 |
//!            tcp::Tcp (pure)             the flow decides
//!                 |
//!            tcp/outbound                at the end of the turn: segments
//! ```
//!
//! | file | |
//! |---|---|
//! | `levels` | the lock order |
//! | `host` | one stack: a struct of parts, each with its lock inside |
//! | `budget` | what is done while memory is short |
//! | `turn` | the context of one worker's turn |
//! | [`ip`], `icmp`, [`udp`], [`tcp`] | a folder for each protocol: packets in, packets out, the application's calls, the parts |
//! | `multicast` | groups: their members, IGMP and MLD |
//! | [`ending`], `shutdown` | the end of a stack, and the ways to it |
//! | [`addresses`] | changes of the stack's addresses while it runs |
//! | [`routes`] | changes of its routes |
//! | [`reached`], `freeze` | a stack at rest, and the way there |
//! | [`checkpoint`] | a stack as plain data |
//! | `limits` | changes of its limits |
//! | `ports` | ephemeral ports of both transports |
//! | [`events`] | events of connections, on their way to a subscriber |
//! | `mailbox`, `lazy_queue`, `doorbell`, `workers` | the way of work from other threads to a worker |
//! | `worklist`, `task` | the work of the worker on this thread |
//! | `contain` | panics of the program's code: caught and counted |
//! | `waiters` | the tasks that wait for a socket |
//! | `sleepers`, `sleep` | the tasks that sleep |
//! | [`sockets`] | the list of all sockets |
//! | [`locks`] | how much threads wait for locks |
//! | `foreign` | values of the program: dropped, cloned and called with nothing locked |
//!
//! No file imports one that imports it: a test reads the sources and fails on a circle.

pub mod addresses;
pub mod budget;
#[cfg(any(test, feature = "invariants"))]
pub(crate) mod check;
pub mod checkpoint;
pub(crate) mod contain;
mod doorbell;
pub mod ending;
mod error;
pub mod events;
pub(crate) mod foreign;
pub(crate) mod freeze;
mod host;
mod icmp;
pub mod ip;
mod lazy_queue;
pub mod levels;
pub(crate) mod limits;
pub mod locks;
pub mod mailbox;
#[cfg(all(test, feature = "loom"))]
mod models;
pub(crate) mod multicast;
mod ports;
pub mod reached;
pub mod routes;
pub(crate) mod shutdown;
pub(crate) mod sleep;
mod sleepers;
pub mod sockets;
pub mod task;
pub mod tcp;
pub mod turn;
pub mod udp;
pub(crate) mod waiters;
pub mod workers;
pub mod worklist;

pub use error::SetupError;
pub use host::{Host, TimeSource};
