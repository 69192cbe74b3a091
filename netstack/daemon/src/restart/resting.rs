//! The part of the main thread: it rests for a process that takes over, and then ends or goes on.

use std::path::PathBuf;

use netstack::net::{Frozen, Stack};

use super::Ask;
use crate::control::path::Name;
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

/// What has gone over to another process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gone {
    pub(crate) connections: usize,
    /// The number of that process.
    pub(crate) successor: Option<u32>,
}

/// A stack at rest, and the connections of its services.
#[derive(Debug)]
struct Resting {
    frozen: Frozen,
    kept: Vec<Kept>,
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
    pub(crate) fn on_ask(
        &mut self,
        ask: Ask,
        stack: &Stack,
        services: &Running,
        stops: bool,
    ) -> Option<Gone> {
        match ask {
            Ask::Rest(reply) => {
                let state = self.rest(stack, services, stops);
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
                let connections = self.leave(stack)?;
                return Some(Gone {
                    connections,
                    successor,
                });
            }
            Ask::GoOn => self.go_on(stack, services),
        }
        None
    }

    /// Puts the stack to rest and returns its state.
    fn rest(&mut self, stack: &Stack, services: &Running, stops: bool) -> Result<Vec<u8>, String> {
        if stops || self.resting.is_some() {
            return Err("this netstackd is stopping, or rests already: try again".to_owned());
        }
        stack.recall();
        let frozen = stack.freeze().map_err(|error| {
            stack.end_recall();
            error.to_string()
        });
        let kept = services.take_recalled();
        let state = frozen.and_then(|frozen| {
            let notes = kept.iter().map(|kept| (&kept.stream, kept.state.note()));
            let state = frozen.checkpoint(notes).to_bytes();
            let state = state.map_err(|error| error.to_string())?;
            Ok((state, frozen))
        });
        match state {
            Ok((state, frozen)) => {
                self.resting = Some(Resting { frozen, kept });
                Ok(state)
            }
            Err(why) => {
                services.go_on(stack, kept);
                Err(why)
            }
        }
    }

    /// Goes on as if nothing had been.
    pub(crate) fn go_on(&mut self, stack: &Stack, services: &Running) {
        self.successor = None;
        if let Some(Resting { frozen, kept }) = self.resting.take() {
            frozen.thaw();
            services.go_on(stack, kept);
            tracing::warn!(target: "netstackd::restart", "the process that took over is gone: this one goes on");
        }
    }

    /// Leaves the device to the process that took over, unless this one has gone on. Returns the number of connections.
    fn leave(&mut self, stack: &Stack) -> Option<usize> {
        let Resting { frozen, kept } = self.resting.take()?;
        let connections = stack.connections();
        frozen.leave();
        drop(kept);
        let inherited = self.successor.take().flatten();
        if let Some(control) = self.control.take()
            && inherited.as_deref() == Some(control.path())
        {
            control.leave();
        }
        Some(connections)
    }
}
