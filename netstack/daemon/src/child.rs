//! The daemon as a child process, for the demo and for the tests.
//!
//! * **Define.** A [`Daemon`] is a running `netstackd run` that has printed `ready`.
//! * **Enforce.** Only [`Daemon::start`] makes one, and it waits for that line. Dropping it ends the
//!   child, which also ends with the thread that started it.
//! * **Consume.** Clients may connect at once, and no process is left behind.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::failure::Failure;
use crate::probe::{ANSWER_TIMEOUT, now};

/// A running daemon.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    lines: Receiver<String>,
    ready: BTreeMap<String, String>,
}

/// The daemon's counters, by their names in the `counters` line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(BTreeMap<String, u64>);

impl Counts {
    /// Returns the counter `name`; zero if there is none.
    pub fn get(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// Returns every drop reason that was counted since `earlier`, with its count.
    pub fn drops_since(&self, earlier: &Self) -> Vec<(String, u64)> {
        self.0
            .iter()
            .filter_map(|(name, count)| {
                let reason = name.strip_prefix("drop.")?;
                let more = count.saturating_sub(earlier.get(name));
                (more > 0).then(|| (reason.to_owned(), more))
            })
            .collect()
    }
}

/// Returns the words `key=value` of a line.
fn pairs(line: &str) -> impl Iterator<Item = (&str, &str)> {
    line.split_whitespace()
        .filter_map(|word| word.split_once('='))
}

impl Daemon {
    /// Starts `program run arguments…` in the calling thread's network namespace and waits until it
    /// serves.
    ///
    /// # Errors
    ///
    /// Returns the child's own sentence and code if it ends instead; [`Failure::Stack`] if it prints
    /// nothing.
    pub fn start<S: AsRef<str>>(program: &Path, arguments: &[S]) -> Result<Self, Failure> {
        // Only a test of the control socket wants one.
        let is_asked = arguments
            .iter()
            .any(|word| word.as_ref().starts_with("--control"));
        let control = ["--control", "none"].into_iter().filter(|_| !is_asked);
        let mut command = Command::new(program);
        command
            .args(["run", "--exit-with-parent"])
            .args(control)
            .args(arguments.iter().map(AsRef::as_ref));
        Self::launch(&mut command)
    }

    /// Runs a command that is, or becomes, a daemon, and waits until it serves.
    ///
    /// # Errors
    ///
    /// As [`Daemon::start`].
    pub fn launch(command: &mut Command) -> Result<Self, Failure> {
        let program = command.get_program().to_owned();
        let failed = |what: &str| Failure::Stack(format!("{} {what}", program.display()));
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| failed(&format!("could not be started: {e}")))?;
        let stdout = child.stdout.take().ok_or_else(|| failed("has no stdout"))?;
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let mut daemon = Self {
            child,
            lines,
            ready: BTreeMap::new(),
        };
        match daemon.lines.recv_timeout(ANSWER_TIMEOUT) {
            Ok(line) if line.starts_with("ready ") => {
                daemon.ready = pairs(&line)
                    .map(|(k, v)| (k.to_owned(), v.to_owned()))
                    .collect();
                Ok(daemon)
            }
            Ok(line) => Err(failed(&format!("printed '{line}' instead of 'ready'"))),
            Err(RecvTimeoutError::Timeout) => Err(failed("did not print 'ready' in time")),
            Err(RecvTimeoutError::Disconnected) => Err(daemon.failure()),
        }
    }

    /// Returns the failure of a child that ended by itself.
    fn failure(&mut self) -> Failure {
        let status = self.wait(ANSWER_TIMEOUT);
        let text = self.stderr();
        let text = text.trim();
        let text = text.strip_prefix("netstackd: ").unwrap_or(text).to_owned();
        match status.ok().and_then(|status| status.code()) {
            Some(2) => Failure::Usage(text),
            Some(3) => Failure::Config(text),
            Some(4) => Failure::Device(text),
            Some(5) => Failure::Privilege(text),
            Some(6) => Failure::InUse(text),
            Some(9) => Failure::Control(text),
            _ => Failure::Stack(text),
        }
    }

    /// Returns the process's id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns the value of `key` in the `ready` line.
    pub fn ready(&self, key: &str) -> &str {
        self.ready.get(key).map_or("", String::as_str)
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        if let Ok(pid) = i32::try_from(self.pid()) {
            // It fails only if the child has ended already.
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }

    /// Returns the next line that it printed.
    ///
    /// # Errors
    /// It prints none in time, or has ended.
    pub fn line(&self) -> Result<String, String> {
        let line = self.lines.recv_timeout(ANSWER_TIMEOUT);
        line.map_err(|_| "the daemon printed no line in time".to_owned())
    }

    /// Waits for the next line on stdout that begins with `beginning`, and returns it.
    ///
    /// # Errors
    ///
    /// There is none in time.
    pub fn line_of(&self, beginning: &str) -> Result<String, String> {
        let deadline = now() + ANSWER_TIMEOUT;
        loop {
            let left = deadline.saturating_sub(now());
            let line = self.lines.recv_timeout(left);
            let line = line.map_err(|_| format!("the daemon did not print '{beginning}…'"))?;
            if line.starts_with(beginning) {
                return Ok(line);
            }
        }
    }

    /// Reads the counters (SIGUSR1).
    ///
    /// # Errors
    ///
    /// The daemon does not print them in time.
    pub fn counters(&self) -> Result<Counts, String> {
        self.signal(Signal::SIGUSR1);
        let line = self.line_of("counters ")?;
        let parsed = pairs(&line).filter_map(|(k, v)| Some((k.to_owned(), v.parse().ok()?)));
        Ok(Counts(parsed.collect()))
    }

    /// Reads the counters of the MIBs, by their names in `nstat` (SIGUSR2).
    ///
    /// # Errors
    ///
    /// The daemon does not print them in time.
    pub fn nstat(&self) -> Result<Counts, String> {
        self.signal(Signal::SIGUSR2);
        let deadline = now() + ANSWER_TIMEOUT;
        let mut counts = BTreeMap::new();
        let mut has_begun = false;
        loop {
            let left = deadline.saturating_sub(now());
            let line = self
                .lines
                .recv_timeout(left)
                .map_err(|_| "the daemon did not print its counters".to_owned())?;
            let mut words = line.split_whitespace();
            match (has_begun, words.next(), words.next()) {
                (false, Some("#kernel"), None) => has_begun = true,
                (true, Some(name), Some(value)) => {
                    let value = value.parse().map_err(|_| format!("no count: {line}"))?;
                    counts.insert(name.to_owned(), value);
                }
                (true, None, _) => return Ok(Counts(counts)),
                _ => {}
            }
        }
    }

    /// Returns the resident memory of the process, in bytes; `0` if it cannot be read.
    pub fn resident_bytes(&self) -> u64 {
        let path = format!("/proc/{}/status", self.pid());
        let status = std::fs::read_to_string(path).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kib.unwrap_or(0) * 1024
    }

    /// Waits for the process to end.
    ///
    /// # Errors
    ///
    /// The process still runs after `timeout`.
    pub fn wait(&mut self, timeout: Duration) -> Result<ExitStatus, String> {
        let deadline = now() + timeout;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Ok(status),
                Ok(None) if now() < deadline => thread::sleep(Duration::from_millis(2)),
                Ok(None) => return Err("the daemon did not end in time".to_owned()),
                Err(e) => return Err(format!("cannot wait for the daemon: {e}")),
            }
        }
    }

    /// Returns what the process wrote to stderr. Call it after the process has ended.
    pub fn stderr(&mut self) -> String {
        let mut text = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            // The text is for messages only: a message without it is still of use.
            let _ = stderr.read_to_string(&mut text);
        }
        text
    }

    /// Sends SIGTERM and waits for the process to end.
    ///
    /// # Errors
    ///
    /// The process does not end in time.
    pub fn terminate(&mut self) -> Result<ExitStatus, String> {
        self.signal(Signal::SIGTERM);
        self.wait(ANSWER_TIMEOUT)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Both fail only if it has ended and been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
