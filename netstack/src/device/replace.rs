//! Devices that can be replaced under a living stack: the carrier goes away, and another one comes.
//!
//! * **Define.** A [`Replaceable`] is a queue whose packets go through whichever device it has. Without one, packets
//!   are lost, and counted, as on a cable that is pulled.
//! * **Enforce.** A device that is gone does not end the stack as long as the [`Replacer`] lives. A new device must be
//!   able to do what the stack relies on: [`Replacer::replace`] compares.
//! * **Consume.** Connections outlive a tunnel that reconnects; what was lost is sent again.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use atomic_waker::AtomicWaker;
use crossbeam_queue::ArrayQueue;
use packet::Buffers;
use packet::frame::{RxPacket, TxPacket};

use super::wake::MemoryWake;
use super::{Device, Unpark};
use crate::base::counters::DropReason;
use crate::base::{Counters, Instant, LinkCaps};

/// Makes devices replaceable: one for each queue.
///
/// ```
/// use netstack::Stack;
/// use netstack::device::channel::{ChannelConfig, channel};
/// use netstack::device::replaceable;
///
/// let (device, pipe) = channel(ChannelConfig::default());
/// let (devices, replacer) = replaceable(vec![Box::new(device)]);
/// let stack = Stack::builder().address("10.77.0.2".parse()?, 24).start(devices)?;
/// drop(pipe); // The carrier is gone. The stack is not.
///
/// let (device, _pipe) = channel(ChannelConfig::default());
/// replacer.replace(vec![Box::new(device)])?;
/// # stack.abort()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn replaceable(devices: Vec<Box<dyn Device>>) -> (Vec<Box<dyn Device>>, Replacer) {
    let mut queues = Vec::new();
    let replaceable = devices.into_iter().map(|device| {
        let shared = Arc::new(Shared {
            caps: device.caps(),
            next: ArrayQueue::new(1),
            is_attached: AtomicBool::new(true),
            is_final: AtomicBool::new(false),
            notified: AtomicBool::new(false),
            parked: AtomicWaker::new(),
            idle: MemoryWake::new(),
        });
        queues.push(Arc::clone(&shared));
        Box::new(Replaceable::new(device, shared)) as Box<dyn Device>
    });
    let replaceable = replaceable.collect();
    (replaceable, Replacer { queues })
}

/// The reason why devices cannot take the place of others.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplaceError {
    /// The number of queues differs.
    #[error("the stack has {wanted} device queues, not {given}: give one device for each")]
    Queues {
        /// The number of queues of the stack.
        wanted: usize,
        /// The number of devices given.
        given: usize,
    },
    /// The new device carries only smaller packets.
    #[error(
        "the new device has an MTU of {given}, and the stack sends packets of up to {wanted} bytes: \
         open it with that MTU, and lower it afterwards"
    )]
    Mtu {
        /// The MTU of the stack, in bytes.
        wanted: u16,
        /// The MTU of the new device, in bytes.
        given: u16,
    },
    /// The new device lacks an offload on which the stack relies.
    #[error(
        "the new device lacks {missing}, on which the stack relies: open it like the first one"
    )]
    Offload {
        /// The offload that is missing.
        missing: &'static str,
    },
    /// The new device receives larger packets than the stack has buffers for.
    #[error(
        "the new device receives packets of up to {given} bytes, and the stack's buffers hold {room}: \
         open it without offload, like the first one"
    )]
    Receive {
        /// The room of a buffer, in bytes.
        room: usize,
        /// The largest packet of the new device, in bytes.
        given: usize,
    },
}

/// Replaces the devices of a stack. Once it is dropped, the next device that is gone ends the stack.
#[derive(Debug)]
pub struct Replacer {
    queues: Vec<Arc<Shared>>,
}

impl Replacer {
    /// Gives the stack other devices, one for each queue. Packets that wait in the old ones are lost.
    ///
    /// # Errors
    /// The new devices cannot do what the stack relies on. Nothing is replaced then.
    pub fn replace(&self, devices: Vec<Box<dyn Device>>) -> Result<(), ReplaceError> {
        let (wanted, given) = (self.queues.len(), devices.len());
        if wanted != given {
            return Err(ReplaceError::Queues { wanted, given });
        }
        for (queue, device) in self.queues.iter().zip(&devices) {
            check(&queue.caps, &device.caps())?;
        }
        for (queue, device) in self.queues.iter().zip(devices) {
            drop(queue.next.force_push(device));
            queue.is_attached.store(true, Ordering::Release);
            queue.unpark();
        }
        Ok(())
    }

    /// Returns true if every queue has a device: none is known to be gone.
    pub fn is_attached(&self) -> bool {
        let mut queues = self.queues.iter();
        queues.all(|queue| queue.is_attached.load(Ordering::Acquire))
    }
}

impl Drop for Replacer {
    fn drop(&mut self) {
        for queue in &self.queues {
            queue.is_final.store(true, Ordering::Release);
            queue.unpark();
        }
    }
}

/// Compares what a stack was started with to what a new device has.
fn check(old: &LinkCaps, new: &LinkCaps) -> Result<(), ReplaceError> {
    if new.mtu < old.mtu {
        let (wanted, given) = (old.mtu, new.mtu);
        return Err(ReplaceError::Mtu { wanted, given });
    }
    let (has, needs) = (new.offload.usable(), old.offload.usable());
    for (missing, has, needs) in [
        ("checksum offload", has.tx_checksum, needs.tx_checksum),
        ("TCP segmentation offload", has.tso, needs.tso),
        ("UDP segmentation offload", has.uso, needs.uso),
    ] {
        if needs && !has {
            return Err(ReplaceError::Offload { missing });
        }
    }
    // A larger MTU is no larger packet: the peers were told what this stack receives.
    if new.max_packet > usize::from(new.mtu) && new.slab_bytes() > old.slab_bytes() {
        let (room, given) = (old.max_packet, new.max_packet);
        return Err(ReplaceError::Receive { room, given });
    }
    Ok(())
}

/// The state that a queue and its replacer share.
struct Shared {
    caps: LinkCaps,
    next: ArrayQueue<Box<dyn Device>>,
    is_attached: AtomicBool,
    /// There will be no other device.
    is_final: AtomicBool,
    /// [`Unpark::unpark`] was called since the last wait.
    notified: AtomicBool,
    /// Unparks the device in which the thread sleeps.
    parked: AtomicWaker,
    /// Where the thread sleeps without a device.
    idle: MemoryWake,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replaceable")
            .field("caps", &self.caps)
            .field("is_attached", &self.is_attached)
            .finish_non_exhaustive()
    }
}

impl Unpark for Shared {
    fn unpark(&self) {
        self.notified.store(true, Ordering::SeqCst);
        self.parked.wake();
        self.idle.unpark();
    }
}

/// Unparks one device.
struct UnparkDevice(Arc<dyn Unpark>);

impl Wake for UnparkDevice {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

/// A device, and how to unpark it.
struct Attached {
    device: Box<dyn Device>,
    unpark: Waker,
}

impl Attached {
    fn new(device: Box<dyn Device>) -> Self {
        let unpark = Waker::from(Arc::new(UnparkDevice(device.unparker())));
        Self { device, unpark }
    }
}

/// A queue whose device can be replaced.
struct Replaceable {
    attached: Option<Attached>,
    /// The MTU of the device, or of the last one.
    mtu: u16,
    shared: Arc<Shared>,
}

impl Replaceable {
    fn new(device: Box<dyn Device>, shared: Arc<Shared>) -> Self {
        Self {
            mtu: device.caps().mtu,
            attached: Some(Attached::new(device)),
            shared,
        }
    }

    /// Takes a new device, if there is one.
    fn renew(&mut self) {
        if let Some(device) = self.shared.next.pop() {
            self.attached = Some(Attached::new(device));
            self.shared.is_attached.store(true, Ordering::Release);
        }
    }

    /// Calls the device. If it is gone, waits for another one from now on; `None` if there is none.
    ///
    /// # Errors
    /// The device is gone, and there will be no other.
    fn call<R>(
        &mut self,
        f: impl FnOnce(&mut dyn Device) -> io::Result<R>,
    ) -> io::Result<Option<R>> {
        self.renew();
        let is_final = self.shared.is_final.load(Ordering::Acquire);
        let Some(attached) = &mut self.attached else {
            return match is_final {
                true => Err(io::Error::new(
                    io::ErrorKind::NotConnected,
                    "the device is gone, and nothing can replace it any more",
                )),
                false => Ok(None),
            };
        };
        match f(&mut *attached.device) {
            Ok(result) => Ok(Some(result)),
            Err(error) if is_final => Err(error),
            Err(error) => {
                tracing::warn!(%error, "a device is gone; packets are lost until it is replaced");
                self.attached = None;
                // A replacement that comes at the same time is attached when it is taken.
                self.shared.is_attached.store(false, Ordering::Release);
                Ok(None)
            }
        }
    }

    /// Returns true if the thread must not wait: it was unparked, or there is a new device.
    fn must_not_wait(&self) -> bool {
        self.shared.notified.swap(false, Ordering::SeqCst) || !self.shared.next.is_empty()
    }
}

impl Device for Replaceable {
    fn caps(&self) -> LinkCaps {
        LinkCaps {
            mtu: self.mtu,
            ..self.shared.caps
        }
    }

    fn recv_batch(
        &mut self,
        out: &mut Vec<RxPacket>,
        max: usize,
        buffers: &Buffers,
        now: Instant,
        counters: &Counters,
    ) -> io::Result<usize> {
        let received = self.call(|device| {
            let received = device.recv_batch(out, max, buffers, now, counters)?;
            Ok((received, device.caps().mtu))
        })?;
        Ok(received.map_or(0, |(received, mtu)| {
            self.mtu = mtu;
            received
        }))
    }

    fn send_batch(&mut self, batch: &mut Vec<TxPacket>, counters: &Counters) -> io::Result<()> {
        // A device that is gone counts what it could not send itself.
        self.call(|device| device.send_batch(batch, counters))?;
        for _ in batch.drain(..) {
            counters.drop_packet(DropReason::TransmitFailed);
        }
        Ok(())
    }

    fn park(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        if let Some(attached) = &self.attached {
            self.shared.parked.register(&attached.unpark);
        }
        if self.must_not_wait() {
            return Ok(());
        }
        match &mut self.attached {
            Some(attached) => attached.device.park(timeout)?,
            None => self.shared.idle.park(timeout),
        }
        self.shared.notified.store(false, Ordering::SeqCst);
        Ok(())
    }

    #[cfg(all(feature = "tun", target_os = "linux"))]
    fn descriptor(&self) -> Option<io::Result<super::tun::OwnedFd>> {
        self.attached.as_ref()?.device.descriptor()
    }

    fn poll_park(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = match &mut self.attached {
            Some(attached) => {
                self.shared.parked.register(&attached.unpark);
                attached.device.poll_park(cx)
            }
            None => self.shared.idle.poll(cx).map(Ok),
        };
        if self.must_not_wait() {
            return Poll::Ready(Ok(()));
        }
        polled
    }

    fn unparker(&self) -> Arc<dyn Unpark> {
        Arc::clone(&self.shared) as Arc<dyn Unpark>
    }

    fn next_delivery(&self) -> Option<Instant> {
        let attached = self.attached.as_ref()?;
        attached.device.next_delivery()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::OffloadCaps;

    fn caps(mtu: u16, max_packet: usize, tso: bool) -> LinkCaps {
        LinkCaps {
            mtu,
            max_packet,
            offload: OffloadCaps {
                tx_checksum: tso,
                tso,
                uso: false,
            },
        }
    }

    #[test]
    fn a_new_device_must_do_what_the_stack_relies_on() {
        let plain = caps(1_500, 1_500, false);
        let offloading = caps(1_500, 65_535, true);
        assert_eq!(check(&plain, &plain), Ok(()));
        assert_eq!(check(&plain, &caps(9_000, 9_000, false)), Ok(()));
        assert_eq!(
            check(&plain, &caps(1_400, 1_400, false)),
            Err(ReplaceError::Mtu {
                wanted: 1_500,
                given: 1_400
            })
        );
        assert!(matches!(
            check(&offloading, &plain),
            Err(ReplaceError::Offload { .. })
        ));
        assert!(matches!(
            check(&plain, &offloading),
            Err(ReplaceError::Receive { .. })
        ));
    }
}
