//! A worker's rounds: what is queued is made smaller or given up while memory is short, and memory that nobody
//! needs any more goes back to the system.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use packet::buf::{FLOOR_BYTES, Level};

use super::super::events::EventLog;
use super::super::tcp::connection::Connection;
use super::super::turn::{Turn, WorkerState};
use super::super::udp::app;
use super::holders::STALL;
use super::trim::PERIOD;
use crate::base::Instant;
use crate::base::counters::{Counter, DropReason};
use crate::ip::peer::PeerNet;
use crate::tcp::Readiness;

/// Time between two rounds under pressure.
const PRESSURE: Duration = Duration::from_millis(100);
/// Time between two rounds at the limit.
const LIMIT: Duration = Duration::from_millis(10);

/// Most bytes that are copied in a round: it must be short, since packets wait.
const COPY_BYTES: usize = 4 << 20;

/// Notes how short memory is, and does a round if one is due. Called once each turn; does nothing but compare
/// two numbers while memory is at ease.
pub fn tend(turn: &mut Turn<'_>, was_busy: bool) {
    let (level, before) = turn.host.buffers.note_level();
    if level != before {
        report(turn, level, before);
    }
    let holders = &mut turn.worker.holders;
    holders.wanted |= was_busy || level > Level::Ease;
    let soonest = turn.now + pause(level);
    holders.due = holders.due.min(soonest);
    if turn.now < holders.due || !holders.wanted {
        return;
    }
    round(turn, level);
    let is_trimmable = trim(turn);
    let holders = &mut turn.worker.holders;
    holders.due = soonest;
    holders.wanted = level > Level::Ease || !holders.list.is_empty() || is_trimmable;
}

fn pause(level: Level) -> Duration {
    match level {
        Level::Ease => PERIOD,
        Level::Pressure => PRESSURE,
        Level::Limit => LIMIT,
    }
}

/// Returns when this worker must be turned for its next round.
pub fn deadline(worker: &WorkerState) -> Option<Instant> {
    worker.holders.deadline()
}

/// Counts and logs a change of the level, once for all workers.
fn report(turn: &Turn<'_>, level: Level, before: Level) {
    match level {
        Level::Pressure if before == Level::Ease => turn.count(Counter::MemoryPressures, 1),
        Level::Limit => turn.count(Counter::MemoryLimits, 1),
        _ => {}
    }
    let memory = turn.host.buffers.memory_use();
    tracing::warn!(
        level = level.label(),
        before = before.label(),
        used = memory.used,
        limit = memory.limit,
        "packet memory"
    );
}

/// Frees slabs that nobody needed for a second; true if there is more to free.
fn trim(turn: &Turn<'_>) -> bool {
    let buffers = &turn.host.buffers;
    if turn.host.trim_time.is_due(turn.now) {
        let freed = buffers.trim();
        if freed > 0 {
            turn.count(Counter::SlabsFreed, freed as u64);
        }
    }
    buffers.is_trimmable()
}

/// Looks at every holder once.
fn round(turn: &mut Turn<'_>, level: Level) {
    let victims = look_at_holders(turn, level);
    if level == Level::Ease {
        return;
    }
    if turn.worker.index == 0 {
        look_at_datagrams(turn, level);
    }
    if level == Level::Limit && turn.host.buffers.note_level().0 == Level::Limit {
        give_up(turn, victims);
    }
}

/// A connection that may be given up.
struct Victim {
    connection: Arc<Connection>,
    pinned: usize,
    stalled: Duration,
}

impl Victim {
    /// Returns a rank: the greater it is, the sooner the holder is given up. `peer_pinned`: the memory that all
    /// victims of its peer hold. A peer with many connections goes before one with the same memory in a single
    /// one of them.
    fn rank(&self, peer_pinned: usize) -> (bool, u128) {
        let cost = peer_pinned as u128 * self.stalled.as_millis();
        (self.connection.is_orphan(), cost)
    }
}

/// Sorts victims so that the first is to be given up first.
fn sort(victims: &mut [Victim]) {
    let mut by_peer: BTreeMap<PeerNet, usize> = BTreeMap::new();
    for victim in victims.iter() {
        *by_peer.entry(victim.connection.flow.peer()).or_default() += victim.pinned;
    }
    victims.sort_by_cached_key(|victim| {
        let pinned = by_peer.get(&victim.connection.flow.peer());
        let rank = victim.rank(pinned.copied().unwrap_or(victim.pinned));
        std::cmp::Reverse((rank, victim.pinned))
    });
}

/// Copies what leaves slabs unused, wakes writers that found no memory, at the limit drops what arrived ahead of
/// gaps; returns the connections that make no progress.
fn look_at_holders(turn: &mut Turn<'_>, level: Level) -> Vec<Victim> {
    let (host, now) = (turn.host, turn.now);
    let mut list = std::mem::take(&mut turn.worker.holders.list);
    let count = list.len();
    let first = turn.worker.holders.next.min(count);
    let mut may_copy = COPY_BYTES;
    let (mut copied, mut dropped) = (0, 0);
    let mut victims = Vec::new();
    list.rotate_left(first);
    let mut seen = 0;
    list.retain_mut(|holder| {
        let Some(connection) = holder.connection.upgrade() else {
            return false;
        };
        let wakers = &mut turn.worker.work.wakers;
        let kept = connection.state.with(&mut turn.key.ctx(), |state, _| {
            if level == Level::Limit {
                dropped += state.tcp.drop_out_of_order();
            }
            if level > Level::Ease && may_copy > 0 {
                let bytes = state.tcp.compact(&host.buffers);
                copied += bytes;
                may_copy = may_copy.saturating_sub(bytes);
                seen += 1;
            }
            if state.starved {
                state.collect_wakers(Readiness::WRITABLE, wakers);
            }
            let pinned = state.tcp.pinned();
            let stalled = holder.stalled(state, pinned, now);
            if pinned > 0 && level == Level::Limit && stalled >= STALL {
                victims.push(Victim {
                    connection: Arc::clone(&connection),
                    pinned,
                    stalled,
                });
            }
            pinned > 0
        });
        if !kept {
            connection.unlist();
        }
        kept
    });
    if list.is_empty() {
        list = Vec::new();
    }
    turn.worker.holders.next = if seen < count { seen } else { 0 };
    turn.worker.holders.list = list;
    turn.count(Counter::MemoryCopiedBytes, copied as u64);
    turn.count(Counter::MemoryDroppedBytes, dropped as u64);
    victims
}

/// The same for UDP sockets and fragments, which belong to no worker.
fn look_at_datagrams(turn: &mut Turn<'_>, level: Level) {
    let host = turn.host;
    let share = match level {
        Level::Limit => host.buffers.share().max(FLOOR_BYTES),
        _ => usize::MAX,
    };
    for socket in app::all(host, &mut turn.key.ctx()) {
        let ctx = &mut turn.key.ctx();
        let (copied, dropped) = socket.state.with(ctx, |state, _| {
            state.socket.give_up_memory(share, &host.buffers)
        });
        turn.count(Counter::MemoryCopiedBytes, copied as u64);
        for _ in 0..dropped {
            turn.drop_packet(DropReason::MemoryShare);
        }
    }
    let fragments = host.ip.reassembly.fit(&mut turn.key.ctx(), &host.buffers);
    for _ in 0..fragments {
        turn.drop_packet(DropReason::FragmentNoMemory);
    }
}

/// Aborts connections until this worker's part of what is too much is free.
fn give_up(turn: &mut Turn<'_>, mut victims: Vec<Victim>) {
    let host = turn.host;
    let mut excess = host.buffers.excess().div_ceil(host.workers.count());
    sort(&mut victims);
    for victim in victims {
        if excess == 0 {
            break;
        }
        excess = excess.saturating_sub(victim.pinned);
        let connection = &victim.connection;
        let counter = if connection.is_orphan() {
            Counter::MemoryAbortedOrphans
        } else {
            Counter::MemoryAborted
        };
        turn.count(counter, 1);
        let work = &mut turn.worker.work;
        let mut log = EventLog::new(&host.subscription, &connection.flow, &mut work.events);
        let wakers = &mut work.wakers;
        connection.state.with(&mut turn.key.ctx(), |state, _| {
            state.tcp.abort_for_memory(log.context(turn.now));
            state.collect_wakers(Readiness::ERROR | Readiness::CLOSED, wakers);
        });
        turn.drive_later(connection);
    }
}
