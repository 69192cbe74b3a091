//! Tools for testing: captures replayed against the stack, and fuzz harnesses.

pub mod capture;
pub mod fuzz;
pub mod output;
pub mod replay;
pub mod virtual_stack;
