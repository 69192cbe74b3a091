//! The side that takes over: a new process, before it serves.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use netstack::net::Checkpoint;

use crate::client::connection::{Connection, ControlArgs};
use crate::control::protocol::{Reply, Request, TakeOverRequest};
use crate::descriptors;
use crate::failure::Failure;
use crate::file::reason;
use crate::job::Listening;
use crate::settings::Settings;
use crate::values::Queues;

/// Time that the daemon has for an answer: it finishes what it has read.
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// Time that the daemon has for its last lines.
const END_TIME: Duration = Duration::from_secs(2);

/// A daemon that is being taken over.
#[derive(Debug)]
pub(crate) struct TakeOver {
    connection: Connection,
    path: PathBuf,
    queues: usize,
    mtu: u16,
    /// The names of the ports of the machine that come with the queues.
    listening: Vec<String>,
}

/// The flows of a job, as they come.
#[derive(Debug, Default)]
pub(crate) struct Carried {
    pub(crate) luggage: Vec<u8>,
    pub(crate) descriptors: Vec<OwnedFd>,
}

/// The queues of the device with its MTU, and the ports of the machine.
type Device = ((Vec<OwnedFd>, u16), Listening);

impl TakeOver {
    /// Connects to the daemon and checks that it can be taken over by this job with these settings.
    ///
    /// # Errors
    /// It does not answer, refuses, or has another device.
    pub(crate) fn begin(path: &Path, job: &str, settings: &mut Settings) -> Result<Self, Failure> {
        let args = ControlArgs {
            control: Some(path.to_owned()),
        };
        let mut connection = Connection::open(&args)?;
        let tun = settings.tun.to_string();
        if connection.hello.tun != tun {
            return Err(Failure::Usage(format!(
                "the netstackd at {} has the device {}, and the settings name {tun}: take over with the same device \
                 (--tun {})",
                path.display(),
                connection.hello.tun,
                connection.hello.tun
            )));
        }
        connection.set_timeout(ANSWER_TIME)?;
        connection.send(&Request::TakeOver(TakeOverRequest {
            format: Checkpoint::FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            job: job.to_owned(),
        }))?;
        let Reply::Queues {
            count,
            mtu,
            listening,
        } = connection.reply()?
        else {
            return Err(strange(path));
        };
        settings.queues = Queues::try_from(count as u64).map_err(|_| strange(path))?;
        settings.mtu = mtu;
        Ok(Self {
            connection,
            path: path.to_owned(),
            queues: count,
            mtu,
            listening,
        })
    }

    /// Returns the descriptors of the device, one for each queue, and its MTU; and the ports of the machine on which the daemon's
    /// job listens.
    ///
    /// # Errors
    /// The daemon is gone.
    pub(crate) fn device(&mut self) -> Result<Device, Failure> {
        let names = std::mem::take(&mut self.listening);
        let mut queues = self.descriptors(self.queues + names.len())?;
        let ports = queues.split_off(self.queues.min(queues.len()));
        let listening = names.into_iter().zip(ports).collect();
        Ok(((queues, self.mtu), listening))
    }

    /// Receives so many descriptors.
    fn descriptors(&mut self, count: usize) -> Result<Vec<OwnedFd>, Failure> {
        self.connection.send(&Request::Descriptors {})?;
        let mut received = Vec::new();
        while received.len() < count {
            let some = descriptors::receive(self.connection.socket()).map_err(|error| {
                Failure::Control(format!(
                    "the descriptors did not arrive from {} ({}): try again",
                    self.path.display(),
                    reason(&error)
                ))
            })?;
            if some.is_empty() {
                return Err(strange(&self.path));
            }
            received.extend(some);
        }
        Ok(received)
    }

    /// Lets the daemon rest, and returns its state.
    ///
    /// # Errors
    /// It cannot rest, or is gone; the state cannot be read.
    pub(crate) fn state(&mut self) -> Result<(Checkpoint, Carried), Failure> {
        self.connection.send(&Request::Ready {})?;
        let Reply::State {
            bytes,
            carried,
            descriptors,
        } = self.connection.reply()?
        else {
            return Err(strange(&self.path));
        };
        let mut state = self.connection.read_raw(bytes)?;
        let luggage = state.split_off(bytes.saturating_sub(carried) as usize);
        let checkpoint = Checkpoint::from_bytes(&state);
        let checkpoint = checkpoint.map_err(|error| Failure::Refused(error.to_string()))?;
        let descriptors = match descriptors {
            0 => Vec::new(),
            count => self.descriptors(count)?,
        };
        let carried = Carried {
            luggage,
            descriptors,
        };
        Ok((checkpoint, carried))
    }

    /// Says that the state is restored, and waits until the daemon has let go of the device. `control` is the path of this
    /// process's control socket.
    ///
    /// # Errors
    /// The daemon has gone on: this process must not begin.
    pub(crate) fn commit(mut self, control: Option<PathBuf>) -> Result<Predecessor, Failure> {
        self.connection.send(&Request::Taken { control })?;
        match self.connection.reply()? {
            Reply::Yours {} => Ok(Predecessor(self.connection)),
            _ => Err(strange(&self.path)),
        }
    }
}

/// A daemon that has let go of the device.
#[derive(Debug)]
pub(crate) struct Predecessor(Connection);

impl Predecessor {
    /// Waits until it has ended, for a moment. A supervisor that it told about this process listens to this one from then on.
    pub(crate) fn wait(mut self) {
        // Nothing comes but the end.
        if self.0.set_timeout(END_TIME).is_ok() {
            let _ = self.0.reply();
        }
    }
}

fn strange(path: &Path) -> Failure {
    crate::client::connection::strange(&path.display().to_string())
}
