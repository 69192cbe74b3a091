//! Addresses, routes, fragments, and the way of a packet in and out.
