//! The streams of a test: what they share, and what is counted of each.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use bytes::Bytes;
use futures::future::select;
use tokio::sync::watch;

use super::params::{Params, Protocol};

/// The part of a test that streams take part in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// Not all streams are there.
    Gathering,
    /// Data flows, and is counted.
    Running,
}

/// The things that the streams of a test share.
#[derive(Debug)]
pub(super) struct Test {
    pub(super) params: Params,
    /// A block of data, which all streams send.
    pub(super) block: Bytes,
}

impl Test {
    pub(super) fn new(params: Params) -> Self {
        let len = match params.protocol {
            Protocol::Tcp if params.send > 0 => params.len,
            _ => 0,
        };
        let digits = (0..len).map(|at| b'0' + (at % 10) as u8);
        Self {
            block: digits.collect::<Vec<u8>>().into(),
            params,
        }
    }
}

/// The task of a stream.
#[derive(Debug)]
pub(super) struct Role {
    pub(super) test: Arc<Test>,
    pub(super) counts: Arc<Counts>,
    /// The sender is dropped when the test is over.
    pub(super) phase: watch::Receiver<Phase>,
}

impl Role {
    /// Waits until data may flow; false if the test is over before.
    pub(super) async fn begins(&mut self) -> bool {
        let running = self.phase.wait_for(|phase| *phase == Phase::Running);
        running.await.is_ok()
    }

    /// Does `work` until it ends, or the test is over.
    pub(super) async fn until_over(&self, work: impl Future<Output = ()>) {
        let mut phase = self.phase.clone();
        let over = pin!(async move { while phase.changed().await.is_ok() {} });
        select(pin!(work), over).await;
    }
}

/// The counts of one stream. The stream writes, the control connection reads.
#[derive(Debug)]
pub(super) struct Counts {
    pub(super) id: u32,
    /// This side sends.
    pub(super) sends: bool,
    pub(super) bytes: AtomicU64,
    /// Datagrams that were sent; of those that come, the highest number.
    pub(super) packets: AtomicU64,
    /// Datagrams that did not come.
    pub(super) errors: AtomicU64,
    /// Variation of the time that datagrams take, in nanoseconds.
    pub(super) jitter: AtomicU64,
    pub(super) retransmits: AtomicU32,
}

/// The numbers of a stream at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Snapshot {
    pub(super) bytes: u64,
    pub(super) packets: u64,
    pub(super) errors: u64,
    pub(super) retransmits: u32,
}

impl Counts {
    /// Returns the counts of a stream that is the `place`th from 0.
    pub(super) fn new(place: usize, sends: bool) -> Self {
        // iperf3 numbers its streams 1, 3, 4, 5 …
        let place = u32::try_from(place).unwrap_or(u32::MAX);
        let id = if place == 0 {
            1
        } else {
            place.saturating_add(2)
        };
        Self {
            id,
            sends,
            bytes: AtomicU64::new(0),
            packets: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            jitter: AtomicU64::new(0),
            retransmits: AtomicU32::new(0),
        }
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot {
            bytes: self.bytes.load(Ordering::Relaxed),
            packets: self.packets.load(Ordering::Relaxed),
            errors: self.errors.load(Ordering::Relaxed),
            retransmits: self.retransmits.load(Ordering::Relaxed),
        }
    }
}
