//! A received TCP segment, from its verified bytes to the connection that it concerns.
//!
//! RFC 9293 section 3.10.7 in its order: no connection and no listener (3.10.7.1), a listener
//! (3.10.7.2), a connection (3.10.7.3 and 3.10.7.4, in `tcp`). A connection is locked once for each
//! segment.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use lockorder::LockCtx;
use packet::frame::RxPacket;
use packet::tcp::{TcpFlags, TcpParseError};

use super::super::events::EventLog;
use super::super::levels;
use super::super::turn::{Turn, WorkerState};
use super::accept::Offer;
use super::connection::{Connection, ConnectionState, Handshake, Listener};
use super::open::{mss_for, open_parameters};
use super::outbound::send_alone;
use super::removal::remove;
use super::table::InsertError;
use crate::base::counters::{Counter, DropReason};
use crate::demux::FlowKey;
use crate::icmp::{ErrorKind, TransportError};
use crate::tcp::{
    IcmpError, Readiness, Reuse, Segment, SegmentOutcome, SeqNum, Tcp, Unreachable, reset_for,
};

/// A TCP packet whose IP header was checked.
pub(in crate::stack) struct TcpArrival {
    pub(in crate::stack) src: IpAddr,
    pub(in crate::stack) dst: IpAddr,
    pub(in crate::stack) ecn: u8,
    /// The place of the segment in the packet.
    pub(in crate::stack) range: std::ops::Range<usize>,
    /// It came from the worker that read it: do not pass it on again.
    pub(in crate::stack) handed_over: bool,
}

/// Takes in one segment.
pub(in crate::stack) fn receive(turn: &mut Turn<'_>, packet: RxPacket, arrival: TcpArrival) {
    let TcpArrival { src, dst, ecn, .. } = arrival;
    let (ports, segment) = match Segment::parse(src, dst, &packet, arrival.range, ecn) {
        Ok(parsed) => parsed,
        Err(error) => {
            turn.drop_packet(match error {
                TcpParseError::Checksum => DropReason::TcpChecksum,
                _ => DropReason::TcpMalformed,
            });
            return;
        }
    };
    let flow = FlowKey::of(dst, ports.dst, src, ports.src);

    let connections = &turn.host.tcp.connections;
    let found = connections.get(&mut turn.key.ctx(), &flow);
    if let Some(connection) = &found
        && usize::from(connection.owner) != turn.worker.index
        && !arrival.handed_over
    {
        turn.count(Counter::HandedOver, 1);
        drop(segment);
        let owner = turn.host.workers.owner(connection);
        if owner.hand_over(packet).is_err() {
            turn.drop_packet(DropReason::InboxFull);
        }
        return;
    }
    match found {
        Some(connection) => to_connection(turn, &connection, segment),
        None => to_port(turn, flow, segment, None),
    }
}

/// A segment that belongs to the port rather than to the connection in the table: the connection
/// ended in this very turn, or a new SYN ends its TIME-WAIT early (RFC 6191).
struct ForThePort {
    segment: Segment,
    reuse: Option<Reuse>,
}

/// RFC 9293 section 3.10.7.3 and 3.10.7.4: the connection decides.
fn to_connection(turn: &mut Turn<'_>, connection: &Arc<Connection>, segment: Segment) {
    let is_reset = segment.has(TcpFlags::RST);
    let (now, host) = (turn.now, turn.host);
    let worker = &mut *turn.worker;
    let taken = connection.state.with(&mut turn.key.ctx(), |state, ctx| {
        let reuse = state.tcp.time_wait_reuse(&segment);
        if reuse.is_some() || state.tcp.is_gone() {
            return Err(ForThePort { segment, reuse });
        }
        let events = &mut worker.work.events;
        let mut log = EventLog::new(&host.subscription, connection.flow, events);
        let outcome = state
            .tcp
            .on_segment(segment, log.context(now), &host.buffers);
        state.collect_wakers(outcome.readiness, &mut worker.work.wakers);
        if outcome.readiness.contains(Readiness::ESTABLISHED)
            && hand_out(state, ctx, connection, worker).is_err()
        {
            let events = &mut worker.work.events;
            let mut log = EventLog::new(&host.subscription, connection.flow, events);
            state.tcp.abort(log.context(now));
        }
        Ok(outcome)
    });
    match taken {
        Ok(outcome) => finish(turn, connection, outcome, is_reset),
        Err(ForThePort { segment, reuse }) => {
            remove(turn, connection);
            let isn_after = reuse.map(|reuse| reuse.isn_after);
            to_port(turn, connection.flow, segment, isn_after);
        }
    }
}

/// The listener of a connection closed during the handshake.
struct ListenerClosed;

/// Hands an established connection out: to the accept queue, or to the listener's service.
fn hand_out(
    state: &mut ConnectionState,
    ctx: &mut LockCtx<'_, levels::Connection>,
    connection: &Arc<Connection>,
    worker: &mut WorkerState,
) -> Result<(), ListenerClosed> {
    let Some(Handshake { listener, place }) = state.handshake.take() else {
        worker.counters.add(Counter::TcpActiveOpens, 1);
        return Ok(());
    };
    worker.counters.add(Counter::TcpPassiveOpens, 1);
    let wakers = &mut worker.work.wakers;
    let offer = listener.queue.with(ctx, |queue, _| {
        queue.offer(Arc::clone(connection), place, wakers)
    });
    match offer {
        Offer::Queued => {}
        Offer::Serve(service, connection) => worker.work.serve.push((service, connection)),
        Offer::Refused(_) => return Err(ListenerClosed),
    }
    Ok(())
}

/// Counts what became of a segment, sends the reset that it asks for, and queues the connection.
fn finish(
    turn: &mut Turn<'_>,
    connection: &Arc<Connection>,
    outcome: SegmentOutcome,
    is_reset: bool,
) {
    match outcome.drop {
        Some(reason) => turn.drop_packet(reason),
        None if is_reset => turn.count(Counter::TcpResetsIn, 1),
        None => {}
    }
    if let Some(rst) = outcome.rst {
        send_alone(turn, &connection.flow, rst);
    }
    turn.drive_later(connection);
}

/// RFC 9293 section 3.10.7.1 and 3.10.7.2: there is no connection.
fn to_port(turn: &mut Turn<'_>, flow: FlowKey, segment: Segment, isn_after: Option<SeqNum>) {
    let local: SocketAddr = flow.local();
    let listeners = &turn.host.tcp.listeners;
    let Some(listener) = listeners.lookup(&mut turn.key.ctx(), local) else {
        turn.drop_packet(DropReason::TcpNoListener);
        refuse(turn, &flow, &segment);
        return;
    };
    // LISTEN, first: a RST is ignored. Second: an ACK is answered with a reset.
    // Third: a SYN opens. Fourth: anything else is dropped.
    if segment.has(TcpFlags::RST) {
        turn.drop_packet(DropReason::TcpNoListener);
    } else if segment.has(TcpFlags::ACK) {
        turn.drop_packet(DropReason::TcpNoListener);
        refuse(turn, &flow, &segment);
    } else if segment.has(TcpFlags::SYN) {
        open_passively(turn, &listener, flow, &segment, isn_after);
    } else {
        turn.drop_packet(DropReason::TcpNoListener);
    }
}

fn open_passively(
    turn: &mut Turn<'_>,
    listener: &Arc<Listener>,
    flow: FlowKey,
    syn: &Segment,
    isn_after: Option<SeqNum>,
) {
    let admitted = listener.admit().filter(|_| flow.remote().port() != 0);
    let Some(handshake) = admitted else {
        turn.drop_packet(DropReason::TcpBacklogFull);
        return;
    };
    let host = turn.host;
    let mut open = open_parameters(host, turn.key, &flow, turn.now);
    if let Some(after) = isn_after.filter(|after| !open.isn.after(*after)) {
        open.isn = after + 1;
    }
    let mut log = EventLog::new(&host.subscription, flow, &mut turn.worker.work.events);
    let tcp = Tcp::accept(&host.tcp.config, open, syn, log.context(turn.now));
    let owner = turn.worker.index as u16;
    let connection = Connection::new(flow, owner, tcp, Some(handshake), host.config.ttl);
    let connections = &host.tcp.connections;
    match connections.insert(&mut turn.key.ctx(), Arc::clone(&connection)) {
        Ok(()) => turn.drive_later(&connection),
        // Another worker took the same SYN first: a duplicate.
        Err(InsertError::Exists) => turn.drop_packet(DropReason::TcpNotAcceptable),
        Err(InsertError::Full) => turn.drop_packet(DropReason::TcpBacklogFull),
    }
}

/// Answers a segment for which there is no connection (RFC 9293 section 3.10.7.1).
fn refuse(turn: &mut Turn<'_>, flow: &FlowKey, segment: &Segment) {
    if let Some(rst) = reset_for(segment) {
        send_alone(turn, flow, rst);
    }
}

/// Takes in an ICMP error about a segment of ours; false unless it is about something that a
/// connection has in flight (RFC 5927 section 4.1).
pub(in crate::stack) fn on_icmp_error(turn: &mut Turn<'_>, error: &TransportError) -> bool {
    let flow = FlowKey::new(error.local, error.remote);
    let connections = &turn.host.tcp.connections;
    let Some(connection) = connections.get(&mut turn.key.ctx(), &flow) else {
        return false;
    };
    let Some(seq) = error.tcp_seq.map(SeqNum) else {
        return false;
    };
    let about = unreachable_by(error.kind);
    let icmp = if error.kind.is_soft() {
        IcmpError::Soft(about)
    } else {
        IcmpError::Hard(about)
    };
    let now = turn.now;
    let (work, subscription) = (&mut turn.worker.work, &turn.host.subscription);
    let mut log = EventLog::new(subscription, flow, &mut work.events);
    let wakers = &mut work.wakers;
    let believed = connection.state.with(&mut turn.key.ctx(), |state, _| {
        let readiness = state.tcp.on_icmp_error(icmp, seq, log.context(now));
        if let Ok(readiness) = readiness {
            state.collect_wakers(readiness, wakers);
        }
        readiness.is_ok()
    });
    if !believed {
        return false;
    }
    if let ErrorKind::PacketTooBig { mtu } = error.kind {
        let paths = &turn.host.ip.paths;
        let remote = error.remote.ip();
        let ctx = &mut turn.key.ctx();
        paths.on_packet_too_big(ctx, remote, mtu, error.quoted_len, turn.now);
        // An earlier report, about another connection, may have lowered the path MTU already: this
        // connection takes what the cache knows now, not what this report changed.
        let mss = mss_for(paths.get(ctx, remote, turn.now).mtu, remote.is_ipv4());
        connection
            .state
            .with(ctx, |state, _| state.tcp.on_path_mtu(mss, log.context(now)));
    }
    turn.host.workers.drive(&connection);
    true
}

fn unreachable_by(kind: ErrorKind) -> Unreachable {
    match kind {
        ErrorKind::PortUnreachable => Unreachable::Port,
        ErrorKind::ProtocolUnreachable => Unreachable::Protocol,
        ErrorKind::HostUnreachable => Unreachable::Host,
        ErrorKind::NetUnreachable => Unreachable::Network,
        ErrorKind::AdminProhibited => Unreachable::Prohibited,
        _ => Unreachable::Other,
    }
}
