//! Multicast groups in the locked stack.
//!
//! | file | |
//! |---|---|
//! | `groups` | the groups, their members and what is reported of them, behind one lock |
//! | `app` | joining and leaving groups and sources |
//! | `inbound` | received messages of IGMP and MLD |
//! | `deliver` | a datagram to a group, to each member |
//! | `timers` | reports that are due |

pub(crate) mod app;
pub(in crate::stack) mod deliver;
pub(in crate::stack) mod groups;
pub(in crate::stack) mod inbound;
pub(crate) mod timers;
