//! `capture`: the packets of the device as a pcapng file, through the control socket.
//!
//! A worker copies a packet to each capture's bounded queue and never waits. What finds the queue full is lost to the
//! capture alone; it is counted, the client is told, and the file's statistics block says so.

use std::borrow::Cow;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use netstack::device::observe::{Direction, Observer, SeenPacket};
use netstack::engine::clock::Clock;
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::blocks::interface_statistics::{
    InterfaceStatisticsBlock, InterfaceStatisticsOption,
};
use pcap_file::{DataLink, PcapError};
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::Target;
use super::channel::{Line, Lines, Replies};
use super::packet_filter::PacketFilter;
use super::protocol::{CaptureRequest, End, Reply, Request};
use crate::clock::origin_of;

/// Most captures at once: each costs the workers a copy of every packet.
const MAX_CAPTURES: usize = 4;

/// Most packets, and most bytes of packets, that wait for one client.
const QUEUE_PACKETS: usize = 4_096;
const QUEUE_BYTES: usize = 16 << 20;

/// Bytes of the file that are put into one reply, unless one packet is longer.
const PIECE_BYTES: usize = 48 << 10;

/// Longest packet of a file.
const SNAPLEN_MAX: u32 = 262_144;

/// The captures that are running.
#[derive(Debug)]
pub(crate) struct Captures {
    is_active: AtomicBool,
    sinks: ArcSwap<Vec<Arc<Sink>>>,
    /// The clock of the stack, once there is one.
    clock: OnceLock<Clock>,
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
}

impl Sink {
    fn offer(&self, packet: &SeenPacket<'_>) {
        if !self.filter.accepts(packet) {
            return;
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
            return;
        };
        place.send(Copied {
            at: self.origin + Duration::from_nanos(packet.at.as_nanos()),
            direction: packet.direction(),
            len: packet.len(),
            bytes: packet.copy(keep),
        });
    }
}

impl Observer for Captures {
    fn is_watching(&self) -> bool {
        self.is_active.load(Ordering::Relaxed)
    }

    fn on_packet(&self, packet: SeenPacket<'_>) {
        for sink in self.sinks.load().iter() {
            sink.offer(&packet);
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
        })
    }

    /// Sets the clock of the stack, before there is one.
    pub(crate) fn set_clock(&self, clock: Clock) {
        // There is one stack.
        let _ = self.clock.set(clock);
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

/// A pcapng file that is written piece by piece.
struct PcapNg(PcapNgWriter<Vec<u8>>);

impl PcapNg {
    fn begin(tun: &str, snaplen: u32) -> Result<Self, PcapError> {
        let mut writer = PcapNgWriter::new(Vec::new())?;
        writer.write_pcapng_block(InterfaceDescriptionBlock {
            linktype: DataLink::RAW,
            snaplen,
            options: vec![
                InterfaceDescriptionOption::IfName(Cow::Borrowed(tun)),
                // Nanoseconds.
                InterfaceDescriptionOption::IfTsResol(9),
            ],
        })?;
        Ok(Self(writer))
    }

    fn packet(&mut self, packet: &Copied) -> Result<(), PcapError> {
        let direction = match packet.direction {
            Direction::In => 1,
            Direction::Out => 2,
        };
        let block = EnhancedPacketBlock {
            interface_id: 0,
            timestamp: packet.at,
            original_len: u32::try_from(packet.len).unwrap_or(u32::MAX),
            data: Cow::Borrowed(&packet.bytes),
            options: vec![EnhancedPacketOption::Flags(direction)],
        };
        self.0.write_pcapng_block(block).map(drop)
    }

    fn statistics(&mut self, at: Duration, end: &End) -> Result<(), PcapError> {
        let block = InterfaceStatisticsBlock {
            interface_id: 0,
            timestamp: u64::try_from(at.as_nanos()).unwrap_or(u64::MAX),
            options: vec![
                InterfaceStatisticsOption::IsbIfRecv(end.count + end.lost),
                InterfaceStatisticsOption::IsbIfDrop(end.lost),
            ],
        };
        self.0.write_pcapng_block(block).map(drop)
    }

    fn len(&self) -> usize {
        self.0.get_ref().len()
    }

    /// Returns the bytes since the last call.
    fn take(&mut self) -> Reply {
        let bytes = std::mem::take(self.0.get_mut());
        Reply::Data {
            data: STANDARD.encode(bytes),
        }
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
    let mut file = PcapNg::begin(&target.tun, snaplen).map_err(io::Error::other)?;
    replies.send_patiently(&file.take()).await?;
    let mut end = End::default();
    let mut latest = running.sink.origin;
    'capture: while wanted.count.is_none_or(|most| end.count < most) {
        let packet = tokio::select! {
            packet = packets.recv() => packet,
            line = lines.next() => match line? {
                Some(Line::Request(Request::Stop {})) => break,
                Some(_) => continue,
                None => return Ok(()),
            },
        };
        let mut next = packet;
        while let Some(packet) = next {
            running
                .sink
                .waiting
                .fetch_sub(packet.bytes.len(), Ordering::Relaxed);
            latest = packet.at;
            file.packet(&packet).map_err(io::Error::other)?;
            end.count += 1;
            let is_enough = wanted.count.is_some_and(|most| end.count >= most);
            if is_enough || file.len() >= PIECE_BYTES {
                break;
            }
            next = match packets.try_recv() {
                Ok(packet) => Some(packet),
                Err(TryRecvError::Empty) => None,
                Err(TryRecvError::Disconnected) => break 'capture,
            };
        }
        replies.send_patiently(&file.take()).await?;
        let lost = running.sink.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            end.lost += lost;
            replies.send_patiently(&Reply::Lost { count: lost }).await?;
        }
    }
    // What is left in the queue came before the end.
    packets.close();
    while wanted.count.is_none_or(|most| end.count < most) {
        let Ok(packet) = packets.try_recv() else {
            break;
        };
        latest = packet.at;
        file.packet(&packet).map_err(io::Error::other)?;
        end.count += 1;
        if file.len() >= PIECE_BYTES {
            replies.send_patiently(&file.take()).await?;
        }
    }
    let last = running.sink.lost.swap(0, Ordering::Relaxed);
    drop(running);
    end.lost += last;
    file.statistics(latest, &end).map_err(io::Error::other)?;
    replies.send_patiently(&file.take()).await?;
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
        assert_eq!(running.sink.lost.load(Ordering::Relaxed), 3);
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
        assert_eq!(running.sink.lost.load(Ordering::Relaxed), 2);
        assert!(running.sink.waiting.load(Ordering::Relaxed) <= QUEUE_BYTES);
    }
}
