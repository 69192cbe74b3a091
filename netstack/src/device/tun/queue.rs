//! The common part of both TUN devices: batches, interrupted calls, and the classes of errors.
//!
//! A device implements [`TunQueue`], which reads or writes one packet; [`recv_batch`] and
//! [`send_batch`] repeat that and count.

use std::io;

use packet::Buffers;
use packet::frame::{RxPacket, TxPacket};
use rustix::io::Errno;

use super::mtu::InterfaceMtu;
use crate::base::counters::Counter;
use crate::base::{Counters, DropReason, Instant};

/// Most attempts at a call that signals interrupt.
const INTERRUPTED_CALLS_MAX: usize = 8;

/// The consequence of a failed read or write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Failure {
    /// No packet is waiting, or there is no room for one: the call did nothing.
    WouldBlock,
    /// A signal interrupted the call before it did anything.
    Interrupted,
    /// This packet is lost; the device still works.
    PacketLost,
    /// The device is gone, as [`Device`](super::super::Device) defines it.
    DeviceGone,
}

impl Failure {
    /// Classifies an error number. An interface that is down (`EIO`), lack of memory and a header
    /// that the kernel refuses cost the packet; only a permanent failure ends the device.
    fn of(errno: Errno) -> Self {
        match errno {
            Errno::AGAIN => Self::WouldBlock,
            Errno::INTR => Self::Interrupted,
            // After the interface was deleted the kernel says BADFD, and FAULT to a reader that was
            // asleep in the call at that moment.
            Errno::BADFD | Errno::BADF | Errno::NODEV | Errno::NXIO | Errno::FAULT => {
                Self::DeviceGone
            }
            _ => Self::PacketLost,
        }
    }
}

/// The outcome of one read.
#[derive(Debug)]
pub(super) enum Read {
    Packet(RxPacket),
    /// A packet was taken off the queue, discarded and counted.
    Dropped,
    /// No packet is waiting.
    Empty,
}

impl Read {
    /// Converts a failed read, and counts the packet that it cost.
    ///
    /// # Errors
    /// The device is gone.
    pub(super) fn from_error(errno: Errno, counters: &Counters) -> io::Result<Self> {
        match Failure::of(errno) {
            Failure::WouldBlock | Failure::Interrupted => Ok(Self::Empty),
            Failure::PacketLost => {
                counters.drop_packet(DropReason::DeviceHeader);
                Ok(Self::Dropped)
            }
            Failure::DeviceGone => Err(errno.into()),
        }
    }
}

/// Repeats a call that a signal interrupted, up to [`INTERRUPTED_CALLS_MAX`] times.
#[inline]
pub(super) fn retry_interrupted(
    mut call: impl FnMut() -> Result<usize, Errno>,
) -> Result<usize, Errno> {
    for _ in 1..INTERRUPTED_CALLS_MAX {
        match call() {
            Err(Errno::INTR) => {}
            done => return done,
        }
    }
    call()
}

/// Length from which a packet, or what leaves in one batch, is part of a bulk transfer, in bytes.
const BULK_BYTES: usize = 4_096;

/// Predicts how many packets are waiting, to save the read that finds the queue empty.
///
/// Packets come in runs. After a run of one packet, the next run is expected to be as short: its first packet is
/// processed at once, and the rest, if there is one, in the next turn. Not so in a bulk transfer, in either direction:
/// there the read costs little beside the copies, and what is processed together is acknowledged or sent together.
#[derive(Debug, Default)]
pub(super) struct Runs {
    /// Packets taken since the queue was empty.
    taken: usize,
    /// The last run had one packet.
    was_single: bool,
    /// Much was sent since the last run.
    sent_bulk: bool,
}

impl Runs {
    /// Returns true if a first packet of `len` bytes is expected to be the whole run.
    fn ends_with(&self, len: usize) -> bool {
        self.was_single && self.taken == 0 && len < BULK_BYTES && !self.sent_bulk
    }

    /// Notes that `bytes` were sent in one batch.
    fn note_sent(&mut self, bytes: u64) {
        self.sent_bulk |= bytes >= BULK_BYTES as u64;
    }

    /// Notes that packets were taken, and whether the queue was empty afterwards.
    fn note(&mut self, taken: usize, is_empty: bool) {
        self.taken = self.taken.saturating_add(taken);
        if is_empty {
            if self.taken > 0 {
                self.was_single = self.taken == 1;
                self.sent_bulk = false;
            }
            self.taken = 0;
        }
    }
}

/// One queue of a TUN device, packet by packet.
pub(super) trait TunQueue {
    /// Returns the prediction of what is waiting.
    fn runs(&mut self) -> &mut Runs;

    /// Returns the MTU that the queues share.
    fn mtu(&self) -> &InterfaceMtu;

    /// Reads one packet without waiting. Dropped packets are counted already.
    ///
    /// # Errors
    /// The device is gone.
    fn read_one(
        &mut self,
        buffers: &Buffers,
        now: Instant,
        counters: &Counters,
    ) -> io::Result<Read>;

    /// Hands one packet to the kernel. May change the packet, which is discarded afterwards.
    fn write_one(&mut self, packet: &mut TxPacket) -> Result<usize, Errno>;

    /// Returns the number of packets at the front of `batch` that [`write_run`](Self::write_run) can hand over at once,
    /// at least 1.
    fn run_len(&self, _batch: &[TxPacket]) -> usize {
        1
    }

    /// Hands several packets to the kernel with one call. If that fails, the device still has none of them.
    fn write_run(&mut self, _run: &[TxPacket]) -> Result<usize, Errno> {
        Err(Errno::OPNOTSUPP)
    }
}

/// [`Device::recv_batch`](super::super::Device::recv_batch) for a TUN queue.
pub(super) fn recv_batch(
    queue: &mut impl TunQueue,
    out: &mut Vec<RxPacket>,
    max: usize,
    buffers: &Buffers,
    now: Instant,
    counters: &Counters,
) -> io::Result<usize> {
    queue.mtu().look(now);
    let before = out.len();
    let (mut taken, mut bytes) = (0, 0);
    let (mut is_empty, mut is_whole) = (false, false);
    let result = loop {
        if taken == max || is_whole {
            break Ok(());
        }
        match queue.read_one(buffers, now, counters) {
            Ok(Read::Packet(packet)) => {
                let len = packet.data.len();
                bytes += len as u64;
                out.push(packet);
                is_whole = taken == 0 && queue.runs().ends_with(len);
            }
            Ok(Read::Dropped) => {}
            Ok(Read::Empty) => {
                is_empty = true;
                break Ok(());
            }
            Err(error) => break Err(error),
        }
        taken += 1;
    };
    queue.runs().note(taken, is_empty);
    if taken > 0 {
        counters.add(Counter::PacketsIn, taken as u64);
        counters.add(Counter::BytesIn, bytes);
    }
    result.map(|()| out.len() - before)
}

/// [`Device::send_batch`](super::super::Device::send_batch) for a TUN queue.
pub(super) fn send_batch(
    queue: &mut impl TunQueue,
    batch: &mut Vec<TxPacket>,
    counters: &Counters,
) -> io::Result<()> {
    let mut sent = Sent::default();
    let mut result = Ok(());
    let mut rest = batch.as_mut_slice();
    while result.is_ok() && !rest.is_empty() {
        let count = queue.run_len(rest).clamp(1, rest.len());
        let (run, others) = rest.split_at_mut(count);
        rest = others;
        result = send_run(queue, run, &mut sent, counters);
    }
    // The device is gone.
    for _ in rest {
        counters.drop_packet(DropReason::TransmitFailed);
    }
    batch.clear();
    queue.runs().note_sent(sent.bytes);
    if sent.packets > 0 {
        counters.add(Counter::PacketsOut, sent.packets);
        counters.add(Counter::BytesOut, sent.bytes);
    }
    result
}

/// The packets that the kernel has taken.
#[derive(Default)]
struct Sent {
    packets: u64,
    bytes: u64,
}

/// Sends a run with one call, or packet by packet if it is no run or the kernel refuses it.
#[inline]
fn send_run(
    queue: &mut impl TunQueue,
    run: &mut [TxPacket],
    sent: &mut Sent,
    counters: &Counters,
) -> io::Result<()> {
    if run.len() > 1 && queue.write_run(run).is_ok() {
        sent.packets += run.len() as u64;
        sent.bytes += run.iter().map(|packet| packet.len() as u64).sum::<u64>();
        return Ok(());
    }
    let mut result = Ok(());
    for packet in run {
        // Before `write_one`, which may put the device's own header in front.
        let len = packet.len();
        if result.is_err() {
            counters.drop_packet(DropReason::TransmitFailed);
            continue;
        }
        match queue.write_one(packet) {
            Ok(_) => {
                sent.packets += 1;
                sent.bytes += len as u64;
            }
            Err(errno) => {
                counters.drop_packet(DropReason::TransmitFailed);
                if Failure::of(errno) == Failure::DeviceGone {
                    result = Err(errno.into());
                }
            }
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_permanent_failure_ends_the_device() {
        for errno in [Errno::BADFD, Errno::BADF, Errno::NODEV, Errno::NXIO] {
            assert_eq!(Failure::of(errno), Failure::DeviceGone, "{errno}");
        }
        for errno in [Errno::IO, Errno::NOMEM, Errno::INVAL, Errno::NOBUFS] {
            assert_eq!(Failure::of(errno), Failure::PacketLost, "{errno}");
        }
    }

    #[test]
    fn after_a_lone_packet_the_next_one_is_taken_alone() {
        let mut runs = Runs::default();
        assert!(!runs.ends_with(60), "nothing is known yet");
        runs.note(1, true);
        assert!(runs.ends_with(60));
        assert!(!runs.ends_with(64_000), "more of a bulk transfer may wait");
        runs.note(0, true);
        assert!(runs.ends_with(60), "an empty queue says nothing about runs");

        runs.note(1, false);
        assert!(!runs.ends_with(60), "the rest of the run");
        runs.note(0, true);
        assert!(runs.ends_with(60), "there was none");

        runs.note(1, false);
        runs.note(64, false);
        assert!(!runs.ends_with(60));
        runs.note(3, true);
        assert!(!runs.ends_with(60), "a run of 68");
    }

    #[test]
    fn while_much_is_sent_acknowledgments_are_taken_together() {
        let mut runs = Runs::default();
        runs.note(1, true);
        runs.note_sent(100);
        assert!(runs.ends_with(60), "a short reply is no bulk transfer");
        runs.note_sent(64_000);
        assert!(!runs.ends_with(60));
        runs.note(0, true);
        assert!(!runs.ends_with(60), "they have not come yet");
        runs.note(1, true);
        assert!(runs.ends_with(60), "the transfer paused");
    }

    #[test]
    fn interrupted_calls_are_repeated_but_not_forever() {
        let mut calls = 0;
        let result = retry_interrupted(|| {
            calls += 1;
            if calls < 3 { Err(Errno::INTR) } else { Ok(7) }
        });
        assert_eq!((result, calls), (Ok(7), 3));
        calls = 0;
        let result = retry_interrupted(|| {
            calls += 1;
            Err(Errno::INTR)
        });
        assert_eq!((result, calls), (Err(Errno::INTR), INTERRUPTED_CALLS_MAX));
    }
}
