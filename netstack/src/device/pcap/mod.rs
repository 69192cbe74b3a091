//! A capture of any device: what it receives and what it sends, in a pcap file.
//!
//! A [`Capture`] owns a thread that writes; a [`Tap`] around each device copies packets into a bounded
//! queue and never waits for it. What does not fit is missing from the capture, and counted, not from
//! the network. The first error of the writer ends the capture, and is told once, by
//! [`Capture::finish`]; the stack goes on.
//!
//! Packets are raw IP (link type 101) with nanoseconds. Times are the stack's own, moved by the Unix
//! time of its origin. Sent checksums are finished in the copy; received ones are shown as they came,
//! which may be unfinished where the device vouched for them.

use std::cell::RefCell;
use std::io::{self, Write};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_queue::ArrayQueue;
use packet::Buffers;
use packet::frame::{RxPacket, TxPacket};
use pcap_file::pcap::{PcapHeader, PcapPacket, PcapWriter};
use pcap_file::{DataLink, PcapError, TsResolution};

use super::linear::Frame;
use super::wake::MemoryWake;
use super::{Device, Unpark};
use crate::base::{Counters, Instant, LinkCaps};

#[cfg(test)]
mod tests;

/// Longest packet that a file may hold, in bytes: above any that a device hands over.
const SNAPLEN_MAX: u32 = 262_144;
/// How long a quiet capture may keep packets from the file.
const FLUSH_AFTER: Duration = Duration::from_millis(200);

/// How a capture is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaptureConfig {
    /// Unix time of the stack's time zero.
    pub origin: Duration,
    /// Bytes kept of each packet.
    pub snaplen: u32,
    /// Packets that may wait for the writer.
    pub queue_packets: usize,
    /// Bytes that may wait for the writer.
    pub queue_bytes: usize,
    /// Bytes after which no more packets are written; `None`: no limit.
    pub max_bytes: Option<u64>,
}

impl Default for CaptureConfig {
    /// Whole packets; 4,096 of them or 32 MiB waiting; no limit; times since the stack's origin.
    fn default() -> Self {
        Self {
            origin: Duration::ZERO,
            snaplen: SNAPLEN_MAX,
            queue_packets: 4_096,
            queue_bytes: 32 << 20,
            max_bytes: None,
        }
    }
}

/// What a capture holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CaptureReport {
    /// Packets written.
    pub packets: u64,
    /// Bytes written, the file's own included.
    pub bytes: u64,
    /// Packets missing: the queue was full, the limit was reached, or the writer had failed.
    pub missed: u64,
}

struct CapturedPacket {
    at: Duration,
    len: usize,
    bytes: Vec<u8>,
}

struct Shared {
    config: CaptureConfig,
    queue: ArrayQueue<CapturedPacket>,
    /// Bytes in the queue; for a moment also those of packets that do not get in.
    waiting: AtomicUsize,
    wake: MemoryWake,
    finished: AtomicBool,
    missed: AtomicU64,
}

impl Shared {
    fn offer(&self, at: Instant, len: usize, bytes: impl FnOnce(usize) -> Vec<u8>) {
        let keep = len.min(self.config.snaplen as usize);
        let fits = !self.queue.is_full()
            && self.waiting.load(Ordering::Relaxed) + keep <= self.config.queue_bytes
            && !self.finished.load(Ordering::Relaxed);
        if !fits {
            self.missed.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let copied = CapturedPacket {
            at: self.config.origin + Duration::from_nanos(at.as_nanos()),
            len,
            bytes: bytes(keep),
        };
        let kept = copied.bytes.len();
        self.waiting.fetch_add(kept, Ordering::Relaxed);
        if self.queue.push(copied).is_err() {
            self.waiting.fetch_sub(kept, Ordering::Relaxed);
            self.missed.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn take(&self) -> Option<CapturedPacket> {
        let copied = self.queue.pop()?;
        self.waiting
            .fetch_sub(copied.bytes.len(), Ordering::Relaxed);
        Some(copied)
    }
}

/// A capture in the making. Dropped without [`Capture::finish`], it ends, too, but says nothing.
pub struct Capture {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<io::Result<CaptureReport>>>,
}

impl std::fmt::Debug for Capture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Capture")
            .field("config", &self.shared.config)
            .field("waiting", &self.shared.queue.len())
            .finish_non_exhaustive()
    }
}

impl Capture {
    /// Starts the writer.
    ///
    /// # Errors
    /// No thread could be started.
    pub fn start(out: impl Write + Send + 'static, config: CaptureConfig) -> io::Result<Self> {
        let config = CaptureConfig {
            snaplen: config.snaplen.clamp(1, SNAPLEN_MAX),
            ..config
        };
        let shared = Arc::new(Shared {
            config,
            queue: ArrayQueue::new(config.queue_packets.max(1)),
            waiting: AtomicUsize::new(0),
            wake: MemoryWake::new(),
            finished: AtomicBool::new(false),
            missed: AtomicU64::new(0),
        });
        let writer = std::thread::Builder::new()
            .name("capture".to_owned())
            .spawn({
                let shared = Arc::clone(&shared);
                move || {
                    let result = write_all(&shared, out);
                    // Whatever ended it, nothing is queued from now on.
                    shared.finished.store(true, Ordering::Release);
                    result
                }
            })?;
        Ok(Self {
            shared,
            writer: Some(writer),
        })
    }

    /// Puts the capture around a device; any number of devices may share one.
    pub fn tap<D: Device>(&self, device: D) -> Tap<D> {
        Tap {
            device,
            shared: Arc::clone(&self.shared),
            now: Instant::ZERO,
        }
    }

    /// Writes what is queued, closes the file and says what it holds. Taps stay usable and capture
    /// nothing any more.
    ///
    /// # Errors
    /// The first error of the writer.
    pub fn finish(mut self) -> io::Result<CaptureReport> {
        self.stop().unwrap_or_else(|| Ok(CaptureReport::default()))
    }

    fn stop(&mut self) -> Option<io::Result<CaptureReport>> {
        let writer = self.writer.take()?;
        self.shared.finished.store(true, Ordering::Release);
        self.shared.wake.unpark();
        let result = writer
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the capture's writer panicked")));
        Some(result.map(|report| CaptureReport {
            missed: self.shared.missed.load(Ordering::Relaxed) + self.shared.queue.len() as u64,
            ..report
        }))
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let _ = self.stop();
    }
}

fn into_io(error: PcapError) -> io::Error {
    match error {
        PcapError::IoError(error) => error,
        other => io::Error::other(other),
    }
}

/// A buffered file that the pcap library writes to, and that can be flushed meanwhile.
struct SharedWriter<W: Write>(Rc<RefCell<io::BufWriter<W>>>);

impl<W: Write> Write for SharedWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.borrow_mut().flush()
    }
}

/// The writer's thread.
fn write_all(shared: &Shared, out: impl Write) -> io::Result<CaptureReport> {
    /// Lengths of the file's header and of each packet's, in bytes.
    const FILE_HEADER: u64 = 24;
    const PACKET_HEADER: u64 = 16;
    let out = Rc::new(RefCell::new(io::BufWriter::new(out)));
    let header = PcapHeader {
        // Not what we cut to: some readers take a packet that was longer for damage.
        snaplen: SNAPLEN_MAX,
        datalink: DataLink::RAW,
        ts_resolution: TsResolution::NanoSecond,
        ..PcapHeader::default()
    };
    let mut pcap =
        PcapWriter::with_header(SharedWriter(Rc::clone(&out)), header).map_err(into_io)?;
    let mut report = CaptureReport {
        bytes: FILE_HEADER,
        ..CaptureReport::default()
    };
    let mut idle = false;
    loop {
        // Before the queue: what was queued before the end is still written.
        let finished = shared.finished.load(Ordering::Acquire);
        while let Some(copied) = shared.take() {
            idle = false;
            let len = PACKET_HEADER + copied.bytes.len() as u64;
            if shared
                .config
                .max_bytes
                .is_some_and(|max| report.bytes + len > max)
            {
                shared.missed.fetch_add(1, Ordering::Relaxed);
                out.borrow_mut().flush()?;
                return Ok(report);
            }
            let original = u32::try_from(copied.len).unwrap_or(u32::MAX);
            let packet = PcapPacket::new(copied.at, original, &copied.bytes);
            pcap.write_packet(&packet).map_err(into_io)?;
            report.packets += 1;
            report.bytes += len;
        }
        if finished || idle {
            out.borrow_mut().flush()?;
        }
        if finished {
            return Ok(report);
        }
        // A round that brings nothing means quiet: then the file gets what is still buffered.
        idle = true;
        shared.wake.park(Some(FLUSH_AFTER))?;
    }
}

/// A device whose packets are captured.
pub struct Tap<D> {
    device: D,
    shared: Arc<Shared>,
    /// The latest time that the device was told: when what is sent now is sent.
    now: Instant,
}

impl<D: std::fmt::Debug> std::fmt::Debug for Tap<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tap")
            .field("device", &self.device)
            .finish_non_exhaustive()
    }
}

impl<D> Tap<D> {
    /// The device, no longer captured.
    pub fn into_inner(self) -> D {
        self.device
    }

    /// Wakes the writer, once for a batch.
    fn captured(&self, any: bool) {
        if any {
            self.shared.wake.unpark();
        }
    }
}

impl<D: Device> Device for Tap<D> {
    fn caps(&self) -> LinkCaps {
        self.device.caps()
    }

    fn recv_batch(
        &mut self,
        out: &mut Vec<RxPacket>,
        max: usize,
        buffers: &Buffers,
        now: Instant,
        counters: &Counters,
    ) -> io::Result<usize> {
        self.now = self.now.max(now);
        let before = out.len();
        let received = self.device.recv_batch(out, max, buffers, now, counters);
        for packet in out.get(before..).unwrap_or(&[]) {
            self.shared.offer(
                Instant::from_nanos(packet.arrived_nanos),
                packet.data.len(),
                |keep| packet.data.get(..keep).unwrap_or(&packet.data).to_vec(),
            );
        }
        self.captured(out.len() > before);
        received
    }

    fn send_batch(&mut self, batch: &mut Vec<TxPacket>, counters: &Counters) -> io::Result<()> {
        for packet in batch.iter() {
            self.shared.offer(self.now, packet.len(), |keep| {
                let mut bytes = Frame::new(packet).map_or(Vec::new(), Frame::into_bytes);
                bytes.truncate(keep);
                bytes
            });
        }
        self.captured(!batch.is_empty());
        self.device.send_batch(batch, counters)
    }

    fn park(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.device.park(timeout)
    }

    fn unparker(&self) -> Arc<dyn Unpark> {
        self.device.unparker()
    }
}
