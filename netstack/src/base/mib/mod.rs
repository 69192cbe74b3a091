//! Counters by the names of the MIBs (RFC 4293, RFC 4022, RFC 4113), which are those of Linux's `nstat`.
//!
//! * **Define.** Each object is counted by one worker at a time, in counters that only this worker writes: a plain
//!   addition, not an atomic one.
//! * **Enforce.** [`Tally`] alone adds to them, through a unique reference, and cannot be cloned.
//! * **Consume.** [`Mib`] sums the workers' counters, from any thread.
//!
//! | module | content |
//! |---|---|
//! | [`objects`] | the objects, each with its names |
//! | [`snapshot`] | all of them at one moment |

pub mod objects;
pub mod snapshot;

use core::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use packet::TxPacket;
use packet::ip::IpVersion;

use super::counters::Counters;
use objects::{IcmpObject, IpObject, TcpObject, UdpObject};

pub use snapshot::Mib;

/// The objects of one family, as one worker counts them.
#[derive(Debug)]
struct Family {
    ip: [AtomicU64; IpObject::COUNT],
    icmp: [AtomicU64; IcmpObject::COUNT],
    udp: [AtomicU64; UdpObject::COUNT],
}

impl Default for Family {
    fn default() -> Self {
        Self {
            ip: [const { AtomicU64::new(0) }; IpObject::COUNT],
            icmp: [const { AtomicU64::new(0) }; IcmpObject::COUNT],
            udp: [const { AtomicU64::new(0) }; UdpObject::COUNT],
        }
    }
}

/// The objects as one worker counts them: written by it, read by any thread.
#[derive(Debug)]
pub(super) struct Objects {
    v4: Family,
    v6: Family,
    tcp: [AtomicU64; TcpObject::COUNT],
}

impl Default for Objects {
    fn default() -> Self {
        Self {
            v4: Family::default(),
            v6: Family::default(),
            tcp: [const { AtomicU64::new(0) }; TcpObject::COUNT],
        }
    }
}

impl Objects {
    /// Returns every object.
    pub(super) fn all(&self) -> impl Iterator<Item = &AtomicU64> {
        let families = [&self.v4, &self.v6].into_iter();
        let of_families =
            families.flat_map(|family| family.ip.iter().chain(&family.icmp).chain(&family.udp));
        of_families.chain(&self.tcp)
    }

    #[inline]
    fn family(&self, version: IpVersion) -> &Family {
        match version {
            IpVersion::V4 => &self.v4,
            IpVersion::V6 => &self.v6,
        }
    }
}

/// Adds to a counter that no other thread writes.
#[inline]
fn add(counter: &AtomicU64, count: u64) {
    let sum = counter.load(Ordering::Relaxed).wrapping_add(count);
    counter.store(sum, Ordering::Relaxed);
}

/// The right to count the objects of one worker.
#[derive(Debug)]
pub struct Tally(Arc<Counters>);

impl Tally {
    /// Creates the tally of a worker. The caller guarantees that there is no other one of the same counters; with two,
    /// counts would get lost.
    pub(crate) fn new(counters: &Arc<Counters>) -> Self {
        Self(Arc::clone(counters))
    }

    /// Counts an object of IP.
    #[inline]
    pub fn ip(&mut self, version: IpVersion, object: IpObject, count: u64) {
        add(&self.0.mib.family(version).ip[object as usize], count);
    }

    /// Counts an object of ICMP.
    #[inline]
    pub fn icmp(&mut self, version: IpVersion, object: IcmpObject, count: u64) {
        add(&self.0.mib.family(version).icmp[object as usize], count);
    }

    /// Counts an object of UDP.
    #[inline]
    pub fn udp(&mut self, version: IpVersion, object: UdpObject, count: u64) {
        add(&self.0.mib.family(version).udp[object as usize], count);
    }

    /// Counts a packet to `dst` that a protocol asked to send and that was handed on as it is.
    #[inline]
    pub fn sent(&mut self, packet: &TxPacket, dst: IpAddr) {
        let packet = core::slice::from_ref(packet);
        self.sent_as(packet, IpVersion::of_addr(dst), dst.is_multicast());
    }

    /// Counts one packet that a protocol asked to send, and the packets, of that or its fragments, that were handed on.
    #[inline]
    pub fn sent_as(&mut self, packets: &[TxPacket], version: IpVersion, is_to_group: bool) {
        let len = |packet: &TxPacket| (packet.head.len() + packet.payload.len_bytes()) as u64;
        let count = packets.len() as u64;
        let bytes = packets.iter().map(len).sum();
        self.ip(version, IpObject::OutRequests, 1);
        self.ip(version, IpObject::OutTransmits, count);
        self.ip(version, IpObject::OutOctets, bytes);
        if is_to_group {
            self.ip(version, IpObject::OutMcastPkts, count);
            self.ip(version, IpObject::OutMcastOctets, bytes);
        }
    }

    /// Counts an object of TCP.
    #[inline]
    pub fn tcp(&mut self, object: TcpObject, count: u64) {
        add(&self.0.mib.tcp[object as usize], count);
    }
}
