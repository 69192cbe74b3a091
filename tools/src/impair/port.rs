//! A TUN device as a port of the link: frames in and out, super-packets with the virtio-net header of the kernel.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use impair::{Checksum, Frame};
use packet::frame::SegmentKind;
use rustix::io::Errno;
use tun_rs::SyncDevice;

use super::spares::Spares;

/// Length of the header, in bytes.
const HEADER_BYTES: usize = 10;
/// Largest packet behind a header, and one byte that tells whether it was cut.
const LARGEST: usize = 65_535 + 40 + 1;
/// Up to this length one copy costs less than the kernel's work on two pieces, in bytes.
const COPY_BYTES_MAX: usize = 512;

const NEEDS_CSUM: u8 = 1;
const DATA_VALID: u8 = 2;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_UDP_L4: u8 = 5;
/// Beside a TCP type: only the first segment has CWR.
const GSO_ECN: u8 = 0x80;
const TCP_FLAGS_AT: usize = 13;
const TCP_CWR: u8 = 0x80;

/// The outcome of a read.
#[derive(Debug)]
pub enum Read {
    /// A packet or super-packet.
    Frame(Frame),
    /// Something that is no packet.
    Nothing,
    /// No packet is waiting.
    Empty,
}

/// A device. Clones share it.
#[derive(Debug)]
pub struct Port {
    fd: OwnedFd,
    /// A virtio-net header precedes each packet.
    has_header: bool,
    buffer: Vec<u8>,
    scratch: Vec<u8>,
}

impl Port {
    /// Takes over a device, with or without offload.
    ///
    /// # Errors
    /// The system has no descriptors left.
    pub(super) fn new(device: &SyncDevice, has_header: bool) -> io::Result<Self> {
        Self::of(device.as_fd().try_clone_to_owned()?, has_header)
    }

    fn of(fd: OwnedFd, has_header: bool) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&fd, true)?;
        Ok(Self {
            fd,
            has_header,
            buffer: vec![0; HEADER_BYTES + LARGEST],
            scratch: Vec::with_capacity(HEADER_BYTES + COPY_BYTES_MAX),
        })
    }

    /// Returns a second handle, for another thread.
    ///
    /// # Errors
    /// The system has no descriptors left.
    pub fn try_clone(&self) -> io::Result<Self> {
        Self::of(self.fd.try_clone()?, self.has_header)
    }

    /// Returns the descriptor, to wait for.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Reads the next packet without waiting, into a spare buffer.
    ///
    /// # Errors
    /// The device is gone.
    pub fn read(&mut self, spares: &mut Spares) -> io::Result<Read> {
        let len = match rustix::io::read(&self.fd, &mut self.buffer[..]) {
            Ok(len) => len,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(Read::Empty),
            Err(errno) if is_gone(errno) => return Err(errno.into()),
            // The interface is down: it may come up again.
            Err(_) => return Ok(Read::Empty),
        };
        let read = self.buffer.get(..len).unwrap_or_default();
        if len == self.buffer.len() {
            // It was cut.
            return Ok(Read::Nothing);
        }
        let frame = if self.has_header {
            with_header(read, spares)
        } else {
            Some(Frame::bare(spares.filled(read)))
        };
        let frame = frame.filter(|frame| !frame.bytes().is_empty());
        Ok(frame.map_or(Read::Nothing, Read::Frame))
    }

    /// Hands packets to the kernel, datagrams of a burst in one call, and keeps their buffers. Returns the number of packets
    /// that it did not take.
    ///
    /// # Errors
    /// The device is gone.
    pub fn write_all(&mut self, frames: &mut Vec<Frame>, spares: &mut Spares) -> io::Result<u64> {
        let mut refused = 0;
        let mut rest = &mut frames[..];
        loop {
            let count = match self.has_header {
                true => Frame::joinable(rest),
                false => 1,
            };
            let Some((run, others)) = rest.split_at_mut_checked(count) else {
                break;
            };
            let is_taken = match (Frame::join(run), run.first_mut()) {
                (Some(mut whole), _) => self.put(&mut whole)?,
                (None, Some(one)) => self.put(one)?,
                (None, None) => break,
            };
            if !is_taken {
                refused += count as u64;
            }
            rest = others;
        }
        for frame in frames.drain(..) {
            spares.keep(frame.into_bytes());
        }
        Ok(refused)
    }

    /// Hands a packet to the kernel. Returns false if it did not take it.
    ///
    /// # Errors
    /// The device is gone.
    pub fn write(&mut self, mut frame: Frame) -> io::Result<bool> {
        self.put(&mut frame)
    }

    fn put(&mut self, frame: &mut Frame) -> io::Result<bool> {
        if !self.has_header {
            frame.finish();
            return written(rustix::io::write(&self.fd, frame.bytes()));
        }
        let header = header_of(frame);
        let bytes = frame.bytes();
        if bytes.len() <= COPY_BYTES_MAX {
            self.scratch.clear();
            self.scratch.extend_from_slice(&header);
            self.scratch.extend_from_slice(bytes);
            return written(rustix::io::write(&self.fd, &self.scratch));
        }
        let pieces = [IoSlice::new(&header), IoSlice::new(bytes)];
        written(rustix::io::writev(&self.fd, &pieces))
    }
}

fn written(result: Result<usize, Errno>) -> io::Result<bool> {
    match result {
        Ok(_) => Ok(true),
        Err(errno) if is_gone(errno) => Err(errno.into()),
        Err(_) => Ok(false),
    }
}

/// After its interface was deleted a descriptor says BADFD, or FAULT to a reader that was asleep.
fn is_gone(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::BADFD | Errno::BADF | Errno::NODEV | Errno::NXIO | Errno::FAULT
    )
}

/// Splits what was read into the header and the packet; the fields are in the machine's byte order.
fn with_header(read: &[u8], spares: &mut Spares) -> Option<Frame> {
    let (header, packet) = read.split_first_chunk::<HEADER_BYTES>()?;
    let field = |at: usize| -> Option<u16> {
        let bytes = header.get(at..at + 2)?;
        Some(u16::from_ne_bytes([bytes[0], bytes[1]]))
    };
    let checksum = match header[0] {
        flags if flags & NEEDS_CSUM != 0 => Checksum::Partial {
            start: field(6)?,
            offset: field(8)?,
        },
        flags if flags & DATA_VALID != 0 => Checksum::Vouched,
        _ => Checksum::Complete,
    };
    let gso_size = if header[1] == 0 { 0 } else { field(4)? };
    Some(Frame::new(spares.filled(packet), checksum, gso_size))
}

fn header_of(frame: &Frame) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    let mut put = |at: usize, number: u16| {
        if let Some(field) = header.get_mut(at..at + 2) {
            field.copy_from_slice(&number.to_ne_bytes());
        }
    };
    let mut flags = 0;
    let mut flags_at = usize::MAX;
    match frame.checksum() {
        Checksum::Complete => {}
        Checksum::Vouched => flags = DATA_VALID,
        Checksum::Partial { start, offset } => {
            flags = NEEDS_CSUM;
            flags_at = usize::from(start) + TCP_FLAGS_AT;
            put(6, start);
            put(8, offset);
        }
    }
    let mut gso_type = 0;
    if let Some((kind, header_len)) = frame.cut_as() {
        let has_cwr = frame
            .bytes()
            .get(flags_at)
            .is_some_and(|flags| flags & TCP_CWR != 0);
        let ecn = if has_cwr { GSO_ECN } else { 0 };
        gso_type = match kind {
            SegmentKind::Tcp4 => GSO_TCPV4 | ecn,
            SegmentKind::Tcp6 => GSO_TCPV6 | ecn,
            SegmentKind::Udp => GSO_UDP_L4,
        };
        put(2, u16::try_from(header_len).unwrap_or_default());
        put(4, frame.gso_size());
    }
    header[0] = flags;
    header[1] = gso_type;
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_and_written_back() {
        let mut packet = vec![0; 20 + 20 + 3_000];
        packet[0] = 0x45;
        packet[2..4].copy_from_slice(&3_040_u16.to_be_bytes());
        (packet[9], packet[32]) = (6, 0x50);
        for (flags, gso_type, size) in [(0, 0, 0), (2, 0, 0), (1, 0, 0), (1, 1, 1_000_u16)] {
            let mut read = vec![flags, gso_type, 0, 0];
            let (start, offset) = if flags == 1 { (20_u16, 16_u16) } else { (0, 0) };
            for field in [size, start, offset] {
                read.extend(field.to_ne_bytes());
            }
            if size > 0 {
                read[2..4].copy_from_slice(&40_u16.to_ne_bytes());
            }
            let header = read.clone();
            read.extend(&packet);
            let frame = with_header(&read, &mut Spares::default()).expect("a packet");
            assert_eq!(frame.segments(), if size > 0 { 3 } else { 1 });
            assert_eq!(header_of(&frame)[..], header);
        }
        assert!(with_header(&[0; 9], &mut Spares::default()).is_none());
    }
}
