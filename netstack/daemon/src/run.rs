//! `run`: opens the device, starts the stack and its services, and serves until a signal stops it.
//!
//! Owns the signals: SIGTERM and SIGINT stop gracefully, a second one stops at once, SIGUSR1 prints
//! the counters, SIGUSR2 those of the MIBs.

use std::fs::File;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use futures::executor::block_on;
use netstack::base::counters::Counter;
use netstack::device::observe::observe;
use netstack::device::pcap::{Capture, CaptureConfig};
use netstack::device::{self, Device, DeviceError, TunConfig};
use netstack::net::{EndReason, ShutdownReport, Stack};
use rustix::io::Errno;
use rustix::process::{Signal as ParentSignal, set_parent_process_death_signal};
use rustix::time::{ClockId, clock_gettime};
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;

use crate::cli::RunArgs;
use crate::console::print_line;
use crate::control::capture::Captures;
use crate::control::{self, Target};
use crate::failure::Failure;
use crate::file::reason;
use crate::heap;
use crate::report::Source;
use crate::services;
use crate::settings::Settings;

/// An event that the main thread waits for.
enum Event {
    Signal(i32),
    /// The stack has ended, whether it was asked to or not.
    Ended(EndReason),
    /// The graceful stop has finished.
    Stopped(std::io::Result<ShutdownReport>),
}

/// Runs the daemon until a signal ends it.
///
/// # Errors
///
/// Returns the reason why it cannot serve, or why it stopped before it was asked to.
pub fn run(args: RunArgs) -> Result<(), Failure> {
    serve(args, |device| device, |_| Ok(()))
}

/// Runs the daemon with what `begin` starts on its stack, over devices that `wrap` may wrap. What `begin` returns is
/// dropped when the stack has ended.
///
/// # Errors
///
/// As [`run`].
pub(crate) fn serve<J>(
    args: RunArgs,
    wrap: impl Fn(Box<dyn Device>) -> Box<dyn Device>,
    begin: impl FnOnce(&Stack) -> Result<J, Failure>,
) -> Result<(), Failure> {
    if args.exit_with_parent {
        set_parent_process_death_signal(Some(ParentSignal::KILL))
            .map_err(|e| Failure::Stack(format!("cannot watch the parent process: {e}")))?;
    }
    let settings = args.settings()?;
    let (sender, events) = channel();
    // Before anything else: an early signal must not kill the program half-way.
    watch_signals(sender.clone())?;
    let origin = unix_time();
    let captures = Captures::new(origin);
    let (devices, capture) = open_devices(&settings, origin, &captures)?;
    let offload = devices
        .first()
        .is_some_and(|device| device.caps().offload.tso);
    let devices = devices.into_iter().map(wrap).collect();
    let stack = start_stack(&settings, devices)?;
    services::start(&stack, &settings)?;
    let target = Arc::new(Target::new(&stack, &settings, captures, origin));
    let _control = control::start(&target, &settings)?;
    let _job = begin(&stack)?;
    watch_stack(&stack, sender.clone())?;
    print_line(&ready_line(&settings, offload));
    let ended = until_ended(&stack, &settings, &sender, &events);
    finish_capture(capture, &settings).and(ended)
}

/// Answers signals until the stack has ended.
fn until_ended(
    stack: &Stack,
    settings: &Settings,
    sender: &Sender<Event>,
    events: &Receiver<Event>,
) -> Result<(), Failure> {
    let counters = Source::new(stack);
    let mut is_stopping = false;
    let mut peak = heap::Peak::default();
    loop {
        let opened = stack.counters().count(Counter::TcpPassiveOpens);
        if peak.has_passed(stack.connections(), opened) {
            heap::trim();
        }
        match events.recv_timeout(heap::PERIOD) {
            Ok(Event::Signal(SIGUSR1)) => print_line(&counters.line()),
            Ok(Event::Signal(SIGUSR2)) => {
                print_line(&stack.mib().to_string());
                print_line("");
            }
            Ok(Event::Signal(_)) if is_stopping => {
                // The program ends in any case, so the result does not matter.
                let _ = stack.abort();
                break Err(Failure::Interrupted(
                    "a second signal ended it at once: open connections were reset".to_owned(),
                ));
            }
            Ok(Event::Signal(_)) => {
                is_stopping = true;
                let (stack, sender, grace) = (stack.clone(), sender.clone(), settings.grace);
                thread::spawn(move || {
                    // The receiver is gone only after a second signal.
                    let _ = sender.send(Event::Stopped(stack.drain(grace)));
                });
            }
            Ok(Event::Ended(_)) if is_stopping => {}
            Ok(Event::Ended(reason)) => break Err(stopped_badly(settings, &reason.into())),
            Ok(Event::Stopped(result)) => {
                break result
                    .map(drop)
                    .map_err(|error| stopped_badly(settings, &error));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break Ok(()),
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
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGUSR1, SIGUSR2])
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

/// The queues of the device, and the capture that they are wrapped in, if any.
type Opened = (Vec<Box<dyn Device>>, Option<Capture>);

fn open_devices(
    settings: &Settings,
    origin: Duration,
    captures: &Arc<Captures>,
) -> Result<Opened, Failure> {
    let mut config = TunConfig::new(settings.tun.to_string());
    config.mtu = settings.mtu;
    config.queues = settings.queues.get();
    config.offload = settings.offload;
    // Without a subnet, the kernel needs a route to the stack's address.
    if let Some(link) = settings.v4 {
        let (ours, prefix) = (link.ours.addr(), link.ours.prefix_len());
        config.host_v4 = Some((link.host, prefix));
        config.peer_v4 = (prefix == 32).then_some(ours);
    }
    if let Some(link) = settings.v6 {
        let (ours, prefix) = (link.ours.addr(), link.ours.prefix_len());
        config.host_v6 = Some((link.host, prefix));
        config.peer_v6 = (prefix == 128).then_some(ours);
    }
    let devices = device::open(&config).map_err(|error| device_failure(error, settings))?;
    let see = |device| Box::new(observe(device, Arc::clone(captures) as _)) as Box<dyn Device>;
    let devices: Vec<_> = devices.into_iter().map(see).collect();
    let Some(path) = &settings.pcap else {
        return Ok((devices, None));
    };
    let capture = File::create(path)
        .and_then(|file| Capture::start(file, CaptureConfig { origin, ..Default::default() }))
        .map_err(|e| {
            let (path, why) = (path.display(), reason(&e));
            settings.sources.fault(
                "pcap",
                &format!("{path} cannot be written: {why}: name a file in a directory that can be written to"),
            )
        })?;
    let tap = |device| Box::new(capture.tap(device)) as Box<dyn Device>;
    Ok((devices.into_iter().map(tap).collect(), Some(capture)))
}

/// Returns the time since the beginning of 1970.
pub(crate) fn unix_time() -> Duration {
    let unix = clock_gettime(ClockId::Realtime);
    Duration::new(
        u64::try_from(unix.tv_sec).unwrap_or_default(),
        u32::try_from(unix.tv_nsec).unwrap_or_default(),
    )
}

fn device_failure(error: DeviceError, settings: &Settings) -> Failure {
    let text = error.to_string();
    match error {
        DeviceError::NoTun { source } | DeviceError::Os { source, .. }
            if is_out_of_files(&source) =>
        {
            Failure::Device(format!(
                "TUN device {} cannot be opened ({}): raise the limit of open files (ulimit -n), or use \
                 fewer queues than {} (--queues)",
                settings.tun,
                reason(&source),
                settings.queues.get()
            ))
        }
        DeviceError::Ipv6Off { name } => Failure::Device(format!(
            "IPv6 is switched off on TUN device {name}: set net.ipv6.conf.default.disable_ipv6 to 0 in \
             this network namespace, or leave out --addr6 (addr6 in the configuration file)"
        )),
        DeviceError::TunNotAccessible { .. } | DeviceError::NotPermitted { .. } => {
            Failure::Privilege(text)
        }
        DeviceError::Busy { .. }
        | DeviceError::NotATun { .. }
        | DeviceError::Mismatch { .. }
        | DeviceError::AddressInUse { .. } => Failure::InUse(text),
        DeviceError::BadName { .. }
        | DeviceError::BadAddress { .. }
        | DeviceError::Queues { .. }
        | DeviceError::Mtu { .. } => Failure::Usage(text),
        _ => Failure::Device(text),
    }
}

/// Returns whether the process or the system has no file descriptors left.
fn is_out_of_files(error: &std::io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::MFILE | Errno::NFILE)
    )
}

fn start_stack(settings: &Settings, devices: Vec<Box<dyn Device>>) -> Result<Stack, Failure> {
    let mut builder = Stack::builder().config(settings.stack.clone());
    for net in settings.addresses() {
        builder = builder.address(net.addr(), net.prefix_len());
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

fn finish_capture(capture: Option<Capture>, settings: &Settings) -> Result<(), Failure> {
    let (Some(capture), Some(path)) = (capture, &settings.pcap) else {
        return Ok(());
    };
    let path = path.display();
    let report = capture.finish().map_err(|e| {
        Failure::Stack(format!(
            "the capture {path} is incomplete: {}: check whether the disk is full",
            reason(&e)
        ))
    })?;
    print_line(&format!(
        "capture {path} packets={} bytes={} missed={}",
        report.packets, report.bytes, report.missed
    ));
    Ok(())
}
