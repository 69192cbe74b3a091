//! Accounts: who keeps a slab from going back to its pool.
//!
//! * **Define.** A slab is charged to at most one [`Account`]: that of the flow that holds it last. The
//!   charge is the whole slab, however little of it the flow holds, and however many slices of it.
//! * **Enforce.** Queues are made of [`Held`] payloads. The only way to one is [`Account::hold`], which
//!   charges the slab, and refuses memory that was lent for a turn. The charge stays with the slab, through
//!   an application that takes the payload and to another flow that holds it next, until the slab is free.
//! * **Consume.** [`Account::pinned`] is what a flow's share is compared with; nothing can forget to charge
//!   or to settle.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::payload::Payload;

/// The slabs that one flow keeps from going back, in bytes. Clones are the same account.
#[derive(Clone, Default)]
pub struct Account(Arc<AtomicUsize>);

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Account({} bytes)", self.pinned())
    }
}

/// The payload cannot be held: its memory is lent for one turn, or it is the program's and the budget has no more.
#[derive(Clone, Debug)]
pub struct Refused(pub Payload);

impl Account {
    /// Returns the number of bytes that are charged: the whole length of each slab, with its overhead.
    pub fn pinned(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Holds `payload`, and moves the charge for its slab to this account. Memory of the program is charged by
    /// [`Memory::hold`](super::Memory::hold), which knows the budget.
    ///
    /// # Errors
    /// The memory is lent for one turn: hold a copy.
    pub fn hold(&self, payload: Payload) -> Result<Held, Refused> {
        if payload.is_lent() {
            return Err(Refused(payload));
        }
        payload.charge_to(self);
        Ok(Held(payload))
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(super) fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn remove(&self, bytes: usize) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// A payload that a flow holds beyond the turn in which it came: its slab is charged to the flow's
/// [`Account`].
///
/// ```
/// use packet::buf::Account;
/// use packet::Buffers;
///
/// let buffers = Buffers::new(2048, 4, 4);
/// let account = Account::default();
/// let held = account.hold(buffers.copy(b"hello").unwrap()).unwrap();
/// assert!(account.pinned() >= 2048);
/// // The charge follows the payload to whoever takes it, and ends with the last slice.
/// let slice = held.slice(0..2);
/// drop(held.into_payload());
/// assert!(account.pinned() >= 2048);
/// drop(slice);
/// assert_eq!(account.pinned(), 0);
/// ```
#[derive(Debug)]
pub struct Held(Payload);

impl Deref for Held {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Held {
    /// Returns `range` of this payload, which shares the memory.
    pub fn slice(&self, range: Range<usize>) -> Payload {
        self.0.slice(range)
    }

    /// Removes `count` bytes from the front, or all of them if there are fewer.
    pub fn advance(&mut self, count: usize) {
        self.0.advance(count);
    }

    /// Appends as many of `bytes` as fit; see [`Payload::try_append`].
    pub fn try_append(&mut self, bytes: &[u8]) -> usize {
        self.0.try_append(bytes)
    }

    /// Returns the number of bytes that this payload keeps from being reused.
    pub fn pinned_bytes(&self) -> usize {
        self.0.pinned_bytes()
    }

    /// Returns true if the memory is a slab, false if the application provided it.
    pub fn is_pooled(&self) -> bool {
        self.0.is_pooled()
    }

    /// Returns true if this is the slice of the same memory that begins where `before` ends.
    pub fn continues(&self, before: &Payload) -> bool {
        before.is_continued_by(&self.0)
    }

    /// Hands the payload out. Its slab stays charged until another flow holds it, or it is free.
    pub fn into_payload(self) -> Payload {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::super::Buffers;
    use super::*;

    #[test]
    fn a_slab_is_charged_once_and_to_who_holds_it_last() {
        let buffers = Buffers::new(64 << 10, 4, 4);
        let (first, second) = (Account::default(), Account::default());
        let payload = buffers.copy(&[7; 4_000]).expect("a slab");
        let (a, b) = (payload.slice(0..1_000), payload.slice(1_000..4_000));
        drop(payload);
        let a = first.hold(a).expect("held");
        let charged = first.pinned();
        assert!(charged >= 64 << 10);
        let b = first.hold(b).expect("held");
        assert_eq!(first.pinned(), charged, "the slab counts once");
        let a = second.hold(a.into_payload()).expect("held");
        assert_eq!((first.pinned(), second.pinned()), (0, charged));
        drop(a);
        assert_eq!(second.pinned(), charged, "a slice keeps the whole slab");
        drop(b);
        assert_eq!((first.pinned(), second.pinned()), (0, 0));
        // The next flow that gets the slab is charged anew.
        let again = buffers.copy(&[8; 4_000]).expect("a slab");
        assert_eq!(first.pinned() + second.pinned(), 0);
        drop(second.hold(again).expect("held"));
    }

    #[test]
    fn lent_memory_cannot_be_held_and_the_programs_is_not_charged() {
        let buffers = Buffers::new(2_048, 0, 0).with_reserve(1);
        let account = Account::default();
        let lent = buffers.copy_received(b"x").expect("the reserve");
        assert!(account.hold(lent).is_err());
        let program = Payload::from(bytes::Bytes::from_static(b"theirs"));
        let held = account.hold(program).expect("held");
        assert_eq!((account.pinned(), &held[..]), (0, &b"theirs"[..]));
    }

    /// Threads hold, hand over, slice and drop: nothing stays charged.
    #[test]
    fn charges_end_with_the_slabs_under_threads() {
        let buffers = Buffers::new(4_096, 64, 64);
        let accounts = [Account::default(), Account::default()];
        std::thread::scope(|scope| {
            for n in 0..4usize {
                let (buffers, accounts) = (&buffers, &accounts);
                scope.spawn(move || {
                    let mut held = Vec::new();
                    for step in 0..4_000usize {
                        if let Some(payload) = buffers.copy(&[1; 3_000]) {
                            held.extend(accounts[(n + step) % 2].hold(payload));
                        }
                        if step % 3 == 0
                            && let Some(one) = held.pop()
                        {
                            held.extend(accounts[step % 2].hold(one.into_payload()));
                        }
                        if step % 5 != 0 {
                            held.pop();
                        }
                    }
                });
            }
        });
        assert_eq!((accounts[0].pinned(), accounts[1].pinned()), (0, 0));
        assert_eq!(buffers.large().in_use(), 0);
    }
}
