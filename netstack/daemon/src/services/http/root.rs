//! The directory whose files are served.
//!
//! * **Define.** [`Root`] is an open directory; a file of it is one that is reached from there by names and by symbolic links that
//!   stay inside.
//! * **Enforce.** Files are opened by `openat2` with `RESOLVE_BENEATH` only: the kernel refuses each step that leaves the
//!   directory, whatever the path says and whoever changes the links meanwhile.
//! * **Consume.** [`super::files`] sends whatever is open.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

use crate::failure::Failure;
use crate::file::reason;
use crate::settings::Settings;

/// Attempts to open a file while links on its way change.
const ATTEMPTS: usize = 8;

/// An open directory.
#[derive(Debug)]
pub(in crate::services) struct Root(OwnedFd);

impl Root {
    /// Opens the directory that the settings name, if they name one.
    ///
    /// # Errors
    /// It cannot be served: the reason, and what to do.
    pub(in crate::services) fn open(settings: &Settings) -> Result<Option<Self>, Failure> {
        let Some(path) = &settings.http.root else {
            return Ok(None);
        };
        let wrong = |text: &str| {
            let text = format!("{} {text}", path.display());
            settings.sources.fault("http-root", &text)
        };
        let why = |errno: Errno| reason(&io::Error::from(errno));
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY;
        let root = rustix::fs::openat(CWD, path, flags, Mode::empty()).map_err(|errno| {
            let advice = match errno {
                // Confined threads reach no directory that the daemon did not begin with.
                Errno::ACCESS | Errno::PERM => {
                    "let the daemon read it, or start the daemon again: it has given up the right to open others"
                }
                _ => "name a directory",
            };
            wrong(&format!("cannot be opened: {}: {advice}", why(errno)))
        })?;
        let root = Self(root);
        root.file(Path::new(".")).map_err(|errno| match errno {
            Errno::NOSYS | Errno::PERM => {
                wrong("cannot be served safely: this needs openat2, of Linux 5.6")
            }
            errno => wrong(&format!(
                "cannot be read: {}: change its permissions",
                why(errno)
            )),
        })?;
        Ok(Some(root))
    }

    /// Opens a file or a directory below this one for reading.
    ///
    /// # Errors
    /// As the system.
    pub(super) fn file(&self, path: &Path) -> Result<File, Errno> {
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        // Nobody waits for the other end of a pipe.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let mut last = Errno::AGAIN;
        for _ in 0..ATTEMPTS {
            match openat2(&self.0, path, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                Ok(file) => return Ok(file.into()),
                Err(errno) => {
                    last = errno;
                    break;
                }
            }
        }
        Err(last)
    }
}
