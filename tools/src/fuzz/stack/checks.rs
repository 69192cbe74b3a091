//! The invariants that hold after each packet, at each instant and in the end.

use std::mem::take;
use std::net::IpAddr;

use netstack::base::counters::{Counter, DropReason};
use packet::buf::Audit;

use super::super::packets::{certainly_bad, checksums_hold};
use super::{
    CONNECTIONS, HALF_OPEN, LARGE_SLABS, LISTENS, MTU, PEER, SMALL_SLABS, TIME_WAITS, World,
};
use crate::capture::{Captured, tcp_segment};

/// Drop reasons that a received packet can cause for another packet: a fragment that is given up, or
/// the answer.
const BESIDE: [DropReason; 7] = [
    DropReason::FragmentInvalid,
    DropReason::FragmentTimeout,
    DropReason::FragmentNoMemory,
    DropReason::FragmentOverlap,
    DropReason::NoRoute,
    DropReason::TooBig,
    DropReason::TransmitFailed,
];

/// Formats the first bytes of a packet for a message.
fn hex(packet: &[u8]) -> String {
    format!(
        "{} bytes {:02x?}",
        packet.len(),
        &packet[..packet.len().min(96)]
    )
}

impl World {
    /// Delivers one packet to the stack and checks how it was counted.
    pub(super) fn deliver(&mut self, packet: Vec<u8>) {
        let (gso_size, vouches) = (take(&mut self.gso_size), take(&mut self.vouches));
        // A packet that a device vouches for may have any checksum, and one that it merged any length.
        let bad = certainly_bad(&packet, self.path.to).filter(|_| !vouches && gso_size == 0);
        let before = self.stack.stack().counters();
        if vouches {
            self.stack.deliver_vouched(packet.clone(), gso_size);
        } else {
            self.stack.deliver(packet.clone(), gso_size);
        }
        self.settle();
        let after = self.stack.stack().counters();
        let counted = after.count(Counter::PacketsIn) - before.count(Counter::PacketsIn);
        assert_eq!(
            counted,
            1,
            "one packet in was counted {counted} times: {}",
            hex(&packet)
        );
        let dropped: Vec<(&str, u64)> = DropReason::ALL
            .iter()
            .filter(|reason| bad.is_some() || !BESIDE.contains(reason))
            .map(|reason| {
                (
                    reason.label(),
                    after.dropped(*reason) - before.dropped(*reason),
                )
            })
            .filter(|(_, count)| *count > 0)
            .collect();
        let total: u64 = dropped.iter().map(|(_, count)| count).sum();
        // What a device merged is counted as the datagrams that it was.
        let most = match gso_size {
            0 => 1,
            size => packet.len().div_ceil(usize::from(size)).max(1) as u64,
        };
        let (allowed, why) = match bad {
            Some(why) => (1..=1, why),
            None => (0..=most, "valid"),
        };
        assert!(
            allowed.contains(&total) && (dropped.len() <= 1 || gso_size > 0),
            "a packet ({why}) was discarded as {dropped:?}: {}",
            hex(&packet)
        );
    }

    pub(super) fn settle(&mut self) {
        let mut sent = std::mem::take(&mut self.sent);
        self.next_timer = self
            .stack
            .settle(self.now, &mut sent)
            .expect("the stack becomes idle");
        for packet in sent.drain(..) {
            self.check_sent(&packet);
            self.last_sent = packet;
        }
        self.sent = sent;
        let stack = self.stack.stack();
        assert!(stack.connections() <= CONNECTIONS, "{stack:?}");
        assert!(stack.half_open() <= HALF_OPEN + TIME_WAITS, "{stack:?}");
        assert!(stack.time_waits() <= TIME_WAITS, "{stack:?}");
        let (large, small) = stack.slabs_in_use();
        assert!(large <= LARGE_SLABS && small <= SMALL_SLABS);
    }

    fn check_sent(&mut self, packet: &[u8]) {
        assert!(
            packet.len() <= usize::from(MTU),
            "{} bytes sent",
            packet.len()
        );
        assert!(
            checksums_hold(packet),
            "sent with a wrong checksum: {}",
            hex(packet)
        );
        let sliced = etherparse::SlicedPacket::from_ip(packet);
        let sliced =
            sliced.unwrap_or_else(|error| panic!("sent, malformed: {error}: {}", hex(packet)));
        let from = match &sliced.net {
            Some(etherparse::NetSlice::Ipv4(ip)) => IpAddr::from(ip.header().source_addr()),
            Some(etherparse::NetSlice::Ipv6(ip)) => IpAddr::from(ip.header().source_addr()),
            _ => panic!("sent what is not IP: {}", hex(packet)),
        };
        assert_eq!(from, self.path.to, "sent with a source that is not ours");
        let captured = Captured {
            number: 0,
            time: self.now,
            ip: packet.to_vec(),
            cut: false,
        };
        let Some((from, to, segment)) = tcp_segment(&captured) else {
            return;
        };
        let behind = segment.payload.len() as u32 + u32::from(segment.syn) + u32::from(segment.fin);
        if to.port() == PEER && from.port() == LISTENS && !segment.rst {
            self.ack = segment.seq.wrapping_add(behind);
        }
        if segment.syn && !segment.has_ack {
            self.syn = Some((from.port(), segment.seq));
        }
    }

    /// Closes every socket, lets all timers run, and checks that no connection and no buffer is left.
    pub(super) fn end(&mut self) {
        self.listener = None;
        self.udp = None;
        self.connecting = None;
        self.streams.clear();
        self.settle();
        for _ in 0..10_000 {
            let Some(at) = self.next_timer else { break };
            self.now = self.now.max(at);
            self.settle();
        }
        let stack = self.stack.stack();
        assert_eq!(
            stack.connections(),
            0,
            "connections are left {:?} after everything was closed: {:?}",
            self.now,
            stack.tcp_info()
        );
        assert_eq!((stack.half_open(), stack.time_waits()), (0, 0), "{stack:?}");
        assert_eq!(stack.slabs_in_use(), (0, 0), "slabs were not given back");
        for audit in stack.audit() {
            assert!(audit.is_clean() || audit == Audit::Unsupported, "{audit:?}");
        }
    }
}
