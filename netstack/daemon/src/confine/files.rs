//! The files that a confined thread can open: landlock. Whatever is open already stays usable.

use std::fs;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, CompatLevel, Compatible as _, PathBeneath, PathFd, Ruleset,
    RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope,
    path_beneath_rules,
};

/// The rights that are refused unless a rule gives them. Later ones, about Unix sockets and networks, are not: the
/// supervisor and the system's resolvers are reached by paths that nobody knows beforehand.
const HANDLED: ABI = ABI::V5;

/// The files that any daemon reads while it runs: randomness, and which processors and how much memory it may use.
const READ: [&str; 5] = [
    "/dev/urandom",
    "/proc/meminfo",
    "/proc/self",
    "/sys/fs/cgroup",
    "/sys/devices/system/cpu",
];

/// The files that the lookup of names reads, and the libraries that it loads.
const READ_FOR_NAMES: [&str; 8] = [
    "/etc",
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/run/systemd/resolve",
    "/run/resolvconf",
    "/run/NetworkManager",
];

/// The rules, complete but not yet in force.
#[derive(Debug)]
pub(super) struct Rules(Result<RulesetCreated, RulesetError>);

/// The directories that a thread may use.
#[derive(Debug, Default)]
pub(super) struct Directories<'a> {
    /// Whatever is below can be read.
    pub(super) served: Option<&'a Path>,
    /// Names in it can be removed.
    pub(super) control: Option<&'a Path>,
    /// Files below can be made, written and removed.
    pub(super) written: Option<&'a Path>,
}

impl Rules {
    /// Collects the rules: `files` can be read again, also when an editor has put another one in the place of one of
    /// them, and `directories` can be used.
    pub(super) fn new<'a>(
        files: impl Iterator<Item = &'a PathBuf>,
        directories: &Directories<'_>,
        names: bool,
    ) -> Self {
        let mut read: Vec<PathBuf> = READ.map(PathBuf::from).to_vec();
        if names {
            read.extend(READ_FOR_NAMES.map(PathBuf::from));
        }
        read.extend(directories.served.map(Path::to_owned));
        let again: Vec<PathBuf> = files.flat_map(|file| directories_of(file)).collect();
        Self(create(&read, &again, directories))
    }

    /// Puts the rules in force for the calling thread and those that it starts.
    ///
    /// # Errors
    /// The kernel does not know landlock, or it is switched off.
    pub(super) fn enforce(self) -> Result<(), String> {
        let status = self.0.and_then(RulesetCreated::restrict_self);
        match status.map(|status| status.ruleset) {
            Ok(RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced) => Ok(()),
            Ok(RulesetStatus::NotEnforced) => {
                Err("the kernel was built or booted without it".to_owned())
            }
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Returns the directory of a file, and that of the file behind it if it is a link.
fn directories_of(file: &Path) -> Vec<PathBuf> {
    let directory = |path: &Path| match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
        Some(parent) => parent.to_owned(),
        None => path.to_owned(),
    };
    let behind = fs::canonicalize(file).ok();
    std::iter::once(directory(file))
        .chain(behind.as_deref().map(directory))
        .collect()
}

fn create(
    read: &[PathBuf],
    again: &[PathBuf],
    directories: &Directories<'_>,
) -> Result<RulesetCreated, RulesetError> {
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(HANDLED))?
        .scope(Scope::Signal)?
        .create()?
        .add_rules(path_beneath_rules(
            read,
            AccessFs::ReadFile | AccessFs::ReadDir,
        ))?
        .add_rules(path_beneath_rules(again, AccessFs::ReadFile))?;
    let write = AccessFs::ReadDir
        | AccessFs::MakeReg
        | AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::RemoveFile;
    for (directory, access) in [
        (directories.control, AccessFs::RemoveFile.into()),
        (directories.written, write),
    ] {
        // One that is not there has neither a socket nor files.
        if let Some(directory) = directory.and_then(|path| PathFd::new(path).ok()) {
            rules = rules.add_rule(PathBeneath::new(directory, access))?;
        }
    }
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io;
    use std::thread;

    use super::*;

    #[test]
    fn a_confined_thread_reads_what_it_may_and_nothing_else() {
        let root = std::env::temp_dir().join(format!("netstackd-files-{}", std::process::id()));
        let [inside, outside, served, written] =
            ["inside", "outside", "served", "written"].map(|name| root.join(name));
        for directory in [&inside, &outside, &served, &written] {
            fs::create_dir_all(directory).expect("a directory");
            fs::write(directory.join("file"), "text").expect("a file");
        }
        let config = inside.join("file");
        let open = File::create(outside.join("open")).expect("a file");
        let work = {
            let (inside, outside, served) = (inside.clone(), outside.clone(), served.clone());
            move || {
                let directories = Directories {
                    served: Some(&served),
                    control: Some(&inside),
                    written: Some(&written),
                };
                let rules = Rules::new([&config].into_iter(), &directories, false);
                rules
                    .enforce()
                    .expect("this test needs a kernel with landlock");
                let refused = |result: io::Result<File>| {
                    result.expect_err("outside").kind() == io::ErrorKind::PermissionDenied
                };
                assert!(fs::read_to_string(&config).is_ok());
                assert!(fs::read_to_string(served.join("file")).is_ok());
                assert!(fs::read_dir(&served).is_ok() && fs::read_dir(&outside).is_err());
                assert!(refused(File::create(served.join("new"))));
                assert!(refused(File::open(outside.join("file"))));
                assert!(refused(File::open("/etc/passwd")));
                assert!(refused(File::create(inside.join("new"))));
                assert!(refused(File::create(outside.join("new"))));
                assert!(
                    fs::remove_file(&config).is_ok(),
                    "as the control socket's name"
                );
                assert!(
                    fs::read_dir(&written).is_ok() && File::create(written.join("new")).is_ok()
                );
                assert!(File::create(written.join("new")).is_ok(), "again");
                assert!(fs::remove_file(written.join("file")).is_ok());
                assert!(refused(File::open(written.join("new"))));
                assert!(fs::create_dir(written.join("directory")).is_err());
                // What was opened before stays usable.
                use std::io::Write as _;
                assert!((&open).write_all(b"text").is_ok());
                assert!(std::thread::available_parallelism().is_ok());
            }
        };
        let result = thread::spawn(work).join();
        fs::remove_dir_all(&root).expect("this thread is free");
        result.expect("no panic");
    }
}
