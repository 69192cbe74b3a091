//! Tests of netstack's sockets under crates that others wrote.
