//! ICMP and ICMPv6 of a host.

pub mod limiter;

pub use limiter::IcmpLimiter;
