//! The ledger of programs that are built with the feature `ledger`, and of tests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::AcqRel, Ordering::Acquire};

use super::{Audit, Violation};

/// The slab is free.
const FREE: u32 = 0;
/// The slab has one writer. Any other number is the number of its readers.
const OWNED: u32 = u32::MAX;

#[derive(Default)]
struct Counters {
    owned: AtomicUsize,
    shared: AtomicUsize,
    violations: AtomicUsize,
    /// Number of the first violation; 0 if there is none.
    first: AtomicU32,
}

/// The ledger of a pool.
#[derive(Clone, Default)]
pub(in crate::buf) struct Ledger {
    counters: Arc<Counters>,
}

impl Ledger {
    pub(in crate::buf) fn new() -> Self {
        Self::default()
    }

    pub(in crate::buf) fn new_entry(&self) -> Entry {
        Entry {
            state: AtomicU32::new(FREE),
            ledger: self.clone(),
        }
    }

    fn violated(&self, violation: Violation) {
        let number = match violation {
            Violation::DoubleReturn => 1,
            Violation::UseAfterReturn => 2,
            Violation::Aliased => 3,
        };
        let _ = self
            .counters
            .first
            .compare_exchange(0, number, AcqRel, Acquire);
        self.counters.violations.fetch_add(1, AcqRel);
        // A panic during another panic would abort the process without a message.
        assert!(
            std::thread::panicking(),
            "a buffer contract was broken: {violation:?}"
        );
    }

    pub(in crate::buf) fn audit(&self) -> Audit {
        let count = self.counters.violations.load(Acquire);
        let first = match self.counters.first.load(Acquire) {
            1 => Violation::DoubleReturn,
            2 => Violation::UseAfterReturn,
            3 => Violation::Aliased,
            _ => {
                return Audit::Kept {
                    owned: self.counters.owned.load(Acquire),
                    shared: self.counters.shared.load(Acquire),
                };
            }
        };
        Audit::Broken { first, count }
    }
}

/// The entry of one slab.
pub(in crate::buf) struct Entry {
    state: AtomicU32,
    ledger: Ledger,
}

impl Entry {
    /// Changes the state by `step`, or records the violation that `step` returns.
    fn transition(&self, step: impl Fn(u32) -> Result<u32, Violation>) {
        let mut violation = None;
        let moved = self.state.fetch_update(AcqRel, Acquire, |state| {
            step(state).map_err(|which| violation = Some(which)).ok()
        });
        match (moved, violation) {
            (Ok(before), _) => {
                let after = step(before).unwrap_or(before);
                self.count(before, after);
            }
            (Err(_), Some(which)) => self.ledger.violated(which),
            (Err(_), None) => {}
        }
    }

    fn count(&self, before: u32, after: u32) {
        let counters = &self.ledger.counters;
        let counter_of = |state| match state {
            FREE => None,
            OWNED => Some(&counters.owned),
            _ => Some(&counters.shared),
        };
        if let Some(counter) = counter_of(after) {
            counter.fetch_add(1, AcqRel);
        }
        if let Some(counter) = counter_of(before) {
            counter.fetch_sub(1, AcqRel);
        }
    }

    /// `{free} take {owned}`.
    pub(in crate::buf) fn take(&self) {
        self.transition(|state| match state {
            FREE => Ok(OWNED),
            _ => Err(Violation::Aliased),
        });
    }

    /// `{owned} freeze {shared 1}`.
    pub(in crate::buf) fn freeze(&self) {
        self.transition(|state| match state {
            OWNED => Ok(1),
            FREE => Err(Violation::UseAfterReturn),
            _ => Err(Violation::Aliased),
        });
    }

    /// `{shared 1} into_mut {owned}`.
    pub(in crate::buf) fn thaw(&self) {
        self.transition(|state| match state {
            1 => Ok(OWNED),
            FREE => Err(Violation::UseAfterReturn),
            _ => Err(Violation::Aliased),
        });
    }

    /// `{shared n} clone {shared n + 1}`.
    pub(in crate::buf) fn share(&self) {
        self.transition(|state| match state {
            FREE => Err(Violation::UseAfterReturn),
            OWNED => Err(Violation::Aliased),
            readers => Ok(readers + 1),
        });
    }

    /// `{owned} as_mut_slice, as_slice {owned}`.
    pub(in crate::buf) fn use_owned(&self) {
        self.transition(|state| match state {
            OWNED => Ok(state),
            FREE => Err(Violation::UseAfterReturn),
            _ => Err(Violation::Aliased),
        });
    }

    /// `{shared n} read {shared n}`.
    pub(in crate::buf) fn read_shared(&self) {
        self.transition(|state| match state {
            FREE => Err(Violation::UseAfterReturn),
            OWNED => Err(Violation::Aliased),
            _ => Ok(state),
        });
    }

    /// `{shared 1} try_append {shared 1}`.
    pub(in crate::buf) fn append(&self) {
        self.transition(|state| match state {
            1 => Ok(state),
            FREE => Err(Violation::UseAfterReturn),
            _ => Err(Violation::Aliased),
        });
    }

    /// `{owned} drop {free}`.
    pub(in crate::buf) fn give_back_owned(&self) {
        self.transition(|state| match state {
            OWNED => Ok(FREE),
            FREE => Err(Violation::DoubleReturn),
            _ => Err(Violation::Aliased),
        });
    }

    /// `{shared n + 1} drop {shared n}`, where `{shared 0}` is `{free}`.
    pub(in crate::buf) fn give_back_shared(&self) {
        self.transition(|state| match state {
            FREE => Err(Violation::DoubleReturn),
            OWNED => Err(Violation::Aliased),
            readers => Ok(readers - 1),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tries every operation in every state: it leads to another state or breaks a contract.
    #[test]
    fn every_operation_from_every_state() {
        type Step = fn(&Entry);
        let states: [&[Step]; 4] = [
            &[],
            &[Entry::take],
            &[Entry::take, Entry::freeze],
            &[Entry::take, Entry::freeze, Entry::share],
        ];
        use Violation::{Aliased, DoubleReturn, UseAfterReturn};
        // In the states free, owned, shared 1 and shared 2: the next state, or the violation.
        type Row = (&'static str, Step, [Result<u32, Violation>; 4]);
        let rows: [Row; 9] = [
            (
                "take",
                Entry::take,
                [Ok(OWNED), Err(Aliased), Err(Aliased), Err(Aliased)],
            ),
            (
                "use_owned",
                Entry::use_owned,
                [Err(UseAfterReturn), Ok(OWNED), Err(Aliased), Err(Aliased)],
            ),
            (
                "freeze",
                Entry::freeze,
                [Err(UseAfterReturn), Ok(1), Err(Aliased), Err(Aliased)],
            ),
            (
                "give_back_owned",
                Entry::give_back_owned,
                [Err(DoubleReturn), Ok(FREE), Err(Aliased), Err(Aliased)],
            ),
            (
                "share",
                Entry::share,
                [Err(UseAfterReturn), Err(Aliased), Ok(2), Ok(3)],
            ),
            (
                "read_shared",
                Entry::read_shared,
                [Err(UseAfterReturn), Err(Aliased), Ok(1), Ok(2)],
            ),
            (
                "append",
                Entry::append,
                [Err(UseAfterReturn), Err(Aliased), Ok(1), Err(Aliased)],
            ),
            (
                "thaw",
                Entry::thaw,
                [Err(UseAfterReturn), Err(Aliased), Ok(OWNED), Err(Aliased)],
            ),
            (
                "give_back_shared",
                Entry::give_back_shared,
                [Err(DoubleReturn), Err(Aliased), Ok(FREE), Ok(1)],
            ),
        ];
        for (name, step, results) in rows {
            for (state, expected) in results.into_iter().enumerate() {
                let ledger = Ledger::default();
                let entry = ledger.new_entry();
                states[state].iter().for_each(|step| step(&entry));
                let before = entry.state.load(Acquire);
                let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| step(&entry)));
                let after = entry.state.load(Acquire);
                let audit = ledger.audit();
                match expected {
                    Ok(state) => {
                        assert_eq!((ended.is_ok(), after), (true, state), "{name}");
                        assert!(matches!(audit, Audit::Kept { .. }), "{name}");
                    }
                    Err(first) => {
                        assert_eq!((ended.is_err(), after), (true, before), "{name}");
                        assert_eq!(audit, Audit::Broken { first, count: 1 }, "{name}");
                    }
                }
            }
        }
    }

    #[test]
    fn leaks_are_reported() {
        let ledger = Ledger::default();
        let (a, b) = (ledger.new_entry(), ledger.new_entry());
        a.take();
        b.take();
        b.freeze();
        assert_eq!(
            ledger.audit(),
            Audit::Kept {
                owned: 1,
                shared: 1
            }
        );
        assert!(!ledger.audit().is_clean());
        a.give_back_owned();
        b.give_back_shared();
        assert!(ledger.audit().is_clean());
    }
}
