//! A checkpoint of a whole stack: what another one needs to take its place, as plain data.
//!
//! * **Define.** A [`Checkpoint`] is every synchronised connection, every TIME-WAIT, the secrets from which sequence numbers,
//!   timestamps and cookies follow, what is known of paths, and the time.
//! * **Enforce.** It is taken of a frozen stack, so that its parts are of one moment. [`take_up`] checks each connection, and
//!   refuses the whole checkpoint for one that it cannot restore.
//! * **Consume.** The clock of the restored stack goes on where that of the first one stopped: times are valid as they are.
//!
//! Addresses, routes, listeners and sockets for datagrams are the program's to set up. Handshakes that are half open are not kept:
//! their clients send the SYN again. Nor are connections that the stack itself was opening.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use super::foreign::locked;
use super::host::Host;
use super::reached::{Freeze, Stage};
use super::tcp::connection::Connection;
use super::tcp::options::Options;
use crate::base::Instant;
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
    time_waits: Vec<(Flow, TimeWait, Instant)>,
}

/// The two ends of a connection: ours, the peer's.
type Flow = (SocketAddr, SocketAddr);

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
    /// The program, which did not hand it over, or had not accepted it.
    Unknown,
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
        let keep = |connection: Arc<Connection>| {
            let handed = handed.remove(&Arc::as_ptr(&connection));
            let (mut tcp, ttl, traffic_class) = connection.with_state(|state| {
                Some((state.tcp.checkpoint()?, state.ttl, state.traffic_class))
            })?;
            let holder = match handed {
                Some(Handed { in_hand, note }) => {
                    tcp.put_back(&in_hand);
                    Holder::Program(note)
                }
                None if connection.is_orphan() => Holder::Nobody,
                None => Holder::Unknown,
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

/// Lets a host, whose workers do not run yet, take up the connections of a checkpoint. Returns those of the program.
///
/// # Errors
/// One that cannot be restored.
pub(crate) fn take_up(
    host: &Host,
    checkpoint: &Checkpoint,
) -> Result<Vec<Restored>, CheckpointError> {
    let now = checkpoint.now;
    let mut restored = Vec::new();
    let defaults = host.tcp_options();
    for kept in &checkpoint.connections {
        let (local, remote) = kept.flow;
        let failed = |error| CheckpointError::Connection {
            local,
            remote,
            error,
        };
        let tcp = Tcp::restore(&kept.tcp, &host.tcp.config, &host.buffers, now).map_err(failed)?;
        let options = Options {
            ttl: kept.ttl.max(1),
            traffic_class: kept.traffic_class,
            reset_on_close: kept.reset_on_close,
            ..defaults.clone()
        };
        let owner = usize::from(kept.worker) % host.workers.count();
        let flow = FlowKey::new(local, remote);
        let connection = Connection::new(flow, owner as u16, tcp, &options);
        let entered = locked(|key| {
            let connections = &host.tcp.connections;
            connections.readmit(&mut key.ctx(), Arc::clone(&connection))
        });
        if entered.is_err() {
            return Err(failed(RestoreError::Invalid("address")));
        }
        host.workers.drive(&connection);
        let note = match &kept.holder {
            Holder::Nobody => {
                connection.drop_handle();
                continue;
            }
            Holder::Program(note) => Some(note.clone()),
            Holder::Unknown => None,
        };
        restored.push(Restored { connection, note });
    }
    let latest = now + host.tcp.config.time_wait;
    let entries = checkpoint
        .time_waits
        .iter()
        .filter_map(|(flow, time_wait, at)| {
            let time_wait = time_wait.restored()?;
            Some((FlowKey::new(flow.0, flow.1), time_wait, (*at).min(latest)))
        });
    let mut entries: Vec<_> = entries.collect();
    entries.sort_by_key(|(_, _, at)| *at);
    locked(|key| host.tcp.connections.add_time_waits(&mut key.ctx(), entries));
    Ok(restored)
}

#[cfg(feature = "checkpoint")]
mod bytes {
    use super::{Checkpoint, CheckpointError};

    /// The first bytes of a checkpoint.
    const MAGIC: &[u8; 8] = b"netstack";

    /// Bytes before the contents: the magic, the format, the checksum.
    const HEADER_BYTES: usize = 16;

    impl Checkpoint {
        /// The format of [`Checkpoint::to_bytes`], which changes with every field of every part. A test holds the bytes of one.
        pub const FORMAT: u32 = 1;

        /// Returns the checkpoint as bytes.
        ///
        /// # Errors
        /// It cannot be encoded; it always can.
        pub fn to_bytes(&self) -> Result<Vec<u8>, CheckpointError> {
            let mut bytes = MAGIC.to_vec();
            bytes.extend_from_slice(&Self::FORMAT.to_le_bytes());
            bytes.extend_from_slice(&[0; 4]);
            let damaged = |error: postcard::Error| CheckpointError::Damaged(error.to_string());
            let mut bytes = postcard::to_extend(self, bytes).map_err(damaged)?;
            let sum = sum_of(&bytes).to_le_bytes();
            if let Some(place) = bytes.get_mut(HEADER_BYTES - 4..HEADER_BYTES) {
                place.copy_from_slice(&sum);
            }
            Ok(bytes)
        }

        /// Reads a checkpoint.
        ///
        /// # Errors
        /// It has another format, or is damaged.
        pub fn from_bytes(bytes: &[u8]) -> Result<Self, CheckpointError> {
            let damaged = |why: &str| CheckpointError::Damaged(why.to_owned());
            let short = || damaged("it is too short");
            let word = |at: usize| -> Option<u32> {
                let word = bytes.get(at..at + 4)?.try_into().ok()?;
                Some(u32::from_le_bytes(word))
            };
            if !bytes.starts_with(MAGIC) {
                return Err(damaged("it does not begin as one"));
            }
            let found = word(MAGIC.len()).ok_or_else(short)?;
            if found != Self::FORMAT {
                return Err(CheckpointError::Version {
                    found,
                    expected: Self::FORMAT,
                });
            }
            let contents = bytes.get(HEADER_BYTES..).ok_or_else(short)?;
            if word(HEADER_BYTES - 4) != Some(sum_of(bytes)) {
                return Err(damaged("its checksum is wrong"));
            }
            postcard::from_bytes(contents).map_err(|error| damaged(&error.to_string()))
        }
    }

    fn sum_of(bytes: &[u8]) -> u32 {
        crc32fast::hash(bytes.get(HEADER_BYTES..).unwrap_or_default())
    }

    #[cfg(test)]
    mod tests {
        use std::collections::HashMap;

        use super::super::super::host::Host;
        use super::*;

        #[test]
        fn damaged_and_foreign_bytes_are_refused_with_a_sentence() {
            let good = Checkpoint::of(&Host::example(), HashMap::new());
            let bytes = good.to_bytes().expect("bytes");
            let again = Checkpoint::from_bytes(&bytes).expect("good bytes");
            assert_eq!(again.to_bytes().expect("bytes"), bytes);
            let says = |bytes: &[u8]| {
                let error = Checkpoint::from_bytes(bytes).expect_err("bad bytes");
                error.to_string()
            };
            for len in 0..bytes.len() {
                assert!(says(&bytes[..len]).contains("damaged"), "{len}");
            }
            for at in 0..bytes.len() {
                let mut bad = bytes.clone();
                bad[at] ^= 0x40;
                let text = says(&bad);
                let is_format = (MAGIC.len()..MAGIC.len() + 4).contains(&at);
                assert_eq!(text.contains("restores format"), is_format, "{at}: {text}");
            }
        }
    }
}
