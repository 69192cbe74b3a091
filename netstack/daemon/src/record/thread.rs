//! The thread that turns the worker of a daemon that records, and what the daemon asks of it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::Duration;

use netstack::engine::clock::Clock;

use super::ring::Begun;
use super::{Ended, Recorder};
use crate::current::Current;
use crate::failure::Failure;
use crate::file::reason;
use crate::numbered;

/// Time that the worker has to end the recording: it looks in each turn.
const END_TIME: Duration = Duration::from_secs(1);

/// Time that the file has to take what is left at the end.
const FINISH_TIME: Duration = Duration::from_secs(5);

/// A demand to end the recording, answered when it has ended.
#[derive(Debug)]
struct Order {
    why: String,
    done: SyncSender<()>,
}

/// Ends a recording from any thread.
#[derive(Clone, Debug)]
pub(crate) struct Control {
    orders: Sender<Order>,
    is_recording: Arc<AtomicBool>,
    parts: Option<Arc<PartCounts>>,
}

/// The counts of the parts of a recording.
#[derive(Debug, Default)]
struct PartCounts {
    begun: AtomicU64,
    cut_off: AtomicU64,
    longest_pause_micros: AtomicU64,
}

impl PartCounts {
    fn note(&self, begun: &Begun, pause: Duration) {
        self.begun.fetch_add(1, Ordering::Relaxed);
        let cut_off = begun.cut_off as u64;
        self.cut_off.fetch_add(cut_off, Ordering::Relaxed);
        let micros = u64::try_from(pause.as_micros()).unwrap_or(u64::MAX);
        self.longest_pause_micros
            .fetch_max(micros, Ordering::Relaxed);
    }
}

impl Control {
    /// Returns the counts of a recording in parts, by name.
    pub(crate) fn counts(&self) -> Vec<(&'static str, u64)> {
        let Some(parts) = &self.parts else {
            return Vec::new();
        };
        [
            ("recording_parts", &parts.begun),
            ("recording_cut_off", &parts.cut_off),
            ("recording_pause_micros", &parts.longest_pause_micros),
        ]
        .map(|(name, count)| (name, count.load(Ordering::Relaxed)))
        .to_vec()
    }

    /// Returns true as long as the stack is recorded.
    pub(crate) fn is_recording(&self) -> bool {
        self.is_recording.load(Ordering::Acquire)
    }

    /// Ends the recording, before anything happens to the stack that it would not hold. No other stack takes its place from
    /// then on.
    pub(crate) fn end(&self, current: &Current, why: &str) {
        if !self.is_recording() {
            return;
        }
        let (done, ended) = sync_channel(1);
        let why = why.to_owned();
        if self.orders.send(Order { why, done }).is_ok() {
            // Ends the worker's sleep. It looks at its orders first, also where another stack has taken this one's place.
            current.stack().spawn_on(0, async {});
            let _ = ended.recv_timeout(END_TIME);
        }
    }
}

/// The names of the files of a recording.
#[derive(Clone, Debug)]
pub(super) enum Names {
    One(PathBuf),
    /// Those of the parts, and the number of the first one.
    Parts(numbered::Names, u64),
}

impl Names {
    /// Returns the file of part number `number`.
    fn of_part(&self, number: u64) -> PathBuf {
        match self {
            Self::One(path) => path.clone(),
            Self::Parts(names, _) => names.path(number),
        }
    }

    /// Returns the last file of so many parts.
    fn last_of(&self, parts: u64) -> PathBuf {
        match self {
            Self::One(path) => path.clone(),
            Self::Parts(names, first) => names.path(first.saturating_add(parts).saturating_sub(1)),
        }
    }
}

/// The recording of a running daemon.
#[derive(Debug)]
pub(crate) struct Recording {
    control: Control,
    names: Names,
    ended: Receiver<Ended>,
}

/// A worker that nothing turns yet.
pub(crate) struct Ready {
    recorder: Recorder,
    orders: Receiver<Order>,
    end: Sender<Ended>,
    is_recording: Arc<AtomicBool>,
    parts: Option<Arc<PartCounts>>,
    names: Names,
}

/// Prepares the thread of `recorder`, whose files are `names`.
pub(super) fn prepare(recorder: Recorder, names: Names) -> (Recording, Ready) {
    let ((orders, taken), (end, ended)) = (channel(), channel());
    let is_recording = Arc::new(AtomicBool::new(true));
    let parts = matches!(names, Names::Parts(..)).then(Arc::default);
    let control = Control {
        orders,
        is_recording: Arc::clone(&is_recording),
        parts: parts.clone(),
    };
    let ready = Ready {
        recorder,
        orders: taken,
        end,
        is_recording,
        parts,
        names: names.clone(),
    };
    let recording = Recording {
        control,
        names,
        ended,
    };
    (recording, ready)
}

impl Ready {
    /// Starts to turn the worker by `clock`. `current` uses its stack. `tell` gets one line when the recording ends, and when
    /// a part of it begins.
    ///
    /// # Errors
    /// The system has no thread left.
    pub(crate) fn go(
        mut self,
        current: &Current,
        clock: Clock,
        tell: impl Fn(&str) + Send + 'static,
    ) -> Result<(), Failure> {
        self.recorder.serves(current.clone());
        let thread = thread::Builder::new().name("netstack-0".to_owned());
        let spawned = thread.spawn(move || self.run(clock, tell));
        spawned.map(drop).map_err(|error| {
            Failure::Stack(format!("cannot start the worker that is recorded: {error}"))
        })
    }

    fn run(mut self, clock: Clock, tell: impl Fn(&str)) {
        loop {
            if let Ok(order) = self.orders.try_recv() {
                self.recorder.end(order.why);
                self.note_end(&tell);
                // Whoever asked may have gone.
                let _ = order.done.try_send(());
            }
            let now = clock.now();
            let turned = self.recorder.turn(now);
            if let Some(begun) = self.recorder.take_begun() {
                self.note_part(&begun, clock.now() - now, &tell);
            }
            self.note_end(&tell);
            let slept = match turned {
                Ok(turn) if turn.busy => continue,
                Ok(turn) => self.recorder.park(now, turn.next_timer),
                Err(error) => Err(error),
            };
            if slept.is_err() {
                // The stack has ended, and says why.
                self.note_end(&tell);
                return;
            }
        }
    }

    /// Tells that a part has begun.
    fn note_part(&self, begun: &Begun, pause: Duration, tell: &impl Fn(&str)) {
        if let Some(parts) = &self.parts {
            parts.note(begun, pause);
        }
        let line = format!(
            "recording-part file={} state-bytes={} connections={} cut-off={} pause={:.3}ms",
            self.names.of_part(begun.number).display(),
            begun.state_bytes,
            begun.connections,
            begun.cut_off,
            pause.as_secs_f64() * 1_000.0,
        );
        tracing::info!(target: "netstackd::record", "{line}");
        tell(&line);
    }

    /// Tells the end of the recording, once.
    fn note_end(&mut self, tell: &impl Fn(&str)) {
        let Some(ended) = self.recorder.take_ended() else {
            return;
        };
        self.is_recording.store(false, Ordering::Release);
        let sums = &ended.sums;
        let line = format!(
            "recording-ended {}: {}",
            numbers(&ended, self.parts.is_some()),
            sums.reason
        );
        tracing::warn!(target: "netstackd::record", "{line}");
        tell(&line);
        let _ = self.end.send(ended);
    }
}

impl Recording {
    /// Returns the handle that ends it.
    pub(crate) fn control(&self) -> Control {
        self.control.clone()
    }

    /// Waits until the worker has ended and the file is written, and returns the line that says how much there is.
    ///
    /// # Errors
    /// The file is incomplete: it could not be written, or not within [`FINISH_TIME`].
    pub(crate) fn finish(self) -> Result<String, Failure> {
        let Self {
            control,
            names,
            ended,
        } = self;
        let has_parts = control.parts.is_some();
        drop(control);
        let incomplete = |parts: u64, why: &str| {
            let path = names.last_of(parts);
            Failure::Stack(format!(
                "the recording {} is incomplete: {why}: check whether its disk is full or stuck; what is there can be replayed",
                path.display()
            ))
        };
        let late = |parts| incomplete(parts, "it was not written in time");
        let worker = ended;
        let ended = worker.recv_timeout(FINISH_TIME).map_err(|_| late(1))?;
        // Its last packets leave before the program does. It sends no more.
        let _ = worker.recv_timeout(FINISH_TIME);
        let parts = ended.parts;
        let written = ended.written.recv_timeout(FINISH_TIME);
        let written = written.map_err(|_| late(parts))?;
        written.map_err(|error: io::Error| incomplete(parts, &reason(&error)))?;
        let path = names.last_of(parts);
        Ok(format!(
            "recording {} {}",
            path.display(),
            numbers(&ended, has_parts)
        ))
    }
}

/// Returns the numbers of a recording as a part of a line.
fn numbers(ended: &Ended, has_parts: bool) -> String {
    let sums = &ended.sums;
    let parts = match has_parts {
        true => format!("parts={} ", ended.parts),
        false => String::new(),
    };
    format!(
        "{parts}turns={} packets-in={} packets-out={} bytes={}",
        sums.turns, sums.packets_in, sums.packets_out, ended.bytes
    )
}
