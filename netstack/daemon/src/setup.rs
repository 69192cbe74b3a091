//! Opens what needs rights that the daemon gives up: the device, the sockets of the machine, the directory of http, the file of a
//! capture.
//!
//! * **Define.** [`Opened`] is everything that a daemon of these settings needs from the system.
//! * **Enforce.** It is opened by a thread of its own, which is started before the main thread gives up its rights and waits
//!   until [`Setup::go`]. Its last work is the name of the control socket ([`Naming`]), and it has ended before the daemon
//!   says that it is ready.
//! * **Consume.** [`crate::run`] serves with threads none of which had these rights. Signals are answered meanwhile, however
//!   long a file or its reader takes.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use netstack::device::Device;

use crate::confine::identity::Identity;
use crate::control::capture::Captures;
use crate::control::path::{Hidden, Name, Tenure};
use crate::control::{self, Bound};
use crate::failure::Failure;
use crate::job::Listening;
use crate::record::begin::{self, Wanted};
use crate::restart::take_over::TakeOver;
use crate::settings::Settings;
use crate::web::admin::{self, Admin};
use crate::{device, services};

/// Everything that was opened; `P` is what a job opens for itself.
pub(crate) struct Opened<P> {
    /// The settings, with the queues and the MTU of a device that was taken over.
    pub(crate) settings: Settings,
    /// The daemon that is taken over, if one is.
    pub(crate) taking: Option<TakeOver>,
    pub(crate) devices: Vec<Box<dyn Device>>,
    /// A second descriptor of each queue, for a process that will take over.
    pub(crate) descriptors: Vec<OwnedFd>,
    /// The file of the capture, or why it cannot be opened.
    pub(crate) capture: Option<io::Result<File>>,
    pub(crate) control: Option<Bound>,
    pub(crate) admin: Option<Admin>,
    pub(crate) services: services::Opened,
    pub(crate) record: Option<begin::Opened>,
    pub(crate) job: P,
}

/// The things that the thread begins with, beside the settings and the job.
pub(crate) struct Plan {
    /// The control socket of the daemon to take over, and the name of the job that this one does.
    pub(crate) take_over: Option<(PathBuf, &'static str)>,
    pub(crate) record: Option<Wanted>,
    pub(crate) captures: Arc<Captures>,
    pub(crate) control: control::Place,
    /// The user that the daemon becomes.
    pub(crate) owner: Option<Identity>,
}

/// The thread that opens it.
pub(crate) struct Setup<P> {
    go: Sender<()>,
    opened: Receiver<Result<Opened<P>, Failure>>,
    name: Sender<Hidden>,
    thread: JoinHandle<Option<Result<Name, Failure>>>,
}

impl<P: Send + 'static> Setup<P> {
    /// Starts the thread with the rights that the calling thread has now. It calls `done` when everything is open.
    ///
    /// # Errors
    /// The system has no thread left.
    pub(crate) fn start(
        settings: Settings,
        plan: Plan,
        prepare: impl FnOnce(Listening) -> Result<P, Failure> + Send + 'static,
        done: impl FnOnce() + Send + 'static,
    ) -> Result<Self, Failure> {
        let (go, may_go) = channel();
        let (sender, opened) = channel();
        let (name, names) = channel::<Hidden>();
        let thread = thread::Builder::new()
            .name("set-up".to_owned())
            .spawn(move || {
                // An error says that the program ends; so do those below.
                let _ = may_go.recv();
                let _ = sender.send(open(settings, plan, prepare));
                done();
                names.recv().ok().map(Hidden::publish)
            })
            .map_err(|error| {
                Failure::Stack(format!("cannot start the thread that sets up: {error}"))
            })?;
        Ok(Self {
            go,
            opened,
            name,
            thread,
        })
    }

    /// Lets the thread begin.
    pub(crate) fn go(&self) {
        // It waits for this.
        let _ = self.go.send(());
    }

    /// Returns what the thread has opened, and the way to the name of the control socket, which it still has the right to give.
    ///
    /// # Errors
    /// Something cannot be opened.
    pub(crate) fn finish(self) -> Result<(Opened<P>, Naming), Failure> {
        let mut opened = self.opened.recv().unwrap_or_else(|_| Err(panicked()))?;
        let hidden = opened.control.as_mut();
        let naming = Naming {
            hidden: hidden.and_then(|bound| bound.hidden.take()),
            name: self.name,
            thread: self.thread,
        };
        Ok((opened, naming))
    }
}

/// The name of the control socket, on its way.
pub(crate) struct Naming {
    /// The socket, unless there is none or its name is the supervisor's.
    hidden: Option<Hidden>,
    name: Sender<Hidden>,
    thread: JoinHandle<Option<Result<Name, Failure>>>,
}

impl Naming {
    /// Returns the path that the socket will have.
    pub(crate) fn path(&self) -> Option<PathBuf> {
        self.hidden.as_ref().map(|hidden| hidden.path().to_owned())
    }

    /// Gives the socket its name, if it has none yet. The thread that sets up has ended then.
    ///
    /// # Errors
    /// The name cannot be given.
    pub(crate) fn publish(self) -> Result<Option<Name>, Failure> {
        let Self {
            hidden,
            name,
            thread,
        } = self;
        if let Some(hidden) = hidden {
            // It waits for this.
            let _ = name.send(hidden);
        }
        drop(name);
        thread.join().map_err(|_| panicked())?.transpose()
    }
}

fn panicked() -> Failure {
    Failure::Stack("the thread that sets up has panicked: report this".to_owned())
}

fn open<P>(
    mut settings: Settings,
    plan: Plan,
    prepare: impl FnOnce(Listening) -> Result<P, Failure>,
) -> Result<Opened<P>, Failure> {
    let taking = plan.take_over;
    let mut taking = taking
        .map(|(path, job)| TakeOver::begin(&path, job, &mut settings))
        .transpose()?;
    let taken = taking.as_mut().map(TakeOver::device).transpose()?;
    let (taken, listening) = taken.unzip();
    let (devices, descriptors) = device::open(&settings, &plan.captures, taken)?;
    // A pipe opens only when it has a reader.
    let create = |path: &Path| File::create(path);
    let tenure = match taking {
        Some(_) => Tenure::Inherited,
        None => Tenure::Free,
    };
    Ok(Opened {
        devices,
        descriptors,
        capture: settings.pcap.as_deref().map(create),
        control: control::bind(plan.control, &settings, plan.owner.as_ref(), tenure)?,
        admin: admin::listen(&settings, taking.is_some())?,
        services: services::open(&settings)?,
        record: plan.record.map(Wanted::open).transpose()?,
        job: prepare(listening.unwrap_or_default())?,
        taking,
        settings,
    })
}
