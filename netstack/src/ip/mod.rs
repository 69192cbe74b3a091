//! Addresses, routes, fragments, and the way of a packet in and out.
//!
//! Pure: no lock, no clock, no I/O; the time and randomness are arguments. One module per idea:
//!
//! | module | owns |
//! |---|---|
//! | [`prefix`] | an address with its network length |
//! | [`addresses`] | which addresses are ours, what a destination means, which sources are believed |
//! | [`routes`] | the way to a destination |
//! | [`pmtu`] | the largest packet that a path carries |
//! | [`fragment`], [`reassembly`] | datagrams larger than that, out and in |
//! | [`receive`] | what becomes of a packet whose headers were read |
//! | [`send`] | packets out of transport headers and payload |
//! | [`key`] | the secret behind tables and sequences that a peer must not aim at |

pub mod addresses;
pub mod fragment;
pub mod key;
pub mod pmtu;
pub mod prefix;
pub mod reassembly;
pub mod receive;
pub mod routes;
pub mod send;
