//! The shared reassembly buffer, and its timers.

use std::sync::atomic::{AtomicU64, Ordering};

use lockorder::{LockBefore, LockCtx, Mutex};

use super::super::levels;
use crate::base::Instant;
use crate::ip::reassembly::{FragmentIn, FragmentOutcome, Reassembly, TimedOut};

/// Fragments of incomplete datagrams, shared by the workers: the kernel may steer the fragments of
/// one datagram to different queues.
pub(crate) struct ReassemblyBuffer {
    reassembly: Mutex<levels::Reassembly, Reassembly>,
    /// When the oldest incomplete datagram expires, in nanoseconds; `u64::MAX` if there is none. A
    /// worker reads it once a turn without the lock.
    deadline_nanos: AtomicU64,
}

impl ReassemblyBuffer {
    pub(crate) fn new(reassembly: Reassembly) -> Self {
        Self {
            reassembly: Mutex::new(reassembly),
            deadline_nanos: AtomicU64::new(u64::MAX),
        }
    }

    /// Returns when the oldest incomplete datagram expires.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let nanos = self.deadline_nanos.load(Ordering::Relaxed);
        (nanos != u64::MAX).then(|| Instant::from_nanos(nanos))
    }

    /// Takes in one fragment.
    pub(crate) fn on_fragment<L>(
        &self,
        ctx: &mut LockCtx<'_, L>,
        fragment: &FragmentIn<'_>,
        now: Instant,
    ) -> FragmentOutcome
    where
        L: LockBefore<levels::Reassembly>,
    {
        self.reassembly.with(ctx, |reassembly, _| {
            let outcome = reassembly.on_fragment(now, fragment);
            self.note_deadline(reassembly);
            outcome
        })
    }

    /// Removes the datagrams that expired by `now`.
    pub(crate) fn expire<L>(&self, ctx: &mut LockCtx<'_, L>, now: Instant) -> Vec<TimedOut>
    where
        L: LockBefore<levels::Reassembly>,
    {
        self.reassembly.with(ctx, |reassembly, _| {
            let expired = std::iter::from_fn(|| reassembly.on_timeout(now)).collect();
            self.note_deadline(reassembly);
            expired
        })
    }

    /// Under the lock, so that the deadline is never older than the buffer.
    fn note_deadline(&self, reassembly: &Reassembly) {
        let deadline = reassembly.poll_timeout().unwrap_or(Instant::FAR_FUTURE);
        self.deadline_nanos
            .store(deadline.as_nanos(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::Duration;

    use super::*;
    use crate::base::Rng;
    use crate::ip::key::HashKey;
    use crate::ip::reassembly::FragmentStatus;
    use crate::stack::foreign::locked;

    #[test]
    fn the_deadline_follows_the_oldest_incomplete_datagram() {
        let secret = HashKey::random(&mut Rng::from_seed([9; 32]));
        let timeout = Duration::from_secs(30);
        let buffer = ReassemblyBuffer::new(Reassembly::new(4, 1 << 16, timeout, secret));
        assert_eq!(buffer.deadline(), None);

        let mut packet = vec![0u8; 28];
        packet[0] = 0x45;
        packet[3] = 28;
        let fragment = FragmentIn {
            src: IpAddr::from([192, 0, 2, 1]),
            dst: IpAddr::from([192, 0, 2, 2]),
            proto: 17,
            id: 1,
            offset: 0,
            more: true,
            packet: &packet,
            payload: 20..28,
        };
        locked(|key| {
            let ctx = &mut key.ctx();
            let start = Instant::from_millis(1);
            let outcome = buffer.on_fragment(ctx, &fragment, start);
            assert!(matches!(outcome.status, FragmentStatus::Pending));
            let deadline = buffer.deadline().expect("a datagram waits");
            assert!(buffer.expire(ctx, start).is_empty());
            assert_eq!(buffer.expire(ctx, deadline).len(), 1);
            assert_eq!(buffer.deadline(), None);
        });
    }
}
