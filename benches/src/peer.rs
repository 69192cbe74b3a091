//! A server under measurement: its process, its namespace and its addresses.
//!
//! * **Define.** A [`Peer`] is a child process that answers on both families and has printed `ready`.
//! * **Enforce.** [`Peer::start`] returns only after that line; dropping it ends the process.
//! * **Consume.** Measurements connect at once and read the CPU and memory figures of that process.

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

/// Time limit for a server to become ready, and to end after SIGTERM.
const START_STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// IPv4 or IPv6.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both families.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// Returns the name for the report.
    pub fn label(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }
}

/// The namespaces of a peer's client and server, and the addresses to connect to.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Namespace of the clients.
    pub client: &'a Namespace,
    /// Namespace of the server.
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
    /// Starts `command` in the server's namespace and waits for its `ready` line.
    pub fn start(name: &'static str, place: Place<'a>, mut command: Command) -> Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let program = command.get_program().to_string_lossy().into_owned();
        let mut child = place
            .server
            .run(|| command.spawn())?
            .with_context(|| format!("start {program}"))?;
        let stdout = child.stdout.take();
        let (sender, ready) = mpsc::channel();
        thread::spawn(move || {
            // Reads to the end, so that the server never blocks on a full pipe.
            for line in BufReader::new(stdout?).lines() {
                if line.ok()?.starts_with("ready") {
                    let _ = sender.send(());
                }
            }
            Some(())
        });
        let mut peer = Self { name, place, child };
        if ready.recv_timeout(START_STOP_TIMEOUT).is_err() {
            let ended = peer.child.try_wait().ok().flatten();
            return Err(match ended {
                Some(status) => anyhow!("{program} ended with {status} before it was ready"),
                None => anyhow!("{program} was not ready after {START_STOP_TIMEOUT:?}"),
            });
        }
        Ok(peer)
    }

    /// Returns the address of the service on `port`.
    pub fn service(&self, family: Family, port: u16) -> SocketAddr {
        SocketAddr::new(self.place.addresses[family as usize], port)
    }

    /// Runs `work` in the namespace of the clients.
    pub fn as_client<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        self.place.client.run(work)?
    }

    /// Returns the id of the server's process.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    /// Returns true while the server runs.
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
        while self.is_alive() && clock.elapsed() < START_STOP_TIMEOUT {
            thread::sleep(Duration::from_millis(10));
        }
        if self.is_alive() {
            eprintln!(
                "{}: still running {START_STOP_TIMEOUT:?} after SIGTERM: killed",
                self.name
            );
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}
