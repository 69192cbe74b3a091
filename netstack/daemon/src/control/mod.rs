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
pub(crate) mod socket_options;
pub(crate) mod stats;

use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwap;
use netstack::net::Stack;

use crate::config::{self, KeyRow};
use crate::confine::identity::Identity;
use crate::current::Current;
use crate::failure::Failure;
use crate::record::thread::Control;
use crate::restart::Desk;
use crate::settings::{ControlPath, Settings};
use capture::Captures;
use events::Events;
use path::{Hidden, Tenure};

/// The parts of the daemon that a request can reach.
#[derive(Debug)]
pub(crate) struct Target {
    current: Current,
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
    /// Makes what the requests to a daemon reach. `origin` is the Unix time of the stack's time zero.
    pub(crate) fn new(
        current: &Current,
        settings: &Settings,
        captures: Arc<Captures>,
        origin: Duration,
        (desk, recording): (Option<Desk>, Option<Control>),
    ) -> Self {
        Self {
            current: current.clone(),
            tun: settings.tun.to_string(),
            captures,
            events: Events::new(current, origin),
            config: ArcSwap::from_pointee(config::rows(settings)),
            desk,
            recording,
            started: tokio::time::Instant::now(),
        }
    }
}

impl Target {
    /// Returns the stack that serves now.
    pub(crate) fn stack(&self) -> Stack {
        self.current.stack()
    }

    /// Returns the counts of a recording in parts, by name.
    pub(crate) fn recording_counts(&self) -> Vec<(&'static str, u64)> {
        let recording = self.recording.as_ref();
        recording.map(Control::counts).unwrap_or_default()
    }

    /// Returns true if nothing may reach the stack but what its device brings.
    pub(crate) fn is_recording(&self) -> bool {
        self.recording() == Some(true)
    }

    /// Returns true while the stack is recorded, and false when that has ended; `None` if it was not asked for.
    pub(crate) fn recording(&self) -> Option<bool> {
        self.recording.as_ref().map(Control::is_recording)
    }
}

/// Lets the workers go first on a busy machine: this thread serves people.
pub(crate) fn step_back() {
    // Of Linux's threads each has a priority of its own. Without it the thread is only less modest.
    let _ = rustix::process::setpriority_process(None, 10);
}

/// Where the control socket of a daemon will be.
#[derive(Debug)]
pub(crate) enum Place {
    /// Nowhere.
    Off,
    /// At the path that the settings name.
    At(PathBuf),
    /// At a path by the names of the device and the process; without it the daemon runs, too, and says so.
    Default(Result<PathBuf, String>),
    /// The supervisor has passed it on.
    Passed,
}

impl Place {
    /// Finds the place, and makes the directory if it is the default one. That belongs to `owner` then.
    pub(crate) fn find(settings: &Settings, owner: Option<&Identity>) -> Self {
        if settings.passed.control.is_some() {
            return Self::Passed;
        }
        match &settings.control {
            ControlPath::Off => Self::Off,
            ControlPath::At(path) => Self::At(path.clone()),
            ControlPath::Default => {
                let path = path::default_path(settings.tun.as_str(), owner);
                Self::Default(path.map_err(|error| crate::file::reason(&error)))
            }
        }
    }

    /// Returns the directory that the socket's name is in.
    pub(crate) fn directory(&self) -> Option<PathBuf> {
        match self {
            Self::At(path) | Self::Default(Ok(path)) => match path.parent() {
                Some(parent) if parent.as_os_str().is_empty() => Some(PathBuf::from(".")),
                parent => parent.map(Path::to_owned),
            },
            _ => None,
        }
    }
}

/// A control socket that nobody serves yet, and that nobody can find.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) listener: UnixListener,
    /// The way to its name, unless that is the supervisor's.
    pub(crate) hidden: Option<Hidden>,
}

/// Makes the control socket, which has no name until it is published. `owner` will be the user of the daemon.
///
/// # Errors
/// The socket that the settings name cannot be made, or what was passed on is none.
pub(crate) fn bind(
    place: Place,
    settings: &Settings,
    owner: Option<&Identity>,
    tenure: Tenure,
) -> Result<Option<Bound>, Failure> {
    let bind = |path: &Path| Hidden::bind(path, settings.control_mode, owner, tenure);
    let bound = match place {
        Place::Off => return Ok(None),
        Place::Passed => {
            let listener = settings.passed.control()?;
            return Ok(listener.map(|listener| Bound {
                listener,
                hidden: None,
            }));
        }
        Place::At(path) => bind(&path)?,
        Place::Default(path) => match path.map_err(Failure::Control).and_then(|path| bind(&path)) {
            Ok(bound) => bound,
            Err(why) => {
                tracing::warn!(target: "netstackd::control", "there is no control socket: {why}");
                return Ok(None);
            }
        },
    };
    let (listener, hidden) = bound;
    Ok(Some(Bound {
        listener,
        hidden: Some(hidden),
    }))
}

/// Starts to serve on the control socket.
///
/// # Errors
/// The thread cannot be started.
pub(crate) fn start(target: &Arc<Target>, listener: UnixListener) -> Result<(), Failure> {
    let target = Arc::clone(target);
    let cannot = |e: std::io::Error| {
        Failure::Control(format!(
            "the control socket cannot be served: {e}: check the limits of threads and open files (ulimit -a)"
        ))
    };
    listener.set_nonblocking(true).map_err(cannot)?;
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
        .map(drop)
        .map_err(cannot)
}
