//! Descriptors on their way through a Unix socket (SCM_RIGHTS).

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// Most descriptors of one message. The kernel takes 253.
pub(crate) const MOST: usize = 64;

/// Sends at most [`MOST`] descriptors, with one byte.
///
/// # Errors
/// The socket refuses them, as one that is full does with `WouldBlock` if it does not wait.
pub(crate) fn send(socket: impl AsFd, fds: &[impl AsFd]) -> io::Result<()> {
    let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    // The space has a little more room if it happens to be aligned.
    if fds.len() > MOST || !control.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(io::Error::other("too many descriptors for one message"));
    }
    let byte = [IoSlice::new(b"d")];
    sendmsg(socket, &byte, &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives the descriptors of one message. Returns none if the other end has gone, or has sent something else.
///
/// # Errors
/// The other end sent nothing in time.
pub(crate) fn receive(socket: impl AsFd) -> io::Result<Vec<OwnedFd>> {
    let mut byte = [0; 1];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut pieces = [IoSliceMut::new(&mut byte)];
    recvmsg(socket, &mut pieces, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut received = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = message {
            received.extend(fds);
        }
    }
    Ok(received)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn as_many_arrive_as_were_sent() {
        let (here, there) = UnixStream::pair().expect("a pair");
        let fds = |count| -> Vec<OwnedFd> {
            let copy = |_| here.as_fd().try_clone_to_owned().expect("a copy");
            (0..count).map(copy).collect()
        };
        for count in [1, 2, MOST] {
            send(&here, &fds(count)).expect("sent");
            assert_eq!(receive(&there).expect("received").len(), count);
        }
        assert!(send(&here, &fds(MOST + 1)).is_err());
        drop(here);
        assert!(receive(&there).expect("the end").is_empty());
    }
}
