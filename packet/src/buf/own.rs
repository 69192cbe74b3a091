//! Memory of the program that the stack keeps: counted against the budget for as long as it is kept.
//!
//! The stack did not allocate it and cannot make it smaller, but it is the stack that keeps it from being freed,
//! until a peer acknowledges it. So it counts like a slab: against the budget, and to the account of the flow that
//! holds it. What is counted is the part that is queued. Parts of one [`Bytes`] that several connections send count
//! once for each of them, although they share memory: the stack cannot know who else holds it, and an estimate that
//! is too high only makes writers wait earlier.

use bytes::Bytes;

use super::Buffers;
use super::account::Account;
use super::budget::Charge;
use super::payload::Payload;

/// Memory of the program, what is counted for it, and what becomes of it at its end: all in one allocation.
pub(super) struct Own {
    bytes: Bytes,
    dropper: Option<fn(Bytes)>,
    charge: Option<Charge>,
    account: Option<Account>,
}

impl Own {
    pub(super) fn new(bytes: Bytes) -> Self {
        Self {
            bytes,
            dropper: None,
            charge: None,
            account: None,
        }
    }

    pub(super) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Returns true if its end matters to others than the program.
    pub(super) fn is_watched(&self) -> bool {
        self.dropper.is_some() || self.charge.is_some()
    }

    pub(super) fn has_dropper(&self) -> bool {
        self.dropper.is_some()
    }

    pub(super) fn set_dropper(&mut self, dropper: fn(Bytes)) {
        self.dropper = Some(dropper);
    }

    /// Counts it from now on.
    fn count(&mut self, charge: Charge, account: Option<&Account>) {
        if let Some(account) = account {
            account.add(self.bytes.len());
        }
        self.charge = Some(charge);
        self.account = account.cloned();
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        if let Some(account) = &self.account {
            account.remove(self.bytes.len());
        }
        if let Some(dropper) = self.dropper {
            dropper(std::mem::take(&mut self.bytes));
        }
    }
}

impl Buffers {
    /// Counts memory of the program against the budget, and to `account` if there is one, until the last slice of
    /// the result is dropped. Returns slabs as they are: they count already.
    ///
    /// # Errors
    /// The payload, if the budget has no more.
    ///
    /// ```
    /// use bytes::Bytes;
    /// use packet::{Buffers, Payload};
    ///
    /// let buffers = Buffers::with_limit(2_048, 1 << 20, 0);
    /// let own = Payload::from(Bytes::from(vec![7; 1_000_000]));
    /// let counted = buffers.count_own(own.clone(), None).unwrap();
    /// assert_eq!(buffers.memory_use().used, 1_000_000);
    /// assert!(buffers.count_own(own, None).is_err());
    /// drop(counted);
    /// assert_eq!(buffers.memory_use().used, 0);
    /// ```
    pub fn count_own(
        &self,
        mut payload: Payload,
        account: Option<&Account>,
    ) -> Result<Payload, Payload> {
        if payload.is_pooled() || payload.is_empty() {
            return Ok(payload);
        }
        let mut charge = self.charge();
        if !charge.set(payload.len()) {
            // Unused slabs make room.
            let missing = payload.len();
            let missing = missing.saturating_sub(self.large.free_unused(missing));
            self.small.free_unused(missing);
            if !charge.set(payload.len()) {
                return Err(payload);
            }
        }
        if let Some(own) = payload.whole_own().filter(|own| own.charge.is_none()) {
            own.count(charge, account);
            return Ok(payload);
        }
        // Others have parts of it: this part is counted alone.
        let mut own = Own::new(payload.into());
        own.count(charge, account);
        Ok(Payload::of_own(own))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_the_program_counts_while_a_flow_holds_it() {
        let buffers = Buffers::with_limit(2_048, 1 << 20, 0);
        let account = Account::default();
        let memory = buffers.charging(&account);
        let own = Payload::from(Bytes::from(vec![7; 700_000]));
        let held = memory.hold(own.slice(0..600_000)).expect("there is room");
        assert_eq!(account.pinned(), 600_000);
        assert!(buffers.memory_use().used >= 600_000);
        let refused = memory
            .hold(own.clone())
            .expect_err("no room for all of it")
            .0;
        assert_eq!(refused.len(), 700_000, "nothing of it is lost");
        let slice = held.slice(5..10);
        drop(held);
        assert_eq!(account.pinned(), 600_000, "a slice keeps it");
        drop(slice);
        assert_eq!((account.pinned(), buffers.memory_use().used), (0, 0));
        // Empty payloads cost nothing.
        drop(memory.hold(Payload::default()).expect("nothing to count"));
        assert_eq!(buffers.memory_use().allocated, 0);
    }

    #[test]
    fn unused_slabs_make_room_for_memory_of_the_program() {
        let buffers = Buffers::with_limit(64 << 10, 1 << 20, 0);
        let slabs: Vec<_> = std::iter::from_fn(|| buffers.copy(&[1; 60_000])).collect();
        drop(slabs);
        assert!(buffers.memory_use().allocated > 900_000);
        let own = Payload::from(Bytes::from(vec![7; 700_000]));
        assert!(buffers.count_own(own, None).is_ok());
        assert!(buffers.memory_use().allocated <= 1 << 20);
    }
}
