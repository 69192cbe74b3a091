//! ICMP in the locked stack.

pub(in crate::stack) mod inbound;
