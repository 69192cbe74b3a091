//! The shared reassembly buffer, and its timers.

use std::sync::atomic::{AtomicU64, Ordering};

use lockorder::{LockBefore, LockCtx, Mutex};
use packet::Buffers;
use packet::buf::{Charge, FLOOR_BYTES};

use super::super::levels;
use crate::base::Instant;
use crate::ip::reassembly::{FragmentIn, FragmentOutcome, Reassembly, TimedOut};

/// Fragments of incomplete datagrams, shared by the workers: the kernel may steer the fragments of
/// one datagram to different queues.
pub(crate) struct ReassemblyBuffer {
    fragments: Mutex<levels::Reassembly, Fragments>,
    /// When the oldest incomplete datagram expires, in nanoseconds; `u64::MAX` if there is none. A
    /// worker reads it once a turn without the lock.
    deadline_nanos: AtomicU64,
}

/// The fragments, and their memory as it is counted against the stack's budget.
struct Fragments {
    reassembly: Reassembly,
    charge: Charge,
}

impl Fragments {
    /// Evicts datagrams until the rest is within the share of the memory, and counted. Returns how many
    /// fragments were lost.
    fn fit(&mut self, buffers: &Buffers) -> u32 {
        let share = buffers.share().max(FLOOR_BYTES);
        let mut lost = 0;
        while self.reassembly.bytes() > share || !self.charge.set(self.reassembly.bytes()) {
            match self.reassembly.evict_first() {
                Some(fragments) => lost += fragments,
                None => break,
            }
        }
        lost
    }
}

impl ReassemblyBuffer {
    /// Creates a buffer whose memory is counted by `charge`.
    pub(crate) fn new(reassembly: Reassembly, charge: Charge) -> Self {
        Self {
            fragments: Mutex::new(Fragments { reassembly, charge }),
            deadline_nanos: AtomicU64::new(u64::MAX),
        }
    }

    /// Returns when the oldest incomplete datagram expires.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let nanos = self.deadline_nanos.load(Ordering::Relaxed);
        (nanos != u64::MAX).then(|| Instant::from_nanos(nanos))
    }

    /// Takes in one fragment. Returns what became of it, and how many fragments of other datagrams were lost
    /// because memory is short.
    pub(crate) fn on_fragment<L>(
        &self,
        ctx: &mut LockCtx<'_, L>,
        fragment: &FragmentIn<'_>,
        buffers: &Buffers,
        now: Instant,
    ) -> (FragmentOutcome, u32)
    where
        L: LockBefore<levels::Reassembly>,
    {
        self.fragments.with(ctx, |fragments, _| {
            let outcome = fragments.reassembly.on_fragment(now, fragment);
            let lost = fragments.fit(buffers);
            self.note_deadline(&fragments.reassembly);
            (outcome, lost)
        })
    }

    /// Evicts datagrams until the rest is within the share of the memory. Returns how many fragments were lost.
    pub(crate) fn fit<L>(&self, ctx: &mut LockCtx<'_, L>, buffers: &Buffers) -> u32
    where
        L: LockBefore<levels::Reassembly>,
    {
        self.fragments.with(ctx, |fragments, _| {
            let lost = fragments.fit(buffers);
            self.note_deadline(&fragments.reassembly);
            lost
        })
    }

    /// Removes the datagrams that expired by `now`.
    pub(crate) fn expire<L>(
        &self,
        ctx: &mut LockCtx<'_, L>,
        buffers: &Buffers,
        now: Instant,
    ) -> Vec<TimedOut>
    where
        L: LockBefore<levels::Reassembly>,
    {
        self.fragments.with(ctx, |fragments, _| {
            let reassembly = &mut fragments.reassembly;
            let expired = std::iter::from_fn(|| reassembly.on_timeout(now)).collect();
            fragments.fit(buffers);
            self.note_deadline(&fragments.reassembly);
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
        let buffers = Buffers::with_limit(2_048, 1 << 20, 0);
        let reassembly = Reassembly::new(4, 1 << 16, timeout, secret);
        let buffer = ReassemblyBuffer::new(reassembly, buffers.charge());
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
            let (outcome, lost) = buffer.on_fragment(ctx, &fragment, &buffers, start);
            assert!(lost == 0 && buffers.memory_use().used > 0);
            assert!(matches!(outcome.status, FragmentStatus::Pending));
            let deadline = buffer.deadline().expect("a datagram waits");
            assert!(buffer.expire(ctx, &buffers, start).is_empty());
            assert_eq!(buffer.expire(ctx, &buffers, deadline).len(), 1);
            assert_eq!(buffer.deadline(), None);
            assert_eq!(buffers.memory_use().used, 0);
            // Without memory no fragment stays.
            let mut all = buffers.charge();
            assert!(all.set((1 << 20) - 10));
            let (_, lost) = buffer.on_fragment(ctx, &fragment, &buffers, start);
            assert_eq!((lost, buffer.deadline()), (1, None));
        });
    }
}
