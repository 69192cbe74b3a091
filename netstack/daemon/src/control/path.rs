//! Where control sockets are.
//!
//! * **Define.** A socket that has its name listens, and has the permissions that it will keep.
//! * **Enforce.** [`Hidden::bind`] binds it under another name and sets the mode, and [`Hidden::publish`] renames it last.
//! * **Consume.** A socket that refuses a connection belongs to no living daemon, so it may be removed.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

use crate::confine::identity::Identity;
use crate::failure::Failure;
use crate::file::reason;

/// Most entries of the directory that are looked at.
const MAX_ENTRIES: usize = 1_024;

/// Returns the directory of the sockets that have no path of their own: root's is /run/netstackd, that of others is in
/// `XDG_RUNTIME_DIR`.
pub(crate) fn directory() -> Option<PathBuf> {
    if geteuid().is_root() {
        return Some(PathBuf::from("/run/netstackd"));
    }
    let runtime = PathBuf::from(std::env::var_os("XDG_RUNTIME_DIR")?);
    runtime.is_absolute().then(|| runtime.join("netstackd"))
}

/// Returns the first directory that systemd has made for this daemon (`RuntimeDirectory=`).
fn given_directory() -> Option<PathBuf> {
    let given = std::env::var_os("RUNTIME_DIRECTORY")?;
    let first = std::env::split_paths(&given).next()?;
    first.is_absolute().then_some(first)
}

/// Returns the path of this daemon's socket if it is given none. Makes its directory, if it is not there, for `owner`, who
/// will remove the socket.
///
/// # Errors
/// There is no directory for it.
pub(crate) fn default_path(tun: &str, owner: Option<&Identity>) -> io::Result<PathBuf> {
    let directory = given_directory().or_else(directory);
    let directory = directory.ok_or_else(|| io::Error::other("XDG_RUNTIME_DIR is not set"))?;
    if let Some(above) = directory.parent() {
        fs::create_dir_all(above)?;
    }
    match fs::DirBuilder::new().mode(0o755).create(&directory) {
        Ok(()) => give(&directory, owner)?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    remove_stale(&directory);
    Ok(directory.join(format!("{tun}-{}.sock", std::process::id())))
}

/// Returns the sockets of living daemons in the directory.
pub(crate) fn living() -> Vec<PathBuf> {
    let directory = directory();
    let sockets = sockets_in(directory.as_deref());
    sockets.filter(|path| is_alive(path)).collect()
}

fn sockets_in(directory: Option<&Path>) -> impl Iterator<Item = PathBuf> {
    let entries = directory.and_then(|path| fs::read_dir(path).ok());
    let entries = entries.into_iter().flatten().take(MAX_ENTRIES).flatten();
    let paths = entries.map(|entry| entry.path());
    paths.filter(|path| path.extension().is_some_and(|end| end == "sock"))
}

/// Returns whether a daemon listens. A refused connection says that none does; any other error leaves it open.
fn is_alive(path: &Path) -> bool {
    match UnixStream::connect(path) {
        Ok(_) => true,
        Err(error) => !matches!(
            error.kind(),
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound
        ),
    }
}

fn remove_stale(directory: &Path) {
    for path in sockets_in(Some(directory)) {
        if !is_alive(&path) {
            // Another daemon may have removed it first.
            let _ = fs::remove_file(path);
        }
    }
}

/// Gives a file to the user that the daemon becomes.
fn give(path: &Path, owner: Option<&Identity>) -> io::Result<()> {
    let Some(owner) = owner else { return Ok(()) };
    chown(path, Some(owner.uid.as_raw()), Some(owner.gid.as_raw()))
}

/// The state of the path that a socket is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tenure {
    /// No living daemon may have it.
    Free,
    /// The daemon that has it will end.
    Inherited,
}

/// A listening socket that nobody can find yet.
#[derive(Debug)]
pub(crate) struct Hidden {
    hidden: PathBuf,
    path: PathBuf,
}

/// The name of a listening socket, which is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Name {
    path: PathBuf,
}

impl Hidden {
    /// Makes a socket for `path` with the permissions `mode`, for `owner`. A socket that a dead daemon left there will be
    /// replaced, and that of a living one if the place is inherited.
    ///
    /// # Errors
    /// Returns [`Failure::InUse`] if a daemon listens there, [`Failure::Control`] for any other reason.
    pub(crate) fn bind(
        path: &Path,
        mode: u32,
        owner: Option<&Identity>,
        tenure: Tenure,
    ) -> Result<(UnixListener, Self), Failure> {
        let shown = path.display();
        let refused = |error: io::Error| {
            Failure::Control(format!(
                "the control socket {shown} cannot be made: {}: choose a path of at most 90 bytes in a directory that \
                 can be written to (--control), or none (--control none)",
                reason(&error)
            ))
        };
        if let Ok(found) = fs::symlink_metadata(path) {
            use std::os::unix::fs::FileTypeExt as _;
            if !found.file_type().is_socket() {
                return Err(Failure::InUse(format!(
                    "the control socket {shown} cannot be made: there is a file of that name: choose another path \
                     (--control)"
                )));
            }
            if tenure == Tenure::Free && is_alive(path) {
                return Err(Failure::InUse(format!(
                    "the control socket {shown} belongs to a running program: choose another path (--control)"
                )));
            }
        }
        let mut hidden = path.as_os_str().to_owned();
        hidden.push(format!(".{}", std::process::id()));
        let hidden = PathBuf::from(hidden);
        // Left by an earlier process with this id, if it is there.
        let _ = fs::remove_file(&hidden);
        let listener = UnixListener::bind(&hidden).map_err(refused)?;
        let made = Self {
            hidden,
            path: path.to_owned(),
        };
        fs::set_permissions(&made.hidden, fs::Permissions::from_mode(mode))
            .and_then(|()| give(&made.hidden, owner))
            .map_err(refused)?;
        Ok((listener, made))
    }

    /// Returns the path that it will have.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the socket its name.
    ///
    /// # Errors
    /// Returns [`Failure::Control`] if that cannot be.
    pub(crate) fn publish(self) -> Result<Name, Failure> {
        fs::rename(&self.hidden, &self.path).map_err(|error| {
            let shown = self.path.display();
            let why = reason(&error);
            Failure::Control(format!(
                "the control socket {shown} cannot be given its name: {why}: check its directory"
            ))
        })?;
        Ok(Name {
            path: self.path.clone(),
        })
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // It is not there any more once it was published.
        let _ = fs::remove_file(&self.hidden);
    }
}

impl Name {
    /// Returns its path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves the name to a successor.
    pub(crate) fn leave(self) {
        std::mem::forget(self);
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_socket_is_replaced_and_a_living_one_is_not() {
        let directory = std::env::temp_dir().join(format!("netstackd-path-{}", std::process::id()));
        fs::create_dir_all(&directory).expect("a directory");
        let path = directory.join("c.sock");
        drop(UnixListener::bind(&path).expect("a socket that nobody listens on any more"));
        assert!(!is_alive(&path));
        let bind = |mode, tenure| Hidden::bind(&path, mode, None, tenure);
        let (listener, hidden) = bind(0o640, Tenure::Free).expect("a dead one's");
        assert!(!is_alive(&path), "nobody can find it yet");
        let bound = hidden.publish().expect("a name");
        let mode = fs::metadata(&path)
            .expect("it is there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o640);
        let failure = bind(0o600, Tenure::Free).expect_err("it lives");
        assert_eq!(failure.exit_code(), 6);
        let (successor, hidden) = bind(0o600, Tenure::Inherited).expect("inherited");
        drop((successor, hidden));
        assert!(is_alive(&path), "a successor that gave up took nothing");
        remove_stale(&directory);
        assert!(path.exists(), "a living socket is no stale one");
        drop((listener, bound));
        assert!(!path.exists());
        fs::write(&path, "text").expect("a file");
        let failure = bind(0o600, Tenure::Inherited)
            .expect_err("it is a file")
            .to_string();
        assert!(failure.contains("there is a file"), "{failure}");
        fs::remove_dir_all(&directory).expect("clean up");
    }
}
