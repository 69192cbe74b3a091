//! IP: addresses, routes, fragments, and how packets are received and sent.
//!
//! Pure: no locks, no clock, no I/O; time and randomness are arguments.
//!
//! Receive: the headers are parsed ([`receive::on_parse_error`] handles a failure), then
//! [`receive::classify`] decides. A fragment goes through [`receive::fragment_in`] to the [`reassembly`];
//! a packet that this completes is parsed and classified again, as [`receive::Origin::Reassembled`].
//! Send: [`routes`] and [`addresses`] give the two addresses, [`pmtu`] the size, [`send`] the packets.
//!
//! | module | content |
//! |---|---|
//! | [`prefix`] | an address with its prefix length |
//! | [`addresses`] | the host's addresses, kinds of destinations, valid sources |
//! | [`routes`] | routes to destinations |
//! | [`pmtu`] | the path MTU cache |
//! | [`flow_label`] | flow labels of IPv6 |
//! | [`fragment`], [`reassembly`] | datagrams larger than the MTU, sent and received |
//! | [`selection`] | default address selection: sources, and the order of destinations |
//! | [`receive`] | the decision about a received packet |
//! | [`multicast`] | multicast groups, IGMP and MLD |
//! | [`send`] | packets from transport headers and payload |
//! | [`peer`] | peers as far as limits are concerned, and who makes room for whom |
//! | [`key`] | the keyed hash for tables and sequences that a peer could attack |

pub mod addresses;
pub mod flow_label;
pub mod fragment;
pub mod key;
pub mod multicast;
pub mod peer;
pub mod pmtu;
pub mod prefix;
pub mod reassembly;
pub mod receive;
pub mod routes;
pub mod selection;
pub mod send;
