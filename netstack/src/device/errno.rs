//! What an error number from a TUN descriptor means for the device.

use rustix::io::Errno;

/// What to do after a read or a write failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ErrorAction {
    /// Nothing there, or no room: the call did nothing.
    Later,
    /// A signal came first.
    Again,
    /// This packet is lost, the device goes on.
    PacketLost,
    /// The interface was removed, or the descriptor is no TUN any more.
    Gone,
}

/// Judges one error number. Down interfaces (`EIO`), want of memory and headers that the kernel
/// refuses cost the packet; only what can never get better ends the device.
pub(super) fn judge(errno: Errno) -> ErrorAction {
    match errno {
        Errno::AGAIN => ErrorAction::Later,
        Errno::INTR => ErrorAction::Again,
        // The kernel says BADFD when the interface was deleted under us, and FAULT to a reader that
        // was asleep in it at that moment.
        Errno::BADFD | Errno::BADF | Errno::NODEV | Errno::NXIO | Errno::FAULT => ErrorAction::Gone,
        _ => ErrorAction::PacketLost,
    }
}

/// How often a call is repeated because of signals before the packet is given up.
pub(super) const SIGNAL_RETRIES: usize = 8;
