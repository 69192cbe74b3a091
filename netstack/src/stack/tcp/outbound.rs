//! From a connection's or a socket's state to packets: the way out.
//!
//! Only the worker that owns a connection turns its state into segments, so they leave in order.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use lockorder::Key;
use packet::IpProto;
use packet::tcp::TcpFlags;

use crate::base::Instant;
use crate::base::counters::{Counter, DropReason};
use crate::demux::FlowKey;
use crate::ip::send::{Packets, TxParams, tcp_packet, udp_packets};
use crate::stack::host::Shared;
use crate::stack::levels::StackLocks;
use crate::stack::tcp::connection::ConnCell;
use crate::stack::tcp::inbound::header_of;
use crate::stack::turn::WorkerState;
use crate::stack::udp::app::OutDatagram;
use crate::tcp::{Losses, SegmentOut};

/// Segments that one connection may produce before others get their turn.
const SEGMENTS_PER_DRIVE: usize = 64;

/// Payload of a super-segment: what the 16-bit length fields leave beside the largest headers.
const MAX_SUPER_SEGMENT_BYTES: usize = 65_535 - 60 - 60;

/// Adds to the worker's counters what a connection counted in between.
fn count_losses(w: &WorkerState, before: Losses, after: Losses) {
    let more = |after: u32, before: u32| u64::from(after.saturating_sub(before));
    let retransmits = more(after.retransmits, before.retransmits);
    if retransmits > 0 {
        w.counters.add(Counter::TcpRetransmits, retransmits);
    }
    let timeouts = more(after.timeouts, before.timeouts);
    if timeouts > 0 {
        w.counters.add(Counter::TcpTimeouts, timeouts);
    }
}

/// How a connection's segments leave.
#[derive(Clone, Copy)]
pub(in crate::stack) struct Outgoing {
    pub(in crate::stack) ttl: u8,
    pub(in crate::stack) traffic_class: u8,
    /// False on a path so narrow that its routers must be let fragment.
    pub(in crate::stack) dont_fragment: bool,
}

impl Shared {
    /// How a reply leaves that no connection has a say in.
    pub(in crate::stack) fn outgoing(&self) -> Outgoing {
        Outgoing {
            ttl: self.config.ttl,
            traffic_class: 0,
            dont_fragment: true,
        }
    }

    /// Lets a connection send what it has to send; returns when its next timer is due.
    pub fn drive(
        &self,
        key: &mut Key<StackLocks>,
        w: &mut WorkerState,
        cell: &Arc<ConnCell>,
    ) -> Option<Instant> {
        cell.unmark();
        let max_payload = if self.link.offload.tso {
            MAX_SUPER_SEGMENT_BYTES
        } else {
            0
        };
        let mut gone = false;
        let mut again = false;
        let mut deadline = None;
        let remote = cell.flow.remote().ip();
        let dont_fragment = self.path(key, remote, w.now).dont_fragment;
        cell.state.with(&mut key.ctx(), |conn, _| {
            let how = Outgoing {
                ttl: conn.ttl,
                traffic_class: conn.traffic_class,
                dont_fragment,
            };
            again = true;
            let before = conn.tcp.losses();
            for _ in 0..SEGMENTS_PER_DRIVE {
                let Some(segment) = conn.tcp.poll_transmit(w.now, max_payload) else {
                    again = false;
                    break;
                };
                self.send_segment(w, &cell.flow, segment, how);
            }
            count_losses(w, before, conn.tcp.losses());
            gone = conn.tcp.is_gone();
            deadline = conn.tcp.poll_timeout();
        });
        if gone {
            self.forget(key, w, cell);
            return None;
        }
        if again {
            w.mark_dirty(cell);
        }
        deadline
    }

    /// A connection's timer is due.
    pub fn on_conn_timeout(
        &self,
        key: &mut Key<StackLocks>,
        w: &mut WorkerState,
        cell: &Arc<ConnCell>,
    ) {
        let now = w.now;
        cell.state.with(&mut key.ctx(), |conn, _| {
            let before = conn.tcp.losses();
            let readiness = conn.tcp.on_timeout(now);
            count_losses(w, before, conn.tcp.losses());
            conn.collect_wakers(readiness, &mut w.deferred);
        });
        w.mark_dirty(cell);
    }

    /// Builds one segment into the transmit batch.
    pub(in crate::stack) fn send_segment(
        &self,
        w: &mut WorkerState,
        flow: &FlowKey,
        segment: SegmentOut,
        how: Outgoing,
    ) {
        let header = header_of(flow, &segment);
        if header.flags.contains(TcpFlags::RST) {
            w.counters.add(Counter::TcpResetsOut, 1);
        }
        let (local, remote) = (flow.local(), flow.remote());
        let params = TxParams {
            // The connection keeps to its MSS, which follows the path.
            mtu: self.link.mtu,
            dont_fragment: how.dont_fragment,
            ttl: how.ttl,
            traffic_class: how.traffic_class,
            flow_label: 0,
            offload: self.link.offload,
        };
        let identification = &mut w.identification;
        let ident = || identification.next(local.ip(), remote.ip(), IpProto::TCP.0);
        match tcp_packet(
            local,
            remote,
            &header,
            segment.payload,
            segment.mss,
            &params,
            ident,
        ) {
            Ok(packet) => w.local.transmit.push(packet),
            Err(_) => w.counters.drop_packet(DropReason::TransmitFailed),
        }
    }

    /// How packets to `remote` leave.
    pub(in crate::stack) fn tx_params(
        &self,
        key: &mut Key<StackLocks>,
        w: &WorkerState,
        remote: IpAddr,
        ttl: u8,
        traffic_class: u8,
    ) -> TxParams {
        let path = self.path(key, remote, w.now);
        TxParams {
            mtu: path.mtu,
            dont_fragment: path.dont_fragment,
            ttl,
            traffic_class,
            flow_label: 0,
            offload: self.link.offload,
        }
    }

    /// Puts a datagram's packets into the transmit batch.
    pub(in crate::stack) fn queue_packets(&self, w: &mut WorkerState, packets: Packets) {
        if packets.is_fragmented() {
            w.counters
                .add(Counter::FragmentsOut, packets.remaining() as u64);
        }
        w.local.transmit.extend(packets);
    }

    /// Builds and queues the datagrams that tasks left; true if there were any.
    pub fn send_datagrams(&self, key: &mut Key<StackLocks>, w: &mut WorkerState) -> bool {
        if w.local.datagrams.is_empty() {
            return false;
        }
        let mut datagrams = std::mem::take(&mut w.local.datagrams);
        for datagram in datagrams.drain(..) {
            self.send_datagram(key, w, datagram);
        }
        w.local.datagrams = datagrams;
        true
    }

    fn send_datagram(&self, key: &mut Key<StackLocks>, w: &mut WorkerState, datagram: OutDatagram) {
        let (mut local, remote) = (datagram.flow.local(), datagram.flow.remote());
        if local.ip().is_unspecified() {
            match w.addressing.addresses.select_source(remote.ip()) {
                Some(source) => local.set_ip(source),
                None => {
                    w.counters.drop_packet(DropReason::NoRoute);
                    return;
                }
            }
        }
        let params = self.tx_params(key, w, remote.ip(), datagram.ttl, 0);
        let identification = &mut w.identification;
        let packets = udp_packets(local, remote, datagram.payload.into(), &params, || {
            identification.next(local.ip(), remote.ip(), IpProto::UDP.0)
        });
        match packets {
            Ok(packets) => self.queue_packets(w, packets),
            Err(_) => w.counters.drop_packet(DropReason::TooBig),
        }
    }

    /// Timers of the stack itself: datagrams whose fragments did not all come.
    pub fn on_stack_timers(
        &self,
        key: &mut Key<StackLocks>,
        w: &mut WorkerState,
        now: Instant,
    ) -> bool {
        if w.reassembly_deadline > now {
            return false;
        }
        let mut expired = Vec::new();
        let next = self.reassembly.with(&mut key.ctx(), |reassembly, _| {
            while let Some(timed_out) = reassembly.on_timeout(now) {
                expired.push(timed_out);
            }
            reassembly.poll_timeout()
        });
        self.note_reassembly_deadline(w, next);
        for timed_out in expired {
            for _ in 0..timed_out.fragments {
                w.counters.drop_packet(DropReason::FragmentTimeout);
            }
            if let Some(first) = timed_out.first {
                self.send_time_exceeded(key, w, &first);
            }
        }
        true
    }

    pub(in crate::stack) fn note_reassembly_deadline(
        &self,
        w: &mut WorkerState,
        next: Option<Instant>,
    ) {
        let next = next.unwrap_or(Instant::FAR_FUTURE);
        self.reassembly_deadline
            .store(next.as_nanos(), Ordering::Relaxed);
        w.reassembly_deadline = next;
    }
}
