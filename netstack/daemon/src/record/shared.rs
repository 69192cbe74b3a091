//! A device that one stack after the other has.

// One worker has the device at a time; the lock lets its place change. Nothing else waits for it.
use std::io;
#[allow(clippy::disallowed_types)]
use std::sync::Mutex;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use netstack::base::{Counters, Instant, LinkCaps};
use netstack::device::observe::Observer;
use netstack::device::{Device, Unpark};
use packet::Buffers;
use packet::frame::{RxPacket, TxPacket};

/// A handle of the device. Only the worker that is turned uses its one.
#[derive(Clone)]
pub(super) struct Shared {
    #[allow(clippy::disallowed_types)]
    device: Arc<Mutex<Box<dyn Device>>>,
    /// Those of the device, for each worker that comes.
    observers: Vec<Arc<dyn Observer>>,
}

impl Shared {
    pub(super) fn new(mut device: Box<dyn Device>) -> Self {
        let observers = device.take_observers();
        #[allow(clippy::disallowed_types)]
        let device = Arc::new(Mutex::new(device));
        Self { device, observers }
    }

    #[allow(clippy::disallowed_types)]
    fn device(&self) -> MutexGuard<'_, Box<dyn Device>> {
        self.device.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Device for Shared {
    fn caps(&self) -> LinkCaps {
        self.device().caps()
    }

    fn recv_batch(
        &mut self,
        out: &mut Vec<RxPacket>,
        max: usize,
        buffers: &Buffers,
        now: Instant,
        counters: &Counters,
    ) -> io::Result<usize> {
        self.device().recv_batch(out, max, buffers, now, counters)
    }

    fn send_batch(&mut self, batch: &mut Vec<TxPacket>, counters: &Counters) -> io::Result<()> {
        self.device().send_batch(batch, counters)
    }

    fn park(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.device().park(timeout)
    }

    fn poll_park(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.device().poll_park(cx)
    }

    fn unparker(&self) -> Arc<dyn Unpark> {
        self.device().unparker()
    }

    fn take_observers(&mut self) -> Vec<Arc<dyn Observer>> {
        self.observers.clone()
    }

    fn next_delivery(&self) -> Option<Instant> {
        self.device().next_delivery()
    }
}
