//! `capture`: the packets of the device as a pcapng file, through the control socket.
//!
//! A worker copies a packet to each capture's bounded queue and never waits. What finds the queue full is lost to the
//! capture alone; it is counted, the client is told, and the file's statistics block says so. A packet that the stack
//! discards has a comment with the reason.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use netstack::base::Discarded;
use netstack::device::observe::{Direction, Observer, SeenPacket};
use netstack::engine::clock::Clock;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::Target;
use super::channel::{Line, Lines, Replies};
use super::packet_filter::PacketFilter;
use super::protocol::{CaptureRequest, End, Reply, Request};
use crate::clock::origin_of;
use crate::pcapng::{Packet, PcapNg, SNAPLEN_MAX};

/// Most captures at once: each costs the workers a copy of every packet.
const MAX_CAPTURES: usize = 4;

/// Most packets, and most bytes of packets, that wait for one client.
const QUEUE_PACKETS: usize = 65_536;
const QUEUE_BYTES: usize = 16 << 20;

/// Bytes of the file that are put into one reply, unless one packet is longer.
const PIECE_BYTES: usize = 48 << 10;

/// The captures that are running.
#[derive(Debug)]
pub(crate) struct Captures {
    is_active: AtomicBool,
    sinks: ArcSwap<Vec<Arc<Sink>>>,
    /// The clock of the stack, once there is one.
    clock: OnceLock<Clock>,
    /// Packets that captures have missed since the start.
    lost: AtomicU64,
}

#[derive(Debug)]
struct Sink {
    filter: PacketFilter,
    snaplen: usize,
    /// Unix time of the stack's time zero, when the capture began.
    origin: Duration,
    queue: Sender<Copied>,
    /// Bytes in the queue.
    waiting: AtomicUsize,
    lost: AtomicU64,
}

#[derive(Debug)]
struct Copied {
    at: Duration,
    direction: Direction,
    len: usize,
    bytes: Vec<u8>,
    discarded: Option<Discarded>,
}

impl Sink {
    /// Queues a packet if it is wanted; false if it is lost.
    fn offer(&self, packet: &SeenPacket<'_>) -> bool {
        if !self.filter.accepts(packet) {
            return true;
        }
        let keep = packet.len().min(self.snaplen);
        let waiting = self.waiting.fetch_add(keep, Ordering::Relaxed);
        let place = if waiting + keep > QUEUE_BYTES {
            None
        } else {
            self.queue.try_reserve().ok()
        };
        let Some(place) = place else {
            self.waiting.fetch_sub(keep, Ordering::Relaxed);
            self.lost.fetch_add(1, Ordering::Relaxed);
            return false;
        };
        place.send(Copied {
            at: self.origin + Duration::from_nanos(packet.at.as_nanos()),
            direction: packet.direction(),
            len: packet.len(),
            bytes: packet.copy(keep),
            discarded: packet.discarded,
        });
        true
    }
}

impl Observer for Captures {
    fn is_watching(&self) -> bool {
        self.is_active.load(Ordering::Relaxed)
    }

    fn on_packet(&self, packet: SeenPacket<'_>) {
        for sink in self.sinks.load().iter() {
            if !sink.offer(&packet) {
                self.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

impl Captures {
    /// Makes the place of captures.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            is_active: AtomicBool::new(false),
            sinks: ArcSwap::default(),
            clock: OnceLock::new(),
            lost: AtomicU64::new(0),
        })
    }

    /// Sets the clock of the stack, before there is one.
    pub(crate) fn set_clock(&self, clock: Clock) {
        // There is one stack.
        let _ = self.clock.set(clock);
    }

    /// Returns how many captures are running.
    pub(crate) fn running(&self) -> usize {
        self.sinks.load().len()
    }

    /// Returns how many packets captures have missed since the start: their clients were too slow.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Starts a capture. Called on the one thread of the control socket.
    fn start(
        &self,
        filter: PacketFilter,
        snaplen: u32,
    ) -> Result<(Running<'_>, Receiver<Copied>), String> {
        if self.sinks.load().len() >= MAX_CAPTURES {
            return Err(format!(
                "{MAX_CAPTURES} captures are running: end one of them first"
            ));
        }
        let (queue, packets) = channel(QUEUE_PACKETS);
        let sink = Arc::new(Sink {
            filter,
            snaplen: snaplen as usize,
            origin: self.clock.get().map_or(Duration::ZERO, origin_of),
            queue,
            waiting: AtomicUsize::new(0),
            lost: AtomicU64::new(0),
        });
        self.sinks.rcu(|sinks| {
            let mut sinks = Vec::clone(sinks);
            sinks.push(Arc::clone(&sink));
            sinks
        });
        self.is_active.store(true, Ordering::Relaxed);
        let running = Running {
            captures: self,
            sink,
        };
        Ok((running, packets))
    }
}

/// A capture, until it is dropped.
struct Running<'a> {
    captures: &'a Captures,
    sink: Arc<Sink>,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.captures.sinks.rcu(|sinks| {
            let mut sinks = Vec::clone(sinks);
            sinks.retain(|sink| !Arc::ptr_eq(sink, &self.sink));
            sinks
        });
        let is_active = !self.captures.sinks.load().is_empty();
        self.captures.is_active.store(is_active, Ordering::Relaxed);
    }
}

impl Running<'_> {
    /// Notes that a packet has left the queue.
    fn took(&self, packet: &Copied) {
        let bytes = packet.bytes.len();
        self.sink.waiting.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Returns how many packets found the queue full since the last call.
    fn take_lost(&self) -> u64 {
        self.sink.lost.swap(0, Ordering::Relaxed)
    }
}

/// A capture's file, piece by piece.
struct Writing<'a> {
    running: Running<'a>,
    file: PcapNg,
    /// Most packets.
    most: u64,
    end: End,
    /// The time of the packet that was written last.
    latest: Duration,
}

impl Writing<'_> {
    fn is_enough(&self) -> bool {
        self.end.count >= self.most
    }

    fn packet(&mut self, packet: &Copied) -> io::Result<()> {
        self.running.took(packet);
        self.latest = packet.at;
        self.end.count += 1;
        let written = self.file.packet(&Packet {
            at: packet.at,
            direction: packet.direction,
            len: packet.len,
            bytes: &packet.bytes,
            comment: packet.discarded.map(comment).as_deref(),
        });
        written.map_err(io::Error::other)
    }

    /// Sends what there is of the file, and how much is missing since the last time.
    async fn send(&mut self, replies: &mut Replies) -> io::Result<()> {
        if self.file.len() > 0 {
            let data = STANDARD.encode(self.file.take());
            replies.send_patiently(&Reply::Data { data }).await?;
        }
        let lost = self.running.take_lost();
        if lost > 0 {
            self.end.lost += lost;
            replies.send_patiently(&Reply::Lost { count: lost }).await?;
        }
        Ok(())
    }
}

/// Returns what a file says about a packet that was discarded.
fn comment(discarded: Discarded) -> String {
    let reason = discarded.reason.label();
    match discarded.times {
        1 => format!("dropped: {reason}"),
        times => format!("dropped: {reason}, counted {times} times"),
    }
}

/// Sends a capture until the client has had enough.
///
/// # Errors
/// The client is gone.
pub(super) async fn serve(
    target: &Target,
    wanted: &CaptureRequest,
    lines: &mut Lines,
    replies: &mut Replies,
) -> io::Result<()> {
    let snaplen = wanted.snaplen.unwrap_or(SNAPLEN_MAX).clamp(1, SNAPLEN_MAX);
    let (running, mut packets) = match target.captures.start(wanted.filter, snaplen) {
        Ok(started) => started,
        Err(message) => return replies.send(&Reply::Error { message }).await,
    };
    let latest = running.sink.origin;
    let mut writing = Writing {
        running,
        file: PcapNg::begin(&target.tun, snaplen).map_err(io::Error::other)?,
        most: wanted.count.unwrap_or(u64::MAX),
        end: End::default(),
        latest,
    };
    writing.send(replies).await?;
    while !writing.is_enough() {
        let packet = tokio::select! {
            packet = packets.recv() => packet,
            line = lines.next() => match line? {
                Some(Line::Request(Request::Stop {})) => break,
                Some(_) => continue,
                None => return Ok(()),
            },
        };
        let Some(packet) = packet else {
            break;
        };
        writing.packet(&packet)?;
        while !writing.is_enough()
            && writing.file.len() < PIECE_BYTES
            && let Ok(packet) = packets.try_recv()
        {
            writing.packet(&packet)?;
        }
        writing.send(replies).await?;
    }
    // What is left in the queue came before the end.
    packets.close();
    while !writing.is_enough()
        && let Ok(packet) = packets.try_recv()
    {
        writing.packet(&packet)?;
        if writing.file.len() >= PIECE_BYTES {
            writing.send(replies).await?;
        }
    }
    let Writing {
        running,
        mut file,
        mut end,
        latest,
        ..
    } = writing;
    // What is lost from here on is nobody's.
    let last = running.take_lost();
    drop(running);
    end.lost += last;
    let statistics = file.statistics(latest, end.count + end.lost, end.lost);
    statistics.map_err(io::Error::other)?;
    let data = STANDARD.encode(file.take());
    replies.send_patiently(&Reply::Data { data }).await?;
    if last > 0 {
        replies.send_patiently(&Reply::Lost { count: last }).await?;
    }
    replies.send(&Reply::End(end)).await
}

#[cfg(test)]
mod tests {
    use netstack::base::Instant;

    use super::*;

    #[test]
    fn a_full_queue_loses_packets_and_counts_them() {
        let captures = Captures::new();
        assert!(!captures.is_watching());
        let (running, mut packets) = captures
            .start(PacketFilter::default(), 100)
            .expect("the first");
        assert!(captures.is_watching());
        let offer = || {
            captures.on_packet(SeenPacket::received(Instant::from_nanos(5), &[0x45; 200]));
        };
        (0..QUEUE_PACKETS + 3).for_each(|_| offer());
        assert_eq!((running.take_lost(), running.take_lost()), (3, 0));
        assert_eq!((captures.running(), captures.lost()), (1, 3));
        let packet = packets.try_recv().expect("the first of many");
        assert_eq!((packet.len, packet.bytes.len()), (200, 100));
        assert_eq!(packet.at, Duration::from_nanos(5));
        let others: Vec<_> = (1..MAX_CAPTURES)
            .map(|_| captures.start(PacketFilter::default(), 1))
            .collect();
        assert!(others.iter().all(Result::is_ok));
        assert!(
            captures.start(PacketFilter::default(), 1).is_err(),
            "one too many"
        );
        drop(others);
        drop(running);
        assert!(!captures.is_watching());
    }

    #[test]
    fn a_large_packet_does_not_pass_the_bound_of_bytes() {
        let captures = Captures::new();
        let (running, _packets) = captures
            .start(PacketFilter::default(), SNAPLEN_MAX)
            .expect("the first");
        let bytes = vec![0x45; 60_000];
        for _ in 0..QUEUE_BYTES / bytes.len() + 2 {
            captures.on_packet(SeenPacket::received(Instant::ZERO, &bytes));
        }
        assert_eq!(running.take_lost(), 2);
        assert!(running.sink.waiting.load(Ordering::Relaxed) <= QUEUE_BYTES);
    }
}
