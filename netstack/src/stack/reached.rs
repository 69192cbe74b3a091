//! A stack at rest: its workers read nothing, send nothing and fire no timer, and nothing is lost.
//!
//! * **Define.** A stack runs, drains or is frozen. While it drains, its workers read nothing more from their devices and
//!   finish what they have; frozen, they do nothing at all.
//! * **Enforce.** A worker looks at the stage at the beginning of each turn, and notes the stage that it has reached. Only
//!   [`Freeze`] changes the stage.
//! * **Consume.** Once every worker has reached a stage, no state of the stack changes but by calls of the program.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// The stages, in the order in which they are passed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u32)]
pub(crate) enum Stage {
    /// Everything works.
    Running,
    /// The workers finish what was read, and read no more.
    Draining,
    /// The workers stand still.
    Frozen,
}

/// A stage of one rest: each rest has a number, so that the mark of an earlier one is not taken for one of this.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Mark(u32);

/// Numbers that stand for a stage.
const STAGES: u32 = 4;

impl Mark {
    const fn new(rest: u32, stage: Stage) -> Self {
        Self(rest.wrapping_mul(STAGES) | stage as u32)
    }

    fn rest(self) -> u32 {
        self.0 / STAGES
    }

    pub(crate) fn stage(self) -> Stage {
        match self.0 % STAGES {
            0 => Stage::Running,
            1 => Stage::Draining,
            _ => Stage::Frozen,
        }
    }

    /// Returns true if whoever has noted this has come as far as `other`.
    fn is_as_far_as(self, other: Self) -> bool {
        self.rest() == other.rest() && self.stage() >= other.stage()
    }
}

/// The call was ended because the program recalls its connections: nothing was read or written. See
/// [`Stack::recall`](crate::net::Stack::recall).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the program recalls its connections: this one is as it was")]
pub struct Recalled;

/// Returns true if a call on a connection ended with [`Recalled`].
pub fn is_recalled(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Recalled>())
}

/// The stage of one stack.
#[derive(Debug)]
pub(crate) struct Freeze {
    mark: AtomicU32,
    recalled: AtomicBool,
}

impl Freeze {
    /// Begins at `stage`.
    pub(crate) fn new(stage: Stage) -> Self {
        Self {
            mark: AtomicU32::new(Mark::new(0, stage).0),
            recalled: AtomicBool::new(false),
        }
    }

    #[inline]
    pub(crate) fn mark(&self) -> Mark {
        Mark(self.mark.load(Ordering::Acquire))
    }

    fn replace(&self, before: Mark, after: Mark) -> bool {
        let order = (Ordering::AcqRel, Ordering::Acquire);
        let set = self
            .mark
            .compare_exchange(before.0, after.0, order.0, order.1);
        set.is_ok()
    }

    /// Begins a rest; false if there is one already.
    pub(crate) fn drain(&self) -> bool {
        let before = self.mark();
        let after = Mark::new(before.rest().wrapping_add(1), Stage::Draining);
        before.stage() == Stage::Running && self.replace(before, after)
    }

    /// Freezes a stack that drains.
    pub(crate) fn freeze(&self) {
        let before = self.mark();
        if before.stage() == Stage::Draining {
            self.replace(before, Mark::new(before.rest(), Stage::Frozen));
        }
    }

    /// Returns true if the program recalls its connections.
    pub(crate) fn is_recalled(&self) -> bool {
        self.recalled.load(Ordering::Acquire)
    }

    /// Checks that a call on a connection may go on.
    ///
    /// # Errors
    /// The program recalls its connections.
    #[inline]
    pub(crate) fn check_call(&self) -> io::Result<()> {
        if self.is_recalled() {
            // Not `Interrupted`: whoever reads a whole buffer calls again for that, at once and without end.
            return Err(io::Error::other(Recalled));
        }
        Ok(())
    }

    /// Ends calls on connections from now on.
    pub(crate) fn recall(&self) {
        self.recalled.store(true, Ordering::Release);
    }

    /// Lets calls go on.
    pub(crate) fn end_recall(&self) {
        self.recalled.store(false, Ordering::Release);
    }

    /// Goes back to work, and lets calls go on.
    pub(crate) fn run(&self) {
        self.end_recall();
        let rest = self.mark().rest();
        self.mark
            .store(Mark::new(rest, Stage::Running).0, Ordering::Release);
    }
}

/// The mark that a worker has reached.
pub(crate) struct Reached(AtomicU32);

impl Default for Reached {
    fn default() -> Self {
        Self(AtomicU32::new(Mark::new(0, Stage::Running).0))
    }
}

impl fmt::Debug for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Mark(self.0.load(Ordering::Acquire)).fmt(f)
    }
}

impl Reached {
    /// Returns true if the worker has come as far as `mark`.
    pub(crate) fn has(&self, mark: Mark) -> bool {
        Mark(self.0.load(Ordering::Acquire)).is_as_far_as(mark)
    }

    pub(crate) fn note(&self, mark: Mark) {
        self.0.store(mark.0, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_of_an_earlier_rest_is_none_of_this() {
        let (freeze, worker) = (Freeze::new(Stage::Running), Reached::default());
        assert!(freeze.drain() && !freeze.drain());
        let draining = freeze.mark();
        assert!(!worker.has(draining));
        freeze.freeze();
        let frozen = freeze.mark();
        worker.note(frozen);
        assert!(worker.has(frozen) && worker.has(draining));
        freeze.run();
        assert_eq!(freeze.mark().stage(), Stage::Running);
        // The worker has not been turned since.
        assert!(freeze.drain());
        assert!(!worker.has(freeze.mark()));
    }

    #[test]
    fn calls_end_while_connections_are_recalled() {
        let freeze = Freeze::new(Stage::Running);
        assert!(freeze.check_call().is_ok());
        freeze.recall();
        let error = freeze.check_call().expect_err("recalled");
        assert!(is_recalled(&error) && !is_recalled(&io::ErrorKind::Other.into()));
        // Calls that go on until a buffer is full end, too.
        assert_ne!(error.kind(), io::ErrorKind::Interrupted);
        freeze.run();
        assert!(freeze.check_call().is_ok());
    }
}
