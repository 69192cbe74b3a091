//! Deferred handshakes: the program sees a SYN and decides about it before anything is answered.
//!
//! * **Define.** A SYN that waits for the program is a half-open entry in the list [`ASKED`] and a short record here.
//!   It takes a place of its listener's share, as any half-open connection does.
//! * **Enforce.** A segment for such an entry changes nothing, except that a reset removes it. Only a decision of the
//!   program, or its deadline, ends it.
//! * **Consume.** A SYN that is sent again does not come twice, and undecided SYNs are bounded in number and time.
//!
//! Generic over the connection `C`, as `accept` is.

use std::collections::{BTreeMap, HashMap};
use std::task::Waker;

use super::super::waiters::{Ticket, Waiter, WakerSlot};
use super::accept::Place;
use crate::base::time::Duration;
use crate::demux::FlowKey;
use crate::icmp::error::Unreachable;
use crate::tcp::SeqNum;

/// The list of half-open entries that wait for the program.
pub(crate) const ASKED: usize = 16;

/// Time that the program has to decide: a peer gives up after about as long.
pub(crate) const DECISION_TIME: Duration = Duration::from_secs(60);

/// A SYN that waits for the program.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    pub(crate) flow: FlowKey,
    /// Our sequence number, which names the entry.
    pub(crate) iss: SeqNum,
    pub(crate) hop: Hop,
}

/// Fields of the IP header of a segment; by default what most segments have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "checkpoint", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Hop {
    pub(crate) ttl: u8,
    pub(crate) traffic_class: u8,
}

impl Default for Hop {
    fn default() -> Self {
        Self {
            ttl: 64,
            traffic_class: 0,
        }
    }
}

/// The decision about a SYN.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decision {
    /// Answer with a SYN-ACK.
    Accept,
    /// Answer with a reset.
    Refuse,
    /// Answer with an ICMP error.
    Unreachable(Unreachable),
}

/// A handshake that was accepted, for the task that waits for its connection.
struct Accepting<C: 'static> {
    iss: SeqNum,
    task: WakerSlot,
    result: Option<Result<(C, Place), Failed>>,
}

/// The handshake failed: the peer was not heard again, or reset it, or the program was too late.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Failed;

/// Undecided SYNs in the order of their arrival. Whichever of them ends is found without a search.
#[derive(Default)]
struct Undecided {
    by_number: BTreeMap<u64, Asked>,
    numbers: HashMap<(FlowKey, SeqNum), u64>,
    last: u64,
}

impl Undecided {
    fn push(&mut self, asked: Asked) {
        self.last += 1;
        self.by_number.insert(self.last, asked);
        self.numbers.insert((asked.flow, asked.iss), self.last);
    }

    fn pop(&mut self) -> Option<Asked> {
        let (_, asked) = self.by_number.pop_first()?;
        self.numbers.remove(&(asked.flow, asked.iss));
        Some(asked)
    }

    fn remove(&mut self, flow: &FlowKey, iss: SeqNum) {
        if let Some(number) = self.numbers.remove(&(*flow, iss)) {
            self.by_number.remove(&number);
        }
    }

    fn get(&self, flow: &FlowKey, iss: SeqNum) -> Option<&Asked> {
        let number = self.numbers.get(&(*flow, iss))?;
        self.by_number.get(number)
    }

    fn clear(&mut self) {
        self.by_number.clear();
        self.numbers.clear();
    }
}

/// The undecided SYNs of a listener, and the handshakes that were accepted and are not over.
pub(crate) struct Deferred<C: 'static> {
    asked: Undecided,
    askers: WakerSlot,
    accepting: HashMap<FlowKey, Accepting<C>>,
    closed: bool,
}

impl<C> Default for Deferred<C> {
    fn default() -> Self {
        Self {
            asked: Undecided::default(),
            askers: WakerSlot::default(),
            accepting: HashMap::new(),
            closed: false,
        }
    }
}

/// The answer to a program that asks for the next SYN.
pub(crate) enum Next {
    Syn(Asked),
    Wait,
    Closed,
}

impl<C> Deferred<C> {
    /// Queues a SYN for the program.
    pub(crate) fn ask(&mut self, asked: Asked, wakers: &mut Vec<Waker>) {
        self.asked.push(asked);
        self.askers.drain_into(wakers);
    }

    /// Takes the oldest SYN; if there is none, `waiter` is woken for the next.
    pub(crate) fn next(&mut self, waiter: &mut Waiter<'_>) -> Next {
        self.askers.resume(waiter);
        match self.asked.pop() {
            Some(asked) => Next::Syn(asked),
            None if self.closed => Next::Closed,
            None => {
                self.askers.register(waiter);
                Next::Wait
            }
        }
    }

    /// Returns what is known of a SYN that the program has not seen.
    pub(crate) fn unseen(&self, flow: &FlowKey, iss: SeqNum) -> Option<&Asked> {
        self.asked.get(flow, iss)
    }

    /// Forgets a task that no longer waits for a SYN.
    pub(crate) fn forget_asker(&mut self, ticket: Ticket) {
        self.askers.forget(ticket);
    }

    /// Notes that a task will wait for the connection of a handshake.
    pub(crate) fn accept(&mut self, asked: &Asked) {
        let accepting = Accepting {
            iss: asked.iss,
            task: WakerSlot::default(),
            result: self.closed.then_some(Err(Failed)),
        };
        self.accepting.insert(asked.flow, accepting);
    }

    /// Takes the result of an accepted handshake; `None`: `waiter` is woken when there is one.
    pub(crate) fn result(
        &mut self,
        asked: &Asked,
        waiter: &mut Waiter<'_>,
    ) -> Option<Result<C, Failed>> {
        let accepting = self.accepting.get_mut(&asked.flow);
        let Some(accepting) = accepting.filter(|accepting| accepting.iss == asked.iss) else {
            return Some(Err(Failed));
        };
        accepting.task.resume(waiter);
        match accepting.result.take() {
            Some(result) => {
                self.accepting.remove(&asked.flow);
                Some(result.map(|(connection, _place)| connection))
            }
            None => {
                accepting.task.register(waiter);
                None
            }
        }
    }

    /// Forgets a task that no longer waits for the connection of a handshake. Returns the connection, if it is there.
    pub(crate) fn give_up(&mut self, asked: &Asked) -> Option<C> {
        let is_this = self.accepting.get(&asked.flow)?.iss == asked.iss;
        let accepting = is_this.then(|| self.accepting.remove(&asked.flow))??;
        match accepting.result {
            Some(Ok((connection, _place))) => Some(connection),
            _ => None,
        }
    }

    /// Passes a connection to the task that accepted it.
    ///
    /// # Errors
    /// No task waits for it any more: the connection back.
    pub(crate) fn complete(
        &mut self,
        flow: &FlowKey,
        connection: C,
        place: Place,
        wakers: &mut Vec<Waker>,
    ) -> Result<(), C> {
        match self.accepting.get_mut(flow) {
            Some(accepting) if accepting.result.is_none() => {
                accepting.result = Some(Ok((connection, place)));
                accepting.task.drain_into(wakers);
                Ok(())
            }
            _ => Err(connection),
        }
    }

    /// Notes that a half-open entry ended without a connection.
    pub(crate) fn fail(&mut self, flow: &FlowKey, iss: SeqNum, wakers: &mut Vec<Waker>) {
        self.asked.remove(flow, iss);
        if let Some(accepting) = self.accepting.get_mut(flow)
            && accepting.iss == iss
            && accepting.result.is_none()
        {
            accepting.result = Some(Err(Failed));
            accepting.task.drain_into(wakers);
        }
    }

    /// Closes the queue: every task that waits is woken. Returns the connections that no task took.
    pub(crate) fn close(&mut self, wakers: &mut Vec<Waker>) -> Vec<C> {
        self.closed = true;
        self.asked.clear();
        self.askers.drain_into(wakers);
        let mut left = Vec::new();
        for accepting in self.accepting.values_mut() {
            if let Some(Ok((connection, _place))) = accepting.result.replace(Err(Failed)) {
                left.push(connection);
            }
            accepting.task.drain_into(wakers);
        }
        left
    }

    /// Returns how many connections wait for their tasks.
    #[cfg(any(test, feature = "invariants"))]
    pub(crate) fn completed(&self) -> usize {
        let done = |accepting: &&Accepting<C>| matches!(accepting.result, Some(Ok(_)));
        self.accepting.values().filter(done).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn undecided_syns_keep_their_order_whichever_of_them_end() {
        let asked = |port: u16, iss: u32| Asked {
            flow: FlowKey::new(([10, 0, 0, 1], 80).into(), ([10, 0, 0, 2], port).into()),
            iss: SeqNum(iss),
            hop: Hop {
                ttl: 64,
                traffic_class: 0,
            },
        };
        let mut undecided = Undecided::default();
        for port in 1..=6 {
            undecided.push(asked(port, 7));
        }
        // The same peer again, before the end of its first SYN is known.
        undecided.push(asked(3, 8));
        undecided.remove(&asked(3, 7).flow, SeqNum(7));
        undecided.remove(&asked(1, 7).flow, SeqNum(7));
        undecided.remove(&asked(5, 0).flow, SeqNum(0));
        let mut left = Vec::new();
        while let Some(asked) = undecided.pop() {
            left.push((asked.flow.remote().port(), asked.iss.0));
        }
        assert_eq!(left, [(2, 7), (4, 7), (5, 7), (6, 7), (3, 8)]);
        assert!(undecided.numbers.is_empty());
    }
}
