//! Captures the packets that a device receives and sends into a pcap file.
//!
//! A [`Capture`] owns a writer thread, and sees the packets of each device as an [`Observer`] that copies them to a
//! bounded queue and never waits. A packet that finds the queue full is missing from the capture, and counted, but not lost
//! to the network. The first error of the writer ends the capture, and [`Capture::finish`] returns it; the
//! stack is not affected.
//!
//! Packets are raw IP (link type 101) with nanosecond timestamps: the stack's time plus the Unix time of
//! its origin. Checksums of sent packets are complete in the capture. Those of received packets are as the
//! device delivered them, and may be partial if the device vouched for them.

use std::cell::RefCell;
use std::io::{self, Write};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_queue::ArrayQueue;
use pcap_file::pcap::{PcapHeader, PcapPacket, PcapWriter};
use pcap_file::{DataLink, PcapError, TsResolution};

use super::observe::{Observed, Observer, SeenPacket, observe};
use super::wake::MemoryWake;
use super::{Device, Unpark as _};

#[cfg(test)]
mod tests;

/// Longest packet in a file, in bytes: more than any device delivers.
const SNAPLEN_MAX: u32 = 262_144;
/// Time without packets after which the writer flushes the file.
const FLUSH_AFTER: Duration = Duration::from_millis(200);

/// Configuration of a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaptureConfig {
    /// Unix time of the stack's time zero.
    pub origin: Duration,
    /// Most bytes that are kept of each packet.
    pub snaplen: u32,
    /// Most packets that wait for the writer.
    pub queue_packets: usize,
    /// Most bytes that wait for the writer.
    pub queue_bytes: usize,
    /// Largest size of the file, in bytes; `None`: no limit.
    pub max_bytes: Option<u64>,
}

impl Default for CaptureConfig {
    /// Returns whole packets, a queue of 4,096 packets or 32 MiB, no size limit, and times since the
    /// stack's origin.
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

/// Statistics of a finished capture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CaptureReport {
    /// Packets written.
    pub packets: u64,
    /// Size of the file, in bytes.
    pub bytes: u64,
    /// Packets missing because the queue was full, the limit was reached, or the writer had failed.
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
    /// Bytes in the queue, and for a moment those of packets that find it full.
    waiting: AtomicUsize,
    wake: MemoryWake,
    finished: AtomicBool,
    missed: AtomicU64,
}

impl Shared {
    fn take(&self) -> Option<CapturedPacket> {
        let copied = self.queue.pop()?;
        self.waiting
            .fetch_sub(copied.bytes.len(), Ordering::Relaxed);
        Some(copied)
    }
}

impl Observer for Shared {
    /// A capture that has ended counts what it misses.
    fn is_watching(&self) -> bool {
        true
    }

    fn on_packet(&self, packet: SeenPacket<'_>) {
        let len = packet.len();
        let keep = len.min(self.config.snaplen as usize);
        let has_ended = self.finished.load(Ordering::Relaxed);
        let fits = !self.queue.is_full()
            && self.waiting.load(Ordering::Relaxed) + keep <= self.config.queue_bytes;
        if has_ended || !fits {
            let before = self.missed.fetch_add(1, Ordering::Relaxed);
            if before == 0 && !has_ended {
                tracing::warn!("the capture misses packets: its disk or reader is too slow");
            }
            return;
        }
        let copied = CapturedPacket {
            at: self.config.origin + Duration::from_nanos(packet.at.as_nanos()),
            len,
            bytes: packet.copy(keep),
        };
        let kept = copied.bytes.len();
        self.waiting.fetch_add(kept, Ordering::Relaxed);
        if self.queue.push(copied).is_err() {
            self.waiting.fetch_sub(kept, Ordering::Relaxed);
            self.missed.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn after_batch(&self) {
        self.wake.unpark();
    }
}

/// A running capture. Dropping it also ends it, without a report.
///
/// ```
/// use netstack::base::Counters;
/// use netstack::device::Device as _;
/// use netstack::device::memory::{LinkConfig, pair};
/// use netstack::device::pcap::{Capture, CaptureConfig};
/// use packet::{Payload, TxPacket};
///
/// // A file in practice.
/// let capture = Capture::start(std::io::sink(), CaptureConfig::default())?;
/// let (device, _peer) = pair(&LinkConfig::default());
/// let mut device = capture.tap(device);
///
/// let mut packet = TxPacket::default();
/// packet.payload = Payload::from(bytes::Bytes::from_static(b"any bytes")).into();
/// device.send_batch(&mut vec![packet], &Counters::new())?;
///
/// let report = capture.finish()?;
/// assert_eq!((report.packets, report.missed), (1, 0));
/// # Ok::<(), std::io::Error>(())
/// ```
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
    /// Starts a capture whose file goes to `out`.
    ///
    /// # Errors
    /// The writer thread could not be started.
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
                    if let Err(error) = &result {
                        tracing::error!(%error, "the capture has ended: its file cannot be written");
                    }
                    // After its end, for whatever reason, no more packets are queued.
                    shared.finished.store(true, Ordering::Release);
                    result
                }
            })?;
        Ok(Self {
            shared,
            writer: Some(writer),
        })
    }

    /// Wraps a device so that its packets are captured. Any number of devices may share a capture.
    pub fn tap<D: Device>(&self, device: D) -> Observed<D> {
        observe(device, Arc::clone(&self.shared) as _)
    }

    /// Writes the queued packets, closes the file and returns its statistics. The devices stay
    /// usable, but no more packets of them are captured.
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

/// A buffered file shared with the pcap library, so that it can be flushed between packets.
struct SharedWriter<W: Write>(Rc<RefCell<io::BufWriter<W>>>);

impl<W: Write> Write for SharedWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.borrow_mut().flush()
    }
}

/// The writer thread: moves packets from the queue to `out` until the capture is finished.
fn write_all(shared: &Shared, out: impl Write) -> io::Result<CaptureReport> {
    /// Lengths of the file's header and of each packet's, in bytes.
    const FILE_HEADER: u64 = 24;
    const PACKET_HEADER: u64 = 16;
    let out = Rc::new(RefCell::new(io::BufWriter::new(out)));
    let header = PcapHeader {
        // Not the configured length: some readers treat a longer packet as corrupt.
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
        // Loaded before the queue is read: packets queued before the end are written.
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
                tracing::warn!(
                    bytes = report.bytes,
                    "the capture has ended: its file is as large as it may be"
                );
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
        // If the next round finds no packets, the file is flushed.
        idle = true;
        shared.wake.park(Some(FLUSH_AFTER));
    }
}
