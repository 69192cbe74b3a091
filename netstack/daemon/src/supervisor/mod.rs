//! The supervisor that has started the daemon, such as systemd: what it passes on, and what it is told.
//!
//! | module | |
//! |---|---|
//! | [`passed`] | descriptors that it has opened (`LISTEN_FDS`) |
//! | [`watchdog`] | shows that every worker makes progress |

pub mod passed;
pub(crate) mod watchdog;

use std::env;
use std::io::{self, Write};
use std::time::Duration;

use sd_notify::NotifyState;

use crate::output::Output;

/// Time beyond the grace that the end may take: the last lines, and the rest of a capture.
const END_TIME: Duration = Duration::from_secs(5);

/// Time that the supervisor has to take the last message.
const LAST_MESSAGE: Duration = Duration::from_millis(500);

/// A way to the supervisor. Messages go through a thread of their own: one that is stuck holds up nothing.
#[derive(Debug)]
pub(crate) struct Supervisor(Option<Output>);

/// Sends each line that it is given as one datagram.
struct Datagrams;

impl Write for Datagrams {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        if let Err(error) = sd_notify::notify(&[NotifyState::Custom(text.trim_end())]) {
            let why = crate::file::reason(&error);
            tracing::warn!(target: "netstackd::supervisor", "the supervisor is not told ({why}): check NOTIFY_SOCKET");
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Supervisor {
    /// Finds the supervisor, if there is one.
    ///
    /// # Errors
    /// The system has no thread left.
    pub(crate) fn find() -> io::Result<Self> {
        let is_there = env::var_os("NOTIFY_SOCKET").is_some();
        let output = is_there.then(|| Output::start("supervisor", Datagrams));
        output.transpose().map(Self)
    }

    fn tell(&self, states: &[NotifyState<'_>]) {
        let Some(output) = &self.0 else { return };
        let lines: Vec<String> = states.iter().map(ToString::to_string).collect();
        output.line(&lines.join("\n"));
    }

    /// Says that the daemon serves, again after a reload.
    pub(crate) fn ready(&self, status: &str) {
        self.tell(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// Says that the configuration is read again.
    pub(crate) fn reloading(&self) {
        let now = NotifyState::monotonic_usec_now().ok();
        let states = std::iter::once(NotifyState::Reloading).chain(now);
        self.tell(&states.collect::<Vec<_>>());
    }

    /// Says that connections are being closed, and asks for the time that this may take.
    pub(crate) fn stopping(&self, connections: usize, grace: Duration) {
        let status = format!("closing {connections} connections");
        let time = grace.saturating_add(END_TIME).as_micros();
        self.tell(&[
            NotifyState::Stopping,
            NotifyState::Status(&status),
            NotifyState::ExtendTimeoutUsec(u32::try_from(time).unwrap_or(u32::MAX)),
        ]);
    }

    /// Says that another process goes on as the service. The supervisor believes it of the main process, if the other one is of
    /// the service, too.
    pub(crate) fn handed_over(&self, successor: u32) {
        self.tell(&[NotifyState::MainPid(successor)]);
    }

    /// Says that all of the daemon is alive.
    pub(crate) fn alive(&self) {
        self.tell(&[NotifyState::Watchdog]);
    }

    /// Waits until what was said is sent, for a moment.
    pub(crate) fn flush(&self) {
        if let Some(output) = &self.0 {
            output.flush(LAST_MESSAGE);
        }
    }
}
