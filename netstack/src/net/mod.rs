//! Sockets in tokio's shape over our own stack.
//!
//! [`TcpListener`], [`TcpStream`] and [`UdpSocket`] have the names and the semantics of tokio's, with a
//! [`Stack`] handle where tokio has the kernel. They need no runtime of their own: any executor can
//! poll them, tokio's or a worker's (see [`TcpListener::serve`] and [`Stack::spawn_on`]).
//!
//! Owns no protocol: each call is one call into the locked stack.

mod congestion;
mod counters;
mod handle;
mod machine;
mod shutdown;
mod split;
mod stack;
mod start;
mod tcp_listener;
mod tcp_stream;
mod udp_listener;
mod udp_socket;

pub use crate::demux::Destinations;
pub use crate::engine::future::{Driver, Sleep, Timer, Turns};
pub use crate::engine::worker::Progress;
pub use crate::ip::prefix::{Prefix, PrefixError};
pub use crate::stack::addresses::AddressChangeError;
pub use crate::stack::ending::EndReason;
pub use crate::stack::events::{ConnectionEvent, HasSubscriber, Subscriber};
pub use crate::udp::Datagram;
pub use counters::CountersSnapshot;
pub use packet::buf::{Level, MemoryUse};
pub use shutdown::ShutdownReport;
pub use split::{OwnedReadHalf, OwnedWriteHalf, ReuniteError};
pub use stack::Stack;
pub use start::{StackBuilder, StartError};
pub use tcp_listener::{Serving, TcpListener};
pub use tcp_stream::TcpStream;
pub use udp_listener::UdpListener;
pub use udp_socket::UdpSocket;
