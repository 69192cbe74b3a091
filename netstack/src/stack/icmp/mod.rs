//! ICMP in the locked stack.
//!
//! | file | |
//! |---|---|
//! | `inbound` | a received message: echo requests are answered, errors go to the flow concerned |
//! | `outbound` | errors that we send |
//! | `limiter` | their rate limit |

pub(in crate::stack) mod inbound;
pub(in crate::stack) mod limiter;
pub(in crate::stack) mod outbound;
