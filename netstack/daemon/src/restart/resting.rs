//! The part of the main thread: it rests for a process that takes over, and then ends or goes on.

use std::path::PathBuf;

use netstack::net::{Frozen, Stack};

use super::{Ask, State};
use crate::carried::Parcel;
use crate::carried::packed::{Packed, pack};
use crate::control::path::Name;
use crate::job::Work;
use crate::proxy::names::Names;
use crate::services::Running;
use crate::services::resume::Kept;

/// A daemon that may be taken over.
#[derive(Debug)]
pub(crate) struct Handover {
    control: Option<Name>,
    /// The stack rests for a process that takes over.
    resting: Option<Resting>,
    /// That process has restored the state, and its control socket has this path.
    successor: Option<Option<PathBuf>>,
}

/// The end of a daemon that another process has taken over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gone {
    pub(crate) connections: usize,
    /// The number of that process.
    pub(crate) successor: Option<u32>,
}

/// A stack at rest, and the connections of its services and of its job.
#[derive(Debug)]
struct Resting {
    frozen: Frozen,
    kept: Vec<Kept>,
    parcels: Vec<Parcel>,
}

/// The parts of a daemon that rest.
#[derive(Clone, Copy)]
pub(crate) struct Parts<'a> {
    pub(crate) stack: &'a Stack,
    pub(crate) services: &'a Running,
    pub(crate) job: &'a dyn Work,
}

impl Parts<'_> {
    /// Lets the flows go on.
    fn go_on(self, kept: Vec<Kept>, parcels: Vec<Parcel>) {
        self.services.go_on(self.stack, kept);
        let adopted = self.job.carrier().map(|carrier| carrier.go_on(parcels));
        for adopted in adopted.unwrap_or_default() {
            self.job.adopt(adopted);
        }
    }
}

impl Handover {
    /// Begins with nobody that takes over.
    pub(crate) fn new(control: Option<Name>) -> Self {
        Self {
            control,
            resting: None,
            successor: None,
        }
    }

    /// Returns true if the process that takes over has all that it needs.
    pub(crate) fn is_committed(&self) -> bool {
        self.successor.is_some()
    }

    /// Does what a process that takes over asks. Returns what went over if this process has nothing left to do.
    pub(crate) fn on_ask(&mut self, ask: Ask, parts: Parts<'_>, stops: bool) -> Option<Gone> {
        match ask {
            Ask::Rest(reply) => {
                let state = self.rest(parts, stops);
                if let Err(why) = &state {
                    tracing::warn!(target: "netstackd::restart", "not handed over: {why}");
                }
                // Without somebody who waits for it, the next message says to go on.
                let _ = reply.send(state);
            }
            Ask::Commit(control, reply) => {
                let rests = self.resting.is_some();
                self.successor = rests.then_some(control);
                let _ = reply.send(rests);
            }
            Ask::Leave(successor) => {
                let connections = self.leave(parts.stack)?;
                return Some(Gone {
                    connections,
                    successor,
                });
            }
            Ask::GoOn => self.go_on(parts),
        }
        None
    }

    /// Puts the stack to rest and returns its state.
    fn rest(&mut self, parts: Parts<'_>, stops: bool) -> Result<State, String> {
        if stops || self.resting.is_some() {
            return Err("this netstackd is stopping, or rests already: try again".to_owned());
        }
        let Parts {
            stack,
            services,
            job,
        } = parts;
        // The flows of the job first: what a call on a connection of the stack says then is no news.
        if let Some(carrier) = job.carrier() {
            carrier.pause();
        }
        stack.recall();
        let frozen = stack.freeze().map_err(|error| {
            stack.end_recall();
            error.to_string()
        });
        let kept = services.take_recalled();
        let parcels = job.carrier().map(|carrier| carrier.collect()).transpose();
        let parcels = parcels.map(Option::unwrap_or_default);
        let (frozen, parcels) = match (frozen, parcels) {
            (Ok(frozen), Ok(parcels)) => (frozen, parcels),
            (frozen, parcels) => {
                let why = frozen.as_ref().err().or(parcels.as_ref().err());
                let why = why.cloned().unwrap_or_default();
                // It thaws first.
                drop(frozen);
                parts.go_on(kept, parcels.unwrap_or_default());
                return Err(why);
            }
        };
        match state_of(&frozen, &kept, &parcels, job) {
            Ok(state) => {
                self.resting = Some(Resting {
                    frozen,
                    kept,
                    parcels,
                });
                Ok(state)
            }
            Err(why) => {
                frozen.thaw();
                parts.go_on(kept, parcels);
                Err(why)
            }
        }
    }

    /// Goes on as if nothing had been.
    pub(crate) fn go_on(&mut self, parts: Parts<'_>) {
        self.successor = None;
        if let Some(Resting {
            frozen,
            kept,
            parcels,
        }) = self.resting.take()
        {
            frozen.thaw();
            parts.go_on(kept, parcels);
            tracing::warn!(target: "netstackd::restart", "the process that took over is gone: this one goes on");
        }
    }

    /// Leaves the device to the process that took over, unless this one has gone on. Returns the number of connections.
    fn leave(&mut self, stack: &Stack) -> Option<usize> {
        let Resting {
            frozen,
            kept,
            parcels,
        } = self.resting.take()?;
        let connections = stack.connections();
        frozen.leave();
        drop((kept, parcels));
        let inherited = self.successor.take().flatten();
        if let Some(control) = self.control.take()
            && inherited.as_deref() == Some(control.path())
        {
            control.leave();
        }
        Some(connections)
    }
}

/// Returns the state of a stack at rest, its services and its job.
fn state_of(
    frozen: &Frozen,
    kept: &[Kept],
    parcels: &[Parcel],
    job: &dyn Work,
) -> Result<State, String> {
    let Packed {
        notes,
        mut luggage,
        descriptors,
    } = pack(parcels);
    luggage.names = job.names().map(Names::known).unwrap_or_default();
    let of_services = kept.iter().map(|kept| (&kept.stream, kept.state.note()));
    let stack = frozen.checkpoint(of_services.chain(notes)).to_bytes();
    Ok(State {
        stack: stack.map_err(|error| error.to_string())?,
        carried: match job.carrier() {
            Some(_) => luggage.to_bytes()?,
            None => Vec::new(),
        },
        descriptors,
    })
}
