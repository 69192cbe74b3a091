//! Opens what needs rights that the daemon gives up: the device, the sockets of the machine, the file of a capture.
//!
//! * **Define.** [`Opened`] is everything that a daemon of these settings needs from the system.
//! * **Enforce.** It is opened by a thread of its own, which is started before the main thread gives up its rights, waits
//!   until [`Setup::go`], and ends when it is done.
//! * **Consume.** [`crate::run`] serves with threads none of which had these rights. Signals are answered meanwhile, however
//!   long a file or its reader takes.

use std::fs::File;
use std::io;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};

use netstack::device::Device;

use crate::confine::identity::Identity;
use crate::control::capture::Captures;
use crate::control::{self, Bound};
use crate::failure::Failure;
use crate::settings::Settings;
use crate::{device, metrics};

/// Everything that was opened; `P` is what a job opens for itself.
pub(crate) struct Opened<P> {
    pub(crate) devices: Vec<Box<dyn Device>>,
    /// The file of the capture, or why it cannot be opened.
    pub(crate) capture: Option<io::Result<File>>,
    pub(crate) control: Option<Bound>,
    pub(crate) admin: Option<TcpListener>,
    pub(crate) job: P,
}

/// The thread that opens it.
#[derive(Debug)]
pub(crate) struct Setup<P> {
    go: Sender<()>,
    thread: JoinHandle<Result<Opened<P>, Failure>>,
}

impl<P: Send + 'static> Setup<P> {
    /// Starts the thread with the rights that the calling thread has now. It calls `done` last.
    ///
    /// # Errors
    /// The system has no thread left.
    pub(crate) fn start(
        settings: Settings,
        captures: Arc<Captures>,
        (control, owner): (control::Place, Option<Identity>),
        prepare: impl FnOnce() -> Result<P, Failure> + Send + 'static,
        done: impl FnOnce() + Send + 'static,
    ) -> Result<Self, Failure> {
        let (go, may_go) = channel();
        let thread = thread::Builder::new()
            .name("set-up".to_owned())
            .spawn(move || {
                // An error says that the program ends.
                let _ = may_go.recv();
                let opened = open(&settings, &captures, (control, owner.as_ref()), prepare);
                done();
                opened
            })
            .map_err(|error| {
                Failure::Stack(format!("cannot start the thread that sets up: {error}"))
            })?;
        Ok(Self { go, thread })
    }

    /// Lets the thread begin.
    pub(crate) fn go(&self) {
        // It waits for this.
        let _ = self.go.send(());
    }

    /// Returns what the thread has opened, when it has ended.
    ///
    /// # Errors
    /// Something cannot be opened.
    pub(crate) fn finish(self) -> Result<Opened<P>, Failure> {
        self.thread.join().unwrap_or_else(|_| {
            Err(Failure::Stack(
                "the thread that sets up has panicked: report this".to_owned(),
            ))
        })
    }
}

fn open<P>(
    settings: &Settings,
    captures: &Arc<Captures>,
    (control, owner): (control::Place, Option<&Identity>),
    prepare: impl FnOnce() -> Result<P, Failure>,
) -> Result<Opened<P>, Failure> {
    let devices = device::open(settings, captures)?;
    // A pipe opens only when it has a reader.
    let create = |path: &Path| File::create(path);
    Ok(Opened {
        devices,
        capture: settings.pcap.as_deref().map(create),
        control: control::bind(control, settings, owner)?,
        admin: metrics::listen(settings)?,
        job: prepare()?,
    })
}
