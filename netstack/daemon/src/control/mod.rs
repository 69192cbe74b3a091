//! The control socket: a Unix socket on which the daemon shows what it does, and does what it is asked.
//!
//! One thread serves all clients, and none of them can hold up a flow or grow memory: there are at most
//! [`server::MAX_CLIENTS`], a line is at most [`protocol::MAX_LINE_BYTES`] long, a client that does not read an answer is
//! disconnected, and one that does not read a capture or events misses some, which it is told. A list of all sockets is
//! made for one client at a time, and its making takes at most a fifth of a core.
//!
//! | module | |
//! |---|---|
//! | [`protocol`], [`rows`] | the messages, shared with the clients in [`crate::client`] |
//! | [`path`] | where the socket is, its permissions |
//! | [`server`] | accepts clients, and decides what each may do |
//! | [`channel`] | one client's lines and replies |
//! | [`session`] | the requests, one after the other |
//! | [`capture`], [`events`], [`netcat`], [`ping`] | requests that last |
//! | [`packet_filter`] | which packets a capture wants |

pub(crate) mod capture;
pub(crate) mod channel;
pub(crate) mod events;
mod netcat;
pub(crate) mod packet_filter;
pub(crate) mod path;
mod ping;
pub(crate) mod protocol;
pub(crate) mod rows;
mod server;
pub(crate) mod session;
pub(crate) mod stats;

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwap;
use netstack::net::Stack;

use crate::config::{self, KeyRow};
use crate::failure::Failure;
use crate::record::thread::Control;
use crate::restart::Desk;
use crate::settings::{ControlPath, Settings};
use capture::Captures;
use events::Events;
use path::{Hidden, Place};

/// The parts of the daemon that a request can reach.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) stack: Stack,
    pub(crate) tun: String,
    pub(crate) captures: Arc<Captures>,
    pub(crate) events: Arc<Events>,
    /// The configuration that is in force.
    pub(crate) config: ArcSwap<Vec<KeyRow>>,
    /// The way to whoever can hand the device over.
    pub(crate) desk: Option<Desk>,
    /// The recording of the stack, if there is one.
    recording: Option<Control>,
    /// When the daemon was started.
    pub(crate) started: tokio::time::Instant,
}

impl Target {
    /// Makes what the requests to a stack reach. `origin` is the Unix time of the stack's time zero.
    pub(crate) fn new(
        stack: &Stack,
        settings: &Settings,
        captures: Arc<Captures>,
        origin: Duration,
        (desk, recording): (Option<Desk>, Option<Control>),
    ) -> Self {
        Self {
            stack: stack.clone(),
            tun: settings.tun.to_string(),
            captures,
            events: Arc::new(Events::new(stack, origin)),
            config: ArcSwap::from_pointee(config::rows(settings)),
            desk,
            recording,
            started: tokio::time::Instant::now(),
        }
    }
}

impl Target {
    /// Returns true if nothing may reach the stack but what its device brings.
    pub(crate) fn is_recording(&self) -> bool {
        self.recording.as_ref().is_some_and(Control::is_recording)
    }
}

/// Lets the workers go first on a busy machine: this thread serves people.
pub(crate) fn step_back() {
    // Of Linux's threads each has a priority of its own. Without it the thread is only less modest.
    let _ = rustix::process::setpriority_process(None, 10);
}

/// Starts to serve on the control socket, which has no name until it is published. Dropping the result removes the socket.
///
/// Without a path of its own the daemon runs without the socket if none can be made, and says so.
///
/// # Errors
/// The socket that the settings name cannot be made, or the thread cannot be started.
pub(crate) fn start(
    target: &Arc<Target>,
    settings: &Settings,
    place: Place,
) -> Result<Option<Hidden>, Failure> {
    let bound = match &settings.control {
        ControlPath::Off => return Ok(None),
        ControlPath::At(path) => Hidden::new(path, settings.control_mode, place)?,
        ControlPath::Default => {
            let made = path::default_path(&target.tun)
                .map_err(|error| Failure::Control(crate::file::reason(&error)))
                .and_then(|path| Hidden::new(&path, settings.control_mode, place));
            match made {
                Ok(bound) => bound,
                Err(why) => {
                    tracing::warn!(target: "netstackd::control", "there is no control socket: {why}");
                    return Ok(None);
                }
            }
        }
    };
    let (listener, bound) = bound;
    let target = Arc::clone(target);
    let cannot = |e: std::io::Error| {
        Failure::Control(format!(
            "the control socket cannot be served: {e}: check the limits of threads and open files (ulimit -a)"
        ))
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(cannot)?;
    thread::Builder::new()
        .name("control".to_owned())
        .spawn(move || {
            step_back();
            runtime.block_on(async move {
                if let Err(error) = server::serve(listener, target).await {
                    tracing::error!(target: "netstackd::control", "the control socket is closed: {error}");
                }
            });
        })
        .map_err(cannot)?;
    Ok(Some(bound))
}
