//! Tests of netstack's sockets under crates that others wrote, and of its examples as programs.
