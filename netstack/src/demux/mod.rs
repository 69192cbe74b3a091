//! Which connection, listener or socket a packet belongs to.
//!
//! Tables only; the stack puts them behind its locks. They map to whatever handle the stack wants.
//!
//! | module | maps |
//! |---|---|
//! | [`flow`] | a connection's four-tuple, compact, with the shard it lives in |
//! | [`bind`](mod@bind) | local address and port, the most specific match first (TCP listeners) |
//! | [`udp`] | connected before bound before wildcard |
//! | [`ports`] | the next ephemeral port (RFC 6056) |

pub mod bind;
pub mod flow;
pub mod ports;
pub mod udp;

pub use bind::{BindError, BindTable};
pub use flow::{FlowKey, FlowTable, shard_of};
pub use ports::{NoPort, PortAllocator};
pub use udp::UdpTable;
