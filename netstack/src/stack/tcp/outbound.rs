//! From a connection's state to segments: the way out.
//!
//! Only the worker that owns a connection turns its state into segments, so they leave in order.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use packet::tcp::{TcpFlags, TcpHeader};
use packet::{IpProto, TxPacket};

use super::super::events::EventLog;
use super::super::host::Host;
use super::super::ip::outbound::{Way, batch, tx_params};
use super::super::turn::{Turn, WorkerState};
use super::authenticator::Authenticator;
use super::connection::{Connection, ConnectionState};
use super::open::{headers_len, mss_for};
use super::options::Options;
use super::removal::{remove, retire};
use crate::ao::OPTION_LEN;
use crate::base::Instant;
use crate::base::counters::{Counter, DropReason};
use crate::base::mib::objects::TcpObject;
use crate::demux::FlowKey;
use crate::ip::pmtu::{IPV6_MIN_MTU, Path};
use crate::ip::send::{TxParams, write_tcp};
use crate::tcp::{HalfOpen, Losses, PathLimits, PathNews, Reset, SegmentOut, TimeWait};

/// Segments that one connection may produce before others get their turn.
const SEGMENTS_PER_DRIVE: usize = 64;

/// Longest payload of a super-segment, in bytes: what the 16-bit length fields leave beside the
/// largest headers.
const MAX_SUPER_SEGMENT_BYTES: usize = 65_535 - 60 - 60;

/// Lets a connection send what it has to send; returns when its next timer is due.
pub fn drive(turn: &mut Turn<'_>, connection: &Arc<Connection>) -> Option<Instant> {
    connection.unmark();
    let host = turn.host;
    let max_payload = if host.offload().tso {
        MAX_SUPER_SEGMENT_BYTES
    } else {
        0
    };
    let remote = connection.flow.remote().ip();
    let (params, way) = tx_params(turn, remote, host.config.ttl, 0);
    let limits = path_limits(&params.path, way, remote.is_ipv4());
    let flow_label = flow_label(host, &connection.flow, remote);
    let worker = &mut *turn.worker;
    let now = turn.now;
    let driven = connection.state.with(&mut turn.key.ctx(), |state, ctx| {
        let mut to = FlowParams::new(&connection.flow, params, way);
        to.params.ttl = state.ttl;
        to.params.flow_label = flow_label;
        let traffic_class = state.traffic_class;
        if state.tcp.wants_path_metrics() {
            state
                .tcp
                .adopt_path_metrics(worker.metrics.get(remote, now));
        }
        let before = state.tcp.losses();
        let events = &mut worker.work.events;
        let mut log = EventLog::new(&host.subscription, &connection.flow, events);
        state.tcp.follow_path(&limits, log.context(now));
        let mut more = true;
        if worker.is_behind && state.tcp.has_only_fin_to_send() {
            // The answer would meet a queue that is full, of packets to which this one has no answer yet.
            if connection.mark() {
                worker.work.parting.push_back(Arc::clone(connection));
            }
            return Driven::unchanged(state);
        }
        // Each segment of its own has a code of its own.
        let max_payload = match state.authenticator {
            None => max_payload,
            Some(_) => 0,
        };
        let news = state.tcp.take_path_news(now);
        let mut segment = SegmentOut::default();
        for _ in 0..SEGMENTS_PER_DRIVE {
            let events = &mut worker.work.events;
            let mut log = EventLog::new(&host.subscription, &connection.flow, events);
            let cx = log.context(now);
            if !state.tcp.poll_transmit_into(cx, max_payload, &mut segment) {
                more = false;
                break;
            }
            to.params.traffic_class = traffic_class & !3 | segment.ecn;
            match &mut state.authenticator {
                None => push(worker, &to, &mut segment),
                Some(authenticator) => {
                    let sign = |packet: &mut TxPacket| authenticator.sign(ctx, packet);
                    push_signed(worker, &to, &mut segment, sign);
                }
            }
        }
        count_losses(worker, before, state.tcp.losses());
        worker.holders.note(connection, state, now);
        let events = &mut worker.work.events;
        let mut log = EventLog::new(&host.subscription, &connection.flow, events);
        let retired = match state.authenticator {
            None => state.tcp.retire(log.context(now)),
            // The entry of a TIME-WAIT has no room for its keys.
            Some(_) => None,
        };
        state.removed |= retired.is_some();
        let gone = state.tcp.is_gone();
        if (retired.is_some() || gone)
            && let Some(found) = state.tcp.path_metrics()
        {
            worker.metrics.note(remote, found, now);
        }
        Driven {
            more,
            retired,
            gone,
            news,
            ..Driven::unchanged(state)
        }
    });
    if let (Some(news), Way::Link) = (driven.news, way) {
        let found = found_mtu(news, remote.is_ipv4());
        let paths = &host.ip.paths;
        paths.on_search(&mut turn.key.ctx(), remote, found, now);
    }
    if let Some((time_wait, deadline)) = driven.retired {
        retire(turn, connection, time_wait, deadline);
        return None;
    }
    if driven.gone {
        remove(turn, connection);
        return None;
    }
    if driven.more {
        turn.drive_later(connection);
    }
    driven.deadline
}

/// The state of a connection after it was driven.
struct Driven {
    /// It may have more segments to send.
    more: bool,
    /// Its TIME-WAIT, if it has just reached it.
    retired: Option<(TimeWait, Instant)>,
    /// It ended.
    gone: bool,
    /// Its next timer.
    deadline: Option<Instant>,
    /// It found out something about the path.
    news: Option<PathNews>,
}

impl Driven {
    /// The result for a connection that was left as it is.
    fn unchanged(state: &ConnectionState) -> Self {
        let deadlines = [state.tcp.poll_timeout(), state.tcp.rest_at()];
        Self {
            more: false,
            retired: None,
            gone: state.tcp.is_gone(),
            deadline: deadlines.into_iter().flatten().min(),
            news: None,
        }
    }
}

/// Returns the limits of a path as TCP counts them.
#[inline]
fn path_limits(path: &Path, way: Way, ipv4: bool) -> PathLimits {
    let (mss, link_mss) = (mss_for(path.mtu, ipv4), mss_for(path.link_mtu, ipv4));
    let (link_mss, floor) = match way {
        Way::Link if ipv4 => (link_mss, 0),
        Way::Link => (link_mss, mss_for(IPV6_MIN_MTU, ipv4)),
        // No link drops anything there.
        Way::Loopback => (mss, mss),
    };
    PathLimits {
        mss,
        ceiling: path.ceiling.map(|mtu| mss_for(mtu, ipv4)),
        link_mss,
        floor,
    }
}

/// Returns what a connection found out as an MTU and a bound of it.
#[cold]
fn found_mtu(news: PathNews, ipv4: bool) -> (u16, Option<u16>) {
    let headers = headers_len(ipv4);
    let mtu_for = |mss: u16| mss.saturating_add(headers);
    (mtu_for(news.mss), news.ceiling.map(mtu_for))
}

/// Adds to the worker's counters what a connection counted in between.
pub(in crate::stack) fn count_losses(worker: &WorkerState, before: Losses, after: Losses) {
    let more = |after: u32, before: u32| u64::from(after.saturating_sub(before));
    let retransmits = more(after.retransmits, before.retransmits);
    if retransmits > 0 {
        worker.counters.add(Counter::TcpRetransmits, retransmits);
    }
    let timeouts = more(after.timeouts, before.timeouts);
    if timeouts > 0 {
        worker.counters.add(Counter::TcpTimeouts, timeouts);
    }
}

/// Returns the label of a flow's packets.
#[inline]
fn flow_label(host: &Host, flow: &FlowKey, remote: IpAddr) -> u32 {
    if remote.is_ipv4() {
        return 0;
    }
    host.ip.flow_labels.label(flow.local(), flow.remote())
}

/// Sends a segment that is not part of a connection's stream: a reset.
pub(in crate::stack) fn send_alone(turn: &mut Turn<'_>, flow: &FlowKey, mut segment: SegmentOut) {
    let ttl = turn.host.config.ttl;
    let remote = flow.remote().ip();
    let (mut params, way) = tx_params(turn, remote, ttl, 0);
    params.flow_label = flow_label(turn.host, flow, remote);
    params.traffic_class = segment.ecn;
    let to = FlowParams::new(flow, params, way);
    push(turn.worker, &to, &mut segment);
}

/// Sends the reset that a segment for a connection brought about.
pub(super) fn send_reset(turn: &mut Turn<'_>, connection: &Connection, rst: Reset) {
    let (remote, ttl) = (connection.flow.remote().ip(), turn.host.config.ttl);
    let (mut params, way) = tx_params(turn, remote, ttl, 0);
    params.flow_label = flow_label(turn.host, &connection.flow, remote);
    let to = FlowParams::new(&connection.flow, params, way);
    let worker = &mut *turn.worker;
    connection.state.with(&mut turn.key.ctx(), |state, ctx| {
        match &mut state.authenticator {
            None => push(worker, &to, &mut rst.into()),
            Some(authenticator) => {
                let sign = |packet: &mut TxPacket| authenticator.sign(ctx, packet);
                push_signed(worker, &to, &mut rst.into(), sign);
            }
        }
    });
}

/// Sends a segment of a handshake that is half open, with the options of its listener.
pub(super) fn send_handshake(
    turn: &mut Turn<'_>,
    flow: &FlowKey,
    half: &HalfOpen,
    mut segment: SegmentOut,
    options: &Options,
) {
    if half.key_id().is_none() {
        send_with(turn, flow, segment, options);
        return;
    }
    let to = handshake_params(turn, flow, &segment, options);
    let ctx = &mut turn.key.ctx();
    let keys = options.keys.as_ref();
    let session = keys.and_then(|keys| Authenticator::resume(keys, ctx, flow, half));
    push_signed(turn.worker, &to, &mut segment, |packet| {
        session.is_some_and(|mut session| session.sign(ctx, packet))
    });
}

fn handshake_params(
    turn: &mut Turn<'_>,
    flow: &FlowKey,
    segment: &SegmentOut,
    options: &Options,
) -> FlowParams {
    let remote = flow.remote().ip();
    let (mut params, way) = tx_params(turn, remote, options.ttl, options.traffic_class);
    params.flow_label = flow_label(turn.host, flow, remote);
    params.traffic_class = params.traffic_class & !3 | segment.ecn;
    FlowParams::new(flow, params, way)
}

/// Sends a segment of a handshake, with the options of its listener.
pub(in crate::stack) fn send_with(
    turn: &mut Turn<'_>,
    flow: &FlowKey,
    mut segment: SegmentOut,
    options: &Options,
) {
    let to = handshake_params(turn, flow, &segment, options);
    push(turn.worker, &to, &mut segment);
}

/// The addresses and parameters of a flow's packets.
struct FlowParams {
    local: SocketAddr,
    remote: SocketAddr,
    params: TxParams,
    way: Way,
}

impl FlowParams {
    fn new(flow: &FlowKey, params: TxParams, way: Way) -> Self {
        Self {
            local: flow.local(),
            remote: flow.remote(),
            params: TxParams {
                path: Path {
                    // The connection keeps to its MSS, which follows the path.
                    mtu: params.path.link_mtu,
                    ..params.path
                },
                ..params
            },
            way,
        }
    }
}

/// Builds one segment into the transmit batch.
#[inline]
fn push(worker: &mut WorkerState, to: &FlowParams, segment: &mut SegmentOut) {
    push_if(worker, to, segment, |_| Ok(()));
}

/// Builds one segment with room for a code, and puts it into the transmit batch if `sign` can sign it.
fn push_signed(
    worker: &mut WorkerState,
    to: &FlowParams,
    segment: &mut SegmentOut,
    sign: impl FnOnce(&mut TxPacket) -> bool,
) {
    segment.options.authentication_len = OPTION_LEN;
    push_if(worker, to, segment, |packet| {
        sign(packet).then_some(()).ok_or(DropReason::TcpAoUnsigned)
    });
}

/// Builds one segment into the transmit batch, unless `finish` refuses the packet. Takes its payload.
#[inline(always)]
fn push_if(
    worker: &mut WorkerState,
    to: &FlowParams,
    segment: &mut SegmentOut,
    finish: impl FnOnce(&mut TxPacket) -> Result<(), DropReason>,
) {
    let &FlowParams { local, remote, .. } = to;
    let header = header_of(local, remote, segment);
    let segments = match (segment.payload.len_bytes(), usize::from(segment.mss)) {
        // More than one only where the device cuts.
        (len, mss) if len > mss && mss > 0 => len.div_ceil(mss) as u64,
        _ => 1,
    };
    let is_reset = header.flags.contains(TcpFlags::RST);
    let identification = &mut worker.identification;
    let ident = || identification.next(local.ip(), remote.ip(), IpProto::TCP.0);
    // Built where it stays: a packet is long, and each move of it costs time.
    let out = batch(&mut worker.work, to.way);
    let packet = out.push_mut(TxPacket::default());
    packet.payload = core::mem::take(&mut segment.payload);
    let ends = [local.ip(), remote.ip()];
    let built = write_tcp(packet, ends, &header, segment.mss, &to.params, ident)
        .map_err(|_| DropReason::TransmitFailed)
        .and_then(|()| finish(packet));
    match built {
        Ok(()) => {
            if is_reset {
                worker.counters.add(Counter::TcpResetsOut, 1);
            }
            worker.tally.tcp(TcpObject::OutSegs, segments);
            worker.tally.sent(packet, remote.ip());
        }
        Err(reason) => {
            out.pop();
            worker.counters.drop_packet(reason);
        }
    }
}

fn header_of(local: SocketAddr, remote: SocketAddr, segment: &SegmentOut) -> TcpHeader {
    TcpHeader {
        src_port: local.port(),
        dst_port: remote.port(),
        seq: segment.seq.0,
        ack: segment.ack.0,
        flags: segment.flags,
        window: segment.window,
        urgent: 0,
        options: segment.options,
    }
}
