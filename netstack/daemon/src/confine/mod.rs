//! The rights that the daemon gives up before it serves anybody.
//!
//! * **Define.** A confined thread runs as the user of the settings, has the capabilities that its job needs and no others,
//!   opens only the files of a short list, and makes only the system calls of another.
//! * **Enforce.** Each of these belongs to a thread, and the threads that it starts inherit them. [`Confinement::enter`]
//!   confines the main thread before it starts any other, except one: [`crate::setup`] opens what needs rights, and ends.
//! * **Consume.** Whatever comes from the network is worked on by threads that can do little harm.
//!
//! | module | |
//! |---|---|
//! | [`identity`] | the user and the group, by name or number |
//! | [`privileges`] | the ids and the capabilities of a thread |
//! | [`files`] | landlock |
//! | [`calls`] | seccomp |

mod calls;
mod files;
pub mod identity;
mod privileges;

use std::path::PathBuf;

use rustix::thread::CapabilitySet;

use crate::control::Place;
use crate::failure::Failure;
use crate::settings::Settings;
use crate::sources::Origin;
use identity::Identity;

/// How much the kernel is asked to hold the daemon to its job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sandbox {
    /// As much as the kernel can do; what it cannot is logged.
    #[default]
    Auto,
    /// Everything; without it the daemon does not start.
    On,
    /// The daemon is not restricted.
    Off,
}

/// Parses `auto`, `on` or `off`.
///
/// # Errors
/// Returns a sentence that names the allowed values.
pub(crate) fn parse_sandbox(text: &str) -> Result<Sandbox, String> {
    match text {
        "auto" => Ok(Sandbox::Auto),
        "on" => Ok(Sandbox::On),
        "off" => Ok(Sandbox::Off),
        _ => Err("use auto, on or off".to_owned()),
    }
}

impl std::fmt::Display for Sandbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::On => "on",
            Self::Off => "off",
        })
    }
}

/// The rights that a job needs while it runs, beyond those that every daemon needs.
#[derive(Clone, Debug)]
pub(crate) struct Needs {
    /// Makes sockets of the machine, and looks names up.
    pub(crate) sockets: bool,
    /// Files that are read again.
    pub(crate) files: Vec<PathBuf>,
    /// A directory in which files are made and removed.
    pub(crate) written: Option<PathBuf>,
    /// Capabilities, which are kept if the daemon has them.
    pub(crate) capabilities: CapabilitySet,
    /// Most descriptors at once.
    pub(crate) descriptors: u64,
}

impl Default for Needs {
    fn default() -> Self {
        Self {
            sockets: false,
            files: Vec::new(),
            written: None,
            capabilities: CapabilitySet::empty(),
            descriptors: 0,
        }
    }
}

/// A thread's way to fewer rights.
#[derive(Debug)]
pub(crate) struct Confinement {
    sandbox: Sandbox,
    identity: Option<Identity>,
    needs: Needs,
    /// The directory of the control socket, whose name is removed at the end.
    control: Option<PathBuf>,
    config: Option<PathBuf>,
    /// The directory that http serves.
    served: Option<PathBuf>,
}

impl Confinement {
    /// Makes ready what the settings ask for.
    pub(crate) fn new(
        settings: &Settings,
        identity: Option<Identity>,
        needs: Needs,
        control: &Place,
    ) -> Self {
        Self {
            sandbox: settings.sandbox,
            identity,
            needs,
            control: control.directory(),
            config: settings.sources.path().map(ToOwned::to_owned),
            served: settings.http.root.clone(),
        }
    }

    /// Confines the calling thread, and those that it starts from then on. Returns what is worth a line in the log: a
    /// summary, and what is missing.
    ///
    /// # Errors
    /// The daemon cannot become the user, or the kernel lacks what the settings demand.
    pub(crate) fn enter(self) -> Result<Report, Failure> {
        let mut report = Report::default();
        let is_sandboxed = self.sandbox != Sandbox::Off;
        if self.identity.is_none() && !is_sandboxed {
            return Ok(report);
        }
        // Opened while every directory can be passed.
        let rules = is_sandboxed.then(|| {
            let read = self.config.iter().chain(&self.needs.files);
            let directories = files::Directories {
                served: self.served.as_deref(),
                control: self.control.as_deref(),
                written: self.needs.written.as_deref(),
            };
            files::Rules::new(read, &directories, self.needs.sockets)
        });
        if let Some(identity) = &self.identity {
            privileges::become_user(identity, self.needs.capabilities)?;
            report.summary.push(format!("user {identity}"));
        }
        let kept = privileges::keep(self.needs.capabilities).map_err(|errno| {
            Failure::Privilege(format!(
                "capabilities cannot be given up ({errno}): leave out --user and set sandbox to off"
            ))
        })?;
        report.summary.push(format!("capabilities {kept}"));
        if let Some(rules) = rules {
            let files = rules.enforce();
            self.note(&mut report, "files", "landlock", files)?;
            let calls = calls::enforce(self.needs.sockets);
            self.note(&mut report, "system calls", "seccomp", calls)?;
        }
        Ok(report)
    }

    fn note(
        &self,
        report: &mut Report,
        what: &str,
        feature: &str,
        result: Result<(), String>,
    ) -> Result<(), Failure> {
        let Err(why) = result else {
            report.summary.push(format!("{what} by {feature}"));
            return Ok(());
        };
        if self.sandbox == Sandbox::On {
            return Err(Failure::Privilege(format!(
                "sandbox 'on' cannot be kept, because {feature} does not work ({why}): use a kernel that has it, or set \
                 sandbox to auto"
            )));
        }
        report.missing.push(format!(
            "{what} are not restricted, because {feature} does not work ({why}): use a kernel that has it, or set sandbox to off"
        ));
        Ok(())
    }
}

/// The result of a confinement.
#[derive(Debug, Default)]
pub(crate) struct Report {
    summary: Vec<String>,
    missing: Vec<String>,
}

impl Report {
    /// Logs it, and what it means for a reload.
    pub(crate) fn log(&self, settings: &Settings) {
        if !self.summary.is_empty() {
            let summary = self.summary.join(", ");
            tracing::info!(target: "netstackd::confine", "confined: {summary}");
        }
        for missing in &self.missing {
            tracing::warn!(target: "netstackd::confine", "{missing}");
        }
        if !self.summary.is_empty() {
            check_reload(settings);
        }
    }
}

/// Warns about files that a reload will not be able to read.
fn check_reload(settings: &Settings) {
    let again = settings.sources.path().into_iter();
    for path in again.chain(settings.http.root.as_deref()) {
        if let Err(error) = std::fs::File::open(path) {
            let (path, why) = (path.display(), crate::file::reason(&error));
            tracing::warn!(
                target: "netstackd::confine",
                "SIGHUP will not be able to read {path} again ({why}): make it readable to the user that netstackd runs as"
            );
        }
    }
}

/// Returns the words that tell where the value of a key is, for advice about it.
fn place(settings: &Settings, key: &str) -> String {
    match settings.sources.origin(key) {
        Origin::Default => format!("--{key}"),
        origin => origin.to_string(),
    }
}
