//! The network and the trace of a run, which its devices, its tasks and the run itself share.

use std::sync::Arc;

use impair::Frame;
use lockorder::Leaf;
use netstack::base::Instant;

use super::network::Network;
use super::trace::Trace;

mod levels {
    lockorder::lock_order! { pub(super) domain Sim; }
}

/// The shared part of a run.
#[derive(Debug)]
pub(super) struct World {
    pub(super) network: Network,
    pub(super) trace: Trace,
}

/// A share in it. Devices and tasks hold nothing else when they use it, so the lock is a leaf.
#[derive(Clone, Debug)]
pub(super) struct Shared(Arc<Leaf<levels::Sim, World>>);

impl Shared {
    pub(super) fn new(network: Network, trace: Trace) -> Self {
        Self(Arc::new(Leaf::new(World { network, trace })))
    }

    /// Runs `f` on the world. `None` inside another such call, which there is none of.
    pub(super) fn with<R: Send>(&self, f: impl FnOnce(&mut World) -> R + Send) -> Option<R> {
        self.0.with(f).ok()
    }

    /// Notes what happened.
    pub(super) fn note(&self, what: &str) {
        self.with(|world| world.trace.note(what));
    }

    /// Notes something that must not happen.
    pub(super) fn fault(&self, what: String) {
        self.with(|world| world.trace.fault(what));
    }

    /// Returns the first thing that must not happen and did.
    pub(super) fn first_fault(&self) -> Option<String> {
        self.with(|world| world.trace.first_fault().map(str::to_owned))?
    }

    /// Returns the packets that have arrived for a worker by `now`, at most `max`.
    pub(super) fn receive(
        &self,
        (host, worker): (usize, usize),
        max: usize,
        now: Instant,
    ) -> Vec<Frame> {
        let received = self.with(|World { network, trace }| {
            network.advance(now, trace);
            std::iter::from_fn(|| network.take(host, worker))
                .take(max)
                .collect()
        });
        received.unwrap_or_default()
    }

    /// Sends packets of a host.
    pub(super) fn send(&self, host: usize, frames: Vec<Frame>, now: Instant) {
        self.with(|World { network, trace }| {
            for frame in frames {
                network.send(host, frame, now, trace);
            }
        });
    }
}
