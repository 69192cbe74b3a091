//! The command as a child: signals go on to it, and its end is the program's.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child as Process, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::raw::WithRawSiginfo;

use crate::failure::Failure;
use crate::probe::{ANSWER_TIMEOUT, now};

/// Exit code of a command that a signal ended, less the signal's number.
const SIGNALED: i32 = 128;
/// A child that ended is noticed so late at most, should its signal be lost.
const LOOK_EVERY: Duration = Duration::from_millis(200);
const PAUSE: Duration = Duration::from_millis(1);
/// Where a signal comes from that a terminal sends. The command gets it, too: it is in the same group of processes.
const SI_KERNEL: i32 = 0x80;
/// Exit code of whatever cannot be told.
const FAILED: u8 = 125;

/// Watches the signals that go on to the command, and that of its end.
///
/// # Errors
/// The system refuses.
pub(super) fn signals() -> Result<Receiver<i32>, Failure> {
    let watched = [SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2];
    let mut signals = SignalsInfo::<WithRawSiginfo>::new(watched)
        .map_err(|error| Failure::Stack(format!("cannot watch signals: {error}")))?;
    let (sender, receiver): (Sender<i32>, _) = channel();
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for info in &mut signals {
                let is_for_us = info.si_signo == SIGCHLD || info.si_code != SI_KERNEL;
                if is_for_us && sender.send(info.si_signo).is_err() {
                    return;
                }
            }
        })
        .map_err(|error| Failure::Stack(format!("cannot start a thread for signals: {error}")))?;
    Ok(receiver)
}

/// The command's process. It ends with this value.
#[derive(Debug)]
pub(super) struct Child(Process);

impl Drop for Child {
    fn drop(&mut self) {
        // Both fail only if it has ended and been waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Child {
    pub(super) fn new(process: Process) -> Self {
        Self(process)
    }

    pub(super) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Returns whether it has ended.
    pub(super) fn has_ended(&mut self) -> bool {
        !matches!(self.0.try_wait(), Ok(None))
    }

    /// Waits until it has ended, so that it can say why.
    pub(super) fn let_end(&mut self) {
        let end = now() + ANSWER_TIMEOUT;
        while !self.has_ended() && now() < end {
            thread::sleep(PAUSE);
        }
    }

    /// Waits for the end, and sends on the signals that come meanwhile. Returns the exit code.
    pub(super) fn wait(mut self, signals: Receiver<i32>) -> u8 {
        loop {
            match self.0.try_wait() {
                Ok(Some(status)) => return code_of(status),
                Ok(None) => {}
                Err(_) => return FAILED,
            }
            match signals.recv_timeout(LOOK_EVERY) {
                Ok(SIGCHLD) | Err(RecvTimeoutError::Timeout) => {}
                Ok(signal) => self.send(signal),
                Err(RecvTimeoutError::Disconnected) => thread::sleep(LOOK_EVERY),
            }
        }
    }

    fn send(&self, signal: i32) {
        let (Ok(signal), Ok(process)) = (Signal::try_from(signal), i32::try_from(self.id())) else {
            return;
        };
        // It fails only if the command has ended.
        let _ = kill(Pid::from_raw(process), signal);
    }
}

fn code_of(status: ExitStatus) -> u8 {
    let code = status.code();
    let signal = status.signal().map(|signal| SIGNALED + signal);
    let code = code.or(signal).and_then(|code| u8::try_from(code).ok());
    code.unwrap_or(FAILED)
}
