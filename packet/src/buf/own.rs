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

/// Memory of the program, and what is counted for it.
struct Counted {
    bytes: Bytes,
    account: Option<Account>,
    _charge: Charge,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(account) = &self.account {
            account.remove(self.bytes.len());
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
        payload: Payload,
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
        if let Some(account) = account {
            account.add(payload.len());
        }
        Ok(Payload::from(Bytes::from_owner(Counted {
            bytes: payload.into(),
            account: account.cloned(),
            _charge: charge,
        })))
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
