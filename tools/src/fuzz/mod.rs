//! Fuzz harnesses: functions that take arbitrary bytes and panic when the stack breaks a promise.
//!
//! The same functions run in the test command, bounded and seeded, and under cargo-fuzz
//! (`tools/fuzz`), unbounded.

mod input;
mod packets;
pub mod parsers;
pub mod stack;
