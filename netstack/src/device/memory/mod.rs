//! An in-memory link between two stacks, with everything that can go wrong on a real one.
//!
//! Time is what the caller says it is and chance comes from a seed: the same calls give the same
//! packets. [`Link`] is the form for a simulator that owns both stacks and a virtual clock; [`pair`]
//! makes two [`Device`](super::Device)s, each for an engine with a thread of its own.
//!
//! Both are made of [`wire`]s, one for each direction.

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

/// Largest super-segment on a link that takes them, in bytes with its IP header.
const SUPER_PACKET_BYTES: usize = 65_535 + 40;

/// One end of a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum End {
    /// The first.
    A,
    /// The second.
    B,
}

impl End {
    /// The opposite end.
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// What a link is like.
#[derive(Clone, Debug)]
pub struct LinkConfig {
    /// Largest packet, in bytes with its IP header.
    pub mtu: u16,
    /// Takes TCP super-segments and delivers them whole.
    pub tso: bool,
    /// Takes segmented UDP datagrams and delivers them whole.
    pub uso: bool,
    /// Takes unfinished checksums, as `tso` and `uso` do, too. They are finished on the way.
    pub tx_checksum: bool,
    /// Delivers what was sent with an unfinished checksum as [`RxChecksum::Vouched`]; off, the
    /// receiver has to verify, which shows a sender that described its checksum wrongly.
    ///
    /// [`RxChecksum::Vouched`]: packet::checksum::RxChecksum::Vouched
    pub vouch: bool,
    /// What happens to packets from A to B.
    pub a_to_b: Impairment,
    /// What happens to packets from B to A.
    pub b_to_a: Impairment,
    /// Decides every chance on the link.
    pub seed: u64,
}

impl Default for LinkConfig {
    /// A perfect link: MTU 1500, no offload, no delay.
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
    /// What both ends' devices can do.
    pub fn caps(&self) -> LinkCaps {
        LinkCaps {
            mtu: self.mtu,
            max_packet: if self.tso || self.uso {
                SUPER_PACKET_BYTES
            } else {
                self.mtu.into()
            },
            offload: OffloadCaps {
                // Who cuts segments has to finish their checksums, too.
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

    /// The packet as it goes over the link; `None` (and counted) when it is larger than the link allows
    /// or describes itself wrongly.
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
    /// A link with nothing on it.
    pub fn new(config: LinkConfig) -> Self {
        let (a_to_b, b_to_a) = config.wires();
        Self {
            config,
            a_to_b,
            b_to_a,
        }
    }

    /// What both ends' devices can do.
    pub fn caps(&self) -> LinkCaps {
        self.config.caps()
    }

    /// Puts a packet on the link at `from`. What the link loses is its own business and shows in
    /// [`Link::stats`]; what could not be put on it is counted in `counters`.
    pub fn send(&mut self, from: End, packet: &TxPacket, now: Instant, counters: &Counters) {
        if let Some(frame) = self.config.frame(packet, counters) {
            wire::count_out(counters, 1, frame.len() as u64);
            self.wire_mut(from).push(frame, now);
        }
    }

    /// Takes the next packet that has arrived at `at` by `now`, copied into a slab of `buffers`.
    pub fn recv(
        &mut self,
        at: End,
        now: Instant,
        buffers: &Buffers,
        counters: &Counters,
    ) -> Option<RxPacket> {
        self.wire_mut(at.other()).pop(now, buffers, counters)
    }

    /// When the next packet arrives at either end; `None`: nothing is under way.
    pub fn next_delivery(&self) -> Option<Instant> {
        [&self.a_to_b, &self.b_to_a]
            .into_iter()
            .filter_map(Wire::next_delivery)
            .min()
    }

    /// When the next packet arrives at `at`.
    pub fn next_delivery_at(&self, at: End) -> Option<Instant> {
        self.wire(at.other()).next_delivery()
    }

    /// What has happened to packets sent at `from`.
    pub fn stats(&self, from: End) -> WireStats {
        self.wire(from).stats()
    }

    /// Changes what happens to packets sent at `from` from now on.
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
