//! The device of a program: a TUN device with virtio-net headers, so that super-segments cross it whole.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use tun_rs::{DeviceBuilder, SyncDevice};

use super::wire::{Ip, PROTOCOL_TCP, PROTOCOL_UDP};

/// Bytes of the header before each packet (`struct virtio_net_hdr`).
pub(super) const HEADER_BYTES: usize = 10;
/// Bytes of the longest packet.
pub(super) const PACKET_BYTES_MAX: usize = 65_535;

const NEEDS_CHECKSUM: u8 = 1;
const GSO_TCP_V4: u8 = 1;
const GSO_TCP_V6: u8 = 4;
const GSO_UDP: u8 = 5;

/// Returns the bytes of payload in each segment of a packet that was read behind this header; `None` if it is one packet.
pub(super) fn segment_of(header: &[u8]) -> Option<u16> {
    (header[1] != 0).then(|| u16::from_ne_bytes([header[4], header[5]]))
}

/// An open device.
pub(super) struct Tun(SyncDevice);

impl Tun {
    /// Creates the device in the namespace of the calling thread.
    pub(super) fn open(name: &str) -> Result<Self> {
        let device = DeviceBuilder::new()
            .name(name)
            .offload(true)
            .build_sync()
            .with_context(|| format!("create the TUN device {name}"))?;
        device.set_nonblocking(true)?;
        Ok(Self(device))
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Reads a packet behind its header. `None` if there is none now.
    pub(super) fn read(&self, room: &mut [u8]) -> io::Result<Option<usize>> {
        match rustix::io::read(self.fd(), room) {
            Ok(len) => Ok(Some(len)),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until there is something to read, or for `limit`.
    pub(super) fn wait(&self, limit: Option<Duration>) -> io::Result<()> {
        let limit = limit.map(|limit| Timespec {
            tv_sec: limit.as_secs() as i64,
            tv_nsec: i64::from(limit.subsec_nanos()),
        });
        poll(&mut [PollFd::new(&self.0, PollFlags::IN)], limit.as_ref())?;
        Ok(())
    }

    /// Writes a packet, given in two pieces of which the first has the headers. The device completes the checksum of TCP and
    /// UDP, and cuts it into segments of `segment` bytes of payload, if that is given.
    pub(super) fn write(
        &self,
        head: &mut [u8],
        payload: &[u8],
        segment: Option<u16>,
    ) -> io::Result<()> {
        let mut header = [0; HEADER_BYTES];
        let ip = Ip::of(head);
        let start = ip.header_len();
        let offset = match ip.protocol(head) {
            PROTOCOL_TCP => 16,
            PROTOCOL_UDP => 6,
            _ => 0,
        };
        if offset > 0 {
            header[0] = NEEDS_CHECKSUM;
            header[6..8].copy_from_slice(&(start as u16).to_ne_bytes());
            header[8..10].copy_from_slice(&(offset as u16).to_ne_bytes());
            let len = head.len() - start + payload.len();
            let sum = ip.pseudo_sum(head, len);
            head[start + offset..start + offset + 2].copy_from_slice(&sum.to_be_bytes());
        }
        if let Some(segment) = segment {
            let is_udp = ip.protocol(head) == PROTOCOL_UDP;
            header[1] = match ip {
                _ if is_udp => GSO_UDP,
                Ip::V4 => GSO_TCP_V4,
                Ip::V6 => GSO_TCP_V6,
            };
            let headers = match is_udp {
                true => start + 8,
                false => start + usize::from(head[start + 12] >> 4) * 4,
            };
            header[2..4].copy_from_slice(&(headers as u16).to_ne_bytes());
            header[4..6].copy_from_slice(&segment.to_ne_bytes());
        }
        let pieces = [
            IoSlice::new(&header),
            IoSlice::new(head),
            IoSlice::new(payload),
        ];
        match rustix::io::writev(self.fd(), &pieces) {
            Ok(_) | Err(Errno::WOULDBLOCK) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
