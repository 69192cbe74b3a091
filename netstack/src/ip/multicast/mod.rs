//! Multicast groups: who is a member, and what routers are told of it by IGMPv3 (RFC 9776) and MLDv2
//! (RFC 9777).
//!
//! A member receives what any source sends to its group (the any-source model, RFC 9776 section 2 with
//! EXCLUDE and no sources). So the state of a group on the interface is either "EXCLUDE {}" or none, and the
//! records that it gives rise to are these:
//!
//! | event | record |
//! |---|---|
//! | the first socket joins | TO_EX {} |
//! | the last socket leaves | TO_IN {} |
//! | a general or group-specific query | IS_EX {} |
//! | a query about sources B of a group | IS_IN (B) |
//!
//! 224.0.0.1, `ff02::1` and the IPv6 groups of scope 0 and 1 are never reported. The solicited-node groups of
//! the host's addresses (RFC 4291 section 2.8) are received and not reported: a TUN device has no neighbour
//! discovery that would need them, and Linux does not join them on such a device either.
//!
//! | module | content |
//! |---|---|
//! | [`groups`] | the members of each group, counted |
//! | [`reporter`] | the protocol, as a state machine for one family |
//! | [`compat`] | routers of older versions |
//! | [`envelope`] | the headers of a query that is believed |
//! | [`packets`] | the packets of a report |

pub mod compat;
pub mod envelope;
pub mod groups;
pub mod packets;
pub mod reporter;

#[cfg(test)]
mod tests;
