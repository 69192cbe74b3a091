//! Multicast groups: who is a member, and what routers are told of it by IGMPv3 (RFC 9776) and MLDv2
//! (RFC 9777).
//!
//! Each membership has a filter of sources: those that are wanted (INCLUDE) or those that are not (EXCLUDE). A program
//! that joins a group without a word about sources wants all of them, EXCLUDE {}. The state of a group on the interface
//! wants what one of its members wants, and gives rise to these records:
//!
//! | event | record |
//! |---|---|
//! | from INCLUDE to EXCLUDE (B): with B = {} the first socket joins | TO_EX (B) |
//! | from EXCLUDE to INCLUDE (B): with B = {} the last socket leaves | TO_IN (B) |
//! | sources A become wanted, B unwanted, in the same mode | ALLOW (A), BLOCK (B) |
//! | a general or group-specific query | IS_IN (A), IS_EX (A) |
//! | a query about sources B of a group | IS_IN, of those among B that are wanted |
//!
//! 224.0.0.1, `ff02::1` and the IPv6 groups of scope 0 and 1 are never reported. The solicited-node groups of
//! the host's addresses (RFC 4291 section 2.8) are received and not reported: a TUN device has no neighbour
//! discovery that would need them, and Linux does not join them on such a device either.
//!
//! | module | content |
//! |---|---|
//! | [`filter`] | the sources that are wanted, of one member or of all |
//! | [`change`] | joining and leaving groups and sources: RFC 3678 |
//! | [`groups`] | the members of each group, counted |
//! | [`reporter`] | the protocol, as a state machine for one family |
//! | `reported` | one group of it |
//! | [`compat`] | routers of older versions |
//! | [`envelope`] | the headers of a query that is believed |
//! | [`packets`] | the packets of a report |

pub mod change;
pub mod compat;
pub mod envelope;
pub mod filter;
pub mod groups;
pub mod packets;
mod reported;
pub mod reporter;

#[cfg(test)]
mod tests;
