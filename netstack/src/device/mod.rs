//! Devices, which carry packets between the stack and the outside: one trait, five implementations.
//!
//! * `tun`: a TUN device of Linux, with segmentation and checksum offload and several queues, or with bare packets and
//!   one queue for any kernel. With the feature `tun`, which is on by default.
//! * [`channel`]: a queue pair for a program that carries the packets itself, such as a tunnel.
//! * [`memory`]: an in-memory link with seeded loss, delay, reordering, duplication and corruption,
//!   which runs on the time that its caller passes in.
//! * [`observe`]: a wrapper around any of them that shows packets to the program, while it wants them.
//! * [`pcap`]: an observer that writes a capture.
//! * [`replaceable`]: a wrapper around any of them whose device can be replaced under a living stack.
//!
//! A device moves packets and reads nothing beyond the fixed IP header. It waits only in
//! [`Device::park`], takes memory only from the pool that its caller passes in, and counts each packet
//! that it discards under one reason. It also counts packets and bytes in and out
//! ([`Counter`](crate::base::counters::Counter)), so that these include packets that never reach the
//! stack.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use packet::Buffers;
use packet::frame::{RxPacket, TxPacket};

use crate::base::{Counters, Instant, LinkCaps};

pub mod channel;
mod coalesce;
mod cut;
mod linear;
pub mod memory;
pub mod observe;
pub mod pcap;
mod replace;
mod seen;
#[cfg(all(feature = "tun", target_os = "linux"))]
pub mod tun;
mod udp_runs;
mod virtio;
mod wake;

pub use replace::{ReplaceError, Replacer, replaceable};
#[cfg(all(feature = "tun", target_os = "linux"))]
pub use tun::{DeviceError, OffloadMode, TunConfig, from_fds, kernel_drops, open};

/// Ends a [`Device::park`] from any thread.
pub trait Unpark: Send + Sync {
    /// Makes the current `park` return, or the next one if no thread is parked. Never blocks, and costs
    /// one atomic exchange and no system call if no thread is parked.
    fn unpark(&self);
}

/// One queue of packets, in and out, owned by one worker.
///
/// A packet that could not be taken or sent is a counted drop, never an error, and never tried again.
/// An error means that the device is **gone**: its other end has ceased to exist, and no later call
/// will move a packet. A TUN device is gone once its interface was deleted (not while it is down), a
/// packet channel once the program dropped both halves of its pipe; an in-memory link never is.
pub trait Device: Send + 'static {
    /// Returns the capabilities of the link. Asked once in each turn: the stack follows an MTU that changes, in both
    /// directions. The device itself drops what a turn that has begun before sends beyond the new MTU.
    fn caps(&self) -> LinkCaps;

    /// Appends up to `max` packets to `out` without waiting and returns their number, which is 0 if
    /// none is there, and may be less than are there: then the next [`Device::park`] or [`Device::poll_park`] does not wait.
    /// May forget what [`Unpark::unpark`] said before: whoever calls that has left something to be found already, here or
    /// in a queue that is looked at after this call. Performs at most `max` reads, so that it returns
    /// even if it discards every packet. `now` becomes the packets' time of arrival.
    ///
    /// # Errors
    /// The device is gone.
    fn recv_batch(
        &mut self,
        out: &mut Vec<RxPacket>,
        max: usize,
        buffers: &Buffers,
        now: Instant,
        counters: &Counters,
    ) -> io::Result<usize>;

    /// Sends the packets in order and leaves `batch` empty. Counts those that could not be sent.
    ///
    /// # Errors
    /// The device is gone. The batch is empty then, too, and the packets that were left are counted as
    /// drops.
    fn send_batch(&mut self, batch: &mut Vec<TxPacket>, counters: &Counters) -> io::Result<()>;

    /// Sleeps until a packet may be there, until [`Unpark::unpark`] is called (or was called since the
    /// last `park`), or until `timeout` passes (`None`: no limit). May return early without a reason.
    ///
    /// # Errors
    /// The operating system refused to wait.
    fn park(&mut self, timeout: Option<Duration>) -> io::Result<()>;

    /// Registers the task of `cx`, the only one that waits, to be woken when a packet may be there or
    /// [`Unpark::unpark`] is called. Ready if that is so already, or was since the last call.
    ///
    /// # Errors
    /// `Unsupported`, as by default: only [`Device::park`] waits for this device.
    fn poll_park(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let _ = cx;
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "only a thread can wait for this device: start the stack with threads of its own",
        )))
    }

    /// Returns the handle that ends a `park`, the same one from each call.
    fn unparker(&self) -> Arc<dyn Unpark>;

    /// Returns another descriptor of the queue, for a process that is to take it over. By default there is none.
    #[cfg(all(feature = "tun", target_os = "linux"))]
    fn descriptor(&self) -> Option<io::Result<tun::OwnedFd>> {
        None
    }

    /// Returns the observers of the packets that it receives, and shows none of these to them from here on: the worker does,
    /// when it knows what became of each. By default there are none. A device around another one passes them on if the
    /// worker gets the packets as that one received them.
    fn take_observers(&mut self) -> Vec<Arc<dyn observe::Observer>> {
        Vec::new()
    }

    /// Returns the virtual time at which the next packet arrives, if this is known, for a simulation that moves its clock
    /// to that time. By default it is not: packets are there or come from another device of the simulation.
    fn next_delivery(&self) -> Option<Instant> {
        None
    }
}

impl Device for Box<dyn Device> {
    fn caps(&self) -> LinkCaps {
        (**self).caps()
    }

    fn recv_batch(
        &mut self,
        out: &mut Vec<RxPacket>,
        max: usize,
        buffers: &Buffers,
        now: Instant,
        counters: &Counters,
    ) -> io::Result<usize> {
        (**self).recv_batch(out, max, buffers, now, counters)
    }

    fn send_batch(&mut self, batch: &mut Vec<TxPacket>, counters: &Counters) -> io::Result<()> {
        (**self).send_batch(batch, counters)
    }

    fn park(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        (**self).park(timeout)
    }

    fn poll_park(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        (**self).poll_park(cx)
    }

    fn unparker(&self) -> Arc<dyn Unpark> {
        (**self).unparker()
    }

    #[cfg(all(feature = "tun", target_os = "linux"))]
    fn descriptor(&self) -> Option<io::Result<tun::OwnedFd>> {
        (**self).descriptor()
    }

    fn take_observers(&mut self) -> Vec<Arc<dyn observe::Observer>> {
        (**self).take_observers()
    }

    fn next_delivery(&self) -> Option<Instant> {
        (**self).next_delivery()
    }
}
