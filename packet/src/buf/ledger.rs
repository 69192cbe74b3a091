//! The ghost ledger: what every operation on a slab takes and gives back, checked while tests run.
//!
//! A slab is at rest in its pool, `owned` by one [`SlabMut`](super::SlabMut), or a `block` shared by
//! some number of [`Payload`](super::Payload)s. The contracts, with `{before} operation {after}`:
//!
//! ```text
//! {rest}        Pool::take           {owned}
//! {owned}       SlabMut::freeze      {block 1}
//! {owned}       drop of a SlabMut    {rest}
//! {block n}     Payload::clone       {block n + 1}
//! {block n + 1} drop of a Payload    {block n}, n > 0
//! {block 1}     drop of a Payload    {rest}
//! {block 1}     Payload::try_append  {block 1}
//! {block 1}     Payload::into_mut    {owned}
//! {owned | block n} reading          unchanged
//! ```
//!
//! A transition out of any other state is a violation: it is counted and the state is left as it was,
//! and [`Pool::audit`](super::Pool::audit) tells. With the feature `ledger` off nothing of this is
//! compiled in: a slab is not one byte larger, and the audit answers that it is not supported.

/// A contract that was broken.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Violation {
    /// A slab was given back that was at rest already.
    DoubleReturn,
    /// A slab was read, shared or written after it had been given back.
    UseAfterReturn,
    /// A slab was taken or written while somebody else could see it.
    Aliased,
}

/// What the ledger says about a pool.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Audit {
    /// The ledger is not compiled in.
    Unsupported,
    /// Every contract was kept.
    Kept {
        /// Slabs with one writer now.
        owned: usize,
        /// Slabs with readers now. At shutdown this and `owned` must be zero: anything else is a leak.
        shared: usize,
    },
    /// Some contract was broken.
    Broken {
        /// Which one was broken first.
        first: Violation,
        /// How often any was.
        count: usize,
    },
}

impl Audit {
    /// Whether nothing is wrong as far as can be told: no contract was broken and no slab is out.
    /// Without a ledger, nothing can be told.
    pub fn is_clean(&self) -> bool {
        matches!(
            self,
            Self::Unsupported
                | Self::Kept {
                    owned: 0,
                    shared: 0
                }
        )
    }
}

#[cfg(any(test, feature = "ledger"))]
pub(super) use real::{Ghost, Ledger};

#[cfg(not(any(test, feature = "ledger")))]
pub(super) use none::{Ghost, Ledger};

#[cfg(any(test, feature = "ledger"))]
mod real {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::AcqRel, Ordering::Acquire};

    use super::{Audit, Violation};

    /// At rest in the pool.
    const REST: u32 = 0;
    /// One writer. Any other number is that many readers.
    const OWNED: u32 = u32::MAX;

    #[derive(Default)]
    struct Book {
        owned: AtomicUsize,
        shared: AtomicUsize,
        violations: AtomicUsize,
        /// The first violation, its number plus one; 0 is none.
        first: AtomicU32,
    }

    /// A pool's book.
    #[derive(Clone, Default)]
    pub(in super::super) struct Ledger {
        book: Arc<Book>,
    }

    impl Ledger {
        pub(in super::super) fn new() -> Self {
            Self::default()
        }

        pub(in super::super) fn ghost(&self) -> Ghost {
            Ghost {
                state: AtomicU32::new(REST),
                ledger: self.clone(),
            }
        }

        fn violated(&self, violation: Violation) {
            let number = match violation {
                Violation::DoubleReturn => 1,
                Violation::UseAfterReturn => 2,
                Violation::Aliased => 3,
            };
            let _ = self.book.first.compare_exchange(0, number, AcqRel, Acquire);
            self.book.violations.fetch_add(1, AcqRel);
        }

        pub(in super::super) fn audit(&self) -> Audit {
            let count = self.book.violations.load(Acquire);
            let first = match self.book.first.load(Acquire) {
                1 => Violation::DoubleReturn,
                2 => Violation::UseAfterReturn,
                3 => Violation::Aliased,
                _ => {
                    return Audit::Kept {
                        owned: self.book.owned.load(Acquire),
                        shared: self.book.shared.load(Acquire),
                    };
                }
            };
            Audit::Broken { first, count }
        }
    }

    /// A slab's entry in the book.
    pub(in super::super) struct Ghost {
        state: AtomicU32,
        ledger: Ledger,
    }

    impl Ghost {
        /// Moves the state by `step`, or notes `violation`.
        fn go(&self, step: impl Fn(u32) -> Result<u32, Violation>) {
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
            let book = &self.ledger.book;
            let sort = |state| match state {
                REST => None,
                OWNED => Some(&book.owned),
                _ => Some(&book.shared),
            };
            if let Some(counter) = sort(after) {
                counter.fetch_add(1, AcqRel);
            }
            if let Some(counter) = sort(before) {
                counter.fetch_sub(1, AcqRel);
            }
        }

        /// `{rest} take {owned}`.
        pub(in super::super) fn take(&self) {
            self.go(|state| match state {
                REST => Ok(OWNED),
                _ => Err(Violation::Aliased),
            });
        }

        /// `{owned} freeze {block 1}`.
        pub(in super::super) fn freeze(&self) {
            self.go(|state| match state {
                OWNED => Ok(1),
                REST => Err(Violation::UseAfterReturn),
                _ => Err(Violation::Aliased),
            });
        }

        /// `{block 1} into_mut {owned}`.
        pub(in super::super) fn thaw(&self) {
            self.go(|state| match state {
                1 => Ok(OWNED),
                REST => Err(Violation::UseAfterReturn),
                _ => Err(Violation::Aliased),
            });
        }

        /// `{block n} clone {block n + 1}`.
        pub(in super::super) fn share(&self) {
            self.go(|state| match state {
                REST => Err(Violation::UseAfterReturn),
                OWNED => Err(Violation::Aliased),
                readers => Ok(readers + 1),
            });
        }

        /// `{owned} drop {rest}` and `{block n + 1} drop {block n}`.
        pub(in super::super) fn give_back(&self) {
            self.go(|state| match state {
                REST => Err(Violation::DoubleReturn),
                OWNED => Ok(REST),
                readers => Ok(readers - 1),
            });
        }

        /// `{owned | block 1} write {unchanged}`.
        pub(in super::super) fn write(&self) {
            self.go(|state| match state {
                OWNED | 1 => Ok(state),
                REST => Err(Violation::UseAfterReturn),
                _ => Err(Violation::Aliased),
            });
        }

        /// `{owned | block n} read {unchanged}`.
        pub(in super::super) fn read(&self) {
            self.go(|state| match state {
                REST => Err(Violation::UseAfterReturn),
                _ => Ok(state),
            });
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        fn first(ledger: &Ledger) -> Option<Violation> {
            match ledger.audit() {
                Audit::Broken { first, count } => {
                    assert_eq!(count, 1);
                    Some(first)
                }
                _ => None,
            }
        }

        /// Every operation from every state in which its contract does not allow it.
        #[test]
        fn broken_contracts_are_seen() {
            type Step = fn(&Ghost);
            let rest: &[Step] = &[];
            let owned: &[Step] = &[Ghost::take];
            let one: &[Step] = &[Ghost::take, Ghost::freeze];
            let two: &[Step] = &[Ghost::take, Ghost::freeze, Ghost::share];
            use Violation::{Aliased, DoubleReturn, UseAfterReturn};
            let table: &[(&[Step], Step, Option<Violation>)] = &[
                (rest, Ghost::take, None),
                (owned, Ghost::take, Some(Aliased)),
                (one, Ghost::take, Some(Aliased)),
                (rest, Ghost::freeze, Some(UseAfterReturn)),
                (owned, Ghost::freeze, None),
                (two, Ghost::freeze, Some(Aliased)),
                (rest, Ghost::thaw, Some(UseAfterReturn)),
                (one, Ghost::thaw, None),
                (two, Ghost::thaw, Some(Aliased)),
                (rest, Ghost::share, Some(UseAfterReturn)),
                (owned, Ghost::share, Some(Aliased)),
                (two, Ghost::share, None),
                (rest, Ghost::give_back, Some(DoubleReturn)),
                (owned, Ghost::give_back, None),
                (two, Ghost::give_back, None),
                (rest, Ghost::write, Some(UseAfterReturn)),
                (owned, Ghost::write, None),
                (one, Ghost::write, None),
                (two, Ghost::write, Some(Aliased)),
                (rest, Ghost::read, Some(UseAfterReturn)),
                (two, Ghost::read, None),
            ];
            for (row, (before, step, expected)) in table.iter().enumerate() {
                let ledger = Ledger::default();
                let ghost = ledger.ghost();
                before.iter().for_each(|step| step(&ghost));
                assert_eq!(first(&ledger), None, "row {row}");
                step(&ghost);
                assert_eq!(first(&ledger), *expected, "row {row}");
            }
        }

        #[test]
        fn leaks_are_seen() {
            let ledger = Ledger::default();
            let (a, b) = (ledger.ghost(), ledger.ghost());
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
            a.give_back();
            b.give_back();
            assert!(ledger.audit().is_clean());
        }
    }
}

#[cfg(not(any(test, feature = "ledger")))]
mod none {
    use super::Audit;

    /// No book.
    pub(in super::super) struct Ledger;

    impl Ledger {
        pub(in super::super) fn new() -> Self {
            Self
        }

        #[inline(always)]
        pub(in super::super) fn ghost(&self) -> Ghost {
            Ghost
        }

        pub(in super::super) fn audit(&self) -> Audit {
            Audit::Unsupported
        }
    }

    /// No entry.
    pub(in super::super) struct Ghost;

    const _: () = assert!(size_of::<Ghost>() == 0 && size_of::<Ledger>() == 0);

    impl Ghost {
        #[inline(always)]
        pub(in super::super) fn take(&self) {}

        #[inline(always)]
        pub(in super::super) fn freeze(&self) {}

        #[inline(always)]
        pub(in super::super) fn thaw(&self) {}

        #[inline(always)]
        pub(in super::super) fn share(&self) {}

        #[inline(always)]
        pub(in super::super) fn give_back(&self) {}

        #[inline(always)]
        pub(in super::super) fn write(&self) {}

        #[inline(always)]
        pub(in super::super) fn read(&self) {}
    }
}
