//! `--pcap`: the capture that lasts as long as the daemon. Neither its file nor whoever reads it can hold up the rest.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::time::Duration;
use std::{io, thread};

use netstack::device::Device;
use netstack::device::pcap::{Capture, CaptureConfig, CaptureReport};

use crate::failure::Failure;
use crate::file::reason;
use crate::settings::Settings;

/// Time that the file has to take what is left at the end.
const FINISH_TIME: Duration = Duration::from_secs(1);

/// A running capture.
#[derive(Debug)]
pub(crate) struct Pcap {
    capture: Capture,
    path: PathBuf,
}

impl Pcap {
    /// Starts a capture into a file that was opened. `origin` is the Unix time of the stack's time zero.
    ///
    /// # Errors
    /// The file could not be opened, or the capture cannot be started.
    pub(crate) fn start(
        path: &Path,
        file: io::Result<File>,
        origin: Duration,
        settings: &Settings,
    ) -> Result<Self, Failure> {
        let config = CaptureConfig {
            origin,
            ..CaptureConfig::default()
        };
        let capture = file.and_then(|file| Capture::start(file, config)).map_err(|error| {
            let (path, why) = (path.display(), reason(&error));
            settings.sources.fault(
                "pcap",
                &format!("{path} cannot be written: {why}: name a file in a directory that can be written to"),
            )
        })?;
        let path = path.to_owned();
        Ok(Self { capture, path })
    }

    /// Wraps the queues of a device.
    pub(crate) fn tap(&self, devices: Vec<Box<dyn Device>>) -> Vec<Box<dyn Device>> {
        let tap = |device| Box::new(self.capture.tap(device)) as Box<dyn Device>;
        devices.into_iter().map(tap).collect()
    }

    /// Writes what is left, and returns the line that says how much there was.
    ///
    /// # Errors
    /// The file is incomplete: it could not be written, or not within [`FINISH_TIME`].
    pub(crate) fn finish(self) -> Result<String, Failure> {
        let Self { capture, path } = self;
        let (done, finished) = sync_channel(1);
        let path = path.display();
        let incomplete = |why: &str, advice: &str| {
            Failure::Stack(format!(
                "the capture {path} is incomplete: {why}: check whether {advice}"
            ))
        };
        thread::Builder::new()
            .name("finish-capture".to_owned())
            .spawn(move || done.send(capture.finish()))
            .map_err(|error| incomplete(&reason(&error), "the machine has threads left"))?;
        let report: CaptureReport = finished
            .recv_timeout(FINISH_TIME)
            .map_err(|_| {
                incomplete(
                    "it cannot be written in time",
                    "its reader still reads, or its disk is stuck",
                )
            })?
            .map_err(|error| incomplete(&reason(&error), "the disk is full"))?;
        Ok(format!(
            "capture {path} packets={} bytes={} missed={}",
            report.packets, report.bytes, report.missed
        ))
    }
}
