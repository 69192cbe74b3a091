//! `run`: opens what a daemon needs, gives up the rights for it, starts the stack and its services, and serves until a
//! signal stops it.
//!
//! Owns the signals: SIGTERM and SIGINT stop gracefully, a second one stops at once, SIGUSR1 prints
//! the counters, SIGUSR2 those of the MIBs.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use futures::executor::block_on;
use netstack::device::Device;
use netstack::net::Stack;
use rustix::process::{Signal as ParentSignal, set_parent_process_death_signal};
use rustix::time::{ClockId, clock_gettime};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGXFSZ};
use signal_hook::iterator::Signals;

use crate::cli::RunArgs;
use crate::confine::{Confinement, Needs, Report, identity};
use crate::control::capture::Captures;
use crate::control::{self, Place, Target};
use crate::failure::Failure;
use crate::job::Job;
use crate::logs::Logs;
use crate::output::Output;
use crate::pcap::Pcap;
use crate::serving::{Daemon, Event, Frame};
use crate::settings::Settings;
use crate::setup::{Opened, Setup};
use crate::supervisor::Supervisor;
use crate::supervisor::watchdog::Pulse;
use crate::{limits, metrics, reload, services};

/// Time that stdout has to take the last lines.
const LAST_LINES: Duration = Duration::from_millis(500);

/// Runs the daemon until a signal ends it.
///
/// # Errors
///
/// Returns the reason why it cannot serve, or why it stopped before it was asked to.
pub fn run(args: RunArgs) -> Result<(), Failure> {
    let nothing = Job {
        needs: Needs::default(),
        wrap: |device| device,
        prepare: || Ok(()),
        begin: |_: &Stack, ()| Ok(()),
    };
    run_with(args, nothing)
}

/// Runs the daemon with a job.
///
/// # Errors
///
/// As [`run`].
pub(crate) fn run_with<P: Send + 'static, J>(
    args: RunArgs,
    job: Job<
        impl Fn(Box<dyn Device>) -> Box<dyn Device>,
        impl FnOnce() -> Result<P, Failure> + Send + 'static,
        impl FnOnce(&Stack, P) -> Result<J, Failure>,
    >,
) -> Result<(), Failure> {
    die_with_parent(&args)?;
    let mut settings = args.settings()?;
    let limits = limits::raise(&settings, &job.needs);
    let (sender, events) = channel();
    // Before anything else: an early signal must not kill the program half-way.
    let signals = register_signals()?;
    let origin = unix_time();
    let captures = Captures::new(origin);
    let opening = (Arc::clone(&captures), job.prepare, sender.clone());
    let (setup, report) = confine(&args, &settings, job.needs, opening)?;
    watch_signals(signals, sender.clone())?;
    let no_thread =
        |e: io::Error| Failure::Stack(format!("cannot start the threads that print: {e}"));
    let stdout = Output::start("stdout", io::stdout()).map_err(no_thread)?;
    let stderr = Output::start("stderr", io::stderr()).map_err(no_thread)?;
    let logs = Logs::start(&settings.log, settings.log_format, &stderr);
    let supervisor = Supervisor::find().map_err(no_thread)?;
    setup.go();
    let frame = Frame {
        args: &args,
        sender: &sender,
        stdout: &stdout,
        logs: &logs,
        supervisor: &supervisor,
    };
    let ended = match is_set_up(&events) {
        true => setup.finish().and_then(|opened| {
            // Whatever cannot be opened is told alone.
            report.log(&settings);
            limits::log(limits.as_deref());
            let seen = (captures, origin);
            serve(
                &frame,
                (&mut settings, &events),
                opened,
                seen,
                (job.wrap, job.begin),
            )
        }),
        false => Ok(()),
    };
    logs.flush();
    supervisor.flush();
    stdout.flush(LAST_LINES);
    ended
}

/// Starts the thread that opens everything, and gives up the rights of the calling one: each thread that it starts from then
/// on has as few.
fn confine<P: Send + 'static>(
    args: &RunArgs,
    settings: &Settings,
    needs: Needs,
    (captures, prepare, sender): (
        Arc<Captures>,
        impl FnOnce() -> Result<P, Failure> + Send + 'static,
        Sender<Event>,
    ),
) -> Result<(Setup<P>, Report), Failure> {
    let identity = identity::of(settings)?;
    let place = Place::find(settings, identity.as_ref());
    let confinement = Confinement::new(settings, identity.clone(), needs, &place);
    let setup = Setup::start(
        settings.clone(),
        captures,
        (place, identity),
        prepare,
        // The receiver is gone only when the program ends.
        move || drop(sender.send(Event::SetUp)),
    )?;
    let report = confinement.enter()?;
    // The kernel forgets it when the user changes.
    die_with_parent(args)?;
    Ok((setup, report))
}

/// Ends this process with the thread that started it, if the arguments ask for that.
fn die_with_parent(args: &RunArgs) -> Result<(), Failure> {
    if !args.exit_with_parent {
        return Ok(());
    }
    set_parent_process_death_signal(Some(ParentSignal::KILL))
        .map_err(|e| Failure::Stack(format!("cannot watch the parent process: {e}")))
}

/// Waits until everything is open. Returns `false` if a signal to stop comes first.
fn is_set_up(events: &Receiver<Event>) -> bool {
    loop {
        match events.recv() {
            Ok(Event::SetUp) => return true,
            Ok(Event::Signal(SIGTERM | SIGINT)) | Err(_) => return false,
            // There is nothing to count or to reload yet.
            Ok(_) => {}
        }
    }
}

/// Starts the stack on what was opened, serves until a signal or an error, and closes it.
fn serve<P, J>(
    frame: &Frame<'_>,
    (settings, events): (&mut Settings, &Receiver<Event>),
    opened: Opened<P>,
    (captures, origin): (Arc<Captures>, Duration),
    (wrap, begin): (
        impl Fn(Box<dyn Device>) -> Box<dyn Device>,
        impl FnOnce(&Stack, P) -> Result<J, Failure>,
    ),
) -> Result<(), Failure> {
    let mut devices = opened.devices;
    let mut pcap = None;
    if let (Some(path), Some(file)) = (&settings.pcap, opened.capture) {
        let started = Pcap::start(path, file, origin, settings)?;
        devices = started.tap(devices);
        pcap = Some(started);
    }
    let offload = devices
        .first()
        .is_some_and(|device| device.caps().offload.tso);
    let devices = devices.into_iter().map(wrap).collect();
    let stack = start_stack(settings, devices)?;
    reload::first_routes(&stack, settings).map_err(|(route, error)| {
        settings
            .sources
            .fault("routes", &format!("'{route}' cannot be used: {error}"))
    })?;
    let services = services::start(&stack, settings)?;
    let target = Arc::new(Target::new(&stack, settings, captures, origin));
    let control = opened.control.map(|bound| control::start(&target, bound));
    let _control = control.transpose()?;
    if let Some(listener) = opened.admin {
        metrics::start(&target, listener)?;
    }
    let _job = begin(&stack, opened.job)?;
    watch_stack(&stack, frame.sender.clone())?;
    frame.stdout.line(&ready_line(settings, offload));
    let daemon = Daemon {
        frame,
        settings,
        services,
        is_reloading: false,
        stack: &stack,
        pulse: Pulse::new(),
        stop_asked: None,
    };
    let ended = daemon.wait(events);
    let finished = pcap.map_or(Ok(()), |pcap| {
        pcap.finish().map(|line| frame.stdout.line(&line))
    });
    finished.and(ended)
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

fn register_signals() -> Result<Signals, Failure> {
    Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGXFSZ])
        .map_err(|e| Failure::Stack(format!("cannot watch signals: {e}")))
}

fn watch_signals(mut signals: Signals, sender: Sender<Event>) -> Result<(), Failure> {
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

fn start_stack(settings: &Settings, devices: Vec<Box<dyn Device>>) -> Result<Stack, Failure> {
    let mut builder = Stack::builder().config(settings.stack.clone());
    for net in settings.addresses() {
        builder = builder.address(net.address(), net.len());
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

/// Returns the time since the beginning of 1970.
pub(crate) fn unix_time() -> Duration {
    let unix = clock_gettime(ClockId::Realtime);
    Duration::new(
        u64::try_from(unix.tv_sec).unwrap_or_default(),
        u32::try_from(unix.tv_nsec).unwrap_or_default(),
    )
}
