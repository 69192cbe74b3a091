//! Handshakes of passive opens: half-open connections in a bounded queue, SYN cookies beyond it.
//!
//! * **Define.** A SYN makes an entry of at most 96 bytes, or nothing at all. A connection is made when
//!   the handshake is done.
//! * **Enforce.** Only [`complete`] makes one, with a place in the listener's backlog in its hand.
//! * **Consume.** A flood of SYNs takes a bounded amount of memory and no place that an established
//!   connection needs.

use std::sync::Arc;

use packet::buf::Level;

use super::super::events::EventLog;
use super::super::turn::Turn;
use super::arrived::Arrived;
use super::authentication::{authenticate, discard, is_required, verify_syn};
use super::authenticator::Authenticator;
use super::connection::{Connection, Listener};
use super::decide;
use super::deferred::ASKED;
use super::displace;
use super::greet::{Greeting, greet};
use super::hand_out::hand_out;
use super::listener::SynPlace;
use super::open::{open_parameters, path_mss};
use super::outbound::{send_handshake, send_with};
use super::outcome::finish;
use super::shard::{Ended, HalfOpenEntry};
use super::table::InsertError;
use crate::base::counters::{Counter, DropReason};
use crate::base::mib::objects::TcpObject;
use crate::base::{Instant, TcpConfig};
use crate::demux::FlowKey;
use crate::tcp::{
    Answer, HalfOpen, IcmpError, NotRecalled, Segment, SegmentOut, SeqNum, Step, Tcp, reset_for,
};

/// The segment belongs to the connection that another worker has just made.
pub(super) struct Elsewhere;

/// Takes a SYN to a listener (RFC 9293 section 3.10.7.2, third). `isn_after`: it succeeds a connection in
/// TIME-WAIT, and our sequence number must lie after this.
pub(super) fn on_syn(
    turn: &mut Turn<'_>,
    listener: &Arc<Listener>,
    flow: FlowKey,
    syn: &Segment,
    arrived: Arrived<'_>,
    isn_after: Option<SeqNum>,
) {
    let host = turn.host;
    if flow.remote().port() == 0 {
        turn.drop_packet(DropReason::TcpNotAcceptable);
        return;
    }
    if listener.is_backlog_full() && !displace::may_join_backlog(turn, listener, &flow) {
        turn.drop_packet(DropReason::TcpBacklogFull);
        return;
    }
    if !displace::may_make_room(turn, &flow) {
        refuse_full(turn);
        return;
    }
    let options = &listener.options;
    let key_id = match verify_syn(turn, listener, &flow, arrived.wire) {
        Ok(key_id) => key_id,
        Err(fault) => {
            discard(turn, fault);
            return;
        }
    };
    if options.filter.is_some() {
        let info = decide::info(&flow, syn.options(), arrived.hop);
        if !turn.key.lend(|| options.filter.takes(&info)) {
            turn.drop_packet(DropReason::TcpFiltered);
            return;
        }
    }
    let mut open = open_parameters(host, turn.key, &flow, turn.now);
    let place = match isn_after {
        Some(after) => {
            if !open.isn.after(after) {
                open.isn = after + 1;
            }
            Some(listener.admit_successor())
        }
        None => listener
            .admit_syn()
            .or_else(|| displace_for(turn, listener, &flow, key_id.is_some())),
    };
    let cfg = &options.config;
    if place.is_none() && (options.defers || key_id.is_some()) {
        // A cookie would answer before the program decided, or forget the key.
        turn.drop_packet(DropReason::TcpBacklogFull);
        return;
    }
    let Some(place) = place else {
        let (ctx, clock) = (&mut turn.key.ctx(), (turn.now, &mut turn.worker.rng));
        let cookies = &host.tcp.cookies;
        let syn_ack = cookies.syn_ack(ctx, cfg, &flow, open, syn, clock);
        turn.count(Counter::TcpSynCookiesSent, 1);
        send_with(turn, &flow, syn_ack, options);
        return;
    };
    let half = HalfOpen::new(cfg, open, syn, turn.now).with_key_id(key_id);
    let half = match host.buffers.level() {
        Level::Ease => half,
        Level::Pressure | Level::Limit => half.with_little_window(),
    };
    // A SYN that succeeds a TIME-WAIT has the usual handshake.
    // So has one that is authenticated: early data would not be.
    let cookie = match isn_after.map(drop).or(key_id.map(drop)) {
        None => match greet(turn, listener, flow, &half, syn) {
            Greeting::Handshake(cookie) => cookie,
            Greeting::Opened => return,
        },
        Some(_) => None,
    };
    let entry = HalfOpenEntry { half, place };
    if options.defers {
        decide::ask(turn, listener, flow, entry, arrived.hop);
        return;
    }
    let deadline = turn.now + half.timeout(cfg);
    let connections = &host.tcp.connections;
    match connections.insert_half_open(&mut turn.key.ctx(), flow, (0, deadline), entry) {
        Ok(placed) => {
            turn.worker.alarms.note(placed.shard, deadline);
            turn.worker.tally.tcp(TcpObject::PassiveOpens, 1);
            let mut syn_ack = half.syn_ack(cfg, turn.now);
            syn_ack.options.set_fast_open(cookie);
            send_handshake(turn, &flow, &half, syn_ack, options);
        }
        // Another worker took the same SYN first: a duplicate.
        Err(_) => turn.drop_packet(DropReason::TcpNotAcceptable),
    }
}

/// Ends a handshake of the peer that crowds the others out of the listener's queue, if there is one, and returns its
/// place. For a newcomer that is authenticated, any handshake of one that is not makes room.
fn displace_for(
    turn: &mut Turn<'_>,
    listener: &Arc<Listener>,
    newcomer: &FlowKey,
    is_authenticated: bool,
) -> Option<SynPlace<Arc<Connection>>> {
    let worker = &mut *turn.worker;
    // A listener that defers cannot answer with a cookie, nor can one that authenticates the newcomer: a place is all
    // that it can get.
    if !listener.options.defers && !is_authenticated && !worker.sample_rate.is_due(worker.rng.u64())
    {
        return None;
    }
    let connections = &turn.host.tcp.connections;
    let ctx = &mut turn.key.ctx();
    let displaced = if is_authenticated {
        connections.displace_stranger(ctx, listener, newcomer, &mut worker.rng)
    } else {
        let sampling = (&mut worker.rng, &mut worker.sample_rate);
        connections.displace_half_open(ctx, listener, newcomer, sampling)
    };
    let (flow, entry) = displaced?;
    turn.count(Counter::TcpHandshakesDisplaced, 1);
    decide::fail(turn, &flow, &entry);
    drop(entry);
    listener.admit_syn()
}

/// Takes a segment for a half-open connection (RFC 9293 section 3.10.7.4).
pub(super) fn on_segment(
    turn: &mut Turn<'_>,
    flow: FlowKey,
    segment: &Segment,
    arrived: Arrived<'_>,
) -> Result<(), Elsewhere> {
    let mut authenticator = None;
    let mut judged = judge(turn, &flow, segment, None);
    if let Some(Judged::Unverified) = judged {
        // With nothing locked while it computes.
        match authenticate(turn, &flow, arrived.wire).ok_or(Elsewhere)? {
            Ok((iss, verified)) => {
                authenticator = verified;
                judged = judge(turn, &flow, segment, Some(iss));
            }
            Err(fault) => {
                discard(turn, fault);
                return Ok(());
            }
        }
    }
    match judged {
        None | Some(Judged::Unverified) => return Err(Elsewhere),
        Some(Judged::Undecided) => decide::on_segment(turn, &flow, segment),
        Some(Judged::Succeeded(removed, listener)) => {
            if let Some((flow, entry)) = removed {
                decide::fail(turn, &flow, &entry);
            }
            on_syn(turn, &listener, flow, segment, arrived, None);
        }
        Some(Judged::Reset(removed)) => {
            if let Some((flow, entry)) = removed {
                decide::fail(turn, &flow, &entry);
            }
            turn.count(Counter::TcpResetsIn, 1);
            turn.count(Counter::TcpAttemptFails, 1);
        }
        Some(Judged::Stay(drop, answer)) => {
            if let Some(reason) = drop {
                turn.drop_packet(reason);
            }
            if let Some((answer, half, listener)) = answer {
                let options = &listener.options;
                if let Some(reply) = reply(&options.config, &half, answer, segment, turn.now) {
                    send_handshake(turn, &flow, &half, reply, options);
                }
            }
        }
        Some(Judged::Complete(half, listener)) => {
            let origin = Origin::Queue(authenticator);
            return complete(turn, &listener, flow, &half, segment, origin);
        }
    }
    Ok(())
}

/// Lets a half-open connection judge a segment; `None` if there is none. `verified`: the initial sequence number of the one
/// that the segment was verified for.
fn judge(
    turn: &mut Turn<'_>,
    flow: &FlowKey,
    segment: &Segment,
    verified: Option<SeqNum>,
) -> Option<Judged> {
    let now = turn.now;
    let connections = &turn.host.tcp.connections;
    let judged = connections.with_half_open(&mut turn.key.ctx(), flow, |queue, id| {
        let is_asked = queue.list_of(id) == Some(ASKED);
        let (_, HalfOpenEntry { half, place }) = queue.get_mut(id)?;
        let listener = place.listener();
        match verified {
            // It is another one by now.
            Some(iss) if iss != half.iss() => return None,
            None if listener.options.keys.is_some() => return Some(Judged::Unverified),
            _ => {}
        }
        if is_asked {
            return Some(Judged::Undecided);
        }
        if half.is_succeeded_by(segment) {
            let listener = Arc::clone(listener);
            return Some(Judged::Succeeded(queue.remove(id), listener));
        }
        let cfg = &listener.options.config;
        Some(match half.on_segment(cfg, segment, now) {
            Step::Reset => Judged::Reset(queue.remove(id)),
            Step::Stay(drop, answer) => {
                let answers = !matches!(answer, Answer::None);
                let answer = answers.then(|| (answer, *half, Arc::clone(listener)));
                Judged::Stay(drop, answer)
            }
            Step::Complete => Judged::Complete(*half, Arc::clone(listener)),
        })
    });
    judged.flatten()
}

/// The effect of a segment on a half-open connection.
enum Judged {
    /// Its listener has keys, and the segment was not verified.
    Unverified,
    /// The program has not decided about the SYN yet.
    Undecided,
    /// The peer has begun another handshake. The entry is dropped when nothing is locked.
    Succeeded(Option<Ended<Arc<Connection>>>, Arc<Listener>),
    /// The connection is gone. Its entry is dropped when nothing is locked.
    Reset(Option<Ended<Arc<Connection>>>),
    /// It stays half open. The segment is discarded for a reason, or answered, or both.
    Stay(
        Option<DropReason>,
        Option<(Answer, HalfOpen, Arc<Listener>)>,
    ),
    /// The handshake is done.
    Complete(HalfOpen, Arc<Listener>),
}

fn reply(
    cfg: &TcpConfig,
    half: &HalfOpen,
    answer: Answer,
    segment: &Segment,
    now: Instant,
) -> Option<SegmentOut> {
    match answer {
        Answer::None => None,
        Answer::SynAck => Some(half.syn_ack(cfg, now)),
        Answer::Ack => Some(half.ack(cfg, now)),
        Answer::Reset => reset_for(segment).map(SegmentOut::from),
    }
}

/// The segment made no connection.
pub(super) enum NoCookie {
    /// It acknowledges no SYN cookie.
    Invalid,
    /// Another worker has made the connection.
    Elsewhere,
}

impl From<Elsewhere> for NoCookie {
    fn from(Elsewhere: Elsewhere) -> Self {
        Self::Elsewhere
    }
}

/// Takes an acknowledgment for which there is nothing but a listener: it may bring back a SYN cookie.
pub(super) fn on_ack(
    turn: &mut Turn<'_>,
    listener: &Arc<Listener>,
    flow: FlowKey,
    segment: &Segment,
) -> Result<(), NoCookie> {
    let host = turn.host;
    let cookies = &host.tcp.cookies;
    if !cookies.may_return(turn.now) {
        return Err(NoCookie::Invalid);
    }
    if is_required(&mut turn.key.ctx(), listener, flow.remote()) {
        // None was sent to that peer.
        return Err(NoCookie::Invalid);
    }
    let options = &listener.options;
    let open = open_parameters(host, turn.key, &flow, turn.now);
    let cfg = &options.config;
    let (ctx, clock) = (&mut turn.key.ctx(), (turn.now, &mut turn.worker.rng));
    let mut half = match cookies.recall(ctx, cfg, &flow, open, segment, clock) {
        Ok(half) => half,
        Err(NotRecalled::Stranger) => return Err(NoCookie::Invalid),
        // The first segment was lost. A reset would end a connection that the peer has.
        Err(NotRecalled::Later) => {
            turn.drop_packet(DropReason::TcpNotAcceptable);
            return Ok(());
        }
    };
    if half.on_segment(cfg, segment, turn.now) != Step::Complete {
        return Err(NoCookie::Invalid);
    }
    turn.count(Counter::TcpSynCookiesReturned, 1);
    turn.worker.tally.tcp(TcpObject::PassiveOpens, 1);
    complete(turn, listener, flow, &half, segment, Origin::Cookie)?;
    Ok(())
}

/// The memory of a handshake.
enum Origin {
    /// The queue; it may be authenticated.
    Queue(Option<Box<Authenticator>>),
    Cookie,
}

/// Makes the connection of a handshake that `segment` completes, and hands it out. If there is no room
/// for it now, the segment is discarded: the peer's data, or our SYN-ACK, will bring another one.
fn complete(
    turn: &mut Turn<'_>,
    listener: &Arc<Listener>,
    flow: FlowKey,
    half: &HalfOpen,
    segment: &Segment,
    origin: Origin,
) -> Result<(), Elsewhere> {
    let host = turn.host;
    let place = listener.admit();
    if place.is_none() && !displace::may_join_backlog(turn, listener, &flow) {
        turn.drop_packet(DropReason::TcpBacklogFull);
        return Ok(());
    }
    if host.tcp.connections.is_full() && !displace::make_room(turn, &flow) {
        refuse_full(turn);
        return Ok(());
    }
    // Last: nobody is thrown out of the backlog for a connection that the table refuses.
    let place = place.or_else(|| {
        displace::make_room_in_backlog(turn, listener, &flow)
            .then(|| listener.admit())
            .flatten()
    });
    let Some(place) = place else {
        turn.drop_packet(DropReason::TcpBacklogFull);
        return Ok(());
    };
    let path_mss = path_mss(host, turn.key, &flow, turn.now);
    // The segment stays as it is for whoever may be there already.
    let mut taken = segment.clone();
    let events = &mut turn.worker.work.events;
    let events_before = events.len();
    let mut log = EventLog::new(&host.subscription, &flow, events);
    let cx = log.context(turn.now);
    let (tcp, outcome) = Tcp::complete(
        half,
        path_mss,
        &listener.options.config,
        &mut taken,
        cx,
        &host.buffers,
    );
    let owner = turn.worker.index as u16;
    let (is_queued, authenticator) = match origin {
        Origin::Queue(authenticator) => (true, authenticator),
        Origin::Cookie => (false, None),
    };
    let is_authenticated = authenticator.is_some();
    let connection = Connection::new(flow, owner, tcp, &listener.options, authenticator);
    let (connections, ctx) = (&host.tcp.connections, &mut turn.key.ctx());
    let entered = match is_queued {
        true => connections.promote(ctx, half.iss(), Arc::clone(&connection)),
        false => connections.insert(ctx, Arc::clone(&connection)),
    };
    match entered {
        Ok(()) => {
            turn.count(Counter::TcpPassiveOpens, 1);
            turn.count(Counter::TcpAoAccepted, u64::from(is_authenticated));
            hand_out(turn, listener, &connection, place);
            finish(turn, &connection, outcome, false);
            Ok(())
        }
        Err(error) => {
            turn.worker.work.events.truncate(events_before);
            if error == InsertError::Exists {
                return Err(Elsewhere);
            }
            refuse_full(turn);
            Ok(())
        }
    }
}

/// Counts a segment for which the table has no room, and says so in the log from time to time.
fn refuse_full(turn: &Turn<'_>) {
    turn.drop_packet(DropReason::TcpTableFull);
    let connections = &turn.host.tcp.connections;
    if connections.should_log_full(turn.now) {
        tracing::warn!(
            max_connections = connections.limit(),
            "new connections are refused: the table is full"
        );
    }
}

/// Takes an ICMP error about the SYN-ACK of a half-open connection; false if there is none with that
/// sequence number. A hard error ends the handshake (RFC 1122 section 4.2.3.9).
pub(super) fn on_icmp_error(
    turn: &mut Turn<'_>,
    flow: &FlowKey,
    error: IcmpError,
    seq: SeqNum,
) -> bool {
    let connections = &turn.host.tcp.connections;
    let believed = connections.with_half_open(&mut turn.key.ctx(), flow, |queue, id| {
        let is_ours = queue
            .get_mut(id)
            .is_some_and(|(_, entry)| entry.half.iss() == seq);
        let removed = match error {
            IcmpError::Hard(_) if is_ours => queue.remove(id),
            _ => None,
        };
        (is_ours, removed)
    });
    let Some((is_ours, removed)) = believed else {
        return false;
    };
    if let Some((flow, entry)) = removed {
        decide::fail(turn, &flow, &entry);
    }
    is_ours
}
