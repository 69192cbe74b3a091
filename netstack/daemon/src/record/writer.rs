//! Writes a recording on a thread of its own: neither a full disk nor a stuck one holds up a worker.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

/// Most bytes that wait for the disk.
const QUEUE_BYTES: usize = 64 << 20;

/// The file of a recording, or the files of its parts.
pub trait Out: Write + Send + 'static {
    /// Begins the file of the next part: what is written from here on goes there.
    ///
    /// # Errors
    /// It cannot be written.
    fn begin_part(&mut self) -> io::Result<()>;
}

/// An order to the thread.
#[derive(Debug)]
enum Order {
    Write(Vec<u8>),
    BeginPart,
}

/// The reason why nothing more can be written.
#[derive(Debug)]
pub(super) enum Refused {
    /// Too much waits.
    Slow,
    /// Writing has failed, or the file is as long as a file may be.
    Failed(io::Error),
}

/// A file that is written.
#[derive(Debug)]
pub(super) struct Writer {
    queue: Option<Sender<Order>>,
    waiting: Arc<AtomicUsize>,
    /// Sends one message, at the end: the error, or that all is written.
    ended: Receiver<io::Result<()>>,
    /// Writing has failed.
    failed: Option<io::ErrorKind>,
}

impl Writer {
    /// Starts to write to `out`.
    ///
    /// # Errors
    /// The system has no thread left.
    pub(super) fn start(mut out: impl Out) -> io::Result<Self> {
        let (queue, orders) = channel();
        let (end, ended) = channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let written = Arc::clone(&waiting);
        thread::Builder::new()
            .name("recording".to_owned())
            .spawn(move || {
                let follow = |order| match order {
                    Order::Write(piece) => {
                        let result = out.write_all(&piece);
                        written.fetch_sub(piece.len(), Ordering::Relaxed);
                        result
                    }
                    Order::BeginPart => out.flush().and_then(|()| out.begin_part()),
                };
                let result = orders.into_iter().try_for_each(follow);
                // Whoever wants to know may be gone.
                let _ = end.send(result.and_then(|()| out.flush()));
            })?;
        Ok(Self {
            queue: Some(queue),
            waiting,
            ended,
            failed: None,
        })
    }

    /// Queues `piece` to be written. Never waits.
    pub(super) fn write(&mut self, piece: Vec<u8>) -> Result<(), Refused> {
        if let Ok(Err(error)) = self.ended.try_recv() {
            (self.queue, self.failed) = (None, Some(error.kind()));
            return Err(Refused::Failed(error));
        }
        if let Some(kind) = self.failed {
            return Err(Refused::Failed(kind.into()));
        }
        if self.waiting.load(Ordering::Relaxed) + piece.len() > QUEUE_BYTES {
            return Err(Refused::Slow);
        }
        self.waiting.fetch_add(piece.len(), Ordering::Relaxed);
        self.order(Order::Write(piece));
        Ok(())
    }

    /// Lets what is queued from here on be written to the file of the next part. Never waits.
    pub(super) fn begin_part(&self) {
        self.order(Order::BeginPart);
    }

    fn order(&self, order: Order) {
        // Its thread has failed, and says so next time.
        if let Some(queue) = &self.queue {
            let _ = queue.send(order);
        }
    }

    /// Ends the file. The result comes when all of it is written.
    pub(super) fn finish(mut self) -> Receiver<io::Result<()>> {
        self.queue = None;
        self.ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes nothing until it is told, and then fails.
    struct Stuck(Receiver<()>);

    impl Write for Stuck {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            Err(io::ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Out for Stuck {
        fn begin_part(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_stuck_disk_refuses_and_a_full_one_says_so() {
        let (free, stuck) = channel();
        let mut writer = Writer::start(Stuck(stuck)).expect("a thread");
        let piece = || vec![0; QUEUE_BYTES / 4];
        for _ in 0..4 {
            assert!(writer.write(piece()).is_ok());
        }
        assert!(matches!(writer.write(piece()), Err(Refused::Slow)));
        drop(free);
        let ended = writer.finish().recv().expect("it ends");
        assert_eq!(
            ended.map_err(|error| error.kind()),
            Err(io::ErrorKind::StorageFull)
        );
    }
}
