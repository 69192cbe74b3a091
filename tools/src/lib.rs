//! Tools for people who test networks: captures replayed against the stack, and fuzz harnesses.

pub mod capture;
pub mod fuzz;
pub mod replay;
pub mod virtual_stack;
