//! Timers that are due (RFC 9293 section 3.10.8): those of connections, of handshakes and of TIME-WAIT.

use std::sync::Arc;

use super::super::events::EventLog;
use super::super::turn::Turn;
use super::connection::Connection;
use super::decide;
use super::outbound::{count_losses, send_handshake};
use crate::base::counters::Counter;

/// Entries of one shard that are handled before another shard gets its turn.
const ENTRIES_PER_LOOK: usize = 64;

/// Handles a connection's timers that are due.
pub fn on_timeout(turn: &mut Turn<'_>, connection: &Arc<Connection>) {
    let now = turn.now;
    let worker = &mut *turn.worker;
    let subscription = &turn.host.subscription;
    connection.state.with(&mut turn.key.ctx(), |state, _| {
        let before = state.tcp.losses();
        let mut log = EventLog::new(subscription, &connection.flow, &mut worker.work.events);
        let readiness = state.tcp.on_timeout(log.context(now));
        count_losses(worker, before, state.tcp.losses());
        state.collect_wakers(readiness, &mut worker.work.wakers);
        state.tcp.rest(now);
    });
    turn.drive_later(connection);
}

/// Handles half-open connections and TIME-WAITs that are due, in at most `shards` shards of the table. Returns true if
/// there were any.
pub fn on_alarms(turn: &mut Turn<'_>, shards: usize) -> bool {
    let (host, now) = (turn.host, turn.now);
    let mut busy = false;
    let mut failed = Vec::new();
    for _ in 0..shards {
        let Some(shard) = turn.worker.alarms.pop_due(now) else {
            break;
        };
        busy = true;
        let mut resend = std::mem::take(&mut turn.worker.resend);
        let (expired, next) = host.tcp.connections.expire(
            &mut turn.key.ctx(),
            shard,
            now,
            ENTRIES_PER_LOOK,
            &mut resend,
            &mut failed,
        );
        for (flow, entry) in failed.drain(..) {
            decide::fail(turn, &flow, &entry);
        }
        if let Some(next) = next {
            turn.worker.alarms.note(shard, next);
        }
        let resent = resend.len() as u64;
        turn.count(Counter::TcpRetransmits, resent);
        turn.count(Counter::TcpTimeouts, resent);
        turn.count(Counter::TcpHandshakesExpired, expired.handshakes as u64);
        for again in resend.drain(..) {
            let options = &again.listener.options;
            let syn_ack = again.half.syn_ack(&options.config, now);
            send_handshake(turn, &again.flow, &again.half, syn_ack, options);
        }
        turn.worker.resend = resend;
    }
    busy
}
