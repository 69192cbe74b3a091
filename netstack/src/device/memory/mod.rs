//! An in-memory link between two stacks that can lose, delay, reorder, duplicate and corrupt packets.
//!
//! The caller passes in the time, and all random decisions come from a seed, so the same calls give the
//! same packets. [`Link`] is for a simulator that owns both stacks and a virtual clock; [`pair`] creates
//! two [`Device`](super::Device)s, each for an engine with a thread of its own.
//!
//! Both consist of two [`wire`]s, one per direction.

use packet::Buffers;
use packet::frame::{RxPacket, TxPacket};

use super::linear::Frame;
use crate::base::{Counters, DropReason, Instant, LinkCaps, OffloadCaps, Rng};

mod device;
#[cfg(test)]
mod tests;
pub mod wire;

pub use device::{LinkDevice, pair};
pub use wire::{Impairment, Wire, WireStats};

/// Largest super-segment on a link with segmentation offload, in bytes with its IP header.
const SUPER_PACKET_BYTES: usize = 65_535 + 40;

/// One end of a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum End {
    /// The first end.
    A,
    /// The second end.
    B,
}

impl End {
    /// Returns the opposite end.
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// Properties of a link.
#[derive(Clone, Debug)]
pub struct LinkConfig {
    /// Largest packet, in bytes with its IP header.
    pub mtu: u16,
    /// Accepts TCP super-segments and delivers them whole.
    pub tso: bool,
    /// Accepts segmented UDP datagrams and delivers them whole.
    pub uso: bool,
    /// Accepts partial checksums and completes them. `tso` and `uso` imply it.
    pub tx_checksum: bool,
    /// Delivers packets that were sent with a partial checksum as [`RxChecksum::Vouched`]. If false, the
    /// receiver verifies the checksum, which detects a wrong offload request.
    ///
    /// [`RxChecksum::Vouched`]: packet::checksum::RxChecksum::Vouched
    pub vouch: bool,
    /// Impairment of packets from A to B.
    pub a_to_b: Impairment,
    /// Impairment of packets from B to A.
    pub b_to_a: Impairment,
    /// Seed of all random decisions on the link.
    pub seed: u64,
}

impl Default for LinkConfig {
    /// Returns a perfect link: MTU 1500, no offload, no delay.
    fn default() -> Self {
        Self {
            mtu: 1500,
            tso: false,
            uso: false,
            tx_checksum: false,
            vouch: true,
            a_to_b: Impairment::default(),
            b_to_a: Impairment::default(),
            seed: 0,
        }
    }
}

impl LinkConfig {
    /// Returns the capabilities of the link.
    pub fn caps(&self) -> LinkCaps {
        LinkCaps {
            mtu: self.mtu,
            max_packet: if self.tso || self.uso {
                SUPER_PACKET_BYTES
            } else {
                self.mtu.into()
            },
            offload: OffloadCaps {
                // A device that cuts segments must complete their checksums, too.
                tso: self.tso,
                uso: self.uso,
                tx_checksum: self.tx_checksum || self.tso || self.uso,
            },
        }
    }

    fn wires(&self) -> (Wire, Wire) {
        let mut seeds = Rng::from_u64(self.seed);
        (
            Wire::new(self.a_to_b.clone(), Rng::from_u64(seeds.u64())),
            Wire::new(self.b_to_a.clone(), Rng::from_u64(seeds.u64())),
        )
    }

    /// Copies a packet for the link. Returns `None`, and counts the packet, if it is larger than the link
    /// allows or its offload request is invalid.
    fn frame(&self, packet: &TxPacket, counters: &Counters) -> Option<Frame> {
        let caps = self.caps();
        let piece = match &packet.offload.segment {
            Some(segment) => usize::from(segment.size) + usize::from(segment.header_len),
            None => packet.len(),
        };
        if piece > usize::from(caps.mtu) || packet.len() > caps.max_packet {
            counters.drop_packet(DropReason::TooBig);
            return None;
        }
        match Frame::new(packet) {
            Ok(mut frame) => {
                if !self.vouch {
                    frame.set_checksum_unknown();
                }
                Some(frame)
            }
            Err(_) => {
                counters.drop_packet(DropReason::TransmitFailed);
                None
            }
        }
    }
}

/// Both directions of a link, for a simulator that owns both stacks.
///
/// ```
/// use std::time::Duration;
///
/// use netstack::base::{Counters, Instant};
/// use netstack::device::memory::{End, Impairment, Link, LinkConfig};
/// use packet::{Buffers, Payload, TxPacket};
///
/// let mut link = Link::new(LinkConfig {
///     a_to_b: Impairment { delay: Duration::from_millis(20), ..Impairment::default() },
///     seed: 7,
///     ..LinkConfig::default()
/// });
/// let (buffers, counters) = (Buffers::new(2048, 16, 16), Counters::new());
/// let mut packet = TxPacket::default();
/// packet.payload = Payload::from(bytes::Bytes::from_static(b"any bytes")).into();
/// link.send(End::A, &packet, Instant::ZERO, &counters);
///
/// let arrival = link.next_delivery().expect("under way");
/// assert_eq!(arrival, Instant::from_millis(20));
/// let packet = link.recv(End::B, arrival, &buffers, &counters).expect("arrived");
/// assert_eq!(&packet.data[..], b"any bytes");
/// ```
#[derive(Debug)]
pub struct Link {
    config: LinkConfig,
    a_to_b: Wire,
    b_to_a: Wire,
}

impl Link {
    /// Creates a link without packets.
    pub fn new(config: LinkConfig) -> Self {
        let (a_to_b, b_to_a) = config.wires();
        Self {
            config,
            a_to_b,
            b_to_a,
        }
    }

    /// Returns the capabilities of the link.
    pub fn caps(&self) -> LinkCaps {
        self.config.caps()
    }

    /// Sends a packet from the end `from`. A packet that the link does not accept is counted in
    /// `counters`; one that it loses, in [`Link::stats`].
    pub fn send(&mut self, from: End, packet: &TxPacket, now: Instant, counters: &Counters) {
        if let Some(frame) = self.config.frame(packet, counters) {
            wire::count_out(counters, 1, frame.len() as u64);
            self.wire_mut(from).push(frame, now);
        }
    }

    /// Returns the next packet that has arrived at the end `at` by `now`, copied into a slab of `buffers`.
    pub fn recv(
        &mut self,
        at: End,
        now: Instant,
        buffers: &Buffers,
        counters: &Counters,
    ) -> Option<RxPacket> {
        self.wire_mut(at.other()).pop(now, buffers, counters)
    }

    /// Returns when the next packet arrives at either end, or `None` if no packet is in flight.
    pub fn next_delivery(&self) -> Option<Instant> {
        [&self.a_to_b, &self.b_to_a]
            .into_iter()
            .filter_map(Wire::next_delivery)
            .min()
    }

    /// Returns when the next packet arrives at the end `at`, or `None` if no packet is in flight.
    pub fn next_delivery_at(&self, at: End) -> Option<Instant> {
        self.wire(at.other()).next_delivery()
    }

    /// Returns the statistics of packets sent from the end `from`.
    pub fn stats(&self, from: End) -> WireStats {
        self.wire(from).stats()
    }

    /// Changes the impairment of packets that the end `from` sends from now on.
    pub fn set_impairment(&mut self, from: End, impairment: Impairment) {
        self.wire_mut(from).set_impairment(impairment);
    }

    fn wire(&self, from: End) -> &Wire {
        match from {
            End::A => &self.a_to_b,
            End::B => &self.b_to_a,
        }
    }

    fn wire_mut(&mut self, from: End) -> &mut Wire {
        match from {
            End::A => &mut self.a_to_b,
            End::B => &mut self.b_to_a,
        }
    }
}
