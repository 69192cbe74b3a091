//! A shard of the connection table: for each four-tuple one connection, one handshake that is half open,
//! or one TIME-WAIT.
//!
//! * **Define.** A four-tuple is vacant, half open, open, or in TIME-WAIT.
//! * **Enforce.** All three tables are behind the lock of the shard, and each step from one to another
//!   is one call: no worker sees a four-tuple in two of them, or in none on the way.
//! * **Consume.** If two workers take segments that complete the same handshake, one of them makes the
//!   connection, and the other finds it.
//!
//! Generic over the connection `C`, so that a model checker can run it with numbers.

use std::sync::Arc;

use super::deferred::ASKED;
use super::listener::{Listener, SynPlace};
use crate::base::{Instant, Rng};
use crate::demux::flow_queue::EntryId;
use crate::demux::{FlowKey, FlowQueue, FlowSet, HasFlow, HashedFlow};
use crate::ip::key::HashKey;
use crate::ip::peer::{SampleRate, sample_crowding};
use crate::tcp::{HalfOpen, SeqNum, TimeWait};

/// Lists of half-open connections: one for each number of retransmissions, which decides how long they
/// wait. Those with more share the last but one; the last is [`ASKED`].
const HALF_OPEN_LISTS: usize = 17;

const _: () = assert!(
    ASKED + 1 == HALF_OPEN_LISTS,
    "the last list is that of undecided SYNs"
);

/// Half-open connections that are looked at for one that is not authenticated.
const STRANGER_SAMPLES: usize = 32;

/// The entry of a half-open connection.
#[derive(Debug)]
pub(crate) struct HalfOpenEntry<C: 'static> {
    pub(crate) half: HalfOpen,
    pub(crate) place: SynPlace<C>,
}

pub(crate) type HalfOpenQueue<C> = FlowQueue<HalfOpenEntry<C>, HALF_OPEN_LISTS>;
pub(crate) type TimeWaitQueue = FlowQueue<TimeWait, 1>;

// Entries that a peer can cause with one packet, and those that remain of a connection, are small.
const _: () = assert!(HalfOpenQueue::<std::sync::Arc<()>>::ENTRY_BYTES <= 96);
const _: () = assert!(TimeWaitQueue::ENTRY_BYTES <= 96);

/// A half-open entry that ended without a connection.
pub(crate) type Ended<C> = (FlowKey, HalfOpenEntry<C>);

/// A SYN-ACK to send again.
#[derive(Debug)]
pub(crate) struct Resend<C: 'static> {
    pub(crate) flow: FlowKey,
    pub(crate) half: HalfOpen,
    /// The listener, whose options it has.
    pub(crate) listener: Arc<Listener<C>>,
}

/// One shard of the table.
pub(crate) struct Shard<C: 'static> {
    pub(crate) open: FlowSet<C>,
    pub(crate) half_open: HalfOpenQueue<C>,
    pub(crate) time_wait: TimeWaitQueue,
}

/// The occupant of a four-tuple.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found<C> {
    Open(C),
    HalfOpen,
    TimeWait,
    Vacant,
}

/// The four-tuple is not vacant, or its occupant changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Occupied;

/// The number of entries whose time was over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Expired {
    pub(crate) handshakes: usize,
    pub(crate) time_waits: usize,
}

impl<C: Clone + HasFlow> Shard<C> {
    /// Creates an empty shard.
    pub(crate) fn new(secret: HashKey) -> Self {
        Self {
            open: FlowSet::new(secret),
            half_open: FlowQueue::new(secret),
            time_wait: FlowQueue::new(secret),
        }
    }

    /// Returns the occupant of a four-tuple.
    #[inline]
    pub(crate) fn find(&self, flow: &HashedFlow) -> Found<C> {
        if let Some(connection) = self.open.get(flow) {
            Found::Open(connection.clone())
        } else if self.half_open.find(flow).is_some() {
            Found::HalfOpen
        } else if self.time_wait.find(flow).is_some() {
            Found::TimeWait
        } else {
            Found::Vacant
        }
    }

    /// Enters a connection in a vacant four-tuple.
    pub(crate) fn insert_open(&mut self, flow: &HashedFlow, connection: C) -> Result<(), Occupied> {
        match self.find(flow) {
            Found::Vacant => self.open.insert(connection).map_err(|_| Occupied),
            _ => Err(Occupied),
        }
    }

    /// Enters a half-open connection, which is due at `deadline`, in a four-tuple that is vacant or in
    /// TIME-WAIT: the caller saw that the SYN may succeed that connection. True if it did.
    pub(crate) fn insert_half_open(
        &mut self,
        flow: &HashedFlow,
        (list, deadline): (usize, Instant),
        entry: HalfOpenEntry<C>,
    ) -> Result<bool, Occupied> {
        if self.open.get(flow).is_some() {
            return Err(Occupied);
        }
        let inserted = self.half_open.insert(flow, list, deadline, entry);
        if inserted.is_err() {
            return Err(Occupied);
        }
        let old = self.time_wait.find(flow);
        Ok(old.is_some_and(|old| self.time_wait.remove(old).is_some()))
    }

    /// Puts a connection in the place of the half-open one with this initial sequence number.
    pub(crate) fn promote(
        &mut self,
        flow: &HashedFlow,
        iss: SeqNum,
        connection: C,
    ) -> Result<(), Occupied> {
        let id = self.half_open.find(flow).ok_or(Occupied)?;
        let is_this = self
            .half_open
            .get_mut(id)
            .is_some_and(|(_, entry)| entry.half.iss() == iss);
        if !is_this || self.open.insert(connection).is_err() {
            return Err(Occupied);
        }
        self.half_open.remove(id);
        Ok(())
    }

    /// Removes a half-open connection to `listener` of the peer that crowds the others out, if there is one. Those of
    /// other listeners stay: they would free no place of this one.
    pub(crate) fn displace_half_open(
        &mut self,
        listener: &Arc<Listener<C>>,
        newcomer: &FlowKey,
        (rng, rate): (&mut Rng, &mut SampleRate),
    ) -> Option<Ended<C>> {
        let queue = &mut self.half_open;
        let draw = || {
            let (id, flow) = queue.sample(rng.u64())?;
            let peer = flow.peer();
            let (_, entry) = queue.get_mut(id)?;
            Arc::ptr_eq(entry.place.listener(), listener).then_some((id, peer))
        };
        let sample = sample_crowding(newcomer.peer(), draw, |first, _| first);
        rate.note(&sample);
        queue.remove(sample.entry()?)
    }

    /// Removes a half-open connection to `listener` that is not authenticated, if a sample shows one.
    pub(crate) fn displace_stranger(
        &mut self,
        listener: &Arc<Listener<C>>,
        rng: &mut Rng,
    ) -> Option<Ended<C>> {
        let queue = &mut self.half_open;
        for _ in 0..STRANGER_SAMPLES {
            let (id, _) = queue.sample(rng.u64())?;
            let (_, entry) = queue.get_mut(id)?;
            if entry.half.key_id().is_none() && Arc::ptr_eq(entry.place.listener(), listener) {
                return queue.remove(id);
            }
        }
        None
    }

    /// Puts a TIME-WAIT in the place of the connection for which `is_this` holds; false if it is not in
    /// the table.
    pub(crate) fn retire(
        &mut self,
        flow: &HashedFlow,
        is_this: impl FnOnce(&C) -> bool,
        time_wait: TimeWait,
        deadline: Instant,
    ) -> bool {
        let found = self.open.get(flow).is_some_and(is_this);
        if found {
            self.open.remove(flow);
            let inserted = self.time_wait.insert(flow, 0, deadline, time_wait);
            debug_assert!(inserted.is_ok(), "one four-tuple in two tables");
        }
        found
    }

    /// Handles at most `limit` entries that are due: SYN-ACKs to send again are appended to `resend`, and entries of
    /// listeners that defer and were given up to `failed`.
    pub(crate) fn expire(
        &mut self,
        now: Instant,
        limit: usize,
        resend: &mut Vec<Resend<C>>,
        failed: &mut Vec<Ended<C>>,
    ) -> Expired {
        let mut expired = Expired::default();
        for _ in 0..limit {
            let Some(id) = self.half_open.due(now) else {
                break;
            };
            if self.half_open.list_of(id) == Some(ASKED) || !self.retransmit(id, now, resend) {
                let ended = self.half_open.remove(id);
                let deferred = |entry: &HalfOpenEntry<C>| entry.place.listener().deferred.is_some();
                failed.extend(ended.filter(|(_, entry)| deferred(entry)));
                expired.handshakes += 1;
            }
        }
        for _ in 0..limit {
            let Some(id) = self.time_wait.due(now) else {
                break;
            };
            self.time_wait.remove(id);
            expired.time_waits += 1;
        }
        expired
    }

    /// Sends the SYN-ACK of an entry again; false if it was sent often enough.
    fn retransmit(&mut self, id: EntryId, now: Instant, resend: &mut Vec<Resend<C>>) -> bool {
        let Some((flow, entry)) = self.half_open.get_mut(id) else {
            return false;
        };
        let HalfOpenEntry { half, place } = entry;
        let listener = place.listener();
        let cfg = &listener.options.config;
        if !half.on_timeout(place.retries(cfg.syn_retries), now) {
            return false;
        }
        let list = usize::from(half.retries()).min(ASKED - 1);
        let (list, deadline) = (list, now + half.timeout(cfg));
        resend.push(Resend {
            flow: *flow,
            half: *half,
            listener: Arc::clone(listener),
        });
        self.half_open.relist(id, list, deadline);
        true
    }

    /// Returns when the next entry is due.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let deadlines = [
            self.half_open.next_deadline(),
            self.time_wait.next_deadline(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// Removes the half-open connections of a listener.
    pub(crate) fn forget_listener(&mut self, listener: &Listener<C>) {
        let of_listener = |entry: &HalfOpenEntry<C>| {
            std::ptr::eq(std::sync::Arc::as_ptr(entry.place.listener()), listener)
        };
        for id in self.half_open.matching(of_listener) {
            self.half_open.remove(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::listener::SynPlaces;
    use super::super::options::Options;
    use super::*;

    #[derive(Clone)]
    struct Nothing(FlowKey);

    impl HasFlow for Nothing {
        fn flow(&self) -> &FlowKey {
            &self.0
        }
    }

    fn listener(port: u16, places: &Arc<SynPlaces>) -> Arc<Listener<Nothing>> {
        let local = ([10, 0, 0, 1], port).into();
        Listener::new(local, Options::with_backlog(4), places)
    }

    #[test]
    fn a_flood_at_one_listener_takes_no_place_of_another() {
        let places = SynPlaces::new(100);
        let (flooded, quiet) = (listener(80, &places), listener(81, &places));
        let secret = HashKey::random(&mut Rng::from_u64(1));
        let mut shard = Shard::new(secret);
        for port in 1..=20 {
            let flow = FlowKey::new(quiet.local, ([10, 0, 0, 2], port).into());
            let entry = HalfOpenEntry {
                half: HalfOpen::example(SeqNum(7)),
                place: quiet.admit_syn().expect("a free place"),
            };
            let waits = (0, Instant::from_millis(1));
            let inserted = shard.insert_half_open(&HashedFlow::new(flow, &secret), waits, entry);
            assert!(inserted.is_ok());
        }
        let newcomer = |local| FlowKey::new(local, ([10, 0, 0, 3], 1).into());
        let mut rng = Rng::from_u64(2);
        let mut rate = SampleRate::default();
        for _ in 0..100 {
            let none =
                shard.displace_half_open(&flooded, &newcomer(flooded.local), (&mut rng, &mut rate));
            assert!(none.is_none(), "it would free no place of this listener");
        }
        let (flow, _) = shard
            .displace_half_open(&quiet, &newcomer(quiet.local), (&mut rng, &mut rate))
            .expect("one of the peer that has all");
        assert_eq!(flow.local(), quiet.local);
    }
}
