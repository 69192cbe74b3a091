//! A packet channel of several queues, one for each worker: a flow's packets stay on one of them.

use bytes::Bytes;
use packet::IpProto;
use packet::ip::Outline;

use super::pipe::{MtuError, PacketReceiver, PacketSender, SendError};
use super::{ChannelConfig, ChannelDevice, channel};

/// Sends packets to the queues of a channel, those of one flow to one queue. Clones send to the same queues.
#[derive(Clone, Debug)]
pub struct QueueSender {
    senders: Vec<PacketSender>,
    /// Length of what stands in front of each packet.
    header_bytes: usize,
}

/// Creates the devices of a stack with `queues` workers, at least one, and the program's end of them: one sender for
/// all, and a receiver for each.
///
/// ```
/// use netstack::device::channel::{ChannelConfig, channel_queues};
/// use netstack::net::Stack;
///
/// let (devices, to_stack, from_stack) = channel_queues(ChannelConfig::default(), 2);
/// let devices = devices.into_iter().map(|device| Box::new(device) as _).collect();
/// let (stack, drivers) = Stack::builder().address("10.77.0.2".parse()?, 24).drive(devices)?;
/// assert_eq!((stack.workers(), drivers.len(), from_stack.len()), (2, 2, 2));
/// # drop(to_stack);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn channel_queues(
    config: ChannelConfig,
    queues: usize,
) -> (Vec<ChannelDevice>, QueueSender, Vec<PacketReceiver>) {
    let (mut devices, mut senders, mut receivers) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..queues.max(1) {
        let (device, pipe) = channel(config);
        let (receiver, sender) = pipe.into_split();
        devices.push(device);
        senders.push(sender);
        receivers.push(receiver);
    }
    let header_bytes = config.framing.header_bytes();
    let sender = QueueSender {
        senders,
        header_bytes,
    };
    (devices, sender, receivers)
}

impl QueueSender {
    /// Sends one packet, which begins with its IP header, to the queue of its flow. Waits while that is full.
    /// Cancel-safe: a cancelled call has sent nothing.
    ///
    /// # Errors
    /// As [`PacketSender::send`].
    pub async fn send(&mut self, packet: impl Into<Bytes>) -> Result<(), SendError> {
        let packet = packet.into();
        let queue = self.queue_of(&packet);
        self.senders[queue].send(packet).await
    }

    /// Sends one packet, which begins with its IP header, to the queue of its flow without waiting.
    ///
    /// # Errors
    /// As [`PacketSender::try_send`].
    pub fn try_send(&mut self, packet: impl Into<Bytes>) -> Result<(), SendError> {
        let packet = packet.into();
        let queue = self.queue_of(&packet);
        self.senders[queue].try_send(packet)
    }

    /// Changes the MTU of all queues.
    ///
    /// # Errors
    /// As [`PacketSender::set_mtu`].
    pub fn set_mtu(&self, mtu: u16) -> Result<(), MtuError> {
        self.senders
            .iter()
            .try_for_each(|sender| sender.set_mtu(mtu))
    }

    /// Returns the queue of a packet's flow. Fragments of one datagram have one queue: their ports do not count.
    pub fn queue_of(&self, packet: &[u8]) -> usize {
        let packet = packet.get(self.header_bytes..).unwrap_or(&[]);
        let Some(outline) = Outline::read(packet) else {
            return 0;
        };
        let mut hash = fold(&[outline.proto.0]);
        for address in [outline.src, outline.dst] {
            hash ^= match address {
                std::net::IpAddr::V4(v4) => fold(&v4.octets()),
                std::net::IpAddr::V6(v6) => fold(&v6.octets()),
            };
        }
        let ports = outline.ports().filter(|_| !is_fragment(packet));
        if let Some((src, dst)) = ports {
            // The same in both directions.
            hash ^= fold(&src.to_be_bytes()) ^ fold(&dst.to_be_bytes());
        }
        // The parts are mixed once more: ports that follow each other differ in few bits (MurmurHash3's finalizer).
        hash ^= hash >> 33;
        hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
        (hash >> 40) as usize % self.senders.len()
    }
}

/// Returns true for a fragment of a datagram, the first one included.
fn is_fragment(packet: &[u8]) -> bool {
    match packet {
        [first, _, _, _, _, _, flags, offset, ..] if first >> 4 == 4 => {
            flags & 0x3f != 0 || *offset != 0
        }
        [_, _, _, _, _, _, next, ..] => *next == IpProto::FRAGMENT.0,
        _ => false,
    }
}

/// Returns a hash of bytes (FNV-1a). Steering is no matter of trust: a peer that picks a queue gains nothing.
fn fold(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
