//! UDP in the locked stack.
//!
//! | file | |
//! |---|---|
//! | `inbound`, `deliver` | a received datagram, to its socket and into its queue |
//! | `copies` | a datagram to several hosts, to each socket that may receive it |
//! | `outbound` | a datagram to send, to packets |
//! | `app` | what an application does with a socket |
//! | `socket` | one socket: its state and its lock |
//! | `group` | the sockets of one address |
//! | `table` | the table of sockets |

pub mod app;
pub(in crate::stack) mod copies;
pub(in crate::stack) mod deliver;
pub(in crate::stack) mod group;
pub(in crate::stack) mod inbound;
pub mod outbound;
pub mod socket;
pub(in crate::stack) mod table;
