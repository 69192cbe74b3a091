//! ICMP in the locked stack.
//!
//! | file | |
//! |---|---|
//! | `inbound` | a received message: echo requests are answered, errors go to the flow concerned |
//! | `echo` | echo requests and replies of the program's sockets |
//! | `outbound` | errors that we send |
//! | `count` | messages by their types, as the MIB counts them |
//! | `limiter` | their rate limit |

pub(in crate::stack) mod count;
pub(in crate::stack) mod echo;
pub(in crate::stack) mod inbound;
pub(in crate::stack) mod limiter;
pub(in crate::stack) mod outbound;
