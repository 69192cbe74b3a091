//! The thread that turns the worker of a daemon that records, and what the daemon asks of it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::Duration;

use netstack::engine::clock::Clock;
use netstack::net::Stack;

use super::{Ended, Recorder};
use crate::failure::Failure;
use crate::file::reason;

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
}

impl Control {
    /// Returns true as long as the stack is recorded.
    pub(crate) fn is_recording(&self) -> bool {
        self.is_recording.load(Ordering::Acquire)
    }

    /// Ends the recording, before anything happens to the stack that it would not hold.
    pub(crate) fn end(&self, stack: &Stack, why: &str) {
        if !self.is_recording() {
            return;
        }
        let (done, ended) = sync_channel(1);
        let why = why.to_owned();
        if self.orders.send(Order { why, done }).is_ok() {
            // Ends the worker's sleep. It looks at its orders first.
            stack.spawn_on(0, async {});
            let _ = ended.recv_timeout(END_TIME);
        }
    }
}

/// The recording of a running daemon.
#[derive(Debug)]
pub(crate) struct Recording {
    control: Control,
    path: PathBuf,
    ended: Receiver<Ended>,
}

/// A worker that nothing turns yet.
pub(crate) struct Ready {
    recorder: Recorder,
    orders: Receiver<Order>,
    end: Sender<Ended>,
    is_recording: Arc<AtomicBool>,
}

/// Prepares the thread of `recorder`, whose file is `path`.
pub(crate) fn prepare(recorder: Recorder, path: &Path) -> (Recording, Ready) {
    let ((orders, taken), (end, ended)) = (channel(), channel());
    let is_recording = Arc::new(AtomicBool::new(true));
    let control = Control {
        orders,
        is_recording: Arc::clone(&is_recording),
    };
    let ready = Ready {
        recorder,
        orders: taken,
        end,
        is_recording,
    };
    let recording = Recording {
        control,
        path: path.to_owned(),
        ended,
    };
    (recording, ready)
}

impl Ready {
    /// Starts to turn the worker by `clock`. `tell` gets one line when the recording ends.
    ///
    /// # Errors
    /// The system has no thread left.
    pub(crate) fn go(
        self,
        clock: Clock,
        tell: impl Fn(&str) + Send + 'static,
    ) -> Result<(), Failure> {
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

    /// Tells the end of the recording, once.
    fn note_end(&mut self, tell: &impl Fn(&str)) {
        let Some(ended) = self.recorder.take_ended() else {
            return;
        };
        self.is_recording.store(false, Ordering::Release);
        let sums = &ended.sums;
        let line = format!(
            "recording-ended turns={} packets-in={} packets-out={} bytes={}: {}",
            sums.turns, sums.packets_in, sums.packets_out, ended.bytes, sums.reason
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
            path,
            ended,
        } = self;
        drop(control);
        let path = path.display();
        let incomplete = |why: &str| {
            Failure::Stack(format!(
                "the recording {path} is incomplete: {why}: check whether its disk is full or stuck; what is there can be replayed"
            ))
        };
        let late = || incomplete("it was not written in time");
        let worker = ended;
        let ended = worker.recv_timeout(FINISH_TIME).map_err(|_| late())?;
        // Its last packets leave before the program does. It sends no more.
        let _ = worker.recv_timeout(FINISH_TIME);
        let written = ended
            .written
            .recv_timeout(FINISH_TIME)
            .map_err(|_| late())?;
        written.map_err(|error: io::Error| incomplete(&reason(&error)))?;
        let sums = &ended.sums;
        Ok(format!(
            "recording {path} turns={} packets-in={} packets-out={} bytes={}",
            sums.turns, sums.packets_in, sums.packets_out, ended.bytes
        ))
    }
}
