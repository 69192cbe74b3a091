//! Counts the connections that a service could not hand over now, because something of them is in the hands of a library, or
//! in a task's alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// The count, of all services together. The tasks that change it run on the workers; anybody may look.
#[derive(Clone, Debug, Default)]
pub(super) struct Unfinished(Arc<AtomicUsize>);

/// One connection, which counts once for however many reasons.
#[derive(Debug)]
pub(super) struct Counted {
    all: Unfinished,
    reasons: AtomicU32,
}

/// A reason for which a connection cannot be handed over, while this exists.
#[derive(Debug)]
pub(super) struct Reason(Arc<Counted>);

impl Unfinished {
    /// Returns a connection that can be handed over.
    pub(super) fn connection(&self) -> Arc<Counted> {
        Arc::new(Counted {
            all: self.clone(),
            reasons: AtomicU32::new(0),
        })
    }

    /// Returns the number of connections that cannot be handed over.
    pub(super) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counted {
    /// Begins something that is lost if the connection is handed over before it ends.
    pub(super) fn begin(self: &Arc<Self>) -> Reason {
        if self.reasons.fetch_add(1, Ordering::Relaxed) == 0 {
            self.all.0.fetch_add(1, Ordering::Relaxed);
        }
        Reason(Arc::clone(self))
    }
}

impl Drop for Reason {
    fn drop(&mut self) {
        if self.0.reasons.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.all.0.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_counts_once_for_however_many_reasons() {
        let all = Unfinished::default();
        let [one, other] = [all.connection(), all.connection()];
        assert_eq!(all.count(), 0);
        let (answer, write, test) = (one.begin(), one.begin(), other.begin());
        assert_eq!(all.count(), 2);
        drop(answer);
        assert_eq!(all.count(), 2);
        drop((write, one));
        assert_eq!(all.count(), 1);
        drop((test, other));
        assert_eq!(all.count(), 0);
    }
}
