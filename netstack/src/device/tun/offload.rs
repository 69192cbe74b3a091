//! A TUN device with several queues, super-segments and unfinished checksums.
//!
//! Owns one queue's descriptor. A read goes into a large slab, so that a packet of 64 KiB becomes an
//! [`RxPacket`] without a copy. A packet that fits a small slab is copied to one, and the next read
//! goes into the large slab again. The device keeps one large slab at all times: even when the pool is
//! empty, it receives small packets, such as the acknowledgements that free buffers.
//!
//! Without `offload` the same descriptor carries bare packets, so that multiple queues work on any
//! kernel.

use std::fmt;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use packet::buf::{Payload, SMALL_SLAB_BYTES};
use packet::checksum::RxChecksum;
use packet::frame::{RxPacket, TxPacket};
use packet::{Buffers, SlabMut};
use rustix::io::Errno;
use tun_rs::DeviceBuilder;
use zerocopy::IntoBytes as _;

use super::super::virtio::{HEADER_BYTES, Header, SUPER_PACKET_BYTES};
use super::super::{Device, Unpark, linear, udp_runs};
use super::TunConfig;
use super::mtu::InterfaceMtu;
use super::queue::{self, Read, Runs, TunQueue, retry_interrupted};
use super::wake::FdWake;
use crate::base::{Counters, DropReason, Instant, LinkCaps, OffloadCaps};

/// Largest packet that is copied into one piece before the write, in bytes. For so few bytes a copy is
/// cheaper than the kernel's work on a list of pieces.
const COPY_BYTES_MAX: usize = 512;
/// Most pieces of a packet: its headers, and the payload's chunks.
const PIECES_MAX: usize = 1 + packet::frame::MAX_CHUNKS;

/// One queue of a TUN device.
pub struct OffloadTun {
    wake: Arc<FdWake>,
    tun: OwnedFd,
    mtu: Arc<InterfaceMtu>,
    offload: OffloadCaps,
    /// Length of the virtio-net header in front of each packet: [`HEADER_BYTES`], or 0 without offload.
    header_bytes: usize,
    /// The slab for the next read.
    spare: Option<SlabMut>,
    /// Holds a packet in one piece: a small one, a run of small ones, or any without offload.
    scratch: Vec<u8>,
    runs: Runs,
}

impl fmt::Debug for OffloadTun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OffloadTun")
            .field("fd", &self.fd())
            .field("caps", &self.caps())
            .finish_non_exhaustive()
    }
}

/// The properties of a device that all its queues share.
#[derive(Clone, Debug)]
pub(super) struct Kind {
    /// The MTU of the interface.
    pub(super) mtu: Arc<InterfaceMtu>,
    /// A virtio-net header of [`HEADER_BYTES`] precedes each packet.
    pub(super) offload: bool,
    /// The kernel hands over super-datagrams, and takes them.
    pub(super) uso: bool,
}

impl OffloadTun {
    /// Creates the device with all its queues; [`super::open()`] configures its link and addresses.
    pub(super) fn create(
        config: &TunConfig,
        mtu: &Arc<InterfaceMtu>,
        offload: bool,
        multi_queue: bool,
    ) -> io::Result<Vec<Self>> {
        let first = DeviceBuilder::new()
            .name(config.name.clone())
            .offload(offload)
            .multi_queue(multi_queue)
            .inherit_enable_state()
            .build_sync()?;
        let kind = Kind {
            mtu: Arc::clone(mtu),
            offload,
            uso: offload && first.udp_gso(),
        };
        let mut tuns = Vec::with_capacity(config.queues);
        tuns.push(first.as_fd().try_clone_to_owned()?);
        for _ in 1..config.queues {
            tuns.push(first.try_clone()?.as_fd().try_clone_to_owned()?);
        }
        tuns.into_iter()
            .map(|tun| Self::new(tun, kind.clone()))
            .collect()
    }

    /// Takes over one queue's descriptor.
    pub(super) fn new(tun: OwnedFd, kind: Kind) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&tun, true)?;
        let Kind { mtu, offload, uso } = kind;
        Ok(Self {
            wake: Arc::new(FdWake::new()?),
            tun,
            mtu,
            offload: OffloadCaps {
                tso: offload,
                uso,
                tx_checksum: offload,
            },
            header_bytes: if offload { HEADER_BYTES } else { 0 },
            spare: None,
            scratch: Vec::with_capacity(match uso {
                true => HEADER_BYTES + COPY_BYTES_MAX * udp_runs::DATAGRAMS_MAX,
                false => HEADER_BYTES + COPY_BYTES_MAX,
            }),
            runs: Runs::default(),
        })
    }

    /// Returns how long a slab must be for the next read: one byte tells a truncated packet from one that just fits.
    fn slab_bytes(&self) -> usize {
        match self.header_bytes {
            0 => usize::from(self.mtu.get()) + 1,
            header => header + SUPER_PACKET_BYTES + 1,
        }
    }

    /// Takes a slab for a read: a large one, or longer memory if the MTU has grown beyond it.
    fn take_slab(&self, buffers: &Buffers) -> Option<SlabMut> {
        let needed = self.slab_bytes();
        if needed > buffers.large().slab_bytes() {
            return buffers.take_to_receive(needed);
        }
        buffers.take_large_to_receive()
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.tun.as_fd()
    }

    /// Checks what was read into a slab of `room` bytes. Returns the state of the checksum and the segment
    /// size, as the virtio-net header gives them.
    fn check(&self, read: &[u8], room: usize) -> Result<(RxChecksum, u16), DropReason> {
        // The kernel truncates a packet that does not fit, without an error.
        if read.len() == room {
            return Err(DropReason::DeviceTruncated);
        }
        if self.header_bytes == 0 {
            return Ok((RxChecksum::Unknown, 0));
        }
        let (header, packet) = Header::split(read).ok_or(DropReason::DeviceTruncated)?;
        header.check(packet).ok_or(DropReason::DeviceHeader)
    }

    /// Returns the packet as a payload: a copy if it is small, else the slab that it was read into.
    /// Leaves a spare slab in any case, and returns `None` if there is none left for the packet.
    fn keep(&mut self, slab: SlabMut, read: usize, buffers: &Buffers) -> Option<Payload> {
        let range = self.header_bytes..read;
        let small = (range.len() <= SMALL_SLAB_BYTES)
            .then(|| buffers.small().take())
            .flatten();
        if let Some(mut small) = small {
            let (to, from) = (small.as_mut_slice(), slab.as_slice());
            let data = match (to.get_mut(..range.len()), from.get(range.clone())) {
                (Some(to), Some(from)) => {
                    to.copy_from_slice(from);
                    Some(small.freeze(0..range.len()))
                }
                _ => None,
            };
            self.spare = Some(slab);
            return data;
        }
        match self.take_slab(buffers) {
            Some(next) => {
                self.spare = Some(next);
                Some(slab.freeze(range))
            }
            None => {
                self.spare = Some(slab);
                None
            }
        }
    }

    /// Takes a packet off the queue and drops it, because there is no slab for it.
    fn discard_one(&self, counters: &Counters) -> io::Result<Read> {
        match read_packet(self.fd(), &mut [0; HEADER_BYTES + 1], counters) {
            Ok(_) => {
                counters.drop_packet(DropReason::NoReceiveBuffer);
                Ok(Read::Dropped)
            }
            Err(outcome) => outcome,
        }
    }
}

/// Reads one packet and returns its length, or the result of `read_one` if there is none.
fn read_packet(
    fd: BorrowedFd<'_>,
    into: &mut [u8],
    counters: &Counters,
) -> Result<usize, io::Result<Read>> {
    retry_interrupted(|| rustix::io::read(fd, &mut *into))
        .map_err(|errno| Read::from_error(errno, counters))
}

impl TunQueue for OffloadTun {
    fn runs(&mut self) -> &mut Runs {
        &mut self.runs
    }

    fn mtu(&self) -> &InterfaceMtu {
        &self.mtu
    }

    fn read_one(
        &mut self,
        buffers: &Buffers,
        now: Instant,
        counters: &Counters,
    ) -> io::Result<Read> {
        let needed = self.slab_bytes();
        let spare = self.spare.take();
        // One of another stack, which the device served before, is that one's memory.
        let spare = spare.filter(|slab| slab.len() >= needed && buffers.owns(slab));
        let mut slab = match spare.or_else(|| self.take_slab(buffers)) {
            Some(slab) => slab,
            None => return self.discard_one(counters),
        };
        let read = match read_packet(self.tun.as_fd(), slab.as_mut_slice(), counters) {
            Ok(read) => read,
            Err(outcome) => {
                self.spare = Some(slab);
                return outcome;
            }
        };
        match self.check(slab.as_slice().get(..read).unwrap_or(&[]), slab.len()) {
            Err(reason) => {
                counters.drop_packet(reason);
                self.spare = Some(slab);
                Ok(Read::Dropped)
            }
            Ok((checksum, gso_size)) => {
                let Some(data) = self.keep(slab, read, buffers) else {
                    counters.drop_packet(DropReason::NoReceiveBuffer);
                    return Ok(Read::Dropped);
                };
                Ok(Read::Packet(RxPacket {
                    data,
                    checksum,
                    gso_size,
                    arrived_nanos: now.as_nanos(),
                }))
            }
        }
    }

    fn write_one(&mut self, packet: &mut TxPacket) -> Result<usize, Errno> {
        if self.header_bytes == 0 {
            linear::write(packet, &mut self.scratch).map_err(|_| Errno::INVAL)?;
            return retry_interrupted(|| rustix::io::write(&self.tun, &self.scratch));
        }
        let header = Header::for_sending(&packet.offload, packet.head.as_slice());
        packet
            .head
            .prepend(HEADER_BYTES)
            .ok_or(Errno::INVAL)?
            .copy_from_slice(header.as_bytes());
        let head = packet.head.as_slice();
        if packet.payload.is_empty() {
            return retry_interrupted(|| rustix::io::write(&self.tun, head));
        }
        if packet.len() <= COPY_BYTES_MAX {
            self.scratch.clear();
            self.scratch.extend_from_slice(head);
            for piece in packet.payload.slices() {
                self.scratch.extend_from_slice(piece);
            }
            return retry_interrupted(|| rustix::io::write(&self.tun, &self.scratch));
        }
        let mut pieces = [IoSlice::new(&[]); PIECES_MAX];
        let mut count = 0;
        let all = std::iter::once(head).chain(packet.payload.slices());
        for (to, from) in pieces.iter_mut().zip(all) {
            *to = IoSlice::new(from);
            count += 1;
        }
        retry_interrupted(|| rustix::io::writev(&self.tun, pieces.get(..count).unwrap_or(&[])))
    }

    fn run_len(&self, batch: &[TxPacket]) -> usize {
        match self.offload.uso {
            true => udp_runs::len_of(batch),
            false => 1,
        }
    }

    fn write_run(&mut self, run: &[TxPacket]) -> Result<usize, Errno> {
        let (first, count) = (run.first().ok_or(Errno::INVAL)?, run.len());
        let (mut head, offload) = udp_runs::join(first, count).ok_or(Errno::INVAL)?;
        let header = Header::for_sending(&offload, head.as_slice());
        head.prepend(HEADER_BYTES)
            .ok_or(Errno::INVAL)?
            .copy_from_slice(header.as_bytes());
        let pieces = run.iter().flat_map(|packet| packet.payload.slices());
        if first.len() <= COPY_BYTES_MAX {
            self.scratch.clear();
            self.scratch.extend_from_slice(head.as_slice());
            for piece in pieces {
                self.scratch.extend_from_slice(piece);
            }
            return retry_interrupted(|| rustix::io::write(&self.tun, &self.scratch));
        }
        let mut list = [IoSlice::new(&[]); 1 + udp_runs::DATAGRAMS_MAX];
        let all = std::iter::once(head.as_slice()).chain(pieces);
        for (to, from) in list.iter_mut().zip(all) {
            *to = IoSlice::new(from);
        }
        retry_interrupted(|| rustix::io::writev(&self.tun, list.get(..=count).unwrap_or(&[])))
    }
}

impl Device for OffloadTun {
    fn caps(&self) -> LinkCaps {
        let mtu = self.mtu.get();
        LinkCaps {
            mtu,
            max_packet: if self.header_bytes > 0 {
                SUPER_PACKET_BYTES
            } else {
                mtu.into()
            },
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
        queue::recv_batch(self, out, max, buffers, now, counters)
    }

    fn send_batch(&mut self, batch: &mut Vec<TxPacket>, counters: &Counters) -> io::Result<()> {
        queue::send_batch(self, batch, counters)
    }

    fn park(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.wake.park(self.tun.as_fd(), timeout)
    }

    fn descriptor(&self) -> Option<io::Result<OwnedFd>> {
        Some(self.tun.try_clone())
    }

    fn unparker(&self) -> Arc<dyn Unpark> {
        Arc::clone(&self.wake) as Arc<dyn Unpark>
    }
}
