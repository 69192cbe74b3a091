//! The carrier: a TUN device with single packets, read and written by tasks of the program. The same for every stack.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use anyhow::{Context as _, Result};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tun_rs::DeviceBuilder;

/// A stack at work, and how it ended.
pub(crate) type Served = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// Longest packet.
pub(crate) const MTU: u16 = 1_500;
/// Most packets that are read before they are handed over.
pub(crate) const BATCH: usize = 64;

/// A TUN device that belongs to no runtime yet.
pub(crate) struct Tun(OwnedFd);

impl Tun {
    /// Creates the device in the calling thread's network namespace.
    pub(crate) fn create(name: &str) -> Result<Self> {
        let tun = DeviceBuilder::new().name(name).build_sync();
        let tun = tun.context("create the TUN device")?;
        let fd = tun.as_fd().try_clone_to_owned()?;
        rustix::io::ioctl_fionbio(&fd, true)?;
        Ok(Self(fd))
    }

    /// Hands the device to the runtime of the calling task.
    #[allow(
        deprecated,
        reason = "the call in its place is unsafe; an OwnedFd stays open as long as it is registered"
    )]
    pub(crate) fn attach(self) -> io::Result<Carrier> {
        Ok(Carrier(Arc::new(AsyncFd::new(self.0)?)))
    }
}

/// The device in a runtime. Clones are the same device, for tasks of their own.
#[derive(Clone)]
pub(crate) struct Carrier(Arc<AsyncFd<OwnedFd>>);

impl Carrier {
    /// Waits for packets and passes each to `each`, at most [`BATCH`].
    pub(crate) async fn read(&self, mut each: impl FnMut(&[u8])) -> io::Result<()> {
        let mut room = [0; MTU as usize];
        let mut guard = self.0.readable().await?;
        for _ in 0..BATCH {
            match guard.try_io(|tun| Ok(rustix::io::read(tun.get_ref(), &mut room)?)) {
                Ok(len) => each(&room[..len?]),
                Err(_would_block) => break,
            }
        }
        Ok(())
    }

    /// Writes a packet. As with any link, one for which there is no room is lost.
    pub(crate) fn write(&self, packet: &[u8]) -> io::Result<()> {
        match rustix::io::write(self.0.get_ref(), packet) {
            Ok(_) | Err(Errno::WOULDBLOCK) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// For stacks that read and write the device themselves: a packet for each call.
impl AsyncRead for Carrier {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.0.poll_read_ready(cx))?;
            let room = out.initialize_unfilled();
            if let Ok(read) = guard.try_io(|tun| Ok(rustix::io::read(tun.get_ref(), &mut *room)?)) {
                out.advance(read?);
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for Carrier {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        packet: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(self.write(packet).map(|()| packet.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
