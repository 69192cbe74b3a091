//! `run`: opens the device, starts the stack and its services, and serves until a signal stops it.
//!
//! Owns the signals: SIGTERM and SIGINT stop gracefully, a second one stops at once, SIGUSR1 prints
//! the counters, SIGUSR2 those of the MIBs.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use futures::executor::block_on;
use netstack::base::counters::Counter;
use netstack::device::Device;
use netstack::net::{Begin, Checkpoint, EndReason, ShutdownReport, Stack};
use rustix::process::{Signal as ParentSignal, set_parent_process_death_signal};
use rustix::time::{ClockId, clock_gettime};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGXFSZ};
use signal_hook::iterator::Signals;

use crate::cli::{RunArgs, StartArgs};
use crate::control::capture::Captures;
use crate::control::path::{Bound, Hidden, Place};
use crate::control::{self, Target};
use crate::failure::Failure;
use crate::file::reason;
use crate::logs::Logs;
use crate::output::Output;
use crate::pcap::{self, Pcap};
use crate::report::Source;
use crate::restart::resting::Handover;
use crate::restart::take_over::TakeOver;
use crate::restart::{Ask, Desk};
use crate::services::{Prepared, Running};
use crate::settings::Settings;
use crate::{config, device, heap, reload, services, web};

/// An event that the main thread waits for. It never waits for anything else, so that signals are always answered.
enum Event {
    Signal(i32),
    /// The configuration was read again, and what services and job are made of beside it.
    Reloaded(Box<Result<(Settings, Prepared, Change), Failure>>),
    /// The file of the capture is open, or cannot be.
    Opened(io::Result<File>),
    /// A process that takes over asks for something.
    Asked(Ask),
    /// The stack has ended, whether it was asked to or not.
    Ended(EndReason),
    /// The graceful stop has finished.
    Stopped(io::Result<ShutdownReport>),
}

/// Something that runs on the stack beside the services. It ends when it is dropped.
pub(crate) trait Job {
    /// Returns what reads again, away from the main thread, what this job is made of beside the settings.
    fn reader(&self) -> Reader;
}

/// Reads again what a job is made of, and checks it; returns what brings the job there.
pub(crate) type Reader = Box<dyn FnOnce(&Settings) -> Result<Change, Failure> + Send>;

/// Changes a job; returns the key that is another one now, beside those of the settings.
pub(crate) type Change = Box<dyn FnOnce() -> Option<&'static str> + Send>;

/// No job: the services are all that runs.
struct ServicesOnly;

impl Job for ServicesOnly {
    fn reader(&self) -> Reader {
        unchanged()
    }
}

/// Reads nothing: the job stays as it is.
pub(crate) fn unchanged() -> Reader {
    Box::new(|settings| {
        without_rules(settings)?;
        Ok(Box::new(|| None))
    })
}

/// Checks that nobody expects flows to be proxied.
///
/// # Errors
/// There are rules.
pub(crate) fn without_rules(settings: &Settings) -> Result<(), Failure> {
    let key = match (&settings.policy.upstream, settings.policy.rules()) {
        (None, []) => return Ok(()),
        (Some(_), _) => "upstream",
        _ => "rules",
    };
    Err(settings.sources.fault(
        key,
        "is set, but only netstackd proxy and exec follow rules: start proxy, or leave it out",
    ))
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
pub fn run(args: StartArgs) -> Result<(), Failure> {
    let place = Beginning::Run(args.take_over);
    let prepare = |settings: &Settings| {
        without_rules(settings)?;
        Ok(|_: &Stack| Ok(ServicesOnly))
    };
    run_as(args.run, place, |device| device, prepare)
}

/// Runs the daemon with a job on its stack, over devices that `wrap` may wrap. `prepare` checks the settings before anything is
/// opened, and returns what begins the job. The job is dropped when the stack has ended.
///
/// # Errors
///
/// As [`run`].
pub(crate) fn run_with<J: Job, B>(
    args: RunArgs,
    wrap: impl Fn(Box<dyn Device>) -> Box<dyn Device>,
    prepare: impl FnOnce(&Settings) -> Result<B, Failure>,
) -> Result<(), Failure>
where
    B: FnOnce(&Stack) -> Result<J, Failure>,
{
    run_as(args, Beginning::Job, wrap, prepare)
}

/// The way in which a daemon begins.
enum Beginning {
    /// With services alone, which another process can take over; perhaps in the place of the daemon with that control socket.
    Run(Option<PathBuf>),
    /// With a job whose flows belong to this process.
    Job,
}

fn run_as<J: Job, B>(
    args: RunArgs,
    place: Beginning,
    wrap: impl Fn(Box<dyn Device>) -> Box<dyn Device>,
    prepare: impl FnOnce(&Settings) -> Result<B, Failure>,
) -> Result<(), Failure>
where
    B: FnOnce(&Stack) -> Result<J, Failure>,
{
    if args.exit_with_parent {
        set_parent_process_death_signal(Some(ParentSignal::KILL))
            .map_err(|e| Failure::Stack(format!("cannot watch the parent process: {e}")))?;
    }
    let mut settings = args.settings()?;
    let begin = prepare(&settings)?;
    let (sender, events) = channel();
    // Before anything else: an early signal must not kill the program half-way.
    watch_signals(sender.clone())?;
    let no_thread =
        |e: io::Error| Failure::Stack(format!("cannot start the threads that print: {e}"));
    let stdout = Output::start("stdout", io::stdout()).map_err(no_thread)?;
    let stderr = Output::start("stderr", io::stderr()).map_err(no_thread)?;
    let logs = Logs::start(&settings.log, settings.log_format, &stderr);
    let ended = serve(
        (&args, place),
        &mut settings,
        (&sender, &events),
        &stdout,
        &logs,
        (wrap, begin),
    );
    logs.flush();
    stdout.flush(LAST_LINES);
    ended
}

/// Opens everything, serves until a signal or an error, and closes it.
fn serve<J: Job>(
    (args, place): (&RunArgs, Beginning),
    settings: &mut Settings,
    (sender, events): (&Sender<Event>, &Receiver<Event>),
    stdout: &Output,
    logs: &Logs,
    (wrap, begin): (
        impl Fn(Box<dyn Device>) -> Box<dyn Device>,
        impl FnOnce(&Stack) -> Result<J, Failure>,
    ),
) -> Result<(), Failure> {
    let origin = unix_time();
    let captures = Captures::new(origin);
    let mut taking = match &place {
        Beginning::Run(Some(path)) => Some(TakeOver::begin(path, settings)?),
        _ => None,
    };
    let taken = taking.as_mut().map(TakeOver::device).transpose()?;
    let (devices, descriptors) = device::open(settings, &captures, taken)?;
    let Some((devices, pcap)) = tapped(devices, settings, origin, (sender, events))? else {
        return Ok(());
    };
    let offload = devices
        .first()
        .is_some_and(|device| device.caps().offload.tso);
    let devices = devices.into_iter().map(wrap).collect();
    let checkpoint = taking.as_mut().map(TakeOver::state).transpose()?;
    let stack = start_stack(settings, devices, checkpoint)?;
    reload::first_routes(&stack, settings).map_err(|(route, error)| {
        settings
            .sources
            .fault("routes", &format!("'{route}' cannot be used: {error}"))
    })?;
    let services = services::start(&stack, settings)?;
    let restored = stack.take_restored();
    let restored = restored.map(|(streams, begin)| (services.resume(&stack, streams), begin));
    let desk = matches!(place, Beginning::Run(_)).then(|| desk(descriptors, sender));
    let target = Arc::new(Target::new(&stack, settings, captures, origin, desk));
    let path = match taking {
        Some(_) => Place::Inherited,
        None => Place::Free,
    };
    let hidden = control::start(&target, settings, path)?;
    let job = begin(&stack)?;
    let control = take_place(taking, restored, hidden, &target, settings)?;
    watch_stack(&stack, sender.clone())?;
    stdout.line(&ready_line(settings, offload));
    let daemon = Daemon {
        args,
        settings,
        services,
        job: &job,
        is_reloading: false,
        stack: &stack,
        target: &target,
        sender,
        stdout,
        logs,
        stop_asked: None,
        handover: Handover::new(control),
    };
    let ended = daemon.wait(events);
    let finished = pcap.map_or(Ok(()), |pcap| pcap.finish().map(|line| stdout.line(&line)));
    finished.and(ended)
}

/// Devices, and the capture in front of them.
type Tapped = (Vec<Box<dyn Device>>, Option<Pcap>);

/// Puts the capture that the settings name in front of the devices. `None`: a signal to stop came first.
fn tapped(
    devices: Vec<Box<dyn Device>>,
    settings: &Settings,
    origin: Duration,
    (sender, events): (&Sender<Event>, &Receiver<Event>),
) -> Result<Option<Tapped>, Failure> {
    let Some(path) = &settings.pcap else {
        return Ok(Some((devices, None)));
    };
    let opened = sender.clone();
    pcap::open(path, move |file| {
        // The receiver is gone only when the program ends.
        let _ = opened.send(Event::Opened(file));
    })?;
    let Some(file) = wait_for_file(events) else {
        return Ok(None);
    };
    let started = Pcap::start(path, file, origin, settings)?;
    Ok(Some((started.tap(devices), Some(started))))
}

/// Returns the way of the control socket to this thread.
fn desk(descriptors: Vec<OwnedFd>, sender: &Sender<Event>) -> Desk {
    let sender = sender.clone();
    Desk::new(descriptors, move |ask| {
        // The receiver is gone only when the program ends.
        let _ = sender.send(Event::Asked(ask));
    })
}

/// Ends the daemon that is taken over, if there is one, and begins. Gives the control socket its name: without one a daemon that
/// has taken over goes on, since it is all that there is.
fn take_place(
    taking: Option<TakeOver>,
    restored: Option<(usize, Begin)>,
    hidden: Option<Hidden>,
    target: &Arc<Target>,
    settings: &Settings,
) -> Result<Option<Bound>, Failure> {
    let Some(taking) = taking else {
        web::start(target, settings)?;
        return hidden.map(Hidden::publish).transpose();
    };
    taking.commit(hidden.as_ref().map(|hidden| hidden.path().to_owned()))?;
    if let Some((count, begin)) = restored {
        begin.begin();
        tracing::info!(target: "netstackd::restart", connections = count, "took over");
    }
    web::start_when_free(target, settings);
    let published = hidden.map(Hidden::publish).transpose();
    Ok(published.unwrap_or_else(|why| {
        tracing::error!(target: "netstackd::control", "there is no control socket: {why}");
        None
    }))
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
    job: &'a dyn Job,
    /// The configuration is being read, which takes as long as its disk does.
    is_reloading: bool,
    stack: &'a Stack,
    target: &'a Target,
    sender: &'a Sender<Event>,
    stdout: &'a Output,
    logs: &'a Logs,
    /// When it was asked to stop.
    stop_asked: Option<Duration>,
    handover: Handover,
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
                Ok(Event::Asked(ask)) => {
                    let stops = self.stop_asked.is_some();
                    let left = self.handover.on_ask(ask, self.stack, &self.services, stops);
                    if let Some(connections) = left {
                        let line = format!("handed-over connections={connections}");
                        self.stdout.line(&line);
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
        let (reader, stack) = (self.job.reader(), self.stack.clone());
        thread::spawn(move || {
            let read = args.settings().and_then(|settings| {
                let prepared = services::prepare(&stack, &settings)?;
                let change = reader(&settings)?;
                Ok((settings, prepared, change))
            });
            // The receiver is gone only when the program ends.
            let _ = sender.send(Event::Reloaded(Box::new(read)));
        });
    }

    /// Changes what can change.
    fn apply(&mut self, read: Result<(Settings, Prepared, Change), Failure>) {
        self.is_reloading = false;
        let line = match read {
            Ok((new, prepared, change)) => {
                let (stack, services) = (self.stack, &mut self.services);
                let new = (new, prepared);
                let mut outcome = reload::apply(self.settings, new, stack, services, self.logs);
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
        self.stdout.line(&line);
    }

    fn stop(&mut self) -> Option<Failure> {
        if self.handover.is_committed() {
            // It ends in any case, within the time of one line on the control socket.
            return None;
        }
        self.handover.go_on(self.stack, &self.services);
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
                thread::spawn(move || {
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
    checkpoint: Option<Checkpoint>,
) -> Result<Stack, Failure> {
    let mut builder = Stack::builder().config(settings.stack.clone());
    for net in settings.addresses() {
        builder = builder.address(net.address(), net.len());
    }
    if let Some(checkpoint) = checkpoint {
        builder = builder.restore(checkpoint);
    }
    builder
        .start(devices)
        .map_err(|e| Failure::Stack(format!("cannot start the stack: {e}")))
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

/// Returns the time since the beginning of 1970.
pub(crate) fn unix_time() -> Duration {
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
