//! The Fast Open option of a SYN to a listener, and of the SYN-ACK to a connection (RFC 7413).

use std::sync::Arc;

use packet::buf::Level;
use packet::tcp::FastOpen;

use super::super::events::EventLog;
use super::super::turn::Turn;
use super::connection::{Connection, Listener};
use super::hand_out::hand_out;
use super::open::path_mss;
use super::outcome::finish;
use crate::base::counters::{Counter, DropReason};
use crate::base::mib::objects::TcpObject;
use crate::demux::FlowKey;
use crate::tcp::{CookieCheck, FastAccept, FastOpenNews, HalfOpen, Segment, Tcp};

/// The decision about a SYN to a listener.
pub(super) enum Greeting {
    /// An ordinary handshake. Its first SYN-ACK may have a cookie.
    Handshake(Option<FastOpen>),
    /// The application has the connection.
    Opened,
}

/// Looks at the Fast Open option of a SYN, whose handshake is `half` (RFC 7413 section 4.2.2). The cookie opens the
/// connection if there are places for it and nothing is short; otherwise the handshake is an ordinary one.
pub(super) fn greet(
    turn: &mut Turn<'_>,
    listener: &Arc<Listener>,
    flow: FlowKey,
    half: &HalfOpen,
    syn: &Segment,
) -> Greeting {
    let Some(option) = syn.options().fast_open() else {
        return Greeting::Handshake(None);
    };
    if listener.fast_open.limit() == 0 || listener.options.defers {
        return Greeting::Handshake(None);
    }
    let now = turn.now;
    let fast_open = &turn.host.tcp.fast_open;
    let (check, cookie) = fast_open.judge(&mut turn.key.ctx(), &flow, &option, now);
    // The answer has the option in the form that the client knows.
    let cookie = cookie.with_experimental(option.is_experimental());
    let renewed = match check {
        CookieCheck::Current => None,
        CookieCheck::Previous => Some(cookie),
        CookieCheck::Invalid => {
            turn.count(Counter::TcpFastOpenCookies, 1);
            return Greeting::Handshake(Some(cookie));
        }
    };
    if open(turn, listener, flow, half, syn, renewed) {
        Greeting::Opened
    } else {
        turn.count(Counter::TcpFastOpenRefused, 1);
        Greeting::Handshake(renewed)
    }
}

/// Opens the connection of a SYN with a valid cookie, and hands it out; false if there is no place for it now.
fn open(
    turn: &mut Turn<'_>,
    listener: &Arc<Listener>,
    flow: FlowKey,
    half: &HalfOpen,
    syn: &Segment,
    cookie: Option<FastOpen>,
) -> bool {
    let (now, host) = (turn.now, turn.host);
    if host.buffers.level() != Level::Ease || host.tcp.connections.is_full() {
        return false;
    }
    let (Some(place), Some(backlog)) = (listener.fast_open.admit(now), listener.admit()) else {
        return false;
    };
    let path_mss = path_mss(host, turn.key, &flow, now);
    let grant = FastAccept {
        cookie,
        place,
        path_mss,
    };
    let events = &mut turn.worker.work.events;
    let events_before = events.len();
    let mut log = EventLog::new(&host.subscription, &flow, events);
    let (cx, buffers, cfg) = (log.context(now), &host.buffers, &listener.options.config);
    let (tcp, outcome) = Tcp::accept_early(half, grant, cfg, syn.clone(), cx, buffers);
    let owner = turn.worker.index as u16;
    let connection = Connection::new(flow, owner, tcp, &listener.options, None);
    let connections = &host.tcp.connections;
    let inserted = connections.insert(&mut turn.key.ctx(), Arc::clone(&connection));
    if inserted.is_err() {
        // Another worker took the same SYN first: a duplicate.
        turn.worker.work.events.truncate(events_before);
        turn.drop_packet(DropReason::TcpNotAcceptable);
        return true;
    }
    turn.worker.tally.tcp(TcpObject::PassiveOpens, 1);
    turn.count(Counter::TcpPassiveOpens, 1);
    turn.count(Counter::TcpFastOpenPassive, 1);
    hand_out(turn, listener, &connection, backlog);
    finish(turn, &connection, outcome, false);
    true
}

/// Notes what the SYN-ACK of a connection said about Fast Open with its peer.
pub(super) fn learn(turn: &mut Turn<'_>, flow: &FlowKey, news: FastOpenNews) {
    let counter = match news {
        FastOpenNews::Accepted { .. } => Counter::TcpFastOpenActive,
        FastOpenNews::Refused => Counter::TcpFastOpenActiveFails,
        FastOpenNews::Cookie { .. } => Counter::TcpFastOpenCookiesGot,
    };
    turn.count(counter, 1);
    let fast_open = &turn.host.tcp.fast_open;
    fast_open.note(&mut turn.key.ctx(), flow, news, turn.now);
}
