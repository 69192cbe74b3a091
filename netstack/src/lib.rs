//! A userspace IPv4/IPv6, ICMP, UDP and TCP stack.
//!
//! A [`Stack`] is a host of its own behind a [device](device): a TUN device, a channel of packets that the program
//! carries itself, or an in-memory link. Its sockets have tokio's names and semantics, with a stack where
//! tokio has the kernel, and any executor can poll them.
//!
//! ```no_run
//! use netstack::device::{self, TunConfig};
//! use netstack::{Stack, TcpListener};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! // The kernel is 10.77.0.1 on the device, the stack 10.77.0.2. It answers ping from here on.
//! let mut tun = TunConfig::new("t0");
//! tun.host_v4 = Some(("10.77.0.1".parse()?, 24));
//! let stack = Stack::builder()
//!     .address("10.77.0.2".parse()?, 24)
//!     .start(device::open(&tun)?)?;
//!
//! let listener = TcpListener::bind(&stack, "10.77.0.2:7").await?;
//! let (mut stream, _peer) = listener.accept().await?;
//! while let Some(payload) = stream.recv_payload().await? {
//!     stream.send_payload(payload).await?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Layers
//!
//! A module imports only modules above it in this table; a test reads the sources and fails otherwise.
//!
//! | module | |
//! |---|---|
//! | [`base`] | time, randomness, limits, counters |
//! | [`ip`], [`icmp`], [`demux`], [`udp`], [`tcp`], [`ao`] | the protocols as pure state machines: time, randomness and packets are arguments |
//! | [`stack`] | the same behind ordered locks; the only module that locks |
//! | [`device`] | TUN, packet channel, in-memory link, capture |
//! | [`engine`] | a worker's turn, its timers and tasks; threads or virtual time |
//! | [`net`] | sockets |
//!
//! # Drivers
//!
//! [`engine::worker::Worker::turn`] does everything that can be done at one instant, and returns whether
//! another turn at once may find more, and when the next timer is due. [`Stack::builder`] starts a thread
//! for each device queue that turns a worker on the machine's clock
//! ([`start`](net::StackBuilder::start)), or makes futures for the program's runtime
//! ([`drive`](net::StackBuilder::drive)), or leaves the turns and the time to a loop of the program's
//! ([`manual`](net::StackBuilder::manual)). [`engine::sim::Simulation`] turns workers on virtual time, repeatably
//! from a seed.
//!
//! # Features
//!
//! * `tun` (on by default): TUN devices of Linux. Without it the library has the packet channel, the in-memory link and
//!   the drivers, and no code for a particular operating system.
//! * `tcp-ao`: the algorithms of the TCP Authentication Option (RFC 5925).
//! * `axum`: `axum::serve` serves on [`TcpListener`].
//! * `hyper`: `net::HyperConnector` connects hyper-util's client.
//! * `futures-io`: the traits of futures-io for streams and their halves.
//! * `track`: [`net::lock_report`] tells how long the locks are waited for and held. Costs two readings of the clock for each
//!   lock that is taken.
//! * `invariants`: checks every connection after each call and the stack after each turn. For tests.

pub mod ao;
pub mod base;
pub mod demux;
pub mod device;
pub mod engine;
pub mod icmp;
pub mod ip;
pub mod net;
pub mod stack;
pub mod tcp;
pub mod udp;

pub use base::counters::{Counter, DropReason};
pub use base::{Config, TcpConfig};
pub use bytes::Bytes;
pub use net::{Stack, TcpListener, TcpStream, UdpSocket};
pub use packet::{self, Payload};
