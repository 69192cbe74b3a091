//! Zero-copy parsing and building of IP, TCP, UDP and ICMP packets, and the buffers that hold them.
//!
//! This crate is the part of a network stack that needs no state: it keeps nothing between packets, opens
//! no device and reads no clock. It serves stacks as well as tunnels, filters and tools.
//!
//! * Parsing and building copy no payload and allocate no memory; reports of group membership alone do.
//! * No input makes a function panic.
//! * A malformed packet gives an error that names the ICMP error to send, if any.
//! * The crate contains no `unsafe` code.
//!
//! # Layers
//!
//! | step | module | main types |
//! |---|---|---|
//! | parse the IP headers | [`ip`] | [`IpPacket`](ip::IpPacket), [`IpParseError`](ip::IpParseError) |
//! | parse the upper layer | [`tcp`], [`udp`], [`icmp`] | [`TcpView`](tcp::TcpView), [`UdpView`](udp::UdpView), [`Icmpv4View`](icmp::Icmpv4View), [`Icmpv6View`](icmp::Icmpv6View) |
//! | group membership: IGMP and MLD | [`membership`] | [`Membership`](membership::Membership), [`Query`](membership::Query) |
//! | verify and compute checksums | [`checksum`] | [`RxChecksum`], [`Checksum`](checksum::Checksum) |
//! | build packets | [`build`] | [`Head`](build::Head), [`TxChecksum`](build::TxChecksum) |
//! | pass packets through a stack | [`frame`] | [`RxPacket`], [`TxPacket`], [`Chunks`] |
//! | hold the bytes | [`buf`] | [`Pool`], [`SlabMut`], [`Payload`] |
//!
//! # Parsing
//!
//! A view's type tells what was verified. An [`IpPacket`](ip::IpPacket) exists only for a packet whose
//! headers, options and extension headers are all valid. A transport view exists only for a segment,
//! datagram or message whose checksum is right, and only a view gives access to the payload.
//!
//! ```
//! use packet::checksum::RxChecksum;
//! use packet::ip::{IpPacket, IpParseError, Ipv4};
//! use packet::udp::UdpView;
//!
//! fn payload(bytes: &[u8]) -> Result<&[u8], String> {
//!     let packet = IpPacket::<Ipv4>::parse(bytes).map_err(|error| match error {
//!         IpParseError::ParameterProblem { pointer, .. } if error.should_send_icmp() => {
//!             format!("send a parameter problem with pointer {pointer}")
//!         }
//!         error => format!("discard: {error}"),
//!     })?;
//!     let (src, dst) = (packet.src().into(), packet.dst().into());
//!     let datagram = UdpView::parse(src, dst, packet.payload(), RxChecksum::Unknown)
//!         .map_err(|error| format!("discard: {error}"))?;
//!     Ok(datagram.payload())
//! }
//!
//! let bytes = [
//!     0x45, 0, 0, 29, 0, 0, 0, 0, 64, 17, 0x66, 0xce, 10, 0, 0, 1, 10, 0, 0, 2, // IP
//!     0, 7, 0, 9, 0, 9, 0, 0, // UDP without a checksum
//!     b'x',
//! ];
//! assert_eq!(payload(&bytes), Ok(&b"x"[..]));
//! assert!(payload(&bytes[..28]).unwrap_err().starts_with("discard"));
//! ```
//!
//! # Checksums
//!
//! A received transport checksum is [`Unknown`](RxChecksum::Unknown), and the view's parser verifies it,
//! or the device has [`Vouched`](RxChecksum::Vouched) for it. For a packet to send,
//! [`TxChecksum`](build::TxChecksum) tells whether the builder reads the payload, uses a sum that was
//! made while the payload was copied, or leaves the checksum to the device.
//!
//! # Building
//!
//! Headers are written back to front: the transport header first, then the IP header in front of it. The
//! payload stays where it is.
//!
//! ```
//! use packet::build::{self, BuildError, Head, IpFields, TxChecksum};
//! use packet::checksum::RxChecksum;
//! use packet::ip::{IpPacket, Ipv6};
//! use packet::tcp::{TcpFlags, TcpHeader, TcpView};
//! use packet::{Buffers, Chunks, IpProto, TxPacket};
//!
//! let buffers = Buffers::new(65_600, 16, 64);
//! let payload = Chunks::from(buffers.copy(b"hello").unwrap());
//! let fields = IpFields {
//!     src: "fd00::1".parse().unwrap(),
//!     dst: "fd00::2".parse().unwrap(),
//!     proto: IpProto::TCP,
//!     ttl: 64,
//!     traffic_class: 0,
//!     ident: 0,
//!     dont_fragment: true,
//!     flow_label: 0,
//! };
//! let header = TcpHeader {
//!     src_port: 4000,
//!     dst_port: 80,
//!     flags: TcpFlags::ACK | TcpFlags::PSH,
//!     ..TcpHeader::default()
//! };
//! let (src, dst, len) = (fields.src, fields.dst, payload.len_bytes());
//! let mut head = Head::new();
//! build::prepend_tcp(&mut head, &header, src, dst, payload.slices(), len, TxChecksum::Full)?;
//! build::prepend_ip(&mut head, &fields, len)?;
//! let packet = TxPacket { head, payload, ..TxPacket::default() };
//!
//! let bytes = packet.to_vec();
//! let parsed = IpPacket::<Ipv6>::parse(&bytes).unwrap();
//! let segment = TcpView::parse(src, dst, parsed.payload(), RxChecksum::Unknown).unwrap();
//! assert_eq!((segment.header(), segment.payload()), (header, &b"hello"[..]));
//! # Ok::<(), BuildError>(())
//! ```
//!
//! # Buffers and their ownership
//!
//! A [`Pool`] hands out slabs of one size and never allocates more of them than its cap.
//!
//! * [`Pool::take`] returns a [`SlabMut`], whose only holder may write to it.
//! * [`SlabMut::freeze`] consumes it and returns a [`Payload`], a read-only slice. Cloning and slicing a
//!   `Payload` share the slab.
//! * The slab returns to the pool when its last holder is dropped, on whichever thread that happens.
//! * A `Payload` with a single holder can be extended ([`Payload::try_append`]) or become writable
//!   again ([`Payload::into_mut`]).
//!
//! The compiler enforces that nobody writes to shared bytes. In tests the feature `ledger` also checks
//! each operation at run time and finds slabs that are not returned: see [`buf::Audit`].
//!
//! ```
//! use packet::Pool;
//!
//! let pool = Pool::new(2048, 1);
//! let mut slab = pool.take().unwrap();
//! slab.as_mut_slice()[..5].copy_from_slice(b"hello");
//! let payload = slab.freeze(0..5);
//! let part = payload.slice(1..3);
//! drop(payload);
//! assert_eq!(&part[..], b"el");
//! assert!(pool.take().is_none(), "the only slab is still in use");
//! drop(part);
//! assert!(pool.take().is_some());
//! ```

pub mod buf;
pub mod build;
pub mod checksum;
pub mod frame;
pub mod icmp;
pub mod ip;
pub mod membership;
mod proto;
pub mod tcp;
pub mod udp;

pub use buf::{Buffers, Payload, Pool, SlabMut};
pub use checksum::RxChecksum;
pub use frame::{Chunks, RxPacket, TxPacket};
pub use proto::IpProto;

/// Compiles and runs the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
