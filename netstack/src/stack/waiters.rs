//! Tasks that wait for one thing: a connection's data, a listener's connections, a socket's datagrams.
//!
//! As with tokio, a `poll_*` function remembers the latest task that called it, and any number of tasks
//! may wait in the `async` functions that take a shared reference.
//!
//! * **Define.** [`Wait`] says how a caller waits: in the slot, with a ticket of its own, or not at all.
//! * **Enforce.** [`wait`] makes the ticket and gives its place back when the future is dropped.
//! * **Consume.** A wait that was given up leaves nothing behind, and a call that does not wait takes
//!   nobody's place.

use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use super::foreign::Foreign;
use super::task;

/// The way in which a caller waits.
pub(crate) enum Wait<'a> {
    /// As the one task that polls: the latest one is woken.
    Poll(&'a Waker),
    /// As one of any number of tasks.
    Ticket(&'a Waker, &'a mut Ticket),
    /// Not at all.
    Never,
}

impl<'a> From<&'a mut Context<'_>> for Wait<'a> {
    fn from(cx: &'a mut Context<'_>) -> Self {
        Self::Poll(cx.waker())
    }
}

impl Wait<'_> {
    /// Returns the waker of a task that waits.
    pub(crate) fn waker(&self) -> Option<&Waker> {
        match self {
            Self::Poll(waker) | Self::Ticket(waker, _) => Some(waker),
            Self::Never => None,
        }
    }
}

/// The place of one waiting task.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Ticket(Option<Number>);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Number {
    places: u64,
    round: u64,
    index: usize,
}

/// Waits until `attempt` is ready, as one of any number of tasks. `forget` gives the place of a ticket
/// back; it is called if the wait is given up. `attempt` takes the ticket back itself by
/// [`WakerSlot::resume`], so that a wait that succeeded needs no lock afterwards.
pub(crate) async fn wait<R>(
    mut attempt: impl FnMut(Wait<'_>) -> Poll<R>,
    forget: impl FnMut(Ticket),
) -> R {
    struct Place<F: FnMut(Ticket)> {
        ticket: Ticket,
        forget: F,
    }
    impl<F: FnMut(Ticket)> Drop for Place<F> {
        fn drop(&mut self) {
            if self.ticket.0.is_some() {
                (self.forget)(self.ticket);
            }
        }
    }
    let mut place = Place {
        ticket: Ticket::default(),
        forget,
    };
    std::future::poll_fn(|cx| attempt(Wait::Ticket(cx.waker(), &mut place.ticket))).await
}

/// The task that polls, while the stack looks whether it has to wait.
pub(crate) struct Waiter<'a> {
    wait: Wait<'a>,
    clone: Option<Waker>,
    clone_wanted: bool,
}

impl Waiter<'_> {
    /// Calls `attempt` under its locks. If `attempt` wants to store the task's waker where it is not
    /// stored yet, the waker is cloned with nothing locked and `attempt` runs once more.
    pub(crate) fn poll<R>(
        wait: Wait<'_>,
        mut attempt: impl FnMut(&mut Waiter<'_>) -> Poll<R>,
    ) -> Poll<R> {
        let mut waiter = Waiter {
            wait,
            clone: None,
            clone_wanted: false,
        };
        loop {
            let poll = attempt(&mut waiter);
            if !std::mem::take(&mut waiter.clone_wanted) {
                return poll;
            }
            waiter.clone = waiter.wait.waker().cloned();
        }
    }

    /// Keeps a waker for the next registration if it is a clone of the task's.
    fn reuse(&mut self, kept: Option<Foreign<Waker>>) {
        if let Some(mut kept) = kept
            && let (Some(mine), Some(waker)) = (self.wait.waker(), kept.get())
            && mine.will_wake(waker)
        {
            self.clone = kept.take();
        }
    }

    /// Returns a clone of the task's waker. The waker of a worker's own task is cloned here: that
    /// increments a count. Any other is code of the program: `None`, and [`Waiter::poll`] clones it.
    fn take_clone(&mut self) -> Option<Waker> {
        let own = || self.wait.waker().filter(|waker| task::is_own(waker));
        let clone = self.clone.take().or_else(|| own().cloned());
        self.clone_wanted = clone.is_none();
        clone
    }
}

/// The tasks that wait for one thing. The one that polls needs no memory of its own.
pub(crate) struct WakerSlot(Tasks);

enum Tasks {
    /// The task that polls, alone. Only `WakerSlot`'s destructor drops it: see [`Foreign`].
    One(Waker),
    /// None, or places for several. The box is kept while tasks wait in turn, for its allocation.
    Places(Option<Box<Places>>),
}

/// The task that polls, and those with a ticket.
struct Places {
    /// Unique in the process.
    id: u64,
    /// Tickets of earlier rounds are void: their tasks were woken.
    round: u64,
    poller: Foreign<Waker>,
    tickets: Vec<Foreign<Waker>>,
    free: Vec<usize>,
}

impl Default for WakerSlot {
    fn default() -> Self {
        Self(Tasks::Places(None))
    }
}

impl Drop for WakerSlot {
    fn drop(&mut self) {
        if let Tasks::One(waker) = std::mem::replace(&mut self.0, Tasks::Places(None)) {
            drop(Foreign::new(waker));
        }
    }
}

impl WakerSlot {
    /// Takes back the place that `waiter` got in an earlier attempt, if any. Called under the lock of the
    /// slot before each attempt.
    #[inline]
    pub(crate) fn resume(&mut self, waiter: &mut Waiter<'_>) {
        if let Wait::Ticket(_, ticket) = &mut waiter.wait
            && ticket.0.is_some()
        {
            let ticket = std::mem::take(*ticket);
            waiter.reuse(self.take_place(ticket));
        }
    }

    /// Remembers the task of `waiter`, if it waits.
    pub(crate) fn register(&mut self, waiter: &mut Waiter<'_>) {
        let place = match &waiter.wait {
            Wait::Never => return,
            Wait::Poll(_) => self.poller(),
            Wait::Ticket(_, ticket) => self.place_of(**ticket),
        };
        let known = place.zip(waiter.wait.waker());
        if known.is_some_and(|(place, waker)| place.will_wake(waker)) {
            return;
        }
        let Some(clone) = waiter.take_clone() else {
            return;
        };
        match &mut waiter.wait {
            Wait::Never => {}
            Wait::Poll(_) => self.set_poller(clone),
            Wait::Ticket(_, ticket) => self.places().set(ticket, clone),
        }
    }

    /// Gives the place of a task that no longer waits back.
    pub(crate) fn forget(&mut self, ticket: Ticket) {
        let Tasks::Places(Some(places)) = &mut self.0 else {
            return;
        };
        if !places.forget(ticket) {
            return;
        }
        let poller = places.poller.take();
        self.0 = poller.map_or(Tasks::Places(None), Tasks::One);
    }

    /// Moves all wakers to `wakers`, to be woken when nothing is locked.
    #[inline]
    pub(crate) fn drain_into(&mut self, wakers: &mut Vec<Waker>) {
        match &mut self.0 {
            Tasks::Places(None) => {}
            Tasks::Places(Some(places)) => places.drain_into(wakers),
            Tasks::One(_) => {
                if let Tasks::One(waker) = std::mem::replace(&mut self.0, Tasks::Places(None)) {
                    wakers.push(waker);
                }
            }
        }
    }

    fn poller(&self) -> Option<&Waker> {
        match &self.0 {
            Tasks::One(waker) => Some(waker),
            Tasks::Places(places) => places.as_ref()?.poller.get(),
        }
    }

    fn place_of(&self, ticket: Ticket) -> Option<&Waker> {
        match &self.0 {
            Tasks::Places(Some(places)) => places.tickets.get(places.index(ticket)?)?.get(),
            _ => None,
        }
    }

    /// Frees the place of a ticket and returns its waker; `None` if the ticket is void.
    fn take_place(&mut self, ticket: Ticket) -> Option<Foreign<Waker>> {
        match &mut self.0 {
            Tasks::Places(Some(places)) => places.take(ticket),
            _ => None,
        }
    }

    fn set_poller(&mut self, waker: Waker) {
        if let Tasks::Places(Some(places)) = &mut self.0 {
            places.poller = Foreign::new(waker);
        } else if let Tasks::One(before) = std::mem::replace(&mut self.0, Tasks::One(waker)) {
            drop(Foreign::new(before));
        }
    }

    /// Returns the places, made on first use.
    fn places(&mut self) -> &mut Places {
        if let Tasks::One(_) | Tasks::Places(None) = self.0 {
            let before = std::mem::replace(&mut self.0, Tasks::Places(None));
            let poller = match before {
                Tasks::One(waker) => Foreign::new(waker),
                Tasks::Places(_) => Foreign::none(),
            };
            self.0 = Tasks::Places(Some(Places::new(poller)));
        }
        match &mut self.0 {
            Tasks::Places(Some(places)) => places,
            _ => unreachable!("made above"),
        }
    }
}

/// Places that are kept, empty, for the next round.
const KEPT: usize = 8;

impl Places {
    fn new(poller: Foreign<Waker>) -> Box<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Box::new(Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            round: 0,
            poller,
            tickets: Vec::new(),
            free: Vec::new(),
        })
    }

    /// Returns the place of a ticket of this round.
    fn index(&self, ticket: Ticket) -> Option<usize> {
        ticket
            .0
            .filter(|number| (number.places, number.round) == (self.id, self.round))
            .map(|number| number.index)
    }

    fn set(&mut self, ticket: &mut Ticket, waker: Waker) {
        let waker = Foreign::new(waker);
        let index = self.index(*ticket).or_else(|| self.free.pop());
        let index = match index.and_then(|index| Some((index, self.tickets.get_mut(index)?))) {
            Some((index, place)) => {
                *place = waker;
                index
            }
            None => {
                self.tickets.push(waker);
                self.tickets.len() - 1
            }
        };
        *ticket = Ticket(Some(Number {
            places: self.id,
            round: self.round,
            index,
        }));
    }

    /// Gives a place back; true if no ticket is left.
    fn forget(&mut self, ticket: Ticket) -> bool {
        self.take(ticket).is_some() && self.free.len() == self.tickets.len()
    }

    /// Frees the place of a ticket of this round, and returns the task that had it.
    fn take(&mut self, ticket: Ticket) -> Option<Foreign<Waker>> {
        let index = self.index(ticket)?;
        let place = self.tickets.get_mut(index)?;
        self.free.push(index);
        Some(std::mem::replace(place, Foreign::none()))
    }

    #[inline]
    fn drain_into(&mut self, wakers: &mut Vec<Waker>) {
        wakers.extend(self.poller.take());
        if self.tickets.is_empty() {
            return;
        }
        wakers.extend(self.tickets.drain(..).filter_map(|mut waker| waker.take()));
        self.free.clear();
        self.tickets.shrink_to(KEPT);
        self.free.shrink_to(KEPT);
        self.round += 1;
    }
}

#[cfg(test)]
#[path = "waiters_tests.rs"]
mod tests;
