//! Sockets in tokio's shape over our own stack.
//!
//! [`TcpListener`], [`TcpStream`] and [`UdpSocket`] have the names and the semantics of tokio's, with a
//! [`Stack`] handle where tokio has the kernel. They need no runtime of their own: any executor can
//! poll them, tokio's or a worker's (see [`TcpListener::serve`] and [`Stack::spawn_on`]).
//!
//! Owns no protocol: each call is one call into the locked stack.

mod adapters;
mod address_selection;
mod addrs;
mod block_on;
pub mod blocking;
mod congestion;
mod counters;
mod echo_socket;
mod example;
mod freeze;
mod handle;
mod limits;
mod machine;
mod methods;
mod ready;
mod routes;
mod shutdown;
mod split;
mod stack;
mod start;
mod syn_listener;
mod tcp_ao;
mod tcp_listener;
mod tcp_options;
mod tcp_socket;
mod tcp_socket_options;
mod tcp_stream;
pub mod time;
mod udp_listener;
mod udp_multicast;
mod udp_options;
mod udp_peek;
mod udp_ready;
mod udp_refuse;
mod udp_segments;
mod udp_socket;

#[cfg(feature = "hyper")]
pub use adapters::hyper::HyperConnector;

pub use crate::ao::{AoAlgorithm, AoInfo, AoKey, AoKeyError};
pub use crate::demux::Destinations;
pub use crate::engine::future::{Driver, Sleep, Timer, Turns};
pub use crate::engine::worker::Progress;
pub use crate::icmp::error::Unreachable;
pub use crate::ip::prefix::{Prefix, PrefixError};
pub use crate::ip::routes::{NoRoute, Route, RouteError, RouteKind};
pub use crate::ip::selection::policy::{PolicyError, PolicyRow, PolicyTable};
pub use crate::ip::selection::source::{AddressFlags, SourcePreference};
pub use crate::stack::addresses::AddressChangeError;
pub use crate::stack::checkpoint::{Checkpoint, CheckpointError};
pub use crate::stack::ending::EndReason;
pub use crate::stack::events::{ConnectionEvent, HasSubscriber, Subscriber};
pub use crate::stack::locks::{LockLevel, LockReport, lock_report};
pub use crate::stack::reached::{Recalled, is_recalled};
pub use crate::stack::routes::RouteChangeError;
pub use crate::stack::sockets::{QueueInfo, SocketInfo, SocketKind};
pub use crate::stack::tcp::filter::SynInfo;
pub use crate::stack::tcp::list::{HalfOpenInfo, TimeWaitInfo};
pub use crate::udp::{Datagram, MtuDiscovery, Segments};
pub use addrs::ToSocketAddrs;
pub use counters::{CountersSnapshot, WorkerReport};
pub use echo_socket::{EchoListener, EchoReply, EchoRequest, EchoSocket};
#[doc(hidden)]
pub use example::{example, example_pair};
pub use freeze::{Begin, Frozen, RestoredStream};
pub use packet::buf::{Level, MemoryUse};
pub use ready::{Interest, Ready};
pub use shutdown::ShutdownReport;
pub use split::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, ReuniteError, WriteHalf};
pub use stack::Stack;
pub use start::{StackBuilder, StartError};
pub use syn_listener::{Syn, SynListener};
pub use tcp_ao::AoKeys;
pub use tcp_listener::{Serving, TcpListener};
pub use tcp_socket::TcpSocket;
pub use tcp_stream::TcpStream;
pub use udp_listener::UdpListener;
pub use udp_socket::UdpSocket;
