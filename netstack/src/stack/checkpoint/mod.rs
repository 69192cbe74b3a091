//! A checkpoint of a whole stack: what another one needs to take its place, as plain data.
//!
//! * **Define.** A [`Checkpoint`] is every synchronised connection, every handshake of a peer that is half open, every TIME-WAIT,
//!   the datagrams that wait in UDP sockets, the secrets from which sequence numbers, timestamps and cookies follow, what is known
//!   of paths, the counters, and the time.
//! * **Enforce.** It is taken of a frozen stack, so that its parts are of one moment. [`take_up`] checks each part, and
//!   refuses the whole checkpoint for one that it cannot restore. [`enter`] gives places to what waits for a listener or a
//!   socket, within the limits of these.
//! * **Consume.** The clock of the restored stack goes on where that of the first one stopped: times are valid as they are.
//!
//! Addresses, routes, listeners and sockets for datagrams are the program's to set up. What waits for them is theirs as soon as
//! the stack begins: a listener offers the connections that nobody had accepted, and completes the handshakes.
//!
//! | not kept | what becomes of it |
//! |---|---|
//! | connections that the stack itself was opening, and those that a SYN with data opened, before the end of their handshakes | they are opened again, or reset |
//! | authenticated connections and handshakes (TCP-AO): no secret leaves the process | the program opens them again |
//! | fragments of incomplete datagrams | the datagram is lost, as any may be: its other fragments are a few milliseconds away |
//! | members of multicast groups | the program joins again |
//! | limits of rates | they begin anew |
//!
//! | file | |
//! |---|---|
//! | `handshakes` | handshakes that are half open |
//! | `datagrams` | datagrams that wait |
//! | `ends` | the two ends of either |
//! | `bytes` | the whole as bytes |

#[cfg(feature = "checkpoint")]
mod bytes;
mod datagrams;
mod ends;
mod handshakes;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use self::datagrams::KeptDatagram;
use self::ends::{Flow, four_tuple};
use self::handshakes::KeptHandshake;
use super::foreign::locked;
use super::host::Host;
use super::mailbox::Message;
use super::reached::{Freeze, Stage};
use super::tcp::connection::Connection;
use super::tcp::listen;
use super::tcp::options::Options;
use crate::base::Instant;
use crate::base::counters::kept::KeptCounters;
use crate::demux::FlowKey;
use crate::ip::pmtu::PathEntry;
use crate::tcp::{
    CookieSecrets, FastOpenSecrets, IsnGenerator, RestoreError, Tcp, TcpCheckpoint, TimeWait,
};

/// A whole stack at one moment.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "checkpoint", derive(serde::Serialize, serde::Deserialize))]
pub struct Checkpoint {
    now: Instant,
    isn: IsnGenerator,
    cookies: (CookieSecrets, Instant),
    fast_open: FastOpenSecrets,
    paths: Vec<PathEntry>,
    connections: Vec<Kept>,
    handshakes: Vec<KeptHandshake>,
    time_waits: Vec<(Flow, TimeWait, Instant)>,
    datagrams: Vec<KeptDatagram>,
    /// Those of each worker.
    counters: Vec<KeptCounters>,
}

#[derive(Clone, Debug)]
#[cfg_attr(feature = "checkpoint", derive(serde::Serialize, serde::Deserialize))]
struct Kept {
    flow: Flow,
    worker: u16,
    ttl: u8,
    traffic_class: u8,
    reset_on_close: bool,
    holder: Holder,
    tcp: TcpCheckpoint,
}

/// The holder of the application's side of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "checkpoint", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum Holder {
    /// Nobody: it only sends what is left.
    Nobody,
    /// The program, which handed it over with a note.
    Program(Vec<u8>),
    /// The listener: nobody had accepted it. They are numbered in the order in which they came to their listeners.
    Listener(u32),
    /// The program, which did not hand it over.
    Unknown,
}

/// The part of a checkpoint that the program and its sockets take.
pub(crate) struct TakenUp {
    /// The connections of the program.
    pub(crate) connections: Vec<Restored>,
    pub(crate) pending: Pending,
}

/// Everything that waits for the listeners and sockets of the program.
#[derive(Default)]
pub(crate) struct Pending {
    /// Connections that nobody had accepted.
    unaccepted: Vec<(u32, Arc<Connection>)>,
    handshakes: Vec<KeptHandshake>,
    datagrams: Vec<KeptDatagram>,
}

/// A connection for its program.
pub(crate) struct Restored {
    pub(crate) connection: Arc<Connection>,
    /// The note of the program that handed it over.
    pub(crate) note: Option<Vec<u8>>,
}

/// A connection that the program hands over.
pub(crate) struct Handed {
    /// Bytes that it had read and not used.
    pub(crate) in_hand: Vec<u8>,
    pub(crate) note: Vec<u8>,
}

/// The reason why a stack cannot be restored.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CheckpointError {
    /// It was made by another version.
    #[error(
        "the checkpoint has format {found}, and this version restores format {expected}: use the version that made it"
    )]
    Version {
        /// Its format.
        found: u32,
        /// The format of this version.
        expected: u32,
    },
    /// It is damaged.
    #[error("the checkpoint is damaged ({0}): make another one")]
    Damaged(String),
    /// One of its connections cannot be restored.
    #[error("{local} to {remote}: {error}")]
    Connection {
        /// Its address on this side.
        local: SocketAddr,
        /// The peer's.
        remote: SocketAddr,
        /// The reason.
        error: RestoreError,
    },
}

impl Checkpoint {
    /// Takes a checkpoint of a frozen stack. `handed` has the connections of the program by address of their record.
    pub(crate) fn of(host: &Host, mut handed: HashMap<*const Connection, Handed>) -> Self {
        let connections = locked(|key| host.tcp.connections.snapshot(&mut key.ctx()));
        let unaccepted = listen::unaccepted(host);
        let keep = |connection: Arc<Connection>| {
            let handed = handed.remove(&Arc::as_ptr(&connection));
            let (mut tcp, ttl, traffic_class) = connection.with_state(|state| {
                if state.authenticator.is_some() {
                    return None;
                }
                Some((state.tcp.checkpoint()?, state.ttl, state.traffic_class))
            })?;
            let holder = match handed {
                Some(Handed { in_hand, note }) => {
                    tcp.put_back(&in_hand);
                    Holder::Program(note)
                }
                None if connection.is_orphan() => Holder::Nobody,
                None => match unaccepted.get(&Arc::as_ptr(&connection)) {
                    Some(number) => Holder::Listener(*number),
                    None => Holder::Unknown,
                },
            };
            Some(Kept {
                flow: (connection.flow.local(), connection.flow.remote()),
                worker: connection.owner,
                ttl,
                traffic_class,
                reset_on_close: connection.reset_on_close(),
                holder,
                tcp,
            })
        };
        let connections = connections.into_iter().filter_map(keep).collect();
        let now = host.clock.now();
        locked(|key| {
            let ctx = &mut key.ctx();
            let time_waits = host.tcp.connections.time_wait_entries(ctx);
            let flow = |flow: FlowKey| (flow.local(), flow.remote());
            Self {
                now,
                isn: host.tcp.isn.clone(),
                cookies: host.tcp.cookies.export(ctx),
                fast_open: host.tcp.fast_open.secrets(ctx),
                paths: host.ip.paths.export(ctx, now),
                connections,
                time_waits: time_waits
                    .into_iter()
                    .map(|(key, time_wait, at)| (flow(key), time_wait, at))
                    .collect(),
                handshakes: handshakes::export(host, ctx),
                datagrams: datagrams::export(host, ctx),
                counters: host.workers.counters().map(KeptCounters::of).collect(),
            }
        })
    }

    /// Returns the time at which it was taken, from which the clock of the restored stack goes on.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Returns the number of connections.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }
}

/// Lets a host, on which nothing has happened yet, take up the secrets of a checkpoint. It begins frozen.
pub(crate) fn take_up_secrets(host: &mut Host, checkpoint: &Checkpoint) {
    host.freeze = Freeze::new(Stage::Frozen);
    host.tcp.isn = checkpoint.isn.clone();
    let (cookies, until) = &checkpoint.cookies;
    host.tcp.cookies.import(cookies.clone(), *until);
    locked(|key| {
        let ctx = &mut key.ctx();
        host.tcp.fast_open.import(ctx, checkpoint.fast_open.clone());
        host.ip.paths.import(ctx, &checkpoint.paths);
    });
}

/// Lets a host, whose workers do not run yet, take up the connections of a checkpoint, and everything else that waits for
/// nobody. Returns the rest.
///
/// # Errors
/// Something that cannot be restored.
pub(crate) fn take_up(host: &Host, checkpoint: &Checkpoint) -> Result<TakenUp, CheckpointError> {
    let mut taken = TakenUp {
        connections: Vec::new(),
        pending: Pending {
            unaccepted: Vec::new(),
            handshakes: checkpoint.handshakes.clone(),
            datagrams: checkpoint.datagrams.clone(),
        },
    };
    let damaged = |what: &str| CheckpointError::Damaged(what.to_owned());
    if !handshakes::are_valid(&checkpoint.handshakes) {
        return Err(damaged("a handshake that cannot be"));
    }
    if !datagrams::are_valid(&checkpoint.datagrams) {
        return Err(damaged("a datagram that cannot be"));
    }
    for kept in &checkpoint.connections {
        take_up_connection(host, kept, checkpoint.now, &mut taken)?;
    }
    take_up_time_waits(host, checkpoint);
    let counters: Vec<_> = host.workers.counters().collect();
    KeptCounters::add_all(&checkpoint.counters, &counters).ok_or_else(|| damaged("counters"))?;
    Ok(taken)
}

/// Takes up one connection.
fn take_up_connection(
    host: &Host,
    kept: &Kept,
    now: Instant,
    taken: &mut TakenUp,
) -> Result<(), CheckpointError> {
    let (local, remote) = kept.flow;
    let failed = |error| CheckpointError::Connection {
        local,
        remote,
        error,
    };
    let no_address = || failed(RestoreError::Invalid("address"));
    let flow = four_tuple(kept.flow).ok_or_else(no_address)?;
    let tcp = Tcp::restore(&kept.tcp, &host.tcp.config, &host.buffers, now).map_err(failed)?;
    let options = Options {
        ttl: kept.ttl.max(1),
        traffic_class: kept.traffic_class,
        reset_on_close: kept.reset_on_close,
        ..host.tcp_options()
    };
    let owner = usize::from(kept.worker) % host.workers.count();
    let connection = Connection::new(flow, owner as u16, tcp, &options, None);
    let entered = locked(|key| {
        let connections = &host.tcp.connections;
        connections.readmit(&mut key.ctx(), Arc::clone(&connection))
    });
    entered.map_err(|_| no_address())?;
    host.workers.drive(&connection);
    let note = match &kept.holder {
        Holder::Nobody => {
            connection.drop_handle();
            return Ok(());
        }
        Holder::Listener(number) => {
            taken.pending.unaccepted.push((*number, connection));
            return Ok(());
        }
        Holder::Program(note) => Some(note.clone()),
        Holder::Unknown => None,
    };
    taken.connections.push(Restored { connection, note });
    Ok(())
}

fn take_up_time_waits(host: &Host, checkpoint: &Checkpoint) {
    let latest = checkpoint.now + host.tcp.config.time_wait;
    let entries = checkpoint
        .time_waits
        .iter()
        .filter_map(|(flow, time_wait, at)| {
            let time_wait = time_wait.restored()?;
            Some((four_tuple(*flow)?, time_wait, (*at).min(latest)))
        });
    let mut entries: Vec<_> = entries.collect();
    entries.sort_by_key(|(_, _, at)| *at);
    locked(|key| host.tcp.connections.add_time_waits(&mut key.ctx(), entries));
}

/// Gives the listeners and sockets that the program has bound what waits for them. The stack still rests.
pub(crate) fn enter(host: &Host, pending: Pending) {
    let Pending {
        mut unaccepted,
        handshakes,
        datagrams,
    } = pending;
    unaccepted.sort_by_key(|(number, _)| *number);
    for (_, connection) in unaccepted {
        listen::offer_again(host, connection);
    }
    handshakes::enter(host, handshakes);
    datagrams::enter(host, datagrams);
    // One worker looks after the entries of the table.
    host.workers[0].mailbox.send(Message::Restored);
}
