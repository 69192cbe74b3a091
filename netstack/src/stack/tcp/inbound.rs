//! A received TCP segment, from its verified bytes to the connection that it concerns.
//!
//! RFC 9293 section 3.10.7 in its order: no connection and no listener (3.10.7.1), a listener
//! (3.10.7.2), a connection (3.10.7.3 and 3.10.7.4, in `tcp`).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use lockorder::Key;
use packet::frame::RxPacket;
use packet::tcp::{TcpFlags, TcpHeader, TcpParseError, TcpView};

use crate::base::counters::{Counter, DropReason};
use crate::demux::FlowKey;
use crate::stack::host::Shared;
use crate::stack::levels::StackLocks;
use crate::stack::tcp::connection::ConnCell;
use crate::stack::tcp::listener::Listener;
use crate::stack::tcp::table::InsertError;
use crate::stack::turn::WorkerState;
use crate::tcp::{Readiness, Segment, SegmentOut, SeqNum, Tcp, reset_for};

/// A TCP packet whose IP header was checked: who, to whom, and where in the packet the segment is.
pub(in crate::stack) struct TcpArrival {
    pub(in crate::stack) src: IpAddr,
    pub(in crate::stack) dst: IpAddr,
    pub(in crate::stack) ecn: u8,
    pub(in crate::stack) range: std::ops::Range<usize>,
    /// It came from the worker that read it: do not pass it on again.
    pub(in crate::stack) handed_over: bool,
}

impl Shared {
    pub(in crate::stack) fn receive_tcp(
        &self,
        key: &mut Key<StackLocks>,
        w: &mut WorkerState,
        packet: RxPacket,
        arrival: TcpArrival,
    ) {
        let bytes = packet.data.get(arrival.range.clone()).unwrap_or(&[]);
        let view = match TcpView::parse(arrival.src, arrival.dst, bytes, packet.checksum) {
            Ok(view) => view,
            Err(error) => {
                w.counters.drop_packet(match error {
                    TcpParseError::Checksum => DropReason::TcpChecksum,
                    _ => DropReason::TcpMalformed,
                });
                return;
            }
        };
        let header = view.header();
        let text = arrival.range.start + view.header_len()..arrival.range.end;
        let flow = FlowKey::of(arrival.dst, header.dst_port, arrival.src, header.src_port);

        let found = self.flows.get(&mut key.ctx(), &flow);
        if let Some(cell) = &found
            && usize::from(cell.owner) != w.index
            && !arrival.handed_over
        {
            w.counters.add(Counter::HandedOver, 1);
            let owner = &self.workers[usize::from(cell.owner)].mailbox;
            if owner.hand_over(packet).is_err() {
                w.counters.drop_packet(DropReason::InboxFull);
            }
            return;
        }
        let segment = segment_of(&header, arrival.ecn, &packet, text);
        match found {
            Some(cell) => self.segment_to_connection(key, w, &cell, segment),
            None => self.segment_to_port(key, w, flow, segment, None),
        }
    }

    /// RFC 9293 section 3.10.7.3 and 3.10.7.4: the connection decides.
    fn segment_to_connection(
        &self,
        key: &mut Key<StackLocks>,
        w: &mut WorkerState,
        cell: &Arc<ConnCell>,
        segment: Segment,
    ) {
        // A connection that ended in this very turn is in the table until the turn's end. And a new SYN
        // may end TIME-WAIT early (RFC 6191). In both cases the segment is for the port.
        let (ended, reuse) = cell.state.with(&mut key.ctx(), |conn, _| {
            (conn.tcp.is_gone(), conn.tcp.time_wait_reuse(&segment))
        });
        if ended || reuse.is_some() {
            self.forget(key, w, cell);
            let isn_after = reuse.map(|reuse| reuse.isn_after);
            self.segment_to_port(key, w, cell.flow, segment, isn_after);
            return;
        }
        let WorkerState { deferred, .. } = w;
        let is_reset = segment.flags.contains(TcpFlags::RST);
        let outcome = cell.state.with(&mut key.ctx(), |conn, ctx| {
            let outcome = conn.tcp.on_segment(segment, w.now, &self.buffers);
            conn.collect_wakers(outcome.readiness, deferred);
            if outcome.readiness.contains(Readiness::ESTABLISHED) {
                match conn.listener.take() {
                    None => w.counters.add(Counter::TcpActiveOpens, 1),
                    Some(listener) => {
                        w.counters.add(Counter::TcpPassiveOpens, 1);
                        if listener.has_service() {
                            listener.release();
                            deferred.served.push((listener, Arc::clone(cell)));
                        } else {
                            let waiting = listener.queue.with(ctx, |queue, _| {
                                // Whoever closes the listener empties the queue afterwards.
                                let open = !listener.is_closed();
                                if open {
                                    queue.ready.push_back(Arc::clone(cell));
                                    deferred.wakers.append(&mut queue.acceptors);
                                }
                                open
                            });
                            if !waiting {
                                conn.tcp.abort(w.now);
                            }
                            deferred.released.push(listener);
                        }
                    }
                }
            }
            outcome
        });
        match outcome.drop {
            Some(reason) => w.counters.drop_packet(reason),
            None if is_reset => w.counters.add(Counter::TcpResetsIn, 1),
            None => {}
        }
        if let Some(rst) = outcome.rst {
            self.send_segment(w, &cell.flow, rst, self.outgoing());
        }
        self.mark_dirty(w, cell);
    }

    /// The owner drives the connection at the end of its turn. It is us, unless the flow changed hands
    /// while the segment was on its way here.
    pub(in crate::stack) fn mark_dirty(&self, w: &mut WorkerState, cell: &Arc<ConnCell>) {
        if usize::from(cell.owner) == w.index {
            w.mark_dirty(cell);
        } else {
            self.schedule(cell);
        }
    }

    /// RFC 9293 section 3.10.7.1 and 3.10.7.2: there is no connection.
    fn segment_to_port(
        &self,
        key: &mut Key<StackLocks>,
        w: &mut WorkerState,
        flow: FlowKey,
        segment: Segment,
        isn_after: Option<SeqNum>,
    ) {
        let local: SocketAddr = flow.local();
        let listener = self.listeners.with_read(&mut key.ctx(), |listeners, _| {
            listeners.lookup(local).cloned()
        });
        let Some(listener) = listener else {
            w.counters.drop_packet(DropReason::TcpNoListener);
            self.refuse(w, &flow, &segment);
            return;
        };
        // LISTEN, first: a RST is ignored. Second: an ACK is answered with a reset.
        // Third: a SYN opens. Fourth: anything else is dropped.
        if segment.flags.contains(TcpFlags::RST) {
            w.counters.drop_packet(DropReason::TcpNoListener);
        } else if segment.flags.contains(TcpFlags::ACK) {
            w.counters.drop_packet(DropReason::TcpNoListener);
            self.refuse(w, &flow, &segment);
        } else if segment.flags.contains(TcpFlags::SYN) {
            self.open_passively(key, w, &listener, flow, &segment, isn_after);
        } else {
            w.counters.drop_packet(DropReason::TcpNoListener);
        }
        w.deferred.released.push(listener);
    }

    fn open_passively(
        &self,
        key: &mut Key<StackLocks>,
        w: &mut WorkerState,
        listener: &Arc<Listener>,
        flow: FlowKey,
        syn: &Segment,
        isn_after: Option<SeqNum>,
    ) {
        if flow.remote().port() == 0 || !listener.admit() {
            w.counters.drop_packet(DropReason::TcpBacklogFull);
            return;
        }
        let mut open = self.open_parameters(key, &flow);
        if let Some(after) = isn_after.filter(|after| !open.isn.after(*after)) {
            open.isn = after + 1;
        }
        let tcp = Tcp::accept(&self.tcp_config, open, syn, w.now);
        let cell = ConnCell::new(
            flow,
            w.index as u16,
            tcp,
            Some(Arc::clone(listener)),
            self.config.ttl,
        );
        match self.flows.insert(&mut key.ctx(), Arc::clone(&cell)) {
            Ok(()) => w.mark_dirty(&cell),
            Err(error) => {
                listener.release();
                w.counters.drop_packet(match error {
                    // Another worker took the same SYN first: a duplicate.
                    InsertError::Exists => DropReason::TcpNotAcceptable,
                    InsertError::Full => DropReason::TcpBacklogFull,
                });
            }
        }
    }

    /// Answers a segment for which there is nobody (RFC 9293 section 3.10.7.1).
    fn refuse(&self, w: &mut WorkerState, flow: &FlowKey, segment: &Segment) {
        if let Some(rst) = reset_for(segment) {
            self.send_segment(w, flow, rst, self.outgoing());
        }
    }

    /// Takes a connection out of the tables; nothing reaches it any more.
    pub(in crate::stack) fn forget(
        &self,
        key: &mut Key<StackLocks>,
        w: &mut WorkerState,
        cell: &Arc<ConnCell>,
    ) {
        let deferred = &mut w.deferred;
        let (first, listener) = cell.state.with(&mut key.ctx(), |conn, _| {
            conn.collect_wakers(Readiness::CLOSED, deferred);
            (
                !std::mem::replace(&mut conn.removed, true),
                conn.listener.take(),
            )
        });
        if let Some(listener) = listener {
            // It never got as far as being handed out: its place in the backlog is free.
            listener.release();
            w.deferred.released.push(listener);
        }
        if first && self.flows.remove(&mut key.ctx(), cell) {
            w.counters.add(Counter::TcpClosed, 1);
        }
    }
}

fn segment_of(
    header: &TcpHeader,
    ecn: u8,
    packet: &RxPacket,
    text: std::ops::Range<usize>,
) -> Segment {
    let payload = if text.is_empty() {
        packet::Payload::default()
    } else {
        packet.data.slice(text)
    };
    Segment {
        seq: SeqNum(header.seq),
        ack: SeqNum(header.ack),
        flags: header.flags,
        window: header.window,
        urgent: header.urgent,
        options: header.options,
        ecn,
        gso_size: packet.gso_size,
        payload,
    }
}

/// The header of a segment to send.
pub(in crate::stack) fn header_of(flow: &FlowKey, segment: &SegmentOut) -> TcpHeader {
    TcpHeader {
        src_port: flow.local().port(),
        dst_port: flow.remote().port(),
        seq: segment.seq.0,
        ack: segment.ack.0,
        flags: segment.flags,
        window: segment.window,
        urgent: 0,
        options: segment.options,
    }
}
