//! Packets on their way to the program, behind headers or bare.

use std::sync::atomic::Ordering;

use packet::frame::TxPacket;

use super::super::cut::Cut;
use super::super::linear;
use super::run::Run;
use super::{ChannelDevice, virtio_net};
use crate::base::{Counters, DropReason};

/// The packets and bytes that a batch has sent.
#[derive(Default)]
pub(super) struct Sent {
    pub(super) packets: u64,
    pub(super) bytes: u64,
}

impl ChannelDevice {
    /// Queues a run of packets, and counts them.
    fn push(&self, run: Run, counters: &Counters, sent: &mut Sent) {
        let (count, len) = (run.packets(), run.bytes().len());
        let each = run.packet_len();
        let lost = self.shared.push_run(run);
        let bytes = match lost {
            0 => len,
            _ => (count - lost) * each,
        };
        self.count(count - lost, bytes, lost, counters, sent);
    }

    /// Counts what was queued, and what found no room.
    fn count(
        &self,
        packets: usize,
        bytes: usize,
        lost: usize,
        counters: &Counters,
        sent: &mut Sent,
    ) {
        sent.packets += packets as u64;
        sent.bytes += bytes as u64;
        self.shared
            .dropped
            .fetch_add(lost as u64, Ordering::Relaxed);
        for _ in 0..lost {
            counters.drop_packet(DropReason::TransmitFailed);
        }
    }

    /// Sends packets behind virtio-net headers. A burst of equal datagrams is one of them.
    pub(super) fn send_framed(
        &mut self,
        batch: &mut Vec<TxPacket>,
        counters: &Counters,
        sent: &mut Sent,
    ) {
        let mtu = usize::from(self.shared.mtu());
        let mut rest = &batch[..];
        while let Some((framed, count)) =
            virtio_net::frame(rest, &mut self.memory, &self.shared.lender)
        {
            let (run, others) = rest.split_at_checked(count).unwrap_or((rest, &[]));
            rest = others;
            if framed.largest() > mtu {
                for _ in run {
                    counters.drop_packet(DropReason::TooBig);
                }
            } else if self.shared.push_run(framed) == 0 {
                let bytes = run.iter().map(TxPacket::len).sum();
                self.count(count, bytes, 0, counters, sent);
            } else {
                self.count(0, 0, count, counters, sent);
            }
        }
        // None is left, unless one could not be written.
        for _ in rest {
            counters.drop_packet(DropReason::TransmitFailed);
        }
        batch.clear();
    }

    /// Sends packets as they are on the link, super-segments in pieces.
    pub(super) fn send_bare(
        &mut self,
        batch: &mut Vec<TxPacket>,
        counters: &Counters,
        sent: &mut Sent,
    ) {
        let mut rest = &batch[..];
        while let Some((first, behind)) = rest.split_first() {
            if first.offload.segment.is_some() {
                self.send_cut(first, counters, sent);
                rest = behind;
                continue;
            }
            let is_whole = |packet: &TxPacket| packet.offload.segment.is_none();
            let count = rest.iter().take_while(|packet| is_whole(packet)).count();
            let (singles, others) = rest.split_at_checked(count).unwrap_or((rest, &[]));
            self.send_singles(singles, counters, sent);
            rest = others;
        }
        batch.clear();
    }

    /// Sends packets that follow each other and are not cut.
    fn send_singles(&mut self, packets: &[TxPacket], counters: &Counters, sent: &mut Sent) {
        let mtu = usize::from(self.shared.mtu());
        let mut left: usize = packets.iter().map(TxPacket::len).sum();
        self.burst.begin(left, &self.shared.lender);
        for packet in packets {
            if packet.len() > mtu {
                left -= packet.len();
                counters.drop_packet(DropReason::TooBig);
                continue;
            }
            let mut pushed = self.burst.push(packet);
            // Full: what has no slab gets none while memory is short, and a search for each packet would cost the more.
            if pushed.is_none() && self.burst.is_open() {
                self.finish_burst(counters, sent);
                self.burst.begin(left, &self.shared.lender);
                pushed = self.burst.push(packet);
            }
            left -= packet.len();
            match pushed {
                Some(Ok(())) => {}
                Some(Err(_)) => counters.drop_packet(DropReason::TransmitFailed),
                None => {
                    // In the order in which they were sent.
                    self.finish_burst(counters, sent);
                    self.send_alone(packet, counters, sent);
                }
            }
        }
        self.finish_burst(counters, sent);
    }

    /// Sends what was collected.
    fn finish_burst(&mut self, counters: &Counters, sent: &mut Sent) {
        let mut burst = std::mem::take(&mut self.burst);
        burst.finish(|run| self.push(run, counters, sent));
        self.burst = burst;
    }

    /// Sends a packet in memory of its own.
    fn send_alone(&mut self, packet: &TxPacket, counters: &Counters, sent: &mut Sent) {
        let len = packet.len();
        let written = self.memory.fill(len, &self.shared.lender, |out| {
            linear::write_to(packet, out)
        });
        match written {
            Ok(bytes) => self.push(Run::new(bytes, len), counters, sent),
            Err(_) => counters.drop_packet(DropReason::TransmitFailed),
        }
    }

    /// Sends a super-segment in pieces.
    fn send_cut(&mut self, packet: &TxPacket, counters: &Counters, sent: &mut Sent) {
        let mtu = usize::from(self.shared.mtu());
        let Ok(mut cut) = Cut::new(packet) else {
            counters.drop_packet(DropReason::TransmitFailed);
            return;
        };
        if cut.packet_len() > mtu {
            // Built for the MTU before this one.
            for _ in 0..cut.left() {
                counters.drop_packet(DropReason::TooBig);
            }
            return;
        }
        while let Some(run) = cut.next_run(&mut self.memory, &self.shared.lender) {
            match run {
                Ok(run) => self.push(run, counters, sent),
                Err(_) => {
                    // What was written of the run counts as one.
                    for _ in 0..=cut.left() {
                        counters.drop_packet(DropReason::TransmitFailed);
                    }
                    return;
                }
            }
        }
    }
}
