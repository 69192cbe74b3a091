//! `run`: opens the device, starts the stack and its services, and serves until it is told to stop.
//!
//! Owns the signals: SIGTERM and SIGINT stop gracefully, a second one at once, SIGUSR1 prints the
//! counters.

use std::fs::File;
use std::io::Write as _;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use netstack::device::pcap::{Capture, CaptureConfig};
use netstack::device::{self, Device, DeviceError, TunConfig};
use netstack::net::Stack;
use rustix::process::{Signal as ParentSignal, set_parent_process_death_signal};
use rustix::time::{ClockId, clock_gettime};
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

use crate::cli::RunArgs;
use crate::failure::Failure;
use crate::file::reason;
use crate::report::Source;
use crate::services;
use crate::settings::Settings;

/// What the main thread waits for.
enum Happening {
    Signal(i32),
    /// A worker thread has ended, asked or not.
    WorkerEnded,
    /// The graceful stop is through.
    Stopped(std::io::Result<()>),
}

/// Runs the daemon until a signal ends it.
///
/// # Errors
///
/// Whatever keeps it from serving, or ends it before it was asked to.
pub fn run(args: RunArgs) -> Result<(), Failure> {
    if args.exit_with_parent {
        set_parent_process_death_signal(Some(ParentSignal::KILL))
            .map_err(|e| Failure::Stack(format!("the parent cannot be watched: {e}")))?;
    }
    let settings = args.settings()?;
    let (sender, happenings) = channel();
    // Before anything else: a signal that comes early must not kill half-way.
    watch_signals(sender.clone())?;
    let (devices, capture) = open_devices(&settings)?;
    let offload = devices
        .first()
        .is_some_and(|device| device.caps().offload.tso);
    let stack = start_stack(&settings, devices)?;
    services::start(&stack, &settings)?;
    for worker in 0..stack.workers() {
        let alive = OnDrop(sender.clone());
        stack.spawn_on(worker, async move {
            let _alive = alive;
            std::future::pending::<()>().await;
        });
    }
    say(&ready_line(&settings, offload));
    let counters = Source::new(&stack);
    let mut is_stopping = false;
    let ended = loop {
        match happenings.recv() {
            Ok(Happening::Signal(SIGUSR1)) => say(&counters.line()),
            Ok(Happening::Signal(_)) if is_stopping => {
                // The connections are reset; whether that went well no longer matters.
                let _ = stack.abort();
                break Err(Failure::Interrupted(
                    "a second signal ended it at once: open connections were reset".to_owned(),
                ));
            }
            Ok(Happening::Signal(_)) => {
                is_stopping = true;
                let (stack, sender, grace) = (stack.clone(), sender.clone(), settings.grace);
                thread::spawn(move || {
                    // Nobody listens any more only after a second signal.
                    let _ = sender.send(Happening::Stopped(stack.shutdown(grace)));
                });
            }
            Ok(Happening::WorkerEnded) if is_stopping => {}
            Ok(Happening::WorkerEnded) => break Err(lost_device(&settings, stack.abort())),
            Ok(Happening::Stopped(result)) => {
                break result.map_err(|error| stopped_badly(&settings, &error));
            }
            Err(_) => break Ok(()),
        }
    };
    finish_capture(capture, &settings).and(ended)
}

/// Says once that it was dropped: it lives in a task of a worker and ends with it.
struct OnDrop(Sender<Happening>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        // The receiver is gone only when the program ends anyway.
        let _ = self.0.send(Happening::WorkerEnded);
    }
}

fn watch_signals(sender: Sender<Happening>) -> Result<(), Failure> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGUSR1])
        .map_err(|e| Failure::Stack(format!("signals cannot be watched: {e}")))?;
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for signal in &mut signals {
                if sender.send(Happening::Signal(signal)).is_err() {
                    break;
                }
            }
        })
        .map(drop)
        .map_err(|e| Failure::Stack(format!("no thread can be started to watch signals: {e}")))
}

/// The queues of the device, and the capture around them if there is one.
type Opened = (Vec<Box<dyn Device>>, Option<Capture>);

fn open_devices(settings: &Settings) -> Result<Opened, Failure> {
    let config = TunConfig {
        name: settings.tun.to_string(),
        mtu: settings.mtu,
        host_v4: settings.v4.map(|link| (link.host, link.ours.prefix_len())),
        host_v6: settings.v6.map(|link| (link.host, link.ours.prefix_len())),
        queues: settings.queues.get(),
        offload: settings.offload,
    };
    let devices = device::open(&config).map_err(device_failure)?;
    let Some(path) = &settings.pcap else {
        return Ok((devices, None));
    };
    let unix = clock_gettime(ClockId::Realtime);
    let origin = Duration::new(
        u64::try_from(unix.tv_sec).unwrap_or_default(),
        u32::try_from(unix.tv_nsec).unwrap_or_default(),
    );
    let capture = File::create(path)
        .and_then(|file| Capture::start(file, CaptureConfig { origin, ..Default::default() }))
        .map_err(|e| {
            Failure::Usage(format!(
                "--pcap {} cannot be written: {}: name a file in a directory that can be written to",
                path.display(),
                reason(&e)
            ))
        })?;
    let tap = |device| Box::new(capture.tap(device)) as Box<dyn Device>;
    Ok((devices.into_iter().map(tap).collect(), Some(capture)))
}

fn device_failure(error: DeviceError) -> Failure {
    let text = error.to_string();
    match error {
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

fn start_stack(settings: &Settings, devices: Vec<Box<dyn Device>>) -> Result<Stack, Failure> {
    let mut builder = Stack::builder().config(settings.stack.clone());
    for net in settings.addresses() {
        builder = builder.address(net.addr(), net.prefix_len());
    }
    builder
        .start(devices)
        .map_err(|e| Failure::Stack(format!("the stack cannot be started: {e}")))
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

/// One line to stdout, at once.
fn say(line: &str) {
    let mut stdout = std::io::stdout().lock();
    // A closed stdout must not stop the network.
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}

fn lost_device(settings: &Settings, result: std::io::Result<()>) -> Failure {
    let error = result
        .err()
        .unwrap_or_else(|| std::io::Error::other("a worker ended by itself"));
    stopped_badly(settings, &error)
}

fn stopped_badly(settings: &Settings, error: &std::io::Error) -> Failure {
    Failure::Stack(format!(
        "the stack on TUN device {} stopped ({}): see whether the device was removed, then start again",
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
            "the capture {path} is incomplete: {}: see whether the disk is full",
            reason(&e)
        ))
    })?;
    say(&format!(
        "capture {path} packets={} bytes={} missed={}",
        report.packets, report.bytes, report.missed
    ));
    Ok(())
}
