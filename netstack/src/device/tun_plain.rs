//! A TUN device with one queue and bare packets: works on any kernel that has TUN at all.
//!
//! Owns the descriptor, through a library that lends it only by number; so waiting goes through `mio`,
//! which reports an edge once: [`Device::park`] sleeps only after a read has found the queue empty.

use std::io;
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use packet::Buffers;
use packet::buf::SMALL_SLAB_BYTES;
use packet::checksum::RxChecksum;
use packet::frame::{RxPacket, TxPacket};
use rustix::io::Errno;
use tun_tap::{Iface, Mode};

use super::errno::{ErrorAction, SIGNAL_RETRIES, judge};
use super::{Device, TunConfig, Unpark, linear};
use crate::base::counters::Counter;
use crate::base::{Counters, DropReason, Instant, LinkCaps, OffloadCaps};

const TUN: Token = Token(0);
const WAKE: Token = Token(1);

/// The one queue of a plain TUN device.
#[derive(Debug)]
pub struct PlainTun {
    tun: Iface,
    mtu: u16,
    poll: Poll,
    events: Events,
    wake: Arc<MioWake>,
    /// The last read found nothing: the poll will report what comes from now on.
    drained: bool,
    /// Packets are put together here before they are written.
    scratch: Vec<u8>,
}

#[derive(Debug)]
struct MioWake(Waker);

impl Unpark for MioWake {
    fn unpark(&self) {
        // Fails only if the poll is gone, and then nobody sleeps.
        let _ = self.0.wake();
    }
}

impl PlainTun {
    /// Makes the device; link settings and addresses are not its matter.
    pub(super) fn create(config: &TunConfig) -> io::Result<Self> {
        let tun = Iface::without_packet_info(&config.name, Mode::Tun)?;
        tun.set_non_blocking()?;
        let poll = Poll::new()?;
        poll.registry()
            .register(&mut SourceFd(&tun.as_raw_fd()), TUN, Interest::READABLE)?;
        let wake = Arc::new(MioWake(Waker::new(poll.registry(), WAKE)?));
        Ok(Self {
            tun,
            mtu: config.mtu,
            poll,
            events: Events::with_capacity(4),
            wake,
            drained: false,
            scratch: Vec::with_capacity(config.mtu.into()),
        })
    }

    /// Reads one packet into a slab of the smallest pool that holds the device's packets.
    ///
    /// `Ok(None)`: nothing there. `Ok(Some(None))`: a packet that is counted as a drop.
    fn read_one(
        &mut self,
        buffers: &Buffers,
        now: Instant,
        counters: &Counters,
    ) -> io::Result<Option<Option<RxPacket>>> {
        // One byte more than a packet has: a full slab then means one that was cut off.
        let small = usize::from(self.mtu) < SMALL_SLAB_BYTES;
        let pool = if small {
            buffers.small()
        } else {
            buffers.large()
        };
        let mut slab = pool.take();
        let mut nothing = [0; 1];
        let into = slab
            .as_mut()
            .map_or(nothing.as_mut_slice(), |slab| slab.as_mut_slice());
        let room = into.len();
        let mut read = Err(Errno::AGAIN);
        for _ in 0..SIGNAL_RETRIES {
            read = self.tun.recv(into).map_err(|error| errno_of(&error));
            if read != Err(Errno::INTR) {
                break;
            }
        }
        let read = match read {
            Ok(read) => read,
            Err(errno) => {
                self.drained = true;
                return match judge(errno) {
                    ErrorAction::Gone => Err(errno.into()),
                    ErrorAction::Later | ErrorAction::Again => Ok(None),
                    ErrorAction::PacketLost => {
                        counters.drop_packet(DropReason::DeviceHeader);
                        self.drained = false;
                        Ok(Some(None))
                    }
                };
            }
        };
        let Some(slab) = slab else {
            counters.drop_packet(DropReason::NoReceiveBuffer);
            return Ok(Some(None));
        };
        if read == room {
            counters.drop_packet(DropReason::DeviceTruncated);
            return Ok(Some(None));
        }
        counters.add(Counter::BytesIn, read as u64);
        Ok(Some(Some(RxPacket {
            data: slab.freeze(0..read),
            checksum: RxChecksum::Unknown,
            gso_size: 0,
            arrived_nanos: now.as_nanos(),
        })))
    }

    fn write_one(&mut self, packet: &TxPacket) -> Result<usize, Errno> {
        linear::write(packet, &mut self.scratch).map_err(|_| Errno::INVAL)?;
        let mut written = Err(Errno::INTR);
        for _ in 0..SIGNAL_RETRIES {
            written = self
                .tun
                .send(&self.scratch)
                .map_err(|error| errno_of(&error));
            if written != Err(Errno::INTR) {
                break;
            }
        }
        written
    }
}

fn errno_of(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

impl Device for PlainTun {
    fn caps(&self) -> LinkCaps {
        LinkCaps {
            mtu: self.mtu,
            max_packet: self.mtu.into(),
            offload: OffloadCaps {
                tso: false,
                uso: false,
                tx_checksum: false,
            },
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
        let before = out.len();
        let mut taken = 0;
        // Until a read says otherwise, there may be more.
        self.drained = false;
        let result = loop {
            if taken == max {
                break Ok(());
            }
            match self.read_one(buffers, now, counters) {
                Ok(Some(packet)) => out.extend(packet),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
            taken += 1;
        };
        if taken > 0 {
            counters.add(Counter::PacketsIn, taken as u64);
        }
        result.map(|()| out.len() - before)
    }

    fn send_batch(&mut self, batch: &mut Vec<TxPacket>, counters: &Counters) -> io::Result<()> {
        let (mut sent, mut bytes) = (0, 0);
        let mut result = Ok(());
        for packet in batch.drain(..) {
            if result.is_err() {
                counters.drop_packet(DropReason::TransmitFailed);
                continue;
            }
            match self.write_one(&packet) {
                Ok(written) => {
                    sent += 1;
                    bytes += written as u64;
                }
                Err(errno) => {
                    counters.drop_packet(DropReason::TransmitFailed);
                    if judge(errno) == ErrorAction::Gone {
                        result = Err(errno.into());
                    }
                }
            }
        }
        if sent > 0 {
            counters.add(Counter::PacketsOut, sent);
            counters.add(Counter::BytesOut, bytes);
        }
        result
    }

    fn park(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        if !self.drained {
            return Ok(());
        }
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => Ok(()),
        }
    }

    fn unparker(&self) -> Arc<dyn Unpark> {
        Arc::clone(&self.wake) as Arc<dyn Unpark>
    }
}
