//! TCP in the locked stack.

pub mod app;
pub mod connection;
pub(in crate::stack) mod control;
pub(in crate::stack) mod inbound;
pub mod listener;
pub(in crate::stack) mod outbound;
pub(in crate::stack) mod table;
