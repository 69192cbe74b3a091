//! `run`: opens the device, starts the stack and its services, and serves until a signal stops it.
//!
//! Owns the signals: SIGTERM and SIGINT stop gracefully, a second one stops at once, SIGUSR1 prints
//! the counters, SIGUSR2 those of the MIBs.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use futures::executor::block_on;
use netstack::base::counters::Counter;
use netstack::device::Device;
use netstack::engine::clock::Clock;
use netstack::net::{EndReason, ShutdownReport, Stack};
use rustix::process::{Signal as ParentSignal, set_parent_process_death_signal};
use rustix::time::{ClockId, clock_gettime};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGXFSZ};
use signal_hook::iterator::Signals;

use crate::cli::{RunArgs, RunCommand};
use crate::control::capture::Captures;
use crate::control::{self, Target};
use crate::failure::Failure;
use crate::file::reason;
use crate::logs::Logs;
use crate::output::Output;
use crate::pcap::{self, Pcap};
use crate::record::begin::Wanted;
use crate::record::thread::{Control, Ready, Recording};
use crate::report::Source;
use crate::services::{Running, Wall};
use crate::settings::Settings;
use crate::{device, heap, metrics, reload, services, session};

/// An event that the main thread waits for. It never waits for anything else, so that signals are always answered.
enum Event {
    Signal(i32),
    /// The configuration was read again.
    Reloaded(Box<Result<Settings, Failure>>),
    /// The file of the capture is open, or cannot be.
    Opened(io::Result<File>),
    /// The stack has ended, whether it was asked to or not.
    Ended(EndReason),
    /// The graceful stop has finished.
    Stopped(io::Result<ShutdownReport>),
}

/// Time within which a second signal to stop is the same one: GNU timeout sends two.
const SAME_SIGNAL: Duration = Duration::from_millis(500);

/// Time that stdout has to take the last lines.
const LAST_LINES: Duration = Duration::from_millis(500);

/// Runs the daemon until a signal ends it.
///
/// # Errors
///
/// Returns the reason why it cannot serve, or why it stopped before it was asked to.
pub fn run(command: RunCommand) -> Result<(), Failure> {
    let RunCommand { mut args, record } = command;
    let record = Wanted::of(record)?;
    if record.is_some() {
        args = args.with_one_queue("--record", "one worker is recorded")?;
    }
    run_all(args, record, |device| device, |_| Ok(()))
}

/// Runs the daemon with what `begin` starts on its stack, over devices that `wrap` may wrap. What `begin` returns is
/// dropped when the stack has ended.
///
/// # Errors
///
/// As [`run`].
pub(crate) fn run_with<J>(
    args: RunArgs,
    wrap: impl Fn(Box<dyn Device>) -> Box<dyn Device>,
    begin: impl FnOnce(&Stack) -> Result<J, Failure>,
) -> Result<(), Failure> {
    run_all(args, None, wrap, begin)
}

fn run_all<J>(
    args: RunArgs,
    record: Option<Wanted>,
    wrap: impl Fn(Box<dyn Device>) -> Box<dyn Device>,
    begin: impl FnOnce(&Stack) -> Result<J, Failure>,
) -> Result<(), Failure> {
    if args.exit_with_parent {
        set_parent_process_death_signal(Some(ParentSignal::KILL))
            .map_err(|e| Failure::Stack(format!("cannot watch the parent process: {e}")))?;
    }
    let mut settings = args.settings()?;
    let (sender, events) = channel();
    // Before anything else: an early signal must not kill the program half-way.
    watch_signals(sender.clone())?;
    let no_thread =
        |e: io::Error| Failure::Stack(format!("cannot start the threads that print: {e}"));
    let stdout = Output::start("stdout", io::stdout()).map_err(no_thread)?;
    let stderr = Output::start("stderr", io::stderr()).map_err(no_thread)?;
    let logs = Logs::start(&settings.log, settings.log_format, &stderr);
    let ended = serve(
        &args,
        (&mut settings, record),
        (&sender, &events),
        (&stdout, &logs),
        (wrap, begin),
    );
    logs.flush();
    stdout.flush(LAST_LINES);
    ended
}

/// Opens everything, serves until a signal or an error, and closes it.
fn serve<J>(
    args: &RunArgs,
    (settings, record): (&mut Settings, Option<Wanted>),
    (sender, events): (&Sender<Event>, &Receiver<Event>),
    (stdout, logs): (&Output, &Logs),
    (wrap, begin): (
        impl Fn(Box<dyn Device>) -> Box<dyn Device>,
        impl FnOnce(&Stack) -> Result<J, Failure>,
    ),
) -> Result<(), Failure> {
    let (clock, origin) = start_clock();
    let captures = Captures::new(origin);
    let mut devices = device::open(settings, &captures)?;
    let mut pcap = None;
    if let Some(path) = &settings.pcap {
        let Some(file) = open_file(path, sender, events)? else {
            return Ok(());
        };
        let started = Pcap::start(path, file, origin, settings)?;
        devices = started.tap(devices);
        pcap = Some(started);
    }
    let offload = devices
        .first()
        .is_some_and(|device| device.caps().offload.tso);
    let devices = devices.into_iter().map(wrap).collect();
    let file = match &record {
        None => None,
        Some(wanted) => match open_file(&wanted.path, sender, events)? {
            None => return Ok(()),
            file => file,
        },
    };
    let made = make_stack(settings, devices, (clock, origin), record.zip(file))?;
    let (stack, wall, recorded) = made;
    let (recording, ready) = recorded.unzip();
    let services = services::start(&stack, settings, wall)?;
    let control = recording.as_ref().map(Recording::control);
    let target = Arc::new(Target::new(
        &stack,
        settings,
        captures,
        origin,
        control.clone(),
    ));
    let _control = control::start(&target, settings)?;
    metrics::start(&target, settings)?;
    let _job = begin(&stack)?;
    watch_stack(&stack, sender.clone())?;
    if let Some(ready) = ready {
        let stdout = stdout.clone();
        ready.go(clock, move |line| stdout.line(line))?;
    }
    stdout.line(&ready_line(settings, offload));
    let daemon = Daemon {
        args,
        settings,
        services,
        is_reloading: false,
        recording: control,
        stack: &stack,
        sender,
        stdout,
        logs,
        stop_asked: None,
    };
    let ended = daemon.wait(events);
    let finished = pcap.map_or(Ok(()), |pcap| pcap.finish().map(|line| stdout.line(&line)));
    let recorded = recording.map_or(Ok(()), |recording| {
        recording.finish().map(|line| stdout.line(&line))
    });
    finished.and(recorded).and(ended)
}

/// A stack, the clock of its services, and what records it, if anything does.
type Made = (Stack, Wall, Option<(Recording, Ready)>);

/// Makes the stack, which runs at once unless it is recorded.
fn make_stack(
    settings: &Settings,
    devices: Vec<Box<dyn Device>>,
    (clock, origin): (Clock, Duration),
    record: Option<(Wanted, io::Result<File>)>,
) -> Result<Made, Failure> {
    let Some((wanted, file)) = record else {
        return Ok((start_stack(settings, devices, clock)?, Wall::Machine, None));
    };
    let (stack, recording, ready) = wanted.begin(settings, devices, (clock, origin), file)?;
    let wall = Wall::of_stack(&stack, origin);
    Ok((stack, wall, Some((recording, ready))))
}

/// Opens a file that is written while the daemon runs. `None`: a signal to stop came first.
fn open_file(
    path: &Path,
    sender: &Sender<Event>,
    events: &Receiver<Event>,
) -> Result<Option<io::Result<File>>, Failure> {
    let opened = sender.clone();
    pcap::open(path, move |file| {
        // The receiver is gone only when the program ends.
        let _ = opened.send(Event::Opened(file));
    })?;
    Ok(wait_for_file(events))
}

/// Waits until the file of the capture is open. `None`: a signal to stop came first.
fn wait_for_file(events: &Receiver<Event>) -> Option<io::Result<File>> {
    loop {
        match events.recv() {
            Ok(Event::Opened(file)) => return Some(file),
            Ok(Event::Signal(SIGTERM | SIGINT)) | Err(_) => return None,
            Ok(_) => {}
        }
    }
}

/// The running daemon, as its main thread sees it.
struct Daemon<'a> {
    args: &'a RunArgs,
    settings: &'a mut Settings,
    services: Running,
    /// The handle of the recording, if there is one.
    recording: Option<Control>,
    /// The configuration is being read, which takes as long as its disk does.
    is_reloading: bool,
    stack: &'a Stack,
    sender: &'a Sender<Event>,
    stdout: &'a Output,
    logs: &'a Logs,
    /// When it was asked to stop.
    stop_asked: Option<Duration>,
}

impl Daemon<'_> {
    /// Answers signals until the stack has ended.
    fn wait(mut self, events: &Receiver<Event>) -> Result<(), Failure> {
        let mut peak = heap::Peak::default();
        loop {
            let opened = self.stack.counters().count(Counter::TcpPassiveOpens);
            if peak.has_passed(self.stack.connections(), opened) {
                heap::trim();
            }
            self.logs.tick();
            match events.recv_timeout(heap::PERIOD) {
                Ok(Event::Signal(signal)) => {
                    if let Some(failure) = self.answer(signal) {
                        return Err(failure);
                    }
                }
                Ok(Event::Reloaded(read)) => self.apply(*read),
                Ok(Event::Ended(_)) if self.stop_asked.is_some() => {}
                Ok(Event::Ended(reason)) => {
                    return Err(stopped_badly(self.settings, &reason.into()));
                }
                Ok(Event::Stopped(result)) => {
                    let result = result.map(drop);
                    return result.map_err(|error| stopped_badly(self.settings, &error));
                }
                Ok(Event::Opened(_)) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
    }

    /// Answers a signal. Returns a failure if it ends the daemon at once.
    fn answer(&mut self, signal: i32) -> Option<Failure> {
        match signal {
            SIGUSR1 => self.stdout.line(&Source::new(self.stack).line()),
            SIGUSR2 => {
                for line in self.stack.mib().to_string().lines() {
                    self.stdout.line(line);
                }
                self.stdout.line("");
            }
            SIGHUP => self.reload(),
            SIGTERM | SIGINT => return self.stop(),
            // SIGXFSZ: a capture that has reached the limit of a file's size says so itself, at the end.
            _ => {}
        }
        None
    }

    /// Reads the configuration again, on a thread of its own.
    fn reload(&mut self) {
        if std::mem::replace(&mut self.is_reloading, true) {
            self.stdout
                .line("not-reloaded the configuration file is still being read: check its disk");
            return;
        }
        let (args, sender) = (self.args.clone(), self.sender.clone());
        thread::spawn(move || {
            // The receiver is gone only when the program ends.
            let _ = sender.send(Event::Reloaded(Box::new(args.settings())));
        });
    }

    /// Changes what can change.
    fn apply(&mut self, read: Result<Settings, Failure>) {
        self.is_reloading = false;
        let line = match read {
            Ok(new) => {
                let stack = self.stack;
                if let Some(recording) = &self.recording {
                    recording.end(stack, "the configuration was read again");
                }
                reload::apply(self.settings, new, stack, &mut self.services, self.logs).line()
            }
            Err(failure) => format!("not-reloaded {failure}"),
        };
        tracing::info!(target: "netstackd::reload", "{line}");
        self.stdout.line(&line);
    }

    fn stop(&mut self) -> Option<Failure> {
        let now = monotonic_time();
        match self.stop_asked {
            Some(asked) if now.saturating_sub(asked) < SAME_SIGNAL => None,
            Some(_) => {
                // The program ends in any case, so the result does not matter.
                let _ = self.stack.abort();
                Some(Failure::Interrupted(
                    "a second signal ended it at once: open connections were reset".to_owned(),
                ))
            }
            None => {
                self.stop_asked = Some(now);
                let (stack, sender) = (self.stack.clone(), self.sender.clone());
                let grace = self.settings.grace;
                let recording = self.recording.clone();
                thread::spawn(move || {
                    if let Some(recording) = recording {
                        recording.end(&stack, "the daemon was asked to stop");
                    }
                    // The receiver is gone only after a second signal.
                    let _ = sender.send(Event::Stopped(stack.drain(grace)));
                });
                None
            }
        }
    }
}

/// Reports the end of the stack.
fn watch_stack(stack: &Stack, sender: Sender<Event>) -> Result<(), Failure> {
    let stack = stack.clone();
    thread::Builder::new()
        .name("stack-end".to_owned())
        .spawn(move || {
            let reason = block_on(stack.closed());
            // The receiver is gone only when the program ends.
            let _ = sender.send(Event::Ended(reason));
        })
        .map(drop)
        .map_err(|e| {
            Failure::Stack(format!(
                "cannot start the thread that watches the stack: {e}"
            ))
        })
}

fn watch_signals(sender: Sender<Event>) -> Result<(), Failure> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGXFSZ])
        .map_err(|e| Failure::Stack(format!("cannot watch signals: {e}")))?;
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for signal in &mut signals {
                if sender.send(Event::Signal(signal)).is_err() {
                    break;
                }
            }
        })
        .map(drop)
        .map_err(|e| Failure::Stack(format!("cannot start the thread that watches signals: {e}")))
}

fn start_stack(
    settings: &Settings,
    devices: Vec<Box<dyn Device>>,
    clock: Clock,
) -> Result<Stack, Failure> {
    let stack = session::builder(settings).clock(clock).start(devices);
    let stack = stack.map_err(|e| Failure::Stack(format!("cannot start the stack: {e}")))?;
    session::first_routes(&stack, settings)?;
    Ok(stack)
}

fn ready_line(settings: &Settings, offload: bool) -> String {
    let mut line = format!("ready tun={}", settings.tun);
    if let Some(link) = settings.v4 {
        line += &format!(" addr={} host-addr={}", link.ours, link.host);
    }
    if let Some(link) = settings.v6 {
        line += &format!(" addr6={} host-addr6={}", link.ours, link.host);
    }
    let offload = if offload { "on" } else { "off" };
    line += &format!(
        " mtu={} queues={} offload={offload} services={}",
        settings.mtu,
        settings.queues.get(),
        settings.services
    );
    line
}

fn stopped_badly(settings: &Settings, error: &std::io::Error) -> Failure {
    Failure::Stack(format!(
        "the stack on TUN device {} stopped ({}): check whether the device was removed, then start again",
        settings.tun,
        reason(error)
    ))
}

/// Starts a stack's clock. Returns it with the Unix time of its zero.
pub(crate) fn start_clock() -> (Clock, Duration) {
    (Clock::start(), unix_time())
}

/// Returns the time since the beginning of 1970.
fn unix_time() -> Duration {
    let unix = clock_gettime(ClockId::Realtime);
    Duration::new(
        u64::try_from(unix.tv_sec).unwrap_or_default(),
        u32::try_from(unix.tv_nsec).unwrap_or_default(),
    )
}

/// Returns the time since an arbitrary origin.
fn monotonic_time() -> Duration {
    let time = clock_gettime(ClockId::Monotonic);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}
