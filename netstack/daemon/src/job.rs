//! The part that a command adds to the daemon: `proxy` and `forward` are `run` with a job.
//!
//! * **Define.** A [`Job`] says what it needs, opens it, and begins; [`Work`] is what runs then.
//! * **Enforce.** It is made from checked settings before the daemon gives up its rights, and `prepare` runs on the thread that
//!   still has them. Everything later, also what a [`Reader`] reads again, has only the rights of its [`Needs`].
//! * **Consume.** The daemon starts, reloads and ends a job without knowing which one it is.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use netstack::device::Device;
use netstack::net::Stack;

use crate::carried::packed::Shared;
use crate::carried::{Adopted, Carrier};
use crate::confine::Needs;
use crate::failure::Failure;
use crate::proxy::names::Names;
use crate::settings::Settings;

/// A job. `W` wraps each queue of the device, `P` opens what needs rights, or takes the ports of a daemon that is taken over, and `B` begins with that on the running stack.
/// The value that `B` returns is dropped when the stack has ended.
#[derive(Debug)]
pub(crate) struct Job<W, P, B> {
    pub(crate) needs: Needs,
    pub(crate) wrap: W,
    pub(crate) prepare: P,
    pub(crate) begin: B,
}

/// Something that runs on the stack beside the services. It ends when it is dropped.
pub(crate) trait Work {
    /// Returns what reads again, away from the main thread, what this work is made of beside the settings.
    fn reader(&self) -> Reader;

    /// Returns its flows, if it has some that another process can go on with. They rest at first.
    fn carrier(&self) -> Option<&Arc<Carrier>> {
        None
    }

    /// Begins a flow anew.
    fn adopt(&self, _adopted: Adopted) {}

    /// Returns the names that it has given virtual addresses to.
    fn names(&self) -> Option<&Names> {
        None
    }

    /// Returns the ports of this machine that it listens on, by their names.
    fn listening(&self) -> Vec<(String, Shared)> {
        Vec::new()
    }
}

/// Ports of this machine on which another process listened, by their names.
pub(crate) type Listening = Vec<(String, OwnedFd)>;

/// Reads again what a job is made of, and checks it; returns what brings the job there.
pub(crate) type Reader = Box<dyn FnOnce(&Settings) -> Result<Change, Failure> + Send>;

/// Changes a job; returns the key that is another one now, beside those of the settings.
pub(crate) type Change = Box<dyn FnOnce() -> Option<&'static str> + Send>;

/// Work of which nothing follows the configuration. `T` is kept until it ends.
#[derive(Debug)]
pub(crate) struct Fixed<T>(
    #[allow(dead_code, reason = "it ends the work when it is dropped")] pub(crate) T,
);

impl<T> Work for Fixed<T> {
    fn reader(&self) -> Reader {
        Box::new(|settings| {
            without_rules(settings)?;
            Ok(Box::new(|| None))
        })
    }
}

/// The job of a daemon whose services are all that runs.
pub(crate) type ServicesOnly = Job<
    fn(Box<dyn Device>) -> Box<dyn Device>,
    fn(Listening) -> Result<(), Failure>,
    fn(&Stack, ()) -> Result<Fixed<()>, Failure>,
>;

/// Returns that job.
///
/// # Errors
/// As [`without_rules`].
pub(crate) fn services_only(settings: &Settings) -> Result<ServicesOnly, Failure> {
    without_rules(settings)?;
    Ok(Job {
        needs: Needs::default(),
        wrap: |device| device,
        prepare: |_| Ok(()),
        begin: |_, ()| Ok(Fixed(())),
    })
}

/// Checks that nobody expects flows to be proxied.
///
/// # Errors
/// There are rules.
pub(crate) fn without_rules(settings: &Settings) -> Result<(), Failure> {
    let key = match (&settings.policy.upstream, settings.policy.rules()) {
        (None, []) => return Ok(()),
        (Some(_), _) => "upstream",
        _ => "rules",
    };
    Err(settings.sources.fault(
        key,
        "is set, but only netstackd proxy and exec follow rules: start proxy, or leave it out",
    ))
}
