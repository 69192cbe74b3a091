//! Fuzz harnesses: functions that take arbitrary bytes and panic when the stack breaks an invariant.
//!
//! The tests run them with a seed and a limited number of iterations; cargo-fuzz (`tools/fuzz`) runs
//! them without a limit.

mod input;
mod optional;
mod packets;
pub mod parsers;
pub mod stack;

/// Reads a number from the environment; `default` if the variable is not set or not a number.
pub fn number_from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}
