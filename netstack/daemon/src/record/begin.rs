//! The beginning of a daemon's recording.

use std::fs::File;
use std::io::{self, Read as _, Write};
use std::path::PathBuf;
use std::time::Duration;

use netstack::device::Device;
use netstack::engine::clock::Clock;
use netstack::net::Stack;

use super::thread::{self, Ready, Recording};
use super::{Beginning, Out, Parts, RecordArgs, Recorder};
use crate::failure::Failure;
use crate::file::reason;
use crate::numbered::{Numbered, directory_of};
use crate::settings::Settings;

/// The recording that is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    path: PathBuf,
    /// Most parts that are kept, if there are parts.
    ring: Option<u16>,
    /// Most bytes of a file.
    limit: u64,
}

/// A recording whose file is open, or cannot be opened.
#[derive(Debug)]
pub(crate) struct Opened {
    wanted: Wanted,
    /// `None`: the files of a ring are made with the rights that the daemon has while it runs.
    file: Option<io::Result<File>>,
    seed: [u8; 32],
}

impl Wanted {
    /// Returns what the flags ask for, if they do.
    ///
    /// # Errors
    /// There is no file for them, or no room in it.
    pub(crate) fn of(args: RecordArgs) -> Result<Option<Self>, Failure> {
        let (ring, limit) = args.parts()?;
        Ok(args.record.map(|path| Self { path, ring, limit }))
    }

    /// Checks that everything that the stack depends on will be in the recording.
    ///
    /// # Errors
    /// Files are served, or the dashboard on the stack.
    pub(crate) fn check(&self, settings: &Settings) -> Result<(), Failure> {
        let fault = |key, text| Err(settings.sources.fault(key, text));
        if settings.http.root.is_some() {
            return fault(
                "http-root",
                "is set, and a recording holds no files: leave it out, or record without it",
            );
        }
        if settings.dashboard.is_some() {
            return fault(
                "dashboard",
                "is set, and a recording does not hold what the dashboard answers: leave it out, or show it with --admin",
            );
        }
        Ok(())
    }

    /// Returns the directory in which files are made while the daemon runs.
    pub(crate) fn directory(&self) -> Option<PathBuf> {
        self.ring.map(|_| directory_of(&self.path))
    }

    /// Opens the file.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub(crate) fn open(self) -> Result<Opened, Failure> {
        let seed = entropy().map_err(|error| {
            let why = reason(&error);
            Failure::Stack(format!("/dev/urandom cannot be read: {why}: mount /dev"))
        })?;
        // A pipe opens only when it has a reader.
        let file = self.ring.is_none().then(|| File::create(&self.path));
        Ok(Opened {
            wanted: self,
            file,
            seed,
        })
    }
}

impl Opened {
    /// Makes the stack that is recorded, and the thread that will turn it. `origin` is the Unix time of the clock's zero.
    ///
    /// # Errors
    /// The file could not be opened, the device has several queues, or the stack cannot be made.
    pub(crate) fn begin(
        self,
        settings: &Settings,
        devices: Vec<Box<dyn Device>>,
        (clock, origin): (Clock, Duration),
    ) -> Result<(Stack, Recording, Ready), Failure> {
        let Wanted { path, ring, limit } = self.wanted;
        let unwritable = |error: &io::Error| {
            let by_whom = match ring {
                None => "",
                Some(_) => " by the user that netstackd runs as",
            };
            Failure::Usage(format!(
                "--record {} cannot be written: {}: name a file in a directory that can be written to{by_whom}",
                path.display(),
                reason(error)
            ))
        };
        let opened = match self.file {
            Some(file) => file.map(|file| (None, file)),
            None => Numbered::begin(&path, ring.map(usize::from))
                .map(|(numbered, file)| (Some(numbered), file)),
        };
        let (numbered, file) = opened.map_err(|error| unwritable(&error))?;
        let [device] = <[Box<dyn Device>; 1]>::try_from(devices).map_err(|devices| {
            Failure::Usage(format!(
                "--record needs a device with one queue, and this one has {}: pass one descriptor",
                devices.len()
            ))
        })?;
        let beginning = Beginning {
            seed: self.seed,
            origin,
            start: clock.now(),
            limit,
            parts: numbered.as_ref().map(|numbered| Parts {
                first: numbered.number(),
                seed: |_| entropy(),
            }),
        };
        let names = match &numbered {
            None => thread::Names::One(path.clone()),
            Some(numbered) => thread::Names::Parts(numbered.names().clone(), numbered.number()),
        };
        let file = RecordFile { file, numbered };
        let (stack, recorder) = Recorder::start(settings, device, &beginning, file)?;
        let (recording, ready) = thread::prepare(recorder, names);
        Ok((stack, recording, ready))
    }
}

/// The file that is written now, and those of the parts.
struct RecordFile {
    file: File,
    numbered: Option<Numbered>,
}

impl Write for RecordFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Out for RecordFile {
    fn begin_part(&mut self) -> io::Result<()> {
        if let Some(numbered) = &mut self.numbered {
            self.file = numbered.next()?;
        }
        Ok(())
    }
}

/// Returns 32 bytes that nobody can guess.
fn entropy() -> io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut seed)?;
    Ok(seed)
}
