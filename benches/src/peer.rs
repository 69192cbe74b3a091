//! Who is measured: a server process in a namespace, and the addresses at which it answers.
//!
//! * **Define.** A [`Peer`] answers on both families, has printed `ready`, and is a child of ours.
//! * **Enforce.** [`Peer::start`] returns only after that line; dropping it ends the process.
//! * **Consume.** The measures connect at once and read the accounts of exactly that process.

use std::io::{BufRead as _, BufReader};
use std::net::{IpAddr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::clock::Stopwatch;
use crate::netns::Namespace;

/// How long a server may take until it is ready, and to end after it was asked to.
const START_AND_STOP: Duration = Duration::from_secs(10);

/// IPv4 or IPv6.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// A name for the report.
    pub fn label(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }
}

/// Where a peer's client runs, and what it connects to.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Namespace of the clients.
    pub client: &'a Namespace,
    /// Namespace in which the server is started.
    pub server: &'a Namespace,
    /// The server's IPv4 and IPv6 address.
    pub addresses: [IpAddr; 2],
}

/// A running server.
#[derive(Debug)]
pub struct Peer<'a> {
    /// Name of its column in the report.
    pub name: &'static str,
    place: Place<'a>,
    child: Child,
}

impl<'a> Peer<'a> {
    /// Starts `command` in its place and waits for its `ready` line.
    pub fn start(name: &'static str, place: Place<'a>, mut command: Command) -> Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let program = command.get_program().to_string_lossy().into_owned();
        let mut child = place
            .server
            .run(|| command.spawn())?
            .with_context(|| format!("start {program}"))?;
        let stdout = child.stdout.take();
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            // Reads to the end, so that the server never blocks on a full pipe.
            for line in BufReader::new(stdout?).lines() {
                if line.ok()?.starts_with("ready") {
                    let _ = tell.send(());
                }
            }
            Some(())
        });
        let mut peer = Self { name, place, child };
        if told.recv_timeout(START_AND_STOP).is_err() {
            let ended = peer.child.try_wait().ok().flatten();
            return Err(match ended {
                Some(status) => anyhow!("{program} ended with {status} before it was ready"),
                None => anyhow!("{program} was not ready after {START_AND_STOP:?}"),
            });
        }
        Ok(peer)
    }

    /// Address of the service on `port`.
    pub fn service(&self, family: Family, port: u16) -> SocketAddr {
        SocketAddr::new(self.place.addresses[family as usize], port)
    }

    /// Runs `work` where the peer's clients live.
    pub fn as_client<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        self.place.client.run(work)?
    }

    /// The server's process.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    /// True while the server runs.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Peer<'_> {
    fn drop(&mut self) {
        if !self.is_alive() {
            return;
        }
        drop(self.child.stdin.take());
        let _ = kill(self.pid(), Signal::SIGTERM);
        let clock = Stopwatch::start();
        while self.is_alive() && clock.elapsed() < START_AND_STOP {
            thread::sleep(Duration::from_millis(10));
        }
        if self.is_alive() {
            eprintln!(
                "{}: still there {START_AND_STOP:?} after SIGTERM, killed",
                self.name
            );
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}
