//! A received TCP segment, from its verified bytes to the connection that it concerns.
//!
//! RFC 9293 section 3.10.7 in its order: no connection and no listener (3.10.7.1), a listener
//! (3.10.7.2), a connection (3.10.7.3 and 3.10.7.4, in `tcp`). A connection is locked once for each
//! segment.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use packet::buf::Level;
use packet::frame::RxPacket;
use packet::ip::IpVersion;
use packet::tcp::{TcpFlags, TcpParseError};

use super::super::events::EventLog;
use super::super::ip::outbound::check_route;
use super::super::mailbox::HandOverError;
use super::super::turn::Turn;
use super::arrived::Arrived;
use super::authentication::discard;
use super::connection::{Connection, Listener};
use super::deferred::Hop;
use super::greet::learn;
use super::open::mss_for;
use super::outbound::{send_alone, send_reset};
use super::outcome::finish;
use super::removal::remove;
use super::shard::Found;
use super::syn_queue::{self, Elsewhere, NoCookie};
use super::time_wait;
use crate::base::counters::{Counter, DropReason};
use crate::base::mib::objects::{IpObject, TcpObject};
use crate::demux::FlowKey;
use crate::icmp::{ErrorKind, TransportError};
use crate::tcp::{IcmpError, Readiness, Reuse, Segment, SeqNum, Unreachable, reset_for};

/// A TCP packet whose IP header was checked.
pub(in crate::stack) struct TcpArrival {
    pub(in crate::stack) src: IpAddr,
    pub(in crate::stack) dst: IpAddr,
    pub(in crate::stack) hop: Hop,
    /// The place of the segment in the packet.
    pub(in crate::stack) range: std::ops::Range<usize>,
    /// It came from the worker that read it: do not pass it on again.
    pub(in crate::stack) handed_over: bool,
}

/// Takes in one segment.
pub(in crate::stack) fn receive(turn: &mut Turn<'_>, packet: RxPacket, arrival: TcpArrival) {
    let TcpArrival { src, dst, hop, .. } = arrival;
    let range = arrival.range;
    if !arrival.handed_over {
        let tally = &mut turn.worker.tally;
        tally.tcp(TcpObject::InSegs, 1);
        tally.ip(IpVersion::of_addr(dst), IpObject::InDelivers, 1);
    }
    // It stays where it is: a segment is long, and there are many.
    let mut parsed = Segment::parse(src, dst, &packet, range.clone(), hop.traffic_class & 3);
    let (ports, segment) = match &mut parsed {
        Ok((ports, segment)) => (*ports, segment),
        Err(error) => {
            on_malformed(turn, *error);
            return;
        }
    };
    let flow = FlowKey::of(dst, ports.dst, src, ports.src);

    let connections = &turn.host.tcp.connections;
    let found = connections.find(&mut turn.key.ctx(), &flow);
    if let Found::Open(connection) = &found
        && usize::from(connection.owner) != turn.worker.index
        && !arrival.handed_over
    {
        turn.count(Counter::HandedOver, 1);
        // Its payload would keep the packet's memory from being handed over.
        drop(parsed);
        let owner = turn.host.workers.owner(connection);
        match owner.hand_over(packet, &turn.host.buffers) {
            Ok(()) => turn.worker.fate.hand_over(),
            Err(HandOverError::Full) => turn.drop_packet(DropReason::InboxFull),
            Err(HandOverError::NoMemory) => turn.drop_packet(DropReason::MemoryShare),
        }
        return;
    }
    let wire = packet.data.get(range).unwrap_or(&[]);
    let arrived = Arrived { hop, wire };
    if dispatch(turn, flow, found, segment, arrived).is_err() {
        // Another worker changed the occupant of the four-tuple meanwhile.
        let found = connections.find(&mut turn.key.ctx(), &flow);
        if dispatch(turn, flow, found, segment, arrived).is_err() {
            turn.drop_packet(DropReason::TcpNotAcceptable);
        }
    }
}

/// Counts and discards a segment in error.
#[cold]
fn on_malformed(turn: &mut Turn<'_>, error: TcpParseError) {
    turn.worker.tally.tcp(TcpObject::InErrs, 1);
    if error == TcpParseError::Checksum {
        turn.worker.tally.tcp(TcpObject::InCsumErrors, 1);
        turn.drop_packet(DropReason::TcpChecksum);
    } else {
        turn.drop_packet(DropReason::TcpMalformed);
    }
}

/// Passes a segment to the occupant of its four-tuple. It is left as it is if that is not there any more.
fn dispatch(
    turn: &mut Turn<'_>,
    flow: FlowKey,
    found: Found<Arc<Connection>>,
    segment: &mut Segment,
    arrived: Arrived<'_>,
) -> Result<(), Elsewhere> {
    match found {
        Found::Open(connection) => {
            to_connection(turn, &connection, segment, arrived);
            Ok(())
        }
        Found::HalfOpen => syn_queue::on_segment(turn, flow, segment, arrived),
        Found::TimeWait => time_wait::on_segment(turn, flow, segment, arrived),
        Found::Vacant => to_port(turn, flow, segment, arrived),
    }
}

/// A segment that belongs to the port rather than to the connection in the table: the connection
/// ended in this very turn, or a new SYN ends its TIME-WAIT early (RFC 6191).
struct ForThePort {
    reuse: Option<Reuse>,
}

/// RFC 9293 section 3.10.7.3 and 3.10.7.4: the connection decides.
fn to_connection(
    turn: &mut Turn<'_>,
    connection: &Arc<Connection>,
    segment: &mut Segment,
    arrived: Arrived<'_>,
) {
    let Err(ForThePort { reuse }) = offer(turn, connection, segment, arrived, true) else {
        return;
    };
    let flow = connection.flow;
    let Some(listener) = lookup(turn, &flow) else {
        // A SYN ends no TIME-WAIT if there is nothing that it could open.
        if reuse.is_none() {
            remove(turn, connection);
            reject_for(turn, connection, segment);
        } else if offer(turn, connection, segment, arrived, false).is_err() {
            turn.drop_packet(DropReason::TcpNoListener);
        }
        return;
    };
    remove(turn, connection);
    match reuse {
        Some(reuse) => {
            syn_queue::on_syn(
                turn,
                &listener,
                flow,
                segment,
                arrived,
                Some(reuse.isn_after),
            );
        }
        None => {
            if to_listener(turn, &listener, flow, segment, arrived).is_err() {
                reject_for(turn, connection, segment);
            }
        }
    }
}

/// Offers a segment to a connection. `may_reuse`: a SYN may open a new connection in its place.
fn offer(
    turn: &mut Turn<'_>,
    connection: &Arc<Connection>,
    segment: &mut Segment,
    arrived: Arrived<'_>,
    may_reuse: bool,
) -> Result<(), ForThePort> {
    let is_reset = segment.has(TcpFlags::RST);
    let (now, host) = (turn.now, turn.host);
    let worker = &mut *turn.worker;
    let offered = connection.state.with(&mut turn.key.ctx(), |state, ctx| {
        if let Some(authenticator) = &mut state.authenticator
            && let Err(fault) = authenticator.verify(ctx, arrived.wire)
        {
            return Ok(Err(fault));
        }
        let reuse = state.tcp.time_wait_reuse(segment).filter(|_| may_reuse);
        if reuse.is_some() || state.tcp.is_gone() {
            return Err(ForThePort { reuse });
        }
        let news = if segment.has(TcpFlags::SYN) {
            state.tcp.fast_open_news(segment)
        } else {
            None
        };
        let events = &mut worker.work.events;
        let mut log = EventLog::new(&host.subscription, &connection.flow, events);
        let outcome = state
            .tcp
            .on_segment(segment, log.context(now), &host.buffers);
        state.collect_wakers(outcome.readiness, &mut worker.work.wakers);
        Ok(Ok((outcome, news, state.authenticator.is_some())))
    })?;
    let (outcome, news, is_authenticated) = match offered {
        Ok(offered) => offered,
        Err(fault) => {
            discard(turn, fault);
            return Ok(());
        }
    };
    if is_authenticated {
        turn.count(Counter::TcpAoAccepted, 1);
    }
    // A handshake that a connection waits for is one of its own: an active open.
    if outcome.readiness.contains(Readiness::ESTABLISHED) {
        turn.count(Counter::TcpActiveOpens, 1);
        if let Some(news) = news {
            learn(turn, &connection.flow, news);
        }
    }
    finish(turn, connection, outcome, is_reset);
    Ok(())
}

/// Returns the listener of a flow's local address and port.
fn lookup(turn: &mut Turn<'_>, flow: &FlowKey) -> Option<Arc<Listener>> {
    let local: SocketAddr = flow.local();
    let addresses = &turn.worker.addressing.addresses;
    let listeners = &turn.host.tcp.listeners;
    listeners.lookup(&mut turn.key.ctx(), local, || addresses.is_here(local.ip()))
}

/// RFC 9293 section 3.10.7.1 and 3.10.7.2: there is no connection.
fn to_port(
    turn: &mut Turn<'_>,
    flow: FlowKey,
    segment: &mut Segment,
    arrived: Arrived<'_>,
) -> Result<(), Elsewhere> {
    if !check_route(turn, flow.remote().ip()) {
        // Neither a handshake nor a reset would get there.
        return Ok(());
    }
    match lookup(turn, &flow) {
        Some(listener) => to_listener(turn, &listener, flow, segment, arrived),
        None => {
            reject(turn, &flow, segment);
            Ok(())
        }
    }
}

/// RFC 9293 section 3.10.7.2. First: a RST is ignored. Second: an ACK is answered with a reset, unless it
/// brings back a SYN cookie. Third: a SYN opens. Fourth: anything else is dropped.
fn to_listener(
    turn: &mut Turn<'_>,
    listener: &Arc<Listener>,
    flow: FlowKey,
    segment: &mut Segment,
    arrived: Arrived<'_>,
) -> Result<(), Elsewhere> {
    if segment.has(TcpFlags::RST) {
        turn.drop_packet(DropReason::TcpNoListener);
    } else if segment.has(TcpFlags::ACK) {
        match syn_queue::on_ack(turn, listener, flow, segment) {
            Ok(()) => {}
            Err(NoCookie::Elsewhere) => return Err(Elsewhere),
            Err(NoCookie::Invalid) => reject(turn, &flow, segment),
        }
    } else if segment.has(TcpFlags::SYN | TcpFlags::FIN) {
        // No peer that wants a connection ends it with the same segment.
        turn.drop_packet(DropReason::TcpSynFin);
    } else if segment.has(TcpFlags::SYN) && turn.host.buffers.level() == Level::Limit {
        turn.drop_packet(DropReason::MemoryNoConnection);
    } else if segment.has(TcpFlags::SYN) {
        syn_queue::on_syn(turn, listener, flow, segment, arrived, None);
    } else {
        turn.drop_packet(DropReason::TcpNoListener);
    }
    Ok(())
}

/// Discards a segment for a connection that has just ended, and answers it as that would.
fn reject_for(turn: &mut Turn<'_>, connection: &Connection, segment: &Segment) {
    turn.drop_packet(DropReason::TcpNoListener);
    if let Some(rst) = reset_for(segment) {
        send_reset(turn, connection, rst);
    }
}

/// Discards a segment for which there is no connection, and answers it (RFC 9293 section 3.10.7.1).
fn reject(turn: &mut Turn<'_>, flow: &FlowKey, segment: &Segment) {
    turn.drop_packet(DropReason::TcpNoListener);
    if let Some(rst) = reset_for(segment) {
        send_alone(turn, flow, rst.into());
    }
}

/// Takes in an ICMP error about a segment of ours; false unless it is about something that a
/// connection has in flight (RFC 5927 section 4.1).
pub(in crate::stack) fn on_icmp_error(turn: &mut Turn<'_>, error: &TransportError) -> bool {
    let flow = FlowKey::new(error.local, error.remote);
    let Some(seq) = error.tcp_seq.map(SeqNum) else {
        return false;
    };
    let about = unreachable_by(error.kind);
    let icmp = if error.kind.is_soft() {
        IcmpError::Soft(about)
    } else {
        IcmpError::Hard(about)
    };
    let connections = &turn.host.tcp.connections;
    let Some(connection) = connections.get(&mut turn.key.ctx(), &flow) else {
        // A SYN-ACK is short: what is said about its size is no news for others.
        return syn_queue::on_icmp_error(turn, &flow, icmp, seq);
    };
    let now = turn.now;
    let (work, subscription) = (&mut turn.worker.work, &turn.host.subscription);
    let mut log = EventLog::new(subscription, &flow, &mut work.events);
    let wakers = &mut work.wakers;
    let believed = connection.state.with(&mut turn.key.ctx(), |state, _| {
        if let Some(authenticator) = &state.authenticator
            && state.tcp.state().is_synchronised()
            && authenticator.ignores(error.kind)
        {
            return None;
        }
        let readiness = state.tcp.on_icmp_error(icmp, seq, log.context(now));
        if let Ok(readiness) = readiness {
            state.collect_wakers(readiness, wakers);
        }
        Some(readiness.is_ok())
    });
    if believed != Some(true) {
        let ignored = believed.is_none();
        turn.count(Counter::TcpAoIcmpIgnored, u64::from(ignored));
        return false;
    }
    if let ErrorKind::PacketTooBig { mtu } = error.kind {
        let paths = &turn.host.ip.paths;
        let remote = error.remote.ip();
        let ctx = &mut turn.key.ctx();
        paths.on_packet_too_big(ctx, remote, mtu, error.quoted_len, turn.now);
        // An earlier report, about another connection, may have lowered the path MTU already: this
        // connection takes what the cache knows now, not what this report changed.
        let known = paths.get(ctx, remote, turn.now).mtu;
        let route_mtu = turn.host.ip.addressing.route_mtu(ctx, remote);
        let mss = mss_for(known.min(route_mtu), remote.is_ipv4());
        let reported = mss_for(u16::try_from(mtu).unwrap_or(u16::MAX), remote.is_ipv4());
        connection.state.with(ctx, |state, _| {
            let is_about_probe = state.tcp.on_probe_too_big(seq, reported, log.context(now));
            if !is_about_probe {
                state.tcp.on_path_mtu(mss, log.context(now));
            }
        });
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
