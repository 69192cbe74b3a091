use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::task::Wake;

use super::super::foreign::locked;
use super::super::levels::StackLocks;
use super::*;

/// Counts its drops, each of which must find the key free.
struct NeedsKey(Arc<AtomicUsize>);

impl Drop for NeedsKey {
    fn drop(&mut self) {
        let free = lockorder::Key::<StackLocks>::take().is_some();
        assert!(free, "dropped inside the stack");
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Wake for NeedsKey {
    fn wake(self: Arc<Self>) {}
}

fn task(drops: &Arc<AtomicUsize>) -> Waker {
    Waker::from(Arc::new(NeedsKey(Arc::clone(drops))))
}

fn poll(slot: &mut WakerSlot, wait: Wait<'_>) -> u32 {
    let mut attempts = 0;
    let _ = Waiter::poll(wait, |waiter| {
        attempts += 1;
        locked(|_| slot.register(waiter));
        Poll::<()>::Pending
    });
    attempts
}

fn woken(slot: &mut WakerSlot) -> Vec<Waker> {
    let mut wakers = Vec::new();
    slot.drain_into(&mut wakers);
    wakers
}

#[test]
fn a_slot_is_as_small_as_a_waker() {
    assert_eq!(size_of::<WakerSlot>(), size_of::<Option<Waker>>());
}

/// A waker whose clone must find the key free. `Waker::from(Arc)` clones by a count only, so
/// this one is made by hand of the safe parts: a future's own waker seen through `Waiter`.
#[test]
fn a_waker_is_cloned_between_two_attempts_and_only_if_it_is_not_known() {
    let drops = Arc::default();
    let waker = task(&drops);
    let mut slot = WakerSlot::default();
    assert_eq!(poll(&mut slot, Wait::Poll(&waker)), 2);
    assert_eq!(poll(&mut slot, Wait::Poll(&waker)), 1);
    let mut ticket = Ticket::default();
    assert_eq!(poll(&mut slot, Wait::Ticket(&waker, &mut ticket)), 2);
    assert_eq!(poll(&mut slot, Wait::Ticket(&waker, &mut ticket)), 1);
    assert!(woken(&mut slot).iter().all(|kept| kept.will_wake(&waker)));
}

#[test]
fn of_tasks_that_poll_the_latest_is_woken_and_of_those_with_tickets_each_once() {
    let drops = Arc::default();
    let tasks: Vec<_> = (0..6).map(|_| task(&drops)).collect();
    let mut tickets = [Ticket::default(); 3];
    let mut slot = WakerSlot::default();
    for _ in 0..2 {
        for (task, ticket) in tasks.iter().zip(&mut tickets) {
            poll(&mut slot, Wait::Ticket(task, ticket));
        }
        for task in &tasks[3..] {
            poll(&mut slot, Wait::Poll(task));
        }
        let woken = woken(&mut slot);
        assert_eq!(woken.len(), 4);
        for expected in [&tasks[0], &tasks[1], &tasks[2], &tasks[5]] {
            assert!(woken.iter().any(|waker| waker.will_wake(expected)));
        }
    }
    assert!(woken(&mut slot).is_empty());
}

#[test]
fn a_task_that_does_not_wait_takes_nobodys_place() {
    let drops = Arc::default();
    let waker = task(&drops);
    let mut slot = WakerSlot::default();
    poll(&mut slot, Wait::Poll(&waker));
    assert_eq!(poll(&mut slot, Wait::Never), 1);
    assert!(woken(&mut slot)[0].will_wake(&waker));
}

#[test]
fn a_wait_that_is_given_up_leaves_nothing_behind() {
    let drops: Arc<AtomicUsize> = Arc::default();
    let slot = std::cell::RefCell::new(WakerSlot::default());
    let polling = task(&drops);
    poll(&mut slot.borrow_mut(), Wait::Poll(&polling));
    for round in 0..3 {
        let waker = task(&drops);
        let attempt = |wait: Wait<'_>| {
            poll(&mut slot.borrow_mut(), wait);
            Poll::<()>::Pending
        };
        let forget = |ticket| slot.borrow_mut().forget(ticket);
        let waits: Vec<_> = (0..100).map(|_| wait(attempt, forget)).collect();
        let mut waits = pin!(futures::future::join_all(waits));
        let cx = &mut Context::from_waker(&waker);
        assert!(waits.as_mut().poll(cx).is_pending());
        assert!(matches!(slot.borrow().0, Tasks::Places(Some(_))));
        waits.set(futures::future::join_all(Vec::new()));
        assert!(matches!(slot.borrow().0, Tasks::One(_)), "no place is left");
        drop(waker);
        assert_eq!(drops.load(Ordering::Relaxed), round + 1);
    }
    assert!(woken(&mut slot.borrow_mut())[0].will_wake(&polling));
}

#[test]
fn a_ticket_of_an_earlier_round_frees_nothing() {
    let drops = Arc::default();
    let (early, late) = (task(&drops), task(&drops));
    let (mut old, mut new) = (Ticket::default(), Ticket::default());
    let mut slot = WakerSlot::default();
    poll(&mut slot, Wait::Ticket(&early, &mut old));
    assert_eq!(woken(&mut slot).len(), 1);
    poll(&mut slot, Wait::Ticket(&late, &mut new));
    slot.forget(old);
    assert!(woken(&mut slot)[0].will_wake(&late));
}

/// Polls as the stack does: the ticket is taken back under the lock of the attempt.
fn resume(slot: &mut WakerSlot, wait: Wait<'_>, ready: bool) -> (u32, Poll<()>) {
    let mut attempts = 0;
    let poll = Waiter::poll(wait, |waiter| {
        attempts += 1;
        locked(|_| {
            slot.resume(waiter);
            if ready {
                return Poll::Ready(());
            }
            slot.register(waiter);
            Poll::Pending
        })
    });
    (attempts, poll)
}

#[test]
fn a_wait_that_succeeds_has_no_place_to_give_back() {
    let drops = Arc::default();
    let waker = task(&drops);
    let mut slot = WakerSlot::default();
    for spurious in [false, true] {
        let mut ticket = Ticket::default();
        let _ = resume(&mut slot, Wait::Ticket(&waker, &mut ticket), false);
        assert!(ticket.0.is_some());
        if !spurious {
            assert_eq!(woken(&mut slot).len(), 1);
        }
        let (_, poll) = resume(&mut slot, Wait::Ticket(&waker, &mut ticket), true);
        assert!(poll.is_ready() && ticket.0.is_none());
        assert!(woken(&mut slot).is_empty());
    }
}

#[test]
fn a_task_that_waits_on_keeps_its_clone_and_another_task_gets_its_own() {
    let drops = Arc::default();
    let (first, second) = (task(&drops), task(&drops));
    let mut slot = WakerSlot::default();
    let mut ticket = Ticket::default();
    let _ = resume(&mut slot, Wait::Ticket(&first, &mut ticket), false);
    let again = resume(&mut slot, Wait::Ticket(&first, &mut ticket), false);
    assert_eq!(again.0, 1, "the waker that was kept is used again");
    let moved = resume(&mut slot, Wait::Ticket(&second, &mut ticket), false);
    assert_eq!(moved.0, 2, "the future moved to another task");
    let woken = woken(&mut slot);
    assert_eq!(woken.len(), 1);
    assert!(woken[0].will_wake(&second));
}
