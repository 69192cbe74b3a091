//! The beginning of a daemon's recording.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::PathBuf;
use std::time::Duration;

use netstack::device::Device;
use netstack::engine::clock::Clock;
use netstack::net::Stack;

use super::thread::{self, Ready, Recording};
use super::{Beginning, RecordArgs, Recorder};
use crate::failure::Failure;
use crate::file::reason;
use crate::settings::Settings;

/// The recording that is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    path: PathBuf,
    limit: u64,
}

/// A recording whose file is open, or cannot be opened.
#[derive(Debug)]
pub(crate) struct Opened {
    wanted: Wanted,
    file: io::Result<File>,
    seed: [u8; 32],
}

impl Wanted {
    /// Returns what the flags ask for, if they do.
    ///
    /// # Errors
    /// A limit is given, but no file.
    pub(crate) fn of(args: RecordArgs) -> Result<Option<Self>, Failure> {
        let limit = args.limit()?;
        Ok(args.record.map(|path| Self { path, limit }))
    }

    /// Checks that everything that the services depend on will be in the recording.
    ///
    /// # Errors
    /// Files are served.
    pub(crate) fn check(&self, settings: &Settings) -> Result<(), Failure> {
        match &settings.http.root {
            None => Ok(()),
            Some(_) => Err(settings.sources.fault(
                "http-root",
                "is set, and a recording holds no files: leave it out, or record without it",
            )),
        }
    }

    /// Opens the file.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub(crate) fn open(self) -> Result<Opened, Failure> {
        let seed = entropy()?;
        // A pipe opens only when it has a reader.
        let file = File::create(&self.path);
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
        let path = self.wanted.path.display();
        let file = self.file.map_err(|error| {
            Failure::Usage(format!(
                "--record {path} cannot be written: {}: name a file in a directory that can be written to",
                reason(&error)
            ))
        })?;
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
            limit: self.wanted.limit,
        };
        let (stack, recorder) = Recorder::start(settings, device, &beginning, file)?;
        let (recording, ready) = thread::prepare(recorder, &self.wanted.path);
        Ok((stack, recording, ready))
    }
}

/// Returns 32 bytes that nobody can guess.
fn entropy() -> Result<[u8; 32], Failure> {
    let mut seed = [0; 32];
    let filled = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut seed));
    filled.map(|()| seed).map_err(|error| {
        let why = reason(&error);
        Failure::Stack(format!("/dev/urandom cannot be read: {why}: mount /dev"))
    })
}
