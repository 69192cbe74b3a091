//! The worker's side of deferred handshakes: asking the program, and what it decided.

use std::sync::Arc;

use bytes::Bytes;
use packet::Payload;
use packet::ip::IpVersion;
use packet::tcp::{TcpFlags, TcpHeader, TcpOptions};

use super::super::icmp::outbound::send_error;
use super::super::ip::outbound::tx_params;
use super::super::turn::Turn;
use super::connection::{Connection, Listener};
use super::deferred::{ASKED, Asked, DECISION_TIME, Decision, Hop};
use super::filter::SynInfo;
use super::outbound::send_handshake;
use super::shard::HalfOpenEntry;
use crate::base::OffloadCaps;
use crate::base::counters::{Counter, DropReason};
use crate::base::mib::objects::TcpObject;
use crate::demux::FlowKey;
use crate::icmp::error::{Unreachable, unreachable};
use crate::ip::send::{TxParams, tcp_packet};
use crate::tcp::{HalfOpen, Segment};

/// Returns what the program sees of a SYN.
pub(crate) fn info(flow: &FlowKey, peer: &TcpOptions, hop: Hop) -> SynInfo {
    SynInfo {
        local: flow.local(),
        remote: flow.remote(),
        ttl: hop.ttl,
        tos: hop.traffic_class,
        mss: peer.mss,
        window_scale: peer.window_scale,
        sack: peer.sack_permitted,
        timestamps: peer.timestamps.is_some(),
    }
}

/// Keeps a SYN until the program decides about it.
pub(super) fn ask(
    turn: &mut Turn<'_>,
    listener: &Arc<Listener>,
    flow: FlowKey,
    entry: HalfOpenEntry<Arc<Connection>>,
    hop: Hop,
) {
    let deadline = turn.now + DECISION_TIME;
    let iss = entry.half.iss();
    let connections = &turn.host.tcp.connections;
    let inserted =
        connections.insert_half_open(&mut turn.key.ctx(), flow, (ASKED, deadline), entry);
    let Ok(placed) = inserted else {
        turn.drop_packet(DropReason::TcpNotAcceptable);
        return;
    };
    turn.worker.alarms.note(placed.shard, deadline);
    let wakers = &mut turn.worker.work.wakers;
    if let Some(deferred) = &listener.deferred {
        let asked = Asked { flow, iss, hop };
        deferred.with(&mut turn.key.ctx(), |deferred, _| {
            deferred.ask(asked, wakers)
        });
    }
}

/// Takes a segment for a SYN that waits for the program: only a reset concerns it.
pub(super) fn on_segment(turn: &mut Turn<'_>, flow: &FlowKey, segment: &Segment) {
    if !segment.has(TcpFlags::RST) {
        // Its SYN again, as a rule.
        turn.drop_packet(DropReason::TcpUndecided);
        return;
    }
    let connections = &turn.host.tcp.connections;
    let removed = connections.with_half_open(&mut turn.key.ctx(), flow, |queue, id| {
        let (_, entry) = queue.get_mut(id)?;
        // A reset follows the SYN directly.
        let is_next = segment.seq() == entry.half.irs() + 1;
        is_next.then(|| queue.remove(id))?
    });
    match removed.flatten() {
        Some((_, entry)) => {
            turn.count(Counter::TcpResetsIn, 1);
            fail(turn, flow, &entry);
        }
        None => turn.drop_packet(DropReason::TcpNotAcceptable),
    }
}

/// Tells the program that a half-open entry of a deferring listener ended without a connection.
pub(super) fn fail(turn: &mut Turn<'_>, flow: &FlowKey, entry: &HalfOpenEntry<Arc<Connection>>) {
    let wakers = &mut turn.worker.work.wakers;
    if let Some(deferred) = &entry.place.listener().deferred {
        let iss = entry.half.iss();
        deferred.with(&mut turn.key.ctx(), |deferred, _| {
            deferred.fail(flow, iss, wakers)
        });
    }
}

/// Does what the program decided about a SYN, if it is still there.
pub(crate) fn on_decision(turn: &mut Turn<'_>, asked: Asked, decision: Decision) {
    let now = turn.now;
    let connections = &turn.host.tcp.connections;
    let taken = connections.with_half_open(&mut turn.key.ctx(), &asked.flow, |queue, id| {
        let is_asked = queue.list_of(id) == Some(ASKED);
        let (_, entry) = queue.get_mut(id)?;
        if !is_asked || entry.half.iss() != asked.iss {
            return None;
        }
        let listener = Arc::clone(entry.place.listener());
        if decision != Decision::Accept {
            let half = entry.half;
            return Some((half, listener, now, queue.remove(id)));
        }
        entry.half.begin(now);
        let half = entry.half;
        let deadline = now + half.timeout(&listener.options.config);
        queue.relist(id, 0, deadline);
        Some((half, listener, deadline, None))
    });
    let Some((half, listener, deadline, _removed)) = taken.flatten() else {
        return;
    };
    let (flow, options) = (&asked.flow, &listener.options);
    let config = &options.config;
    match decision {
        Decision::Accept => {
            let shard = connections.shard_of(flow);
            turn.worker.alarms.note(shard, deadline);
            turn.worker.tally.tcp(TcpObject::PassiveOpens, 1);
            send_handshake(turn, flow, &half, half.syn_ack(config, now), options);
        }
        // A peer with keys could not verify it: it does not know our sequence number.
        Decision::Refuse if half.key_id().is_some() => {}
        Decision::Refuse => {
            send_handshake(turn, flow, &half, half.reset(config, now), options);
        }
        Decision::Unreachable(reason) => send_unreachable(turn, &asked, &half, reason),
    }
}

/// Sends the ICMP error that a router would send about the SYN.
fn send_unreachable(turn: &mut Turn<'_>, asked: &Asked, half: &HalfOpen, reason: Unreachable) {
    let (local, remote) = (asked.flow.local(), asked.flow.remote());
    let message = unreachable(IpVersion::of_addr(local.ip()), reason);
    // The SYN as it came, as far as the error quotes it: its options were not kept.
    let header = TcpHeader {
        src_port: remote.port(),
        dst_port: local.port(),
        seq: half.irs().0,
        flags: TcpFlags::SYN,
        ..TcpHeader::default()
    };
    let hop = asked.hop;
    let (params, _) = tx_params(turn, remote.ip(), hop.ttl, hop.traffic_class);
    let params = TxParams {
        offload: OffloadCaps::default(),
        ..params
    };
    let syn = tcp_packet(
        remote,
        local,
        &header,
        packet::Chunks::new(),
        half.mss(),
        &params,
        || 0,
    );
    if let Ok(syn) = syn {
        let quoted = Payload::from(Bytes::from(syn.to_vec()));
        send_error(turn, message, &quoted);
    }
}
