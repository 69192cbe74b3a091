//! A limit of log lines for each place in the code, so that a flood of one message hides no other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use tracing::level_filters::LevelFilter;
use tracing::{Event, Metadata};
use tracing_subscriber::layer::{Context, Filter};

/// Most lines of one place in one period.
const LINES: u32 = 50;

/// Places are told apart by as many counters; two may share one.
const PLACES: usize = 256;

/// Counts lines by place, from one tick to the next.
#[derive(Debug)]
pub(super) struct Limit {
    counts: [AtomicU32; PLACES],
    left_out: AtomicU64,
}

impl Limit {
    pub(super) fn new() -> Self {
        Self {
            counts: [const { AtomicU32::new(0) }; PLACES],
            left_out: AtomicU64::new(0),
        }
    }

    /// Returns whether the place of a line may have one more.
    fn admits(&self, place: usize) -> bool {
        let count = self.counts.get(place % PLACES);
        let is_within = count.is_none_or(|count| count.fetch_add(1, Ordering::Relaxed) < LINES);
        if !is_within {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
        is_within
    }

    /// Begins a new period, and returns how many lines were left out.
    pub(super) fn tick(&self) -> u64 {
        for count in &self.counts {
            count.store(0, Ordering::Relaxed);
        }
        self.left_out.swap(0, Ordering::Relaxed)
    }
}

/// The limit as a filter. It counts what the levels let through.
pub(super) struct LimitFilter(pub(super) Arc<Limit>);

impl<S> Filter<S> for LimitFilter {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        self.0.admits(place_of(event.metadata()))
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::TRACE)
    }
}

/// Returns a number for a place in the code.
fn place_of(metadata: &Metadata<'_>) -> usize {
    let name = metadata.file().unwrap_or(metadata.target());
    let line = metadata.line().unwrap_or_default() as usize;
    name.bytes().fold(line, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(byte.into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_one_place_hides_no_other() {
        let limit = Limit::new();
        let admitted = (0..1_000).filter(|_| limit.admits(7)).count();
        assert_eq!(admitted, LINES as usize);
        assert!(limit.admits(8));
        assert_eq!(limit.tick(), 1_000 - u64::from(LINES));
        assert!(limit.admits(7), "another period");
        assert_eq!(limit.tick(), 0);
    }
}
