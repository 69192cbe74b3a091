//! IP in the locked stack.

pub(in crate::stack) mod addressing;
pub(in crate::stack) mod inbound;
