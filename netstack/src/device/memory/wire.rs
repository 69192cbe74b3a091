//! One direction of a link: a bounded queue ordered by time of delivery, with seeded impairments.
//!
//! Each packet passes tail drop, serialisation at the link's rate, loss, delay and jitter, reordering,
//! corruption and duplication, in this order. Jitter alone never reorders; a packet chosen for reordering
//! is delayed by [`Impairment::reorder_by`], so that later ones overtake it.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use packet::Buffers;
use packet::frame::RxPacket;

use super::super::linear::Frame;
use crate::base::counters::Counter;
use crate::base::time::Duration;
use crate::base::{Counters, DropReason, Instant, Rng};

/// Most packets in flight on a wire, which bounds its memory whatever the delay.
const IN_FLIGHT_MAX: usize = 65_536;

/// Impairments of a wire. Probabilities are per million packets; the default impairs nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Impairment {
    /// Probability that a packet is lost.
    pub loss_ppm: u32,
    /// Probability that the packet after a lost one is lost, too, if higher than `loss_ppm`; makes bursts.
    pub loss_burst_ppm: u32,
    /// Probability that a packet arrives twice.
    pub duplicate_ppm: u32,
    /// Probability that a packet is delayed by `reorder_by`, so that later ones overtake it.
    pub reorder_ppm: u32,
    /// Additional delay of a reordered packet.
    pub reorder_by: Duration,
    /// Probability that one bit of a packet is flipped.
    pub corrupt_ppm: u32,
    /// Propagation delay.
    pub delay: Duration,
    /// Largest random addition to the delay, uniformly distributed, without reordering.
    pub jitter: Duration,
    /// Rate in bytes per second; `None`: no limit.
    pub bytes_per_second: Option<u64>,
    /// Most bytes that wait for a wire with a limited rate; more are dropped. `None`: no limit.
    pub queue_bytes: Option<u64>,
}

/// Statistics of a wire, in packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WireStats {
    /// Sent by the sender.
    pub sent: u64,
    /// Received by the receiver, duplicates included.
    pub delivered: u64,
    /// Lost at random.
    pub lost: u64,
    /// Dropped because the queue was full.
    pub tail_dropped: u64,
    /// Duplicated at random.
    pub duplicated: u64,
    /// Delayed at random so that later packets overtake them.
    pub reordered: u64,
    /// Delivered with a flipped bit.
    pub corrupted: u64,
}

#[derive(Debug)]
struct InFlight {
    at: Instant,
    /// Breaks ties: first sent, first delivered.
    order: u64,
    frame: Frame,
}

impl PartialEq for InFlight {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for InFlight {}

impl PartialOrd for InFlight {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for InFlight {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// One direction of a link.
#[derive(Debug)]
pub struct Wire {
    impairment: Impairment,
    rng: Rng,
    in_flight: BinaryHeap<Reverse<InFlight>>,
    sent: u64,
    /// When the wire has sent all earlier packets.
    busy_until: Instant,
    /// Delivery time of the latest packet that was not reordered.
    latest: Instant,
    last_lost: bool,
    stats: WireStats,
}

impl Wire {
    /// Creates an empty wire.
    pub(super) fn new(impairment: Impairment, rng: Rng) -> Self {
        Self {
            impairment,
            rng,
            in_flight: BinaryHeap::new(),
            sent: 0,
            busy_until: Instant::ZERO,
            latest: Instant::ZERO,
            last_lost: false,
            stats: WireStats::default(),
        }
    }

    /// Returns the statistics.
    pub fn stats(&self) -> WireStats {
        self.stats
    }

    /// Returns when the next packet arrives, or `None` if no packet is in flight.
    pub fn next_delivery(&self) -> Option<Instant> {
        self.in_flight.peek().map(|Reverse(next)| next.at)
    }

    pub(super) fn set_impairment(&mut self, impairment: Impairment) {
        self.impairment = impairment;
    }

    /// Sends a packet over the wire.
    pub(super) fn push(&mut self, mut frame: Frame, now: Instant) {
        self.stats.sent += 1;
        let Some(left) = self.serialise(frame.len() as u64, now) else {
            self.stats.tail_dropped += 1;
            return;
        };
        let loss_ppm = if self.last_lost {
            self.impairment.loss_ppm.max(self.impairment.loss_burst_ppm)
        } else {
            self.impairment.loss_ppm
        };
        self.last_lost = self.rng.chance(loss_ppm);
        if self.last_lost {
            self.stats.lost += 1;
            return;
        }
        let mut at = left + self.impairment.delay + self.jitter();
        if self.rng.chance(self.impairment.reorder_ppm) {
            self.stats.reordered += 1;
            at = at + self.impairment.reorder_by;
        } else {
            at = at.max(self.latest);
            self.latest = at;
        }
        if self.rng.chance(self.impairment.corrupt_ppm) {
            self.stats.corrupted += 1;
            frame.flip_bit(self.rng.u32());
        }
        if self.rng.chance(self.impairment.duplicate_ppm) {
            self.stats.duplicated += 1;
            self.schedule(at, frame.clone());
        }
        self.schedule(at, frame);
    }

    fn schedule(&mut self, at: Instant, frame: Frame) {
        self.sent += 1;
        self.in_flight.push(Reverse(InFlight {
            at,
            order: self.sent,
            frame,
        }));
    }

    /// Returns when the last bit of the packet has left, or `None` if the queue has no room for it.
    fn serialise(&mut self, bytes: u64, now: Instant) -> Option<Instant> {
        if self.in_flight.len() >= IN_FLIGHT_MAX {
            return None;
        }
        let Some(rate) = self.impairment.bytes_per_second else {
            return Some(now);
        };
        let rate = u128::from(rate.max(1));
        let waiting = self.busy_until.saturating_since(now).as_nanos() * rate / 1_000_000_000;
        let limit = self.impairment.queue_bytes.unwrap_or(u64::MAX);
        if waiting + u128::from(bytes) > u128::from(limit) && waiting > 0 {
            return None;
        }
        let nanos = u128::from(bytes) * 1_000_000_000 / rate;
        let time = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        self.busy_until = self.busy_until.max(now) + time;
        Some(self.busy_until)
    }

    fn jitter(&mut self) -> Duration {
        let max_nanos = u64::try_from(self.impairment.jitter.as_nanos()).unwrap_or(u64::MAX);
        // 32 random bits, scaled to the range.
        let drawn = (u128::from(max_nanos) * u128::from(self.rng.u32())) >> 32;
        Duration::from_nanos(drawn as u64)
    }

    /// Returns the next packet that has arrived by `now`. Drops and counts packets for which `buffers` has
    /// no slab.
    pub(super) fn pop(
        &mut self,
        now: Instant,
        buffers: &Buffers,
        counters: &Counters,
    ) -> Option<RxPacket> {
        while self.next_delivery()? <= now {
            let Reverse(next) = self.in_flight.pop()?;
            counters.add(Counter::PacketsIn, 1);
            let Some(data) = buffers.copy_received(next.frame.bytes()) else {
                counters.drop_packet(DropReason::NoReceiveBuffer);
                continue;
            };
            counters.add(Counter::BytesIn, data.len() as u64);
            self.stats.delivered += 1;
            return Some(RxPacket {
                data,
                checksum: next.frame.checksum(),
                gso_size: next.frame.gso_size(),
                arrived_nanos: next.at.as_nanos(),
            });
        }
        None
    }
}

/// Counts packets that were sent over a wire.
pub(super) fn count_out(counters: &Counters, packets: u64, bytes: u64) {
    if packets > 0 {
        counters.add(Counter::PacketsOut, packets);
        counters.add(Counter::BytesOut, bytes);
    }
}
