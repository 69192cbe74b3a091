//! Room in a full table, backlog or queue: the peer that has most makes room for a peer that has little, and an idle
//! connection for a new one.
//!
//! * **Define.** A place in the table of connections, in a listener's backlog or in its queue of handshakes is
//!   taken from the peer that has most of them ([`crowding`]), for a peer that has fewer than half as many in a
//!   random sample. If no peer of the table has much more than others, the connection of the sample that has been
//!   idle longest makes room, if that is long.
//! * **Enforce.** A connection is displaced by a peer whose handshake is done, or by the application: no peer can
//!   do it in another's name. A SYN displaces at most another SYN.
//! * **Consume.** One client that opens as many connections as it can keeps nobody else out. While nothing is
//!   full, one peer may have everything, and none of this costs anything.

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use lockorder::Key;

use super::super::events::{ConnectionEvent, EventLog};
use super::super::foreign::{locked, wake_all};
use super::super::host::Host;
use super::super::levels::StackLocks;
use super::super::turn::Turn;
use super::connection::{Connection, Listener};
use super::crowd::Crowd;
use crate::base::counters::Counter;
use crate::base::{Counters, Instant, Rng};
use crate::demux::FlowKey;
use crate::ip::peer::{PeerNet, crowding};
use crate::tcp::{Readiness, State};

/// Idle time after which a connection makes room in a full table although its peer has no more than others.
const LONG_IDLE: Duration = Duration::from_secs(60);

/// Time for which a worker keeps the answer to [`may_make_room`]: a flood of SYNs costs a sample now and then.
const ANSWER_LIFE: Duration = Duration::from_millis(10);

/// Returns true if there is room in the table for a connection of `flow`, or if it may be made when the handshake
/// is done.
pub(super) fn may_make_room(turn: &mut Turn<'_>, flow: &FlowKey) -> bool {
    let (host, now) = (turn.host, turn.now);
    let connections = &host.tcp.connections;
    if !connections.is_full() {
        return true;
    }
    let is_fresh = |crowd: &Crowd| now.saturating_since(crowd.seen) <= ANSWER_LIFE;
    let crowd = turn.worker.crowd.filter(is_fresh).unwrap_or_else(|| {
        let sample = connections.sample(&mut turn.key.ctx(), &mut turn.worker.rng);
        let mut peers: Vec<PeerNet> = sample.iter().map(|other| other.flow.peer()).collect();
        let most = crowding(&mut peers, PeerNet::NOBODY);
        Crowd {
            seen: now,
            peer: most,
            is_idle: most.is_none() && longest_idle(turn.key, sample, now, LONG_IDLE).is_some(),
        }
    });
    turn.worker.crowd = Some(crowd);
    crowd.is_idle || crowd.peer.is_some_and(|peer| peer != flow.peer())
}

/// Makes room in a full table for a connection of `flow`, whose handshake is done; false if no connection has to make
/// room for its peer.
pub(super) fn make_room(turn: &mut Turn<'_>, flow: &FlowKey) -> bool {
    let (host, now) = (turn.host, turn.now);
    let worker = &mut *turn.worker;
    let effects = Effects {
        counters: &worker.counters,
        events: &mut worker.work.events,
        wakers: &mut worker.work.wakers,
    };
    let Some(displaced) = displace(host, turn.key, &mut worker.rng, (flow, now), effects) else {
        return false;
    };
    turn.drive_later(&displaced);
    true
}

/// Makes room in a full table for a connection that the application opens; false if no connection has to.
pub(super) fn make_room_to_connect(host: &Host, flow: &FlowKey) -> bool {
    let now = host.clock.now();
    let mut rng = Rng::from_u64(host.tcp.isn.isn(now, flow.local(), flow.remote()).0.into());
    let (mut events, mut wakers) = (Vec::new(), Vec::new());
    let effects = Effects {
        counters: host.workers.counters_here(),
        events: &mut events,
        wakers: &mut wakers,
    };
    let displaced = locked(|key| displace(host, key, &mut rng, (flow, now), effects));
    host.subscription.deliver(&mut events);
    wake_all(wakers);
    host.workers.count_panics();
    if let Some(displaced) = &displaced {
        host.workers.drive(displaced);
    }
    displaced.is_some()
}

/// The lists that a displacement adds to, for a caller that has nothing locked later.
struct Effects<'a> {
    counters: &'a Counters,
    events: &'a mut Vec<ConnectionEvent>,
    wakers: &'a mut Vec<Waker>,
}

/// Ends the connection that makes room for one of `flow`, if one must, and takes it out of the table. Its reset leaves
/// when its owner drives it.
fn displace(
    host: &Host,
    key: &mut Key<StackLocks>,
    rng: &mut Rng,
    (flow, now): (&FlowKey, Instant),
    effects: Effects<'_>,
) -> Option<Arc<Connection>> {
    let (connection, counter) = choose(host, key, rng, flow, now)?;
    effects.counters.add(counter, 1);
    let mut log = EventLog::new(&host.subscription, &connection.flow, effects.events);
    let (first, failure) = connection.state.with(&mut key.ctx(), |state, _| {
        state.tcp.abort_for_room(log.context(now));
        state.collect_wakers(Readiness::ERROR | Readiness::CLOSED, effects.wakers);
        let first = !std::mem::replace(&mut state.removed, true);
        (first, state.tcp.failure())
    });
    if first && host.tcp.connections.remove(&mut key.ctx(), &connection) {
        effects.counters.add(Counter::TcpClosed, 1);
        if let Some(failure) = failure {
            effects.counters.add(failure, 1);
        }
    }
    Some(connection)
}

/// Returns the connection that makes room for one of `flow`, if one must, and the counter for it.
fn choose(
    host: &Host,
    key: &mut Key<StackLocks>,
    rng: &mut Rng,
    flow: &FlowKey,
    now: Instant,
) -> Option<(Arc<Connection>, Counter)> {
    let mut sample = host.tcp.connections.sample(&mut key.ctx(), rng);
    let mut peers: Vec<PeerNet> = sample.iter().map(|other| other.flow.peer()).collect();
    let (counter, least) = match crowding(&mut peers, flow.peer()) {
        Some(peer) => {
            sample.retain(|other| other.flow.peer() == peer);
            (Counter::TcpDisplaced, Duration::ZERO)
        }
        None => {
            // A peer does not end connections of others to have more than they have.
            let own = |other: &Arc<Connection>| other.flow.peer() == flow.peer();
            if sample.iter().filter(|other| own(other)).count() > 1 {
                sample.retain(own);
            }
            (Counter::TcpIdleDisplaced, LONG_IDLE)
        }
    };
    let connection = longest_idle(key, sample, now, least)?;
    Some((connection, counter))
}

/// Returns a connection in TIME-WAIT (an authenticated one: others leave the table then), or else one that the application
/// has closed, or else the one that has been idle longest, of those that have been idle for `least`.
fn longest_idle(
    key: &mut Key<StackLocks>,
    sample: Vec<Arc<Connection>>,
    now: Instant,
    least: Duration,
) -> Option<Arc<Connection>> {
    let mut idle = |connection: &Arc<Connection>| {
        let (active, is_over) = connection.state.with(&mut key.ctx(), |state, _| {
            let is_over = state.tcp.state() == State::TimeWait;
            (state.tcp.last_active(), is_over)
        });
        let time = now.saturating_since(active?);
        (time >= least || is_over).then_some((is_over, connection.is_orphan(), time))
    };
    sample
        .into_iter()
        .filter_map(|connection| Some((idle(&connection)?, connection)))
        .max_by_key(|(rank, _)| *rank)
        .map(|(_, connection)| connection)
}

/// Returns true if a connection of `flow` would have room in a listener's full backlog when its handshake is done.
pub(super) fn may_join_backlog(
    turn: &mut Turn<'_>,
    listener: &Arc<Listener>,
    flow: &FlowKey,
) -> bool {
    let rng = &mut turn.worker.rng;
    let crowding = listener
        .queue
        .with(&mut turn.key.ctx(), |queue, _| queue.crowding(flow, rng));
    crowding.is_some()
}

/// Makes room in a listener's full backlog for a connection of `flow`, whose handshake is done; false if no connection
/// has to make room for its peer.
pub(super) fn make_room_in_backlog(
    turn: &mut Turn<'_>,
    listener: &Arc<Listener>,
    flow: &FlowKey,
) -> bool {
    let rng = &mut turn.worker.rng;
    let displaced = listener
        .queue
        .with(&mut turn.key.ctx(), |queue, _| queue.displace(flow, rng));
    let Some(connection) = displaced else {
        return false;
    };
    turn.count(Counter::TcpUnacceptedDisplaced, 1);
    reset(turn, &connection);
    true
}

/// Resets a connection that was not accepted.
pub(super) fn reset(turn: &mut Turn<'_>, connection: &Arc<Connection>) {
    let events = &mut turn.worker.work.events;
    let mut log = EventLog::new(&turn.host.subscription, &connection.flow, events);
    let cx = log.context(turn.now);
    connection
        .state
        .with(&mut turn.key.ctx(), |state, _| state.tcp.abort(cx));
    turn.drive_later(connection);
}
