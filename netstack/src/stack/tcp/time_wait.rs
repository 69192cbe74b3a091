//! Connections in TIME-WAIT: entries of at most 96 bytes in a bounded queue.
//!
//! When a connection has reached TIME-WAIT and its last ACK has left, [`retire`](super::removal::retire) takes it out of the table
//! and leaves an entry in its place. The connection is CLOSED then. An application that still has a handle
//! reads what was received, up to the end of the stream; nothing that it does concerns the entry.

use std::net::SocketAddr;

use super::super::turn::Turn;
use super::arrived::Arrived;
use super::outbound::send_alone;
use super::syn_queue;
use crate::base::counters::Counter;
use crate::demux::FlowKey;
use crate::tcp::{Reuse, Segment, TimeWait, TimeWaitStep};

/// The decision about a segment.
enum Taken {
    /// It is for this connection.
    Here(TimeWaitStep, TimeWait),
    /// It is a SYN that may open a new connection.
    Reuse(Reuse),
}

/// Takes a segment for a connection in TIME-WAIT (RFC 9293 section 3.10.7.4). A SYN may open a new
/// connection in its place (RFC 6191), if there is a listener for it.
pub(super) fn on_segment(
    turn: &mut Turn<'_>,
    flow: FlowKey,
    segment: &Segment,
    arrived: Arrived<'_>,
) -> Result<(), syn_queue::Elsewhere> {
    let local: SocketAddr = flow.local();
    let host = turn.host;
    let addresses = &turn.worker.addressing.addresses;
    let is_own = || addresses.is_here(local.ip());
    let listeners = &host.tcp.listeners;
    let listener = listeners.lookup(&mut turn.key.ctx(), local, is_own);
    let (now, wait) = (turn.now, host.tcp.config.time_wait);
    let connections = &host.tcp.connections;
    let taken = connections.with_time_wait(&mut turn.key.ctx(), &flow, |queue, id| {
        let (_, time_wait) = queue.get_mut(id)?;
        if listener.is_some()
            && let Some(reuse) = time_wait.reuse(segment)
        {
            return Some(Taken::Reuse(reuse));
        }
        let step = time_wait.on_segment(segment, now);
        let time_wait = *time_wait;
        if step.restart {
            queue.relist(id, 0, now + wait);
        }
        if step.end {
            queue.remove(id);
        }
        Some(Taken::Here(step, time_wait))
    });
    match (taken.flatten(), listener) {
        (Some(Taken::Here(step, time_wait)), _) => {
            match step.drop {
                Some(reason) => turn.drop_packet(reason),
                None if step.end => turn.count(Counter::TcpResetsIn, 1),
                None => {}
            }
            if step.answer {
                send_alone(turn, &flow, time_wait.ack(now));
            }
            Ok(())
        }
        (Some(Taken::Reuse(reuse)), Some(listener)) => {
            let isn_after = Some(reuse.isn_after);
            syn_queue::on_syn(turn, &listener, flow, segment, arrived, isn_after);
            Ok(())
        }
        // It ended meanwhile.
        _ => Err(syn_queue::Elsewhere),
    }
}
