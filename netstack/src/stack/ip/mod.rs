//! IP in the locked stack.
//!
//! | file | |
//! |---|---|
//! | `inbound` | a received packet, to the protocol that it is for; fragments and their timers |
//! | `outbound` | how packets leave |
//! | `addressing` | our addresses and routes |
//! | `local` | the local end of a flow: its address, its route |
//! | `path` | the cache of path MTUs |
//! | `reassembly` | the buffer of fragments |

pub(in crate::stack) mod addressing;
pub mod inbound;
pub(in crate::stack) mod local;
pub(in crate::stack) mod outbound;
pub(in crate::stack) mod path;
pub(in crate::stack) mod reassembly;
