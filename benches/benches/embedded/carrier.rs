//! The carrier: a TUN device, read and written by tasks of the program. The same for every stack.
//!
//! Stacks see packets of at most 1,500 bytes in either case:
//!
//! * with single packets, each crosses the kernel boundary in a call of its own, and the calls cost more than any stack;
//! * with offload, the carrier reads what the kernel sends in super-packets and cuts it into packets, and merges the
//!   packets that a stack sends before it writes them, as tunnels do. `tun-rs` does both.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use anyhow::{Context as _, Result};
use bytes::{Bytes, BytesMut};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tun_rs::{DeviceBuilder, GROTable, IDEAL_BATCH_SIZE, SyncDevice, VIRTIO_NET_HDR_LEN};

/// A stack at work, and how it ended.
pub(crate) type Served = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// Longest packet.
pub(crate) const MTU: u16 = 1_500;
/// Most packets that are handed over at a time.
pub(crate) const BATCH: usize = 64;
/// Most super-packets that are handed over at a time.
pub(crate) const SUPER_BATCH: usize = 8;
/// Bytes of the longest super-packet, with its header.
pub(crate) const SUPER_BYTES: usize = VIRTIO_NET_HDR_LEN + 65_535;

/// A TUN device that belongs to no runtime yet.
pub(crate) struct Tun(SyncDevice);

impl Tun {
    /// Creates the device in the calling thread's network namespace.
    pub(crate) fn create(name: &str, offload: bool) -> Result<Self> {
        let builder = DeviceBuilder::new().name(name).offload(offload);
        let device = builder.build_sync().context("create the TUN device")?;
        device.set_nonblocking(true)?;
        Ok(Self(device))
    }

    /// Returns a descriptor of the device, for a stack that reads and writes it itself.
    pub(crate) fn descriptor(&self) -> io::Result<OwnedFd> {
        self.0.as_fd().try_clone_to_owned()
    }

    /// Hands the device to the runtime of the calling task, as its two directions.
    #[allow(
        deprecated,
        reason = "the call in its place is unsafe; an OwnedFd stays open as long as it is registered"
    )]
    pub(crate) fn attach(self) -> io::Result<(Reader, Writer)> {
        let device = Arc::new(self.0);
        let reader = Reader {
            ready: AsyncFd::new(device.as_fd().try_clone_to_owned()?)?,
            device: Arc::clone(&device),
            room: vec![0; SUPER_BYTES],
            packets: vec![vec![0; MTU.into()]; IDEAL_BATCH_SIZE],
            lens: vec![0; IDEAL_BATCH_SIZE],
        };
        let writer = Writer {
            device,
            table: GROTable::default(),
            packets: Vec::new(),
        };
        Ok((reader, writer))
    }
}

/// The packets for the stack.
pub(crate) struct Reader {
    device: Arc<SyncDevice>,
    ready: AsyncFd<OwnedFd>,
    room: Vec<u8>,
    packets: Vec<Vec<u8>>,
    lens: Vec<usize>,
}

impl Reader {
    /// Waits for packets and passes each to `each`: at least one, and not many more than [`BATCH`].
    pub(crate) async fn read(&mut self, mut each: impl FnMut(&[u8])) -> io::Result<()> {
        std::future::poll_fn(|cx| self.poll_read_batch(cx, &mut each)).await
    }

    /// Waits for packets as the kernel hands them over, behind virtio-net headers. `each` gets a function that reads one into
    /// memory and returns its length, or `None` if there is no other.
    pub(crate) async fn read_framed(
        &mut self,
        mut each: impl FnMut(&mut dyn FnMut(&mut [u8]) -> io::Result<Option<usize>>) -> io::Result<bool>,
    ) -> io::Result<()> {
        let mut guard = self.ready.readable().await?;
        let mut read = |room: &mut [u8]| match guard
            .try_io(|tun| Ok(rustix::io::read(tun.get_ref(), room)?))
        {
            Ok(len) => len.map(Some),
            Err(_would_block) => Ok(None),
        };
        for _ in 0..SUPER_BATCH {
            if !each(&mut read)? {
                break;
            }
        }
        Ok(())
    }

    fn poll_read_batch(
        &mut self,
        cx: &mut Context<'_>,
        each: &mut impl FnMut(&[u8]),
    ) -> Poll<io::Result<()>> {
        let mut taken = 0;
        while taken < BATCH {
            let mut guard = match self.ready.poll_read_ready(cx) {
                Poll::Ready(guard) => guard?,
                Poll::Pending if taken > 0 => break,
                Poll::Pending => return Poll::Pending,
            };
            let (room, packets, lens) = (&mut self.room, &mut self.packets, &mut self.lens);
            let read = guard.try_io(|_| self.device.recv_multiple(room, packets, lens, 0));
            let Ok(count) = read else {
                // Nothing is there, so the next look registers the task.
                continue;
            };
            let count = count?;
            for (packet, len) in packets.iter().zip(&*lens).take(count) {
                each(&packet[..*len]);
            }
            taken += count;
        }
        Poll::Ready(Ok(()))
    }
}

/// The packets from the stack.
pub(crate) struct Writer {
    device: Arc<SyncDevice>,
    table: GROTable,
    /// Packets to write, each behind room for the header of the device.
    packets: Vec<BytesMut>,
}

impl Writer {
    /// Writes packets. As with any link, those for which there is no room are lost.
    pub(crate) fn write<P: AsRef<[u8]>>(
        &mut self,
        packets: impl IntoIterator<Item = P>,
    ) -> io::Result<()> {
        let mut count = 0;
        for packet in packets {
            if count == self.packets.len() {
                self.packets.push(BytesMut::with_capacity(SUPER_BYTES));
            }
            let to = &mut self.packets[count];
            to.clear();
            to.resize(VIRTIO_NET_HDR_LEN, 0);
            to.extend_from_slice(packet.as_ref());
            count += 1;
        }
        let packets = &mut self.packets[..count];
        let sent = self
            .device
            .send_multiple(&mut self.table, packets, VIRTIO_NET_HDR_LEN);
        match sent {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(()),
        }
    }
}

impl Writer {
    /// Writes packets behind virtio-net headers.
    pub(crate) fn write_framed(
        &mut self,
        packets: impl IntoIterator<Item = Bytes>,
    ) -> io::Result<()> {
        for packet in packets {
            match rustix::io::write(self.device.as_fd(), &packet) {
                Ok(_) | Err(Errno::WOULDBLOCK) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// Both directions as a stream of bytes, a packet for each call, for stacks that read and write the device themselves.
pub(crate) struct Whole {
    reader: Reader,
    writer: Writer,
    /// Packets that were read and not handed over.
    waiting: VecDeque<Vec<u8>>,
}

impl Whole {
    pub(crate) fn new((reader, writer): (Reader, Writer)) -> Self {
        let waiting = VecDeque::new();
        Self {
            reader,
            writer,
            waiting,
        }
    }
}

impl AsyncRead for Whole {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self {
            reader, waiting, ..
        } = &mut *self;
        if waiting.is_empty() {
            ready!(reader.poll_read_batch(cx, &mut |packet| waiting.push_back(packet.to_vec())))?;
        }
        if let Some(packet) = waiting.pop_front() {
            out.put_slice(&packet);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Whole {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        packet: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(self.writer.write([packet]).map(|()| packet.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
