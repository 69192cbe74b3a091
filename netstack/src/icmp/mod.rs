//! ICMP and ICMPv6 of a host.
