//! TCP in the locked stack.
//!
//! | file | |
//! |---|---|
//! | `inbound` | a received segment, to its connection or listener (RFC 9293 section 3.10.7) |
//! | `syn_queue`, `cookie` | handshakes that are half open, and those that nothing is kept of |
//! | `fast_open`, `greet` | data on a SYN, with a cookie (RFC 7413) |
//! | `hand_out` | a new connection, to the accept queue or a service |
//! | `deferred`, `decide`, `filter` | SYNs that the program decides about |
//! | `time_wait` | connections in TIME-WAIT |
//! | `outcome` | what a segment did, as far as it concerns the stack |
//! | `outbound` | a connection's state, to segments |
//! | `timers`, `alarms` | timers that are due (RFC 9293 section 3.10.8) |
//! | `displace`, `crowd` | who makes room for whom in a full table, backlog or queue of handshakes |
//! | `removal` | the end of a connection: out of the table |
//! | `open`, `listen`, `stream` | the application's calls (RFC 9293 sections 3.10.1 to 3.10.6) |
//! | `options` | what a socket sets before it connects or listens |
//! | `control` | all connections at once: close, abort, information |
//! | `list` | what is in the table, for people and tools |
//! | `entry` | how those calls enter a connection |
//! | `connection` | one connection: its state and its lock |
//! | `arrived` | how a segment arrived |
//! | `authentication`, `authenticator` | connections whose segments are signed (TCP-AO, RFC 5925) |
//! | `accept`, `listener` | backlog places, the accept queue, one listening port |
//! | `table`, `shard`, `listeners` | the tables of connections and of listeners |

pub(in crate::stack) mod accept;
pub(crate) mod alarms;
mod arrived;
pub(in crate::stack) mod authentication;
pub(crate) mod authenticator;
pub mod connection;
pub(crate) mod control;
pub(in crate::stack) mod cookie;
pub(in crate::stack) mod crowd;
pub(crate) mod decide;
pub(crate) mod deferred;
pub(in crate::stack) mod displace;
pub(in crate::stack) mod entry;
pub(crate) mod fast_open;
pub(crate) mod filter;
mod greet;
mod hand_out;
pub(in crate::stack) mod inbound;
pub(crate) mod list;
pub(crate) mod listen;
pub(in crate::stack) mod listener;
pub(in crate::stack) mod listeners;
pub(crate) mod open;
pub(crate) mod options;
pub mod outbound;
mod outcome;
pub(in crate::stack) mod removal;
pub(in crate::stack) mod shard;
pub(crate) mod stream;
pub(in crate::stack) mod syn_queue;
pub(in crate::stack) mod table;
pub(in crate::stack) mod time_wait;
pub mod timers;
