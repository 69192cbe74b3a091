//! One direction of a link: a bounded queue ordered by time of delivery, and a seeded source of harm.
//!
//! Order of events for each packet: tail drop, loss, serialisation at the link's rate, delay and jitter,
//! corruption, duplication. Jitter alone never reorders; a packet chosen for reordering is held back
//! by [`Impairment::reorder_by`], and those behind it overtake.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use packet::Buffers;
use packet::frame::RxPacket;

use super::super::linear::Frame;
use crate::base::counters::Counter;
use crate::base::time::Duration;
use crate::base::{Counters, DropReason, Instant, Rng};

/// Packets on a wire at a time, however long its delay: memory has a bound.
const IN_FLIGHT_MAX: usize = 65_536;

/// What happens to packets on a wire. Chances are per million packets; the default harms nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Impairment {
    /// Chance that a packet is lost.
    pub loss_ppm: u32,
    /// Chance that after a lost packet the next one is lost, too, instead of `loss_ppm`; makes bursts.
    pub loss_burst_ppm: u32,
    /// Chance that a packet arrives twice.
    pub duplicate_ppm: u32,
    /// Chance that a packet is held back so that later ones overtake it.
    pub reorder_ppm: u32,
    /// How long it is held back.
    pub reorder_by: Duration,
    /// Chance that one bit of a packet is flipped.
    pub corrupt_ppm: u32,
    /// Time on the wire.
    pub delay: Duration,
    /// Up to this much is added to the delay, evenly distributed, without reordering.
    pub jitter: Duration,
    /// Bytes that fit through in a second; `None`: no limit.
    pub bytes_per_second: Option<u64>,
    /// Bytes that may wait for the wire when its rate is limited; more are dropped. `None`: no limit.
    pub queue_bytes: Option<u64>,
}

/// What has happened on a wire, in packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WireStats {
    /// Put on the wire.
    pub sent: u64,
    /// Handed to the receiver, duplicates included.
    pub delivered: u64,
    /// Lost by chance.
    pub lost: u64,
    /// Dropped because the queue was full.
    pub tail_dropped: u64,
    /// Sent twice by chance.
    pub duplicated: u64,
    /// Held back by chance.
    pub reordered: u64,
    /// With a flipped bit.
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
    /// The wire is busy with earlier packets until then.
    busy_until: Instant,
    /// Delivery of the latest packet that was not held back.
    latest: Instant,
    last_lost: bool,
    stats: WireStats,
}

impl Wire {
    /// An empty wire.
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

    /// What has happened.
    pub fn stats(&self) -> WireStats {
        self.stats
    }

    /// When the next packet arrives; `None`: nothing is under way.
    pub fn next_delivery(&self) -> Option<Instant> {
        self.in_flight.peek().map(|Reverse(next)| next.at)
    }

    pub(super) fn set_impairment(&mut self, impairment: Impairment) {
        self.impairment = impairment;
    }

    /// Puts a packet on the wire.
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

    /// When the packet's last bit has left; `None` when there is no room to wait for that.
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
        // 32 bits of chance, spread over the range.
        let drawn = (u128::from(max_nanos) * u128::from(self.rng.u32())) >> 32;
        Duration::from_nanos(drawn as u64)
    }

    /// Takes the next packet that has arrived by `now`. Packets for which `buffers` has no room are
    /// dropped and counted, and the next one is tried.
    pub(super) fn pop(
        &mut self,
        now: Instant,
        buffers: &Buffers,
        counters: &Counters,
    ) -> Option<RxPacket> {
        while self.next_delivery()? <= now {
            let Reverse(next) = self.in_flight.pop()?;
            counters.add(Counter::PacketsIn, 1);
            let Some(data) = buffers.copy(next.frame.bytes()) else {
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

/// Counts packets that were put on a wire.
pub(super) fn count_out(counters: &Counters, packets: u64, bytes: u64) {
    if packets > 0 {
        counters.add(Counter::PacketsOut, packets);
        counters.add(Counter::BytesOut, bytes);
    }
}
