//! UDP in the locked stack.

pub mod app;
pub(in crate::stack) mod inbound;
