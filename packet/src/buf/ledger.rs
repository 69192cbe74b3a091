//! The ghost ledger: what every operation on a slab takes and gives back, checked while tests run.
//!
//! A slab is at rest in its pool, `owned` by one [`SlabMut`](super::SlabMut), or a `block` shared by
//! some number of [`Payload`](super::Payload)s. The contracts, with `{before} operation {after}`:
//!
//! ```text
//! {rest}        Pool::take              {owned}
//! {owned}       SlabMut::as_mut_slice   {owned}
//! {owned}       SlabMut::as_slice       {owned}
//! {owned}       SlabMut::freeze         {block 1}
//! {owned}       drop of a SlabMut       {rest}
//! {block n}     Payload::clone          {block n + 1}
//! {block n}     reading a Payload       {block n}
//! {block 1}     Payload::try_append     {block 1}
//! {block 1}     Payload::into_mut       {owned}
//! {block n + 1} drop of a Payload       {block n}, n > 0
//! {block 1}     drop of a Payload       {rest}
//! ```
//!
//! A transition out of any other state is a violation. It is noted, the state is left as it was, and
//! the program panics there and then: a test that breaks a contract fails where it does. What is out
//! at the end [`Pool::audit`](super::Pool::audit) tells.
//!
//! It is compiled in by the feature `ledger`, which the tests of the workspace have, and in this
//! crate's own tests. Without it there is nothing of this: a slab is not one byte larger, and the
//! audit answers that it is not supported.

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
    /// Whether it is certain that nothing is wrong: there is a ledger, no contract was broken and no
    /// slab is out.
    pub fn is_clean(&self) -> bool {
        *self
            == Self::Kept {
                owned: 0,
                shared: 0,
            }
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
            // A second panic while the first unwinds would end the process without a word.
            assert!(
                std::thread::panicking(),
                "the ledger of slabs: {violation:?}"
            );
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

        /// `{owned} as_mut_slice, as_slice {owned}`.
        pub(in super::super) fn use_owned(&self) {
            self.go(|state| match state {
                OWNED => Ok(state),
                REST => Err(Violation::UseAfterReturn),
                _ => Err(Violation::Aliased),
            });
        }

        /// `{block n} read {block n}`.
        pub(in super::super) fn read_shared(&self) {
            self.go(|state| match state {
                REST => Err(Violation::UseAfterReturn),
                OWNED => Err(Violation::Aliased),
                _ => Ok(state),
            });
        }

        /// `{block 1} try_append {block 1}`.
        pub(in super::super) fn append(&self) {
            self.go(|state| match state {
                1 => Ok(state),
                REST => Err(Violation::UseAfterReturn),
                _ => Err(Violation::Aliased),
            });
        }

        /// `{owned} drop {rest}`.
        pub(in super::super) fn give_back_owned(&self) {
            self.go(|state| match state {
                OWNED => Ok(REST),
                REST => Err(Violation::DoubleReturn),
                _ => Err(Violation::Aliased),
            });
        }

        /// `{block n + 1} drop {block n}`, of which `{block 0}` is `{rest}`.
        pub(in super::super) fn give_back_shared(&self) {
            self.go(|state| match state {
                REST => Err(Violation::DoubleReturn),
                OWNED => Err(Violation::Aliased),
                readers => Ok(readers - 1),
            });
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        /// Every operation from every state: what comes of it, or the contract that it breaks.
        #[test]
        fn every_operation_from_every_state() {
            type Step = fn(&Ghost);
            let states: [&[Step]; 4] = [
                &[],
                &[Ghost::take],
                &[Ghost::take, Ghost::freeze],
                &[Ghost::take, Ghost::freeze, Ghost::share],
            ];
            use Violation::{Aliased, DoubleReturn, UseAfterReturn};
            // From rest, owned, block 1 and block 2: the state that follows, or the violation.
            type Row = (&'static str, Step, [Result<u32, Violation>; 4]);
            let rows: [Row; 9] = [
                (
                    "take",
                    Ghost::take,
                    [Ok(OWNED), Err(Aliased), Err(Aliased), Err(Aliased)],
                ),
                (
                    "use_owned",
                    Ghost::use_owned,
                    [Err(UseAfterReturn), Ok(OWNED), Err(Aliased), Err(Aliased)],
                ),
                (
                    "freeze",
                    Ghost::freeze,
                    [Err(UseAfterReturn), Ok(1), Err(Aliased), Err(Aliased)],
                ),
                (
                    "give_back_owned",
                    Ghost::give_back_owned,
                    [Err(DoubleReturn), Ok(REST), Err(Aliased), Err(Aliased)],
                ),
                (
                    "share",
                    Ghost::share,
                    [Err(UseAfterReturn), Err(Aliased), Ok(2), Ok(3)],
                ),
                (
                    "read_shared",
                    Ghost::read_shared,
                    [Err(UseAfterReturn), Err(Aliased), Ok(1), Ok(2)],
                ),
                (
                    "append",
                    Ghost::append,
                    [Err(UseAfterReturn), Err(Aliased), Ok(1), Err(Aliased)],
                ),
                (
                    "thaw",
                    Ghost::thaw,
                    [Err(UseAfterReturn), Err(Aliased), Ok(OWNED), Err(Aliased)],
                ),
                (
                    "give_back_shared",
                    Ghost::give_back_shared,
                    [Err(DoubleReturn), Err(Aliased), Ok(REST), Ok(1)],
                ),
            ];
            for (name, step, results) in rows {
                for (state, expected) in results.into_iter().enumerate() {
                    let ledger = Ledger::default();
                    let ghost = ledger.ghost();
                    states[state].iter().for_each(|step| step(&ghost));
                    let before = ghost.state.load(Acquire);
                    let ended =
                        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| step(&ghost)));
                    let after = ghost.state.load(Acquire);
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
            a.give_back_owned();
            b.give_back_shared();
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
        pub(in super::super) fn use_owned(&self) {}

        #[inline(always)]
        pub(in super::super) fn read_shared(&self) {}

        #[inline(always)]
        pub(in super::super) fn append(&self) {}

        #[inline(always)]
        pub(in super::super) fn give_back_owned(&self) {}

        #[inline(always)]
        pub(in super::super) fn give_back_shared(&self) {}
    }
}
