//! Addresses, routes, fragments, and the way of a packet in and out.
//!
//! Pure: no lock, no clock, no I/O; the time and randomness are arguments.
//!
//! The way in: parse the headers ([`receive::on_parse_error`] says what a failure means), then
//! [`receive::classify`]. A fragment goes through [`receive::fragment_in`] to the
//! [`reassembly`], and what that completes is parsed and classified once more, as
//! [`receive::Origin::Reassembled`]. The way out: [`routes`] and [`addresses`] for the two ends,
//! [`pmtu`] for the size, [`send`] for the packets.
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
mod source;
