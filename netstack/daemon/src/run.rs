//! `run`: opens what a daemon needs, gives up the rights for it, starts the stack and its services, and serves until a
//! signal stops it.
//!
//! Owns the signals: SIGTERM and SIGINT stop gracefully, a second one stops at once, SIGUSR1 prints
//! the counters, SIGUSR2 those of the MIBs.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use futures::executor::block_on;
use netstack::device::Device;
use netstack::engine::clock::Clock;
use netstack::net::{Begin, Checkpoint, RestoredStream, Stack};
use rustix::process::{Signal as ParentSignal, set_parent_process_death_signal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;

use crate::carried::packed::{Luggage, Unpacked, unpack};
use crate::cli::{RunArgs, StartArgs};
use crate::clock::start_clock;
use crate::confine::{Confinement, Needs, Report, identity};
use crate::control::capture::Captures;
use crate::control::path::Name;
use crate::control::{self, Place, Target};
use crate::current::Current;
use crate::failure::Failure;
use crate::job::{self, Job, Listening, Work};
use crate::logs::Logs;
use crate::output::Output;
use crate::pcap::Pcap;
use crate::record::begin::Wanted;
use crate::record::thread::Recording;
use crate::restart::Desk;
use crate::restart::resting::Handover;
use crate::restart::take_over::{Carried, TakeOver};
use crate::services::{Running, Wall};
use crate::serving::{Daemon, Event, Frame};
use crate::settings::Settings;
use crate::setup::{self, Naming, Opened, Setup};
use crate::supervisor::Supervisor;
use crate::supervisor::watchdog::Pulse;
use crate::{limits, services, session, web};

/// Time that stdout has to take the last lines.
const LAST_LINES: Duration = Duration::from_millis(500);

/// Runs the daemon until a signal ends it.
///
/// # Errors
///
/// Returns the reason why it cannot serve, or why it stopped before it was asked to.
pub fn run(args: StartArgs) -> Result<(), Failure> {
    let StartArgs {
        mut run,
        take_over,
        record,
    } = args;
    let record = Wanted::of(record)?;
    let take_over = take_over.path;
    if record.is_some() {
        if take_over.is_some() {
            return Err(Failure::Usage(
                "--record begins with an empty stack: leave --take-over out".to_owned(),
            ));
        }
        run = run.with_one_queue("--record", "one worker is recorded")?;
    }
    let wanted = record.clone();
    run_with(run, Beginning::Run { take_over, record }, |settings| {
        if let Some(wanted) = &wanted {
            wanted.check(settings)?;
        }
        let mut job = job::services_only(settings)?;
        job.needs.written = wanted.as_ref().and_then(Wanted::directory);
        Ok(job)
    })
}

/// The way in which a daemon begins.
pub(crate) enum Beginning {
    /// With services alone, which another process can take over unless they are recorded; perhaps in the place of the daemon
    /// with that control socket.
    Run {
        take_over: Option<PathBuf>,
        record: Option<Wanted>,
    },
    /// With a job whose flows another process of the same job can take over; perhaps in the place of the daemon with that control
    /// socket.
    Carried {
        job: &'static str,
        take_over: Option<PathBuf>,
    },
}

impl Beginning {
    /// Returns the name of what runs, the daemon to take over, the recording that is wanted, and whether another process can
    /// take over.
    fn parts(self) -> (&'static str, Option<PathBuf>, Option<Wanted>, bool) {
        match self {
            Self::Run { take_over, record } => {
                let can_hand_over = record.is_none();
                ("run", take_over, record, can_hand_over)
            }
            Self::Carried { job, take_over } => (job, take_over, None, true),
        }
    }
}

/// Runs the daemon with a job, which `plan` makes of the settings before anything is opened.
///
/// # Errors
///
/// As [`run`].
pub(crate) fn run_with<W, P, B, O, J>(
    args: RunArgs,
    beginning: Beginning,
    plan: impl FnOnce(&Settings) -> Result<Job<W, P, B>, Failure>,
) -> Result<(), Failure>
where
    W: Fn(Box<dyn Device>) -> Box<dyn Device>,
    P: FnOnce(Listening) -> Result<O, Failure> + Send + 'static,
    B: FnOnce(&Stack, O) -> Result<J, Failure>,
    O: Send + 'static,
    J: Work,
{
    die_with_parent(&args)?;
    let mut settings = args.settings()?;
    let job = plan(&settings)?;
    let limits = limits::raise(&settings, &job.needs);
    let (sender, events) = channel();
    // Before anything else: an early signal must not kill the program half-way.
    let signals = register_signals()?;
    let captures = Captures::new();
    let (name, take_over, record, can_hand_over) = beginning.parts();
    let take_over = take_over.map(|path| (path, name));
    let opening = (take_over, record, Arc::clone(&captures), sender.clone());
    let (setup, report) = confine(&args, &settings, (job.needs, job.prepare), opening)?;
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
            let seen = (captures, can_hand_over.then_some(name));
            let job = (job.wrap, job.begin);
            serve(&frame, (&mut settings, &events), opened, seen, job)
        }),
        false => Ok(()),
    };
    logs.flush();
    supervisor.flush();
    stdout.flush(LAST_LINES);
    ended
}

/// The daemon to take over with the name of the job, the recording that is wanted, the captures, and the way to the main thread.
type Opening = (
    Option<(PathBuf, &'static str)>,
    Option<Wanted>,
    Arc<Captures>,
    Sender<Event>,
);

/// Starts the thread that opens everything, and gives up the rights of the calling one: each thread that it starts from then
/// on has as few.
fn confine<O: Send + 'static>(
    args: &RunArgs,
    settings: &Settings,
    (needs, prepare): (
        Needs,
        impl FnOnce(Listening) -> Result<O, Failure> + Send + 'static,
    ),
    (take_over, record, captures, sender): Opening,
) -> Result<(Setup<O>, Report), Failure> {
    let owner = identity::of(settings)?;
    let control = Place::find(settings, owner.as_ref());
    let confinement = Confinement::new(settings, owner.clone(), needs, &control);
    let plan = setup::Plan {
        take_over,
        record,
        captures,
        control,
        owner,
    };
    // The receiver is gone only when the program ends.
    let done = move || drop(sender.send(Event::SetUp));
    let setup = Setup::start(settings.clone(), plan, prepare, done)?;
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
fn serve<P, J: Work>(
    frame: &Frame<'_>,
    (settings, events): (&mut Settings, &Receiver<Event>),
    (opened, naming): (Opened<P>, Naming),
    (captures, hands_over): (Arc<Captures>, Option<&'static str>),
    (wrap, begin): (
        impl Fn(Box<dyn Device>) -> Box<dyn Device>,
        impl FnOnce(&Stack, P) -> Result<J, Failure>,
    ),
) -> Result<(), Failure> {
    *settings = opened.settings;
    let offload = opened.devices.first();
    let offload = offload.is_some_and(|device| device.caps().offload.tso);
    // Of a daemon that is taken over the name is its own until it has let go of the device.
    let (name, mut taking) = match opened.taking {
        Some(taking) => (None, Some((taking, naming))),
        None => (naming.publish()?, None),
    };
    let state = taking.as_mut().map(|(taking, _)| taking.state());
    let (checkpoint, carried) = state.transpose()?.unzip();
    let (clock, origin) = start_clock(checkpoint.as_ref());
    captures.set_clock(clock);
    let (devices, pcap) = tapped(opened.devices, opened.capture, origin, settings)?;
    let devices = devices.into_iter().map(wrap).collect();
    let (stack, wall, recorded) = match opened.record {
        None => {
            let stack = start_stack(settings, devices, clock, checkpoint)?;
            (stack, Wall::Machine, None)
        }
        Some(record) => {
            let (stack, recording, ready) = record.begin(settings, devices, (clock, origin))?;
            let wall = Wall::of_stack(&stack, origin);
            (stack, wall, Some((recording, ready)))
        }
    };
    let (recording, ready) = recorded.unzip();
    let prepared = services::prepare(&stack, settings, opened.services, &wall)?;
    let services = services::start(&stack, settings, prepared, wall)?;
    let job = begin(&stack, opened.job)?;
    let restored = stack.take_restored();
    let restored = restored.map(|restored| arrive(&stack, restored, carried, &services, &job));
    let mut restored = restored.transpose()?;
    let desk = hands_over.map(|name| desk((name, opened.descriptors), &job, frame.sender));
    let recorder = recording.as_ref().map(Recording::control);
    let ways = (desk, recorder.clone());
    let current = Current::new(&stack, services);
    let target = Arc::new(Target::new(&current, settings, captures, origin, ways));
    if let Some(control) = opened.control {
        control::start(&target, control.listener)?;
    }
    web::start(&target, settings, opened.admin)?;
    drop(stack);
    watch_stack(current.clone(), frame.sender.clone())?;
    let name = match taking {
        Some((taking, naming)) => take_place(taking, naming, &mut restored)?,
        None => name,
    };
    go(&job, restored.map(|restored| restored.flows));
    if let Some(ready) = ready {
        let stdout = frame.stdout.clone();
        ready.go(&current, clock, move |line| stdout.line(line))?;
    }
    frame.stdout.line(&ready_line(settings, offload));
    let daemon = Daemon {
        frame,
        settings,
        current,
        job: &job,
        is_reloading: false,
        target: &target,
        recorder,
        pulse: Pulse::new(),
        stop_asked: None,
        handover: Handover::new(name),
    };
    let ended = daemon.wait(events);
    let finished = pcap.map_or(Ok(()), |pcap| {
        pcap.finish().map(|line| frame.stdout.line(&line))
    });
    let recorded = recording.map_or(Ok(()), |recording| {
        recording.finish().map(|line| frame.stdout.line(&line))
    });
    finished.and(recorded).and(ended)
}

/// The queues of the device, and the capture that sees them, if there is one.
type Tapped = (Vec<Box<dyn Device>>, Option<Pcap>);

/// Puts the capture that the settings name in front of the devices.
fn tapped(
    devices: Vec<Box<dyn Device>>,
    capture: Option<io::Result<File>>,
    origin: Duration,
    settings: &Settings,
) -> Result<Tapped, Failure> {
    let (Some(path), Some(file)) = (&settings.pcap, capture) else {
        return Ok((devices, None));
    };
    let started = Pcap::start(path, file, origin, settings)?;
    Ok((started.tap(devices), Some(started)))
}

/// Returns the way of the control socket to this thread.
fn desk(
    (name, queues): (&'static str, Vec<OwnedFd>),
    job: &impl Work,
    sender: &Sender<Event>,
) -> Desk {
    let sender = sender.clone();
    Desk::new(name, queues, job.listening(), move |ask| {
        // The receiver is gone only when the program ends.
        let _ = sender.send(Event::Asked(ask));
    })
}

/// The flows of the daemon that is taken over, and the way to let them begin.
struct Restored {
    count: usize,
    begin: Option<Begin>,
    /// The flows of the job, which rest.
    flows: Unpacked,
}

/// Gives what came from the daemon that is taken over to the services or the job.
fn arrive(
    stack: &Stack,
    (streams, begin): (Vec<RestoredStream>, Begin),
    carried: Option<Carried>,
    services: &Running,
    job: &impl Work,
) -> Result<Restored, Failure> {
    let begin = Some(begin);
    let Some(carrier) = job.carrier() else {
        return Ok(Restored {
            count: services.resume(stack, streams),
            begin,
            flows: Unpacked::default(),
        });
    };
    let Carried {
        luggage,
        descriptors,
    } = carried.unwrap_or_default();
    let mut luggage = Luggage::from_bytes(&luggage).map_err(Failure::Refused)?;
    if let Some(names) = job.names() {
        names.take_known(std::mem::take(&mut luggage.names));
    }
    let flows = unpack(carrier.runtime(), streams, luggage, descriptors);
    Ok(Restored {
        count: flows.count(),
        begin,
        flows,
    })
}

/// Lets the flows of the job begin, those of the daemon that was taken over among them.
fn go(job: &impl Work, flows: Option<Unpacked>) {
    let Unpacked { parcels, adopted } = flows.unwrap_or_default();
    let late = job.carrier().map(|carrier| carrier.go_on(parcels));
    for adopted in adopted.into_iter().chain(late.unwrap_or_default()) {
        job.adopt(adopted);
    }
}

/// Ends the daemon that is taken over, and begins. Gives the control socket its name: without one a daemon that has taken over
/// goes on, since it is all that there is.
///
/// # Errors
/// The other daemon goes on.
fn take_place(
    taking: TakeOver,
    naming: Naming,
    restored: &mut Option<Restored>,
) -> Result<Option<Name>, Failure> {
    let predecessor = taking.commit(naming.path())?;
    if let Some(restored) = restored {
        if let Some(begin) = restored.begin.take() {
            begin.begin();
        }
        tracing::info!(target: "netstackd::restart", connections = restored.count, "took over");
    }
    predecessor.wait();
    Ok(naming.publish().unwrap_or_else(|why| {
        tracing::error!(target: "netstackd::control", "there is no control socket: {why}");
        None
    }))
}

/// Reports the end of the stack, unless another one has taken its place.
fn watch_stack(current: Current, sender: Sender<Event>) -> Result<(), Failure> {
    thread::Builder::new()
        .name("stack-end".to_owned())
        .spawn(move || {
            let reason = loop {
                let (stack, number) = current.numbered();
                let reason = block_on(stack.closed());
                if current.numbered().1 == number {
                    break reason;
                }
            };
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
    Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2])
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

fn start_stack(
    settings: &Settings,
    devices: Vec<Box<dyn Device>>,
    clock: Clock,
    checkpoint: Option<Checkpoint>,
) -> Result<Stack, Failure> {
    let mut builder = session::builder(settings).clock(clock);
    if let Some(checkpoint) = checkpoint {
        builder = builder.restore(checkpoint);
    }
    let stack = builder
        .start(devices)
        .map_err(|e| Failure::Stack(format!("cannot start the stack: {e}")))?;
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
