//! Shows the packets of a device to the program, from any moment on and for as long as it wants them.
//!
//! A capture that comes and goes ([`pcap`](super::pcap) lasts as long as its device), a packet counter, a test.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use packet::Buffers;
use packet::frame::{RxPacket, TxPacket};

use super::linear::Frame;
use super::{Device, Unpark};
use crate::base::{Counters, Instant, LinkCaps};

/// The direction of a packet, as the stack sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// Received from the device.
    In,
    /// Sent to the device.
    Out,
}

/// A packet that passes by.
#[derive(Clone, Copy, Debug)]
pub struct SeenPacket<'a> {
    /// Its direction.
    pub direction: Direction,
    /// The time of its arrival, or of the batch that it leaves in.
    pub at: Instant,
    /// The whole packet, from its IP header on. A super-segment is one packet. The checksum of a sent packet is
    /// complete; that of a received one is as the device delivered it.
    pub bytes: &'a [u8],
}

/// Sees packets. Called on the worker's thread, with nothing locked: it must not block.
pub trait Observer: Send + Sync + 'static {
    /// Returns true if it wants packets now. Asked once for each batch, so it should be one load.
    fn is_watching(&self) -> bool;

    /// Sees one packet.
    fn on_packet(&self, packet: SeenPacket<'_>);
}

/// Wraps a device so that `observer` sees its packets. Any number of devices may share an observer.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicUsize, Ordering};
///
/// use netstack::base::Counters;
/// use netstack::device::Device as _;
/// use netstack::device::memory::{LinkConfig, pair};
/// use netstack::device::observe::{Observer, SeenPacket, observe};
/// use packet::{Payload, TxPacket};
///
/// struct CountBytes(AtomicUsize);
///
/// impl Observer for CountBytes {
///     fn is_watching(&self) -> bool {
///         true
///     }
///     fn on_packet(&self, packet: SeenPacket<'_>) {
///         self.0.fetch_add(packet.bytes.len(), Ordering::Relaxed);
///     }
/// }
///
/// let count = Arc::new(CountBytes(AtomicUsize::new(0)));
/// let (device, _peer) = pair(&LinkConfig::default());
/// let mut device = observe(device, count.clone());
/// let mut packet = TxPacket::default();
/// packet.payload = Payload::from(bytes::Bytes::from_static(b"any bytes")).into();
/// device.send_batch(&mut vec![packet], &Counters::new())?;
/// assert_eq!(count.0.load(Ordering::Relaxed), 9);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn observe<D: Device>(device: D, observer: Arc<dyn Observer>) -> Observed<D> {
    Observed {
        device,
        observer,
        now: Instant::ZERO,
    }
}

/// A device whose packets are seen by an [`Observer`].
pub struct Observed<D> {
    device: D,
    observer: Arc<dyn Observer>,
    /// The latest time that a call has passed in: the time of the packets that are sent next.
    now: Instant,
}

impl<D: fmt::Debug> fmt::Debug for Observed<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observed")
            .field("device", &self.device)
            .finish_non_exhaustive()
    }
}

impl<D: Device> Device for Observed<D> {
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
        if out.len() > before && self.observer.is_watching() {
            for packet in out.get(before..).unwrap_or(&[]) {
                self.observer.on_packet(SeenPacket {
                    direction: Direction::In,
                    at: Instant::from_nanos(packet.arrived_nanos),
                    bytes: &packet.data,
                });
            }
        }
        received
    }

    fn send_batch(&mut self, batch: &mut Vec<TxPacket>, counters: &Counters) -> io::Result<()> {
        if !batch.is_empty() && self.observer.is_watching() {
            for packet in batch.iter() {
                // What cannot be joined is dropped, and counted, by the device.
                if let Ok(frame) = Frame::new(packet) {
                    self.observer.on_packet(SeenPacket {
                        direction: Direction::Out,
                        at: self.now,
                        bytes: &frame.into_bytes(),
                    });
                }
            }
        }
        self.device.send_batch(batch, counters)
    }

    fn park(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.device.park(timeout)
    }

    fn poll_park(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.device.poll_park(cx)
    }

    fn unparker(&self) -> Arc<dyn Unpark> {
        self.device.unparker()
    }

    fn next_delivery(&self) -> Option<Instant> {
        self.device.next_delivery()
    }
}
