//! The emulated path: a thread that carries packets between kernels and stacks.
//!
//! Where a queue is full, the instant at which a packet comes decides if it has a place: with regular acknowledgments a constant
//! difference of a part of a packet between two senders lets one of them lose always (Floyd and Jacobson, "Traffic phase
//! effects in packet-switched gateways", 1991). So the ends take turns at being first, and acknowledgments arrive late by
//! a random part of the time that the bottleneck takes for some packets.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;
use std::net::Ipv4Addr;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

use benches::clock::Stopwatch;
use netstack::base::Rng;
use netstack::device::channel::PacketPipe;
use tun_tap::Iface;

/// Longest sleep of the relay: its clock's resolution.
const NAP: Duration = Duration::from_micros(50);
/// Packets that are taken from one end before the others get their turn.
const BATCH: usize = 64;
/// Largest packet, in bits.
const PACKET_BITS: u64 = 1_500 * 8;

/// A path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PathSpec {
    pub(crate) rtt: Duration,
    pub(crate) bits_per_second: u64,
    /// Queue in bandwidth-delay products, times ten.
    pub(crate) queue_tenths: u64,
    pub(crate) loss_ppm: u32,
    pub(crate) reorder_ppm: u32,
    pub(crate) reorder_by: Duration,
    /// Acknowledgments are late by up to the time of so many packets at the bottleneck.
    pub(crate) jitter_packets: u32,
    pub(crate) seed: u64,
}

impl Default for PathSpec {
    fn default() -> Self {
        Self {
            rtt: Duration::from_millis(20),
            bits_per_second: 100_000_000,
            queue_tenths: 10,
            loss_ppm: 0,
            reorder_ppm: 0,
            reorder_by: Duration::ZERO,
            jitter_packets: 1,
            seed: 1,
        }
    }
}

impl fmt::Display for PathSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?}, {} Mb/s, queue {:.1} BDP, loss {} %",
            self.rtt,
            self.bits_per_second / 1_000_000,
            self.queue_tenths as f64 / 10.0,
            f64::from(self.loss_ppm) / 1e4,
        )?;
        if self.reorder_ppm > 0 {
            let percent = f64::from(self.reorder_ppm) / 1e4;
            write!(f, ", {percent} % late by {:?}", self.reorder_by)?;
        }
        Ok(())
    }
}

impl PathSpec {
    fn queue_bytes(&self) -> f64 {
        let product = self.bits_per_second as f64 / 8.0 * self.rtt.as_secs_f64();
        (product * self.queue_tenths as f64 / 10.0).max(3_000.0)
    }
}

/// An end of the path.
pub(crate) enum End {
    Linux(Iface),
    Stack(PacketPipe),
}

impl End {
    fn recv(&mut self, buffer: &mut [u8]) -> Option<Vec<u8>> {
        match self {
            Self::Linux(tun) => {
                let len = tun.recv(buffer).ok()?;
                buffer.get(..len).map(<[u8]>::to_vec)
            }
            Self::Stack(pipe) => pipe.try_recv().map(|packet| packet.to_vec()),
        }
    }

    fn send(&mut self, packet: Vec<u8>) {
        match self {
            // A full queue loses the packet, as on any link.
            Self::Linux(tun) => drop(tun.send(&packet)),
            Self::Stack(pipe) => drop(pipe.try_send(packet)),
        }
    }
}

/// A packet on its way. The earliest comes first; of two at the same time, that which was sent first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Transit {
    due: Duration,
    number: u64,
    to: usize,
    packet: Vec<u8>,
}

/// The state of the path.
struct Relay {
    path: PathSpec,
    rng: Rng,
    /// The bottleneck is busy until then.
    busy_until: Duration,
    transit: BinaryHeap<Reverse<Transit>>,
    number: u64,
    /// When the last acknowledgment arrives at each end: they keep their order.
    latest: [Duration; 4],
}

impl Relay {
    fn new(path: PathSpec) -> Self {
        Self {
            path,
            rng: Rng::from_u64(path.seed),
            busy_until: Duration::ZERO,
            transit: BinaryHeap::new(),
            number: 0,
            latest: [Duration::ZERO; 4],
        }
    }

    /// Returns the arrival at an end of an acknowledgment that is due at `due`.
    fn arrival(&mut self, to: usize, due: Duration) -> Duration {
        let packet = Duration::from_nanos(PACKET_BITS * 1_000_000_000 / self.path.bits_per_second);
        let due = due + packet * self.path.jitter_packets * self.rng.below(1_000) / 1_000;
        let Some(latest) = self.latest.get_mut(to) else {
            return due;
        };
        *latest = due.max(*latest);
        *latest
    }

    /// Takes a packet at `now`. Data, from an odd host to an even one, meets the bottleneck.
    fn take(&mut self, packet: Vec<u8>, now: Duration) {
        let Some(&[a, b, c, host]) = packet.get(16..20).and_then(|d| d.first_chunk()) else {
            return;
        };
        let Some(to) = usize::from(host).checked_sub(1) else {
            return;
        };
        if (a, b, c) != (10, 9, 0) || to >= 4 {
            return;
        }
        let mut due = now + self.path.rtt / 2;
        if to % 2 == 1 {
            if self.rng.chance(self.path.loss_ppm) {
                return;
            }
            let start = self.busy_until.max(now);
            let rate = self.path.bits_per_second as f64 / 8.0;
            let queued = (start - now).as_secs_f64() * rate;
            if queued + packet.len() as f64 > self.path.queue_bytes() {
                return;
            }
            self.busy_until = start + Duration::from_secs_f64(packet.len() as f64 / rate);
            due = self.busy_until + self.path.rtt / 2;
            if self.rng.chance(self.path.reorder_ppm) {
                due += self.path.reorder_by;
            }
        } else {
            due = self.arrival(to, due);
        }
        self.number += 1;
        self.transit.push(Reverse(Transit {
            due,
            number: self.number,
            to,
            packet,
        }));
    }
}

/// Returns the address of an end.
pub(crate) fn address(end: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 9, 0, end as u8 + 1)
}

/// Carries packets until the sender of paths is gone. Each new path begins empty.
pub(crate) fn run(mut ends: [End; 4], paths: &Receiver<PathSpec>) {
    let clock = Stopwatch::start();
    let mut relay = Relay::new(PathSpec::default());
    let mut buffer = vec![0; 65_536];
    let mut first = 0;
    loop {
        match paths.try_recv() {
            Ok(path) => relay = Relay::new(path),
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => return,
        }
        let mut busy = false;
        first = (first + 1) % ends.len();
        let (later, sooner) = ends.split_at_mut(first);
        for end in sooner.iter_mut().chain(later) {
            for _ in 0..BATCH {
                let Some(packet) = end.recv(&mut buffer) else {
                    break;
                };
                busy = true;
                relay.take(packet, clock.elapsed());
            }
        }
        let now = clock.elapsed();
        while relay.transit.peek().is_some_and(|next| next.0.due <= now) {
            if let Some(Reverse(transit)) = relay.transit.pop()
                && let Some(end) = ends.get_mut(transit.to)
            {
                busy = true;
                end.send(transit.packet);
            }
        }
        if !busy {
            std::thread::sleep(NAP);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledgments_are_late_at_random_and_keep_their_order() {
        let path = PathSpec {
            bits_per_second: 10_000_000,
            jitter_packets: 4,
            ..PathSpec::default()
        };
        let mut relay = Relay::new(path);
        let mut packet = vec![0; 40];
        packet[16..20].copy_from_slice(&address(0).octets());
        let mut sent_at = Vec::new();
        for number in 0..1_000 {
            sent_at.push(Duration::from_millis(2) * number);
            relay.take(packet.clone(), Duration::from_millis(2) * number);
        }
        let mut late = Vec::new();
        while let Some(Reverse(transit)) = relay.transit.pop() {
            let sent_at = sent_at.get(late.len()).expect("each one arrives once");
            assert_eq!(transit.number, late.len() as u64 + 1, "out of order");
            late.push(transit.due - *sent_at - path.rtt / 2);
        }
        let four_packets = Duration::from_micros(4_800);
        assert!(late.iter().all(|late| *late <= four_packets));
        let above = |part: u32| {
            late.iter()
                .filter(|l| **l > four_packets * part / 4)
                .count()
        };
        assert!(
            above(3) > 200 && above(1) < 900,
            "{} {}",
            above(3),
            above(1)
        );
    }
}
