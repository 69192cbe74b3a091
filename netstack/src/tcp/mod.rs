//! One TCP connection: pure state machines.
