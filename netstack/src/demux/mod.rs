//! Tables that find the connection, listener or socket of a packet.
//!
//! The tables have no locks, which the stack adds, and map to any handle type.
//!
//! | module | content |
//! |---|---|
//! | [`flow`] | the four-tuple as a key, and a table by four-tuple |
//! | [`flow_set`] | connections that know their four-tuple, and the shard of a four-tuple |
//! | [`flow_queue`] | small values by four-tuple that wait for a deadline |
//! | [`bind`](mod@bind) | owners of local addresses and ports, the most specific match first (TCP listeners) |
//! | [`udp`] | UDP sockets: connected before bound before wildcard |
//! | [`ports`] | selection of ephemeral ports (RFC 6056) |

pub mod bind;
pub mod flow;
pub mod flow_queue;
pub mod flow_set;
pub mod ports;
pub mod udp;

pub use bind::{BindError, BindTable, Destinations};
pub use flow::{FlowKey, FlowTable};
pub use flow_queue::FlowQueue;
pub use flow_set::{FlowSet, HasFlow, HashedFlow};
pub use ports::{NoPort, PortAllocator};
pub use udp::UdpTable;
