//! A TUN device with one queue and bare packets: works on any kernel that has TUN at all.
//!
//! Owns the descriptor through a library that lends it only by number, which decides how it waits
//! (`EpollWake`).

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use packet::Buffers;
use packet::checksum::RxChecksum;
use packet::frame::{RxPacket, TxPacket};
use rustix::io::Errno;
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use tun_tap::{Iface, Mode};

use super::super::{Device, Unpark, linear};
use super::TunConfig;
use super::mtu::InterfaceMtu;
use super::queue::{self, Read, Runs, TunQueue, retry_interrupted};
use super::wake::EpollWake;
use crate::base::{Counters, DropReason, Instant, LinkCaps, OffloadCaps};

/// The one queue of a plain TUN device.
#[derive(Debug)]
pub struct PlainTun {
    wake: EpollWake,
    tun: Iface,
    mtu: Arc<InterfaceMtu>,
    /// The last read found the queue empty, so the next packet will end a sleep.
    drained: bool,
    /// A packet's bytes in one piece, for one write.
    scratch: Vec<u8>,
    runs: Runs,
}

impl PlainTun {
    /// Creates the device; [`super::open()`] sets up its link and addresses.
    pub(super) fn create(config: &TunConfig, mtu: Arc<InterfaceMtu>) -> io::Result<Self> {
        let tun = Iface::without_packet_info(&config.name, Mode::Tun)?;
        tun.set_non_blocking()?;
        Ok(Self {
            wake: EpollWake::new(tun.as_raw_fd())?,
            tun,
            mtu,
            drained: false,
            scratch: Vec::with_capacity(config.mtu.into()),
            runs: Runs::default(),
        })
    }
}

fn errno_of(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

impl TunQueue for PlainTun {
    fn runs(&mut self) -> &mut Runs {
        &mut self.runs
    }

    fn mtu(&self) -> &InterfaceMtu {
        &self.mtu
    }

    /// Reads into a slab of the smallest pool that holds the device's packets.
    fn read_one(
        &mut self,
        buffers: &Buffers,
        now: Instant,
        counters: &Counters,
    ) -> io::Result<Read> {
        // A slab has at least one byte more than a packet: a full one holds a truncated packet.
        let mut slab = buffers.take_to_receive(usize::from(self.mtu.get()) + 1);
        let mut no_slab = [0; 1];
        let into = slab
            .as_mut()
            .map_or(no_slab.as_mut_slice(), |slab| slab.as_mut_slice());
        let room = into.len();
        let read = retry_interrupted(|| self.tun.recv(into).map_err(|error| errno_of(&error)));
        let len = match read {
            Ok(len) => len,
            Err(errno) => {
                self.drained = errno == Errno::AGAIN;
                return Read::from_error(errno, counters);
            }
        };
        let reason = match slab {
            None => DropReason::NoReceiveBuffer,
            Some(_) if len == room => DropReason::DeviceTruncated,
            Some(slab) => {
                return Ok(Read::Packet(RxPacket {
                    data: slab.freeze(0..len),
                    checksum: RxChecksum::Unknown,
                    gso_size: 0,
                    arrived_nanos: now.as_nanos(),
                }));
            }
        };
        counters.drop_packet(reason);
        Ok(Read::Dropped)
    }

    fn write_one(&mut self, packet: &mut TxPacket) -> Result<usize, Errno> {
        linear::write(packet, &mut self.scratch).map_err(|_| Errno::INVAL)?;
        retry_interrupted(|| {
            self.tun
                .send(&self.scratch)
                .map_err(|error| errno_of(&error))
        })
    }
}

impl Device for PlainTun {
    fn caps(&self) -> LinkCaps {
        LinkCaps {
            mtu: self.mtu.get(),
            max_packet: self.mtu.get().into(),
            offload: OffloadCaps::default(),
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
        // The batch may end before the queue does.
        self.drained = false;
        queue::recv_batch(self, out, max, buffers, now, counters)
    }

    fn send_batch(&mut self, batch: &mut Vec<TxPacket>, counters: &Counters) -> io::Result<()> {
        queue::send_batch(self, batch, counters)
    }

    fn park(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        if self.drained {
            self.drained = !self.wake.park(timeout)?;
        }
        Ok(())
    }

    fn descriptor(&self) -> Option<io::Result<OwnedFd>> {
        // The library lends its descriptor only by number, so the copy comes from this process as if it were another.
        let own = pidfd_open(getpid(), PidfdFlags::empty());
        let copy =
            own.and_then(|own| pidfd_getfd(own, self.tun.as_raw_fd(), PidfdGetfdFlags::empty()));
        Some(copy.map_err(io::Error::from))
    }

    fn unparker(&self) -> Arc<dyn Unpark> {
        self.wake.unparker()
    }
}
