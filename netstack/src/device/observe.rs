//! Shows the packets of a device to the program, from any moment on and for as long as it wants them.
//!
//! A capture ([`pcap`](super::pcap) writes one), a packet counter, a test.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use packet::Buffers;
use packet::frame::{RxPacket, TxPacket};

pub use super::seen::{Direction, SeenPacket};
use super::{Device, Unpark};
use crate::base::{Counters, Instant, LinkCaps};

/// Sees packets. Called on the worker's thread, with nothing locked: it must not block.
///
/// It sees a received packet when the stack has taken it in, with the reason if it was discarded. What is discarded only
/// afterwards (a datagram in a full queue that makes room, a fragment whose datagram is never whole) has none; what the
/// device itself discards is not seen.
pub trait Observer: Send + Sync + 'static {
    /// Returns true if it wants packets now. Asked once for each batch, so it should be one load.
    fn is_watching(&self) -> bool;

    /// Sees one packet.
    fn on_packet(&self, packet: SeenPacket<'_>);

    /// Has seen all packets of a batch.
    fn after_batch(&self) {}
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
///         self.0.fetch_add(packet.len(), Ordering::Relaxed);
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
        is_worker_showing: false,
    }
}

/// A device whose packets are seen by an [`Observer`].
pub struct Observed<D> {
    device: D,
    observer: Arc<dyn Observer>,
    /// The latest time that a call has passed in: the time of the packets that are sent next.
    now: Instant,
    /// The worker shows what is received.
    is_worker_showing: bool,
}

impl<D> Observed<D> {
    /// Returns the device, which is seen no longer.
    pub fn into_inner(self) -> D {
        self.device
    }
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
        if !self.is_worker_showing && out.len() > before && self.observer.is_watching() {
            for packet in out.get(before..).unwrap_or(&[]) {
                let at = Instant::from_nanos(packet.arrived_nanos);
                self.observer
                    .on_packet(SeenPacket::received(at, &packet.data));
            }
            self.observer.after_batch();
        }
        received
    }

    fn send_batch(&mut self, batch: &mut Vec<TxPacket>, counters: &Counters) -> io::Result<()> {
        if !batch.is_empty() && self.observer.is_watching() {
            for packet in batch.iter() {
                if let Some(packet) = SeenPacket::sent(self.now, packet) {
                    self.observer.on_packet(packet);
                }
            }
            self.observer.after_batch();
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

    #[cfg(all(feature = "tun", target_os = "linux"))]
    fn descriptor(&self) -> Option<io::Result<super::tun::OwnedFd>> {
        self.device.descriptor()
    }

    fn take_observers(&mut self) -> Vec<Arc<dyn Observer>> {
        self.is_worker_showing = true;
        let mut observers = self.device.take_observers();
        observers.push(Arc::clone(&self.observer));
        observers
    }

    fn next_delivery(&self) -> Option<Instant> {
        self.device.next_delivery()
    }
}
