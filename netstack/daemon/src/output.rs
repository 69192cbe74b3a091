//! stdout and stderr of the running daemon: lines go through a thread of their own, so that a reader that is stuck, or a
//! disk, holds up nothing else.
//!
//! At most [`QUEUE_LINES`] wait. A line that finds the queue full is left out, and counted.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

/// Most lines that wait.
const QUEUE_LINES: usize = 1_024;

/// Longest line, in bytes: more than all counters take.
const MAX_LINE_BYTES: usize = 64 << 10;

enum Message {
    Line(Vec<u8>),
    /// Everything before it is written when this is answered.
    Flush(SyncSender<()>),
}

/// A way to stdout or stderr.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    queue: SyncSender<Message>,
    left_out: Arc<AtomicU64>,
}

impl Output {
    /// Starts the thread that writes to `to`.
    ///
    /// # Errors
    /// The system has no thread left.
    pub(crate) fn start(name: &str, to: impl Write + Send + 'static) -> io::Result<Self> {
        let (queue, messages) = sync_channel(QUEUE_LINES);
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || write_all(&messages, to))?;
        Ok(Self {
            queue,
            left_out: Arc::default(),
        })
    }

    /// Queues a line; it ends with one newline.
    pub(crate) fn line(&self, text: &str) {
        let mut line = text.trim_end().as_bytes().to_vec();
        line.truncate(MAX_LINE_BYTES);
        line.push(b'\n');
        if self.queue.try_send(Message::Line(line)).is_err() {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns the number of lines that were left out since the last call.
    pub(crate) fn take_left_out(&self) -> u64 {
        self.left_out.swap(0, Ordering::Relaxed)
    }

    /// Waits until everything is written, at most for `patience`.
    pub(crate) fn flush(&self, patience: Duration) {
        let (done, written) = sync_channel(1);
        if self.queue.try_send(Message::Flush(done)).is_ok() {
            // Too late, or there is no thread any more: what is not written is lost.
            let _ = written.recv_timeout(patience);
        }
    }
}

/// A closed reader is no error: neither the network nor the daemon stops because of it.
fn write_all(messages: &Receiver<Message>, mut to: impl Write) {
    for message in messages {
        match message {
            Message::Line(line) => {
                let _ = to.write_all(&line).and_then(|()| to.flush());
            }
            Message::Flush(done) => {
                let _ = done.try_send(());
            }
        }
    }
}

/// Prints the last sentence of the program to stderr, unless that is stuck.
pub(crate) fn print_last(text: String) {
    if let Ok(output) = Output::start("last-words", io::stderr()) {
        output.line(&text);
        output.flush(Duration::from_secs(1));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    /// Writes only when told, one call at a time.
    struct Stuck {
        may_write: Receiver<()>,
        written: Sender<Vec<u8>>,
    }

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.may_write.recv();
            let _ = self.written.send(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_stuck_reader_holds_up_nobody_and_what_does_not_fit_is_counted() {
        let (allow, may_write) = channel();
        let (written, lines) = channel();
        let output = Output::start("test", Stuck { may_write, written }).expect("a thread");
        for _ in 0..QUEUE_LINES + 10 {
            output.line("a line\n\n");
        }
        // One may be with the writer.
        let left_out = output.take_left_out();
        assert!((9..=10).contains(&left_out), "{left_out}");
        output.flush(Duration::from_millis(1));
        drop(allow);
        let got: Vec<Vec<u8>> = lines.iter().take(QUEUE_LINES).collect();
        assert!(got.iter().all(|line| line == b"a line\n"));
        output.line("last");
        output.flush(Duration::from_secs(60));
        assert!(lines.try_iter().any(|line| line == b"last\n"));
    }
}
