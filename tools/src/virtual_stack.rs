//! One stack on virtual time that exchanges packets, as bytes, with the caller.
//!
//! The worker is the one that runs on a real device; only the device and the clock are this module's.
//! It never sleeps, and all randomness comes from a seed.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use impair::{Checksum, Frame};
use netstack::base::counters::{Counter, DropReason};
use netstack::base::{Config, Counters, Instant, LinkCaps, OffloadCaps};
use netstack::device::{Device, Unpark};
use netstack::engine::worker::Worker;
use netstack::ip::pmtu::Path;
use netstack::ip::send::{SendError, TxParams, tcp_packet};
use netstack::net::Stack;
use netstack::stack::Host;
use netstack::stack::SetupError;
use packet::frame::{RxPacket, TxPacket};
use packet::tcp::TcpHeader;
use packet::{Buffers, Payload, RxChecksum};

/// Turns at one instant after which the stack counts as never idle.
const TURNS_PER_INSTANT: usize = 100_000;

/// Largest packet that can be delivered: a captured GSO packet.
const MAX_PACKET_BYTES: usize = 65_575;

/// The device: a queue of arriving packets and one of sent packets.
#[derive(Debug)]
struct Queues {
    mtu: u16,
    offload: OffloadCaps,
    arriving: VecDeque<Arriving>,
    sent: Vec<Vec<u8>>,
}

/// A packet that arrives, with what the device says about it.
#[derive(Debug)]
struct Arriving {
    bytes: Vec<u8>,
    gso_size: u16,
    checksum: RxChecksum,
}

struct Awake;

impl Unpark for Awake {
    fn unpark(&self) {}
}

impl Device for Queues {
    fn caps(&self) -> LinkCaps {
        LinkCaps {
            mtu: self.mtu,
            max_packet: MAX_PACKET_BYTES,
            offload: self.offload,
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
        let mut count = 0;
        for _ in 0..max {
            let Some(arriving) = self.arriving.pop_front() else {
                break;
            };
            let Arriving {
                bytes,
                gso_size,
                checksum,
            } = arriving;
            counters.add(Counter::PacketsIn, 1);
            counters.add(Counter::BytesIn, bytes.len() as u64);
            let Some(mut slab) = buffers.take_large_to_receive() else {
                counters.drop_packet(DropReason::NoReceiveBuffer);
                continue;
            };
            let Some(room) = slab.as_mut_slice().get_mut(..bytes.len()) else {
                counters.drop_packet(DropReason::DeviceTruncated);
                continue;
            };
            room.copy_from_slice(&bytes);
            out.push(RxPacket {
                data: slab.freeze(0..bytes.len()),
                checksum,
                gso_size,
                arrived_nanos: now.as_nanos(),
            });
            count += 1;
        }
        Ok(count)
    }

    fn send_batch(&mut self, batch: &mut Vec<TxPacket>, counters: &Counters) -> io::Result<()> {
        for packet in batch.drain(..) {
            counters.add(Counter::PacketsOut, 1);
            counters.add(Counter::BytesOut, packet.len() as u64);
            let frame = frame_of(&packet);
            for index in 0..frame.segments() {
                let mut segment = frame.run(index..index + 1);
                segment.finish();
                self.sent.push(segment.into_bytes());
            }
        }
        Ok(())
    }

    fn park(&mut self, _timeout: Option<Duration>) -> io::Result<()> {
        Ok(())
    }

    fn unparker(&self) -> Arc<dyn Unpark> {
        Arc::new(Awake)
    }
}

/// Returns a packet or super-packet with what is left to the device.
pub fn frame_of(packet: &TxPacket) -> Frame {
    let checksum = match &packet.offload.checksum {
        Some(partial) => Checksum::Partial {
            start: partial.start,
            offset: partial.offset,
        },
        None => Checksum::Complete,
    };
    let segment = packet.offload.segment.as_ref();
    Frame::new(packet.to_vec(), checksum, segment.map_or(0, |s| s.size))
}

/// Returns a packet as it is on the link.
pub fn bytes_of(packet: &TxPacket) -> Vec<u8> {
    let mut bytes = packet.head.as_slice().to_vec();
    bytes.extend(packet.payload.to_vec());
    bytes
}

/// Builds the packet of a peer with a TCP segment, whose header needs no ports.
///
/// # Errors
///
/// The headers cannot be written, or the packet does not fit an MTU of 1,500 bytes.
pub fn segment(
    from: SocketAddr,
    to: SocketAddr,
    header: &TcpHeader,
    payload: &[u8],
) -> Result<TxPacket, SendError> {
    let params = TxParams {
        path: Path::unknown(1_500),
        ttl: 64,
        traffic_class: 0,
        flow_label: 0,
        offload: OffloadCaps::default(),
    };
    let header = TcpHeader {
        src_port: from.port(),
        dst_port: to.port(),
        ..*header
    };
    let payload = Payload::from(Bytes::copy_from_slice(payload));
    tcp_packet(from, to, &header, payload.into(), 1_460, &params, || 0)
}

/// A stack with one worker.
pub struct VirtualStack {
    worker: Worker<Queues>,
    stack: Stack,
    start: Instant,
}

impl fmt::Debug for VirtualStack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VirtualStack")
            .field("stack", &self.stack)
            .finish_non_exhaustive()
    }
}

impl VirtualStack {
    /// Creates a stack with these addresses and prefix lengths on a link of `mtu` bytes. All of its
    /// random numbers come from `seed`.
    pub fn new(
        config: Config,
        addresses: &[(IpAddr, u8)],
        mtu: u16,
        seed: u64,
    ) -> Result<Self, SetupError> {
        Self::with_offload(config, addresses, mtu, OffloadCaps::default(), seed)
    }

    /// Creates a stack on a link that does a part of its work. What it sends is still seen as the packets on the link.
    pub fn with_offload(
        config: Config,
        addresses: &[(IpAddr, u8)],
        mtu: u16,
        offload: OffloadCaps,
        seed: u64,
    ) -> Result<Self, SetupError> {
        let device = Queues {
            mtu,
            offload,
            arriving: VecDeque::new(),
            sent: Vec::new(),
        };
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let host = Host::new(config, addresses, device.caps(), 1, bytes)?;
        // Not zero, so that a timestamp or timer of zero cannot be mistaken for "not set".
        let start = Instant::from_millis(1_000_000);
        let worker = Worker::new(Arc::clone(&host), 0, Box::new(device), start);
        Ok(Self {
            worker,
            stack: Stack::from_host(host),
            start,
        })
    }

    /// Returns the handle that sockets are opened with.
    pub fn stack(&self) -> &Stack {
        &self.stack
    }

    /// Runs `future` as a task of the stack's worker.
    pub fn spawn(&mut self, future: impl Future<Output = ()> + Send + 'static) {
        self.worker.spawn(Box::pin(future));
    }

    /// Queues a packet that arrives with the next turn. `gso_size` is 0, or the segment size of a GSO
    /// packet.
    pub fn deliver(&mut self, packet: Vec<u8>, gso_size: u16) {
        self.arrive(packet, gso_size, RxChecksum::Unknown);
    }

    /// As [`VirtualStack::deliver`], for a packet whose transport checksum the device vouches for: the field may hold
    /// anything.
    pub fn deliver_vouched(&mut self, packet: Vec<u8>, gso_size: u16) {
        self.arrive(packet, gso_size, RxChecksum::Vouched);
    }

    fn arrive(&mut self, bytes: Vec<u8>, gso_size: u16, checksum: RxChecksum) {
        self.worker.device().arriving.push_back(Arriving {
            bytes,
            gso_size,
            checksum,
        });
    }

    /// Runs the stack at `now` (since the start) until it is idle and appends the packets sent to
    /// `sent`. Returns the time of the next timer.
    ///
    /// # Errors
    /// Returns an error if the stack never becomes idle at this instant.
    pub fn settle(
        &mut self,
        now: Duration,
        sent: &mut Vec<Vec<u8>>,
    ) -> io::Result<Option<Duration>> {
        let at = self.start + now;
        for _ in 0..TURNS_PER_INSTANT {
            let turn = self.worker.turn(at)?;
            sent.append(&mut self.worker.device().sent);
            let more = !self.worker.device().arriving.is_empty();
            let due = turn.next_timer.is_some_and(|next| next <= at);
            if !turn.busy && !more && !due {
                return Ok(turn
                    .next_timer
                    .map(|next| next.saturating_since(self.start)));
            }
        }
        Err(io::Error::other(format!(
            "the stack does not become idle at {at:?}"
        )))
    }
}
