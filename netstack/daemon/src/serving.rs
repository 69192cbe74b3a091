//! The main thread while the daemon serves: it waits for events, and answers signals whatever else is stuck.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use netstack::base::counters::Counter;
use netstack::net::{EndReason, ShutdownReport};
use rustix::time::{ClockId, clock_gettime};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};

use crate::cli::RunArgs;
use crate::control::Target;
use crate::current::Current;
use crate::failure::Failure;
use crate::file::reason;
use crate::job::{Change, Work};
use crate::logs::Logs;
use crate::output::Output;
use crate::record::thread::Control;
use crate::report::Source;
use crate::restart::Ask;
use crate::restart::resting::{Gone, Handover, Parts};
use crate::services::Opened;
use crate::settings::Settings;
use crate::supervisor::Supervisor;
use crate::supervisor::watchdog::Pulse;
use crate::{config, heap, reload, services};

/// An event that the main thread waits for. It never waits for anything else, so that signals are always answered.
pub(crate) enum Event {
    Signal(i32),
    /// Everything is open, or something cannot be.
    SetUp,
    /// A worker has answered in this round.
    Alive(u64),
    /// The configuration was read again, and what services and job are made of beside it.
    Reloaded(Box<Result<Next, Failure>>),
    /// A process that takes over asks for something.
    Asked(Ask),
    /// The stack has ended, whether it was asked to or not.
    Ended(EndReason),
    /// The graceful stop has finished.
    Stopped(io::Result<ShutdownReport>),
}

/// The settings that a reload leads to, with what was read beside them.
pub(crate) type Next = (Settings, Opened, Change);

/// Time within which a second signal to stop is the same one: GNU timeout sends two.
const SAME_SIGNAL: Duration = Duration::from_millis(500);

/// The parts that a daemon has from the beginning to the end.
pub(crate) struct Frame<'a> {
    pub(crate) args: &'a RunArgs,
    pub(crate) sender: &'a Sender<Event>,
    pub(crate) stdout: &'a Output,
    pub(crate) logs: &'a Logs,
    pub(crate) supervisor: &'a Supervisor,
}

/// The running daemon, as its main thread sees it.
pub(crate) struct Daemon<'a> {
    pub(crate) frame: &'a Frame<'a>,
    pub(crate) settings: &'a mut Settings,
    /// The stack that serves, and its services.
    pub(crate) current: Current,
    pub(crate) job: &'a dyn Work,
    /// The configuration is being read, which takes as long as its disk does.
    pub(crate) is_reloading: bool,
    pub(crate) target: &'a Target,
    /// The handle of the recording, if there is one.
    pub(crate) recorder: Option<Control>,
    pub(crate) pulse: Pulse,
    /// When it was asked to stop.
    pub(crate) stop_asked: Option<Duration>,
    pub(crate) handover: Handover,
}

impl Daemon<'_> {
    /// Answers signals until the stack has ended.
    pub(crate) fn wait(mut self, events: &Receiver<Event>) -> Result<(), Failure> {
        let mut peak = heap::Peak::default();
        let mut next_look = Duration::ZERO;
        loop {
            let now = monotonic_time();
            if now >= next_look {
                next_look = now + heap::PERIOD;
                self.look(&mut peak);
            }
            self.ask(now);
            let wait = self.pulse.wait(now).unwrap_or(heap::PERIOD);
            match events.recv_timeout(wait.min(next_look.saturating_sub(now))) {
                Ok(Event::Signal(signal)) => {
                    if let Some(failure) = self.answer(signal) {
                        return Err(failure);
                    }
                }
                Ok(Event::Alive(round)) => {
                    if let Some(round) = self.pulse.answered(round) {
                        self.tell(round);
                    }
                }
                Ok(Event::Reloaded(read)) => self.apply(*read),
                Ok(Event::Asked(ask)) => {
                    let stops = self.stop_asked.is_some();
                    let (handover, job) = (&mut self.handover, self.job);
                    let stack = self.current.stack();
                    let left = self.current.with_services(|services| {
                        let parts = Parts {
                            stack: &stack,
                            services,
                            job,
                        };
                        handover.on_ask(ask, parts, stops)
                    });
                    if let Some(gone) = left {
                        self.say_gone(gone);
                        return Ok(());
                    }
                }
                Ok(Event::Ended(_)) if self.stop_asked.is_some() => {}
                Ok(Event::Ended(reason)) => {
                    return Err(stopped_badly(self.settings, &reason.into()));
                }
                Ok(Event::Stopped(result)) => {
                    let result = result.map(drop);
                    return result.map_err(|error| stopped_badly(self.settings, &error));
                }
                Ok(Event::SetUp) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
    }

    /// Does what is done now and then.
    fn look(&self, peak: &mut heap::Peak) {
        let stack = self.current.stack();
        let opened = stack.counters().count(Counter::TcpPassiveOpens);
        if peak.has_passed(stack.connections(), opened) {
            heap::trim();
        }
        self.frame.logs.tick();
    }

    /// Asks the workers whether they are alive, if it is time to.
    fn ask(&mut self, now: Duration) {
        if self.recorder.as_ref().is_some_and(Control::is_recording) {
            if let Some(round) = self.pulse.pass(now) {
                self.tell(round);
            }
            return;
        }
        let sender = self.frame.sender.clone();
        // The receiver is gone only when the program ends.
        let answer = move |round| drop(sender.send(Event::Alive(round)));
        self.pulse.ask(now, &self.current.stack(), answer);
    }

    /// Tells the supervisor that a round is complete.
    fn tell(&self, round: u64) {
        if round == 1 {
            self.frame.supervisor.ready(&self.status());
        } else {
            self.frame.supervisor.alive();
        }
    }

    /// Says that another process has taken over.
    fn say_gone(&self, gone: Gone) {
        if let Some(successor) = gone.successor {
            self.frame.supervisor.handed_over(successor);
        }
        let line = format!("handed-over connections={}", gone.connections);
        self.frame.stdout.line(&line);
    }

    fn status(&self) -> String {
        let addresses: Vec<String> = self
            .settings
            .addresses()
            .iter()
            .map(ToString::to_string)
            .collect();
        format!("serving {} on {}", addresses.join(" "), self.settings.tun)
    }

    /// Answers a signal. Returns a failure if it ends the daemon at once.
    fn answer(&mut self, signal: i32) -> Option<Failure> {
        match signal {
            SIGUSR1 => {
                let counters = Source::new(&self.current.stack());
                self.frame.stdout.line(&counters.line());
            }
            SIGUSR2 => {
                for line in self.current.stack().mib().to_string().lines() {
                    self.frame.stdout.line(line);
                }
                self.frame.stdout.line("");
            }
            SIGHUP => self.reload(),
            SIGTERM | SIGINT => return self.stop(),
            _ => {}
        }
        None
    }

    /// Reads the configuration again, on a thread of its own.
    fn reload(&mut self) {
        if std::mem::replace(&mut self.is_reloading, true) {
            self.frame
                .stdout
                .line("not-reloaded the configuration file is still being read: check its disk");
            return;
        }
        self.frame.supervisor.reloading();
        let (args, sender) = (self.frame.args.clone(), self.frame.sender.clone());
        let reader = self.job.reader();
        thread::spawn(move || {
            let read = args.settings().and_then(|settings| {
                let opened = services::open(&settings)?;
                let change = reader(&settings)?;
                Ok((settings, opened, change))
            });
            // The receiver is gone only when the program ends.
            let _ = sender.send(Event::Reloaded(Box::new(read)));
        });
    }

    /// Changes what can change.
    fn apply(&mut self, read: Result<Next, Failure>) {
        self.is_reloading = false;
        let line = match read {
            Ok((new, opened, change)) => {
                let current = &self.current;
                if let Some(recorder) = &self.recorder {
                    recorder.end(current, "the configuration was read again");
                }
                let (stack, logs) = (current.stack(), self.frame.logs);
                let settings = &mut *self.settings;
                let mut outcome = current.with_services(|services| {
                    reload::apply(settings, (new, opened), &stack, services, logs)
                });
                if let Some(key) = change() {
                    outcome.also(key);
                }
                let rows = config::rows(self.settings);
                self.target.config.store(Arc::new(rows));
                outcome.line()
            }
            Err(failure) => format!("not-reloaded {failure}"),
        };
        tracing::info!(target: "netstackd::reload", "{line}");
        self.frame.stdout.line(&line);
        let status = format!("{} ({line})", self.status());
        self.frame.supervisor.ready(&status);
    }

    fn stop(&mut self) -> Option<Failure> {
        if self.handover.is_committed() {
            // It ends in any case, within the time of one line on the control socket.
            return None;
        }
        let (handover, job) = (&mut self.handover, self.job);
        let stack = self.current.stack();
        self.current.with_services(|services| {
            handover.go_on(Parts {
                stack: &stack,
                services,
                job,
            });
        });
        let now = monotonic_time();
        match self.stop_asked {
            Some(asked) if now.saturating_sub(asked) < SAME_SIGNAL => None,
            Some(_) => {
                // The program ends in any case, so the result does not matter.
                let _ = self.current.stack().abort();
                Some(Failure::Interrupted(
                    "a second signal ended it at once: open connections were reset".to_owned(),
                ))
            }
            None => {
                self.stop_asked = Some(now);
                let (current, sender) = (self.current.clone(), self.frame.sender.clone());
                let grace = self.settings.grace;
                let connections = current.stack().connections();
                self.frame.supervisor.stopping(connections, grace);
                let recorder = self.recorder.clone();
                thread::spawn(move || {
                    if let Some(recorder) = recorder {
                        recorder.end(&current, "the daemon was asked to stop");
                    }
                    let stopped = current.stack().drain(grace);
                    // The receiver is gone only after a second signal.
                    let _ = sender.send(Event::Stopped(stopped));
                });
                None
            }
        }
    }
}

fn stopped_badly(settings: &Settings, error: &std::io::Error) -> Failure {
    Failure::Stack(format!(
        "the stack on TUN device {} stopped ({}): check whether the device was removed, then start again",
        settings.tun,
        reason(error)
    ))
}

/// Returns the time since an arbitrary origin.
fn monotonic_time() -> Duration {
    let time = clock_gettime(ClockId::Monotonic);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}
