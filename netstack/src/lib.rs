//! A userspace IP, UDP and TCP stack.

pub mod base;
