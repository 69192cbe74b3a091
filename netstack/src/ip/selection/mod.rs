//! Default address selection (RFC 6724): the source of a packet, and the order in which the addresses of a peer are
//! tried.
//!
//! | module | content |
//! |---|---|
//! | [`policy`] | the policy table: precedences and labels (section 2.1) |
//! | [`scope`] | scopes of addresses (section 3) |
//! | [`source`] | the source of a packet (section 5) |
//! | [`destination`] | the order of destinations (section 6) |
//!
//! Not applicable here: home addresses (rule 4 of both lists: no Mobile IPv6), other interfaces (rule 5: there is
//! one), prefixes by router (rule 5.5: nobody advertises prefixes on a TUN device), and encapsulation (rule 7 of
//! the destinations: the stack has no tunnels).

pub mod destination;
pub mod policy;
pub mod scope;
pub mod source;

#[cfg(test)]
mod tests;
