//! Counters that go on in another process.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Counters;

/// Most that a counter may have come to in all workers together: it cannot overflow in the life of a program.
const LARGEST: u64 = u64::MAX / 2;

/// The counters of one worker, as plain data.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "checkpoint", derive(serde::Serialize, serde::Deserialize))]
pub struct KeptCounters(Vec<u64>);

impl Counters {
    /// Returns everything that only grows.
    fn growing(&self) -> impl Iterator<Item = &AtomicU64> {
        let Self {
            drops,
            counts,
            // It counts what is there now.
            timers: _,
            busy_turns,
            busy_nanos,
            mib,
        } = self;
        let all = drops.iter().chain(counts).chain([busy_turns, busy_nanos]);
        all.chain(mib.all())
    }
}

impl KeptCounters {
    /// Reads the counters of a worker.
    pub fn of(counters: &Counters) -> Self {
        let values = counters.growing();
        Self(values.map(|value| value.load(Ordering::Relaxed)).collect())
    }

    /// Adds the counters of earlier workers to those of as many others as there are, none of which counts yet. Returns
    /// `None`, and adds nothing, if some of them are not what a worker counts.
    pub fn add_all(kept: &[Self], workers: &[&Counters]) -> Option<()> {
        let mut sums = vec![0_u64; Counters::new().growing().count()];
        for one in kept {
            if one.0.len() != sums.len() {
                return None;
            }
            for (sum, value) in sums.iter_mut().zip(&one.0) {
                let next = sum.checked_add(*value);
                *sum = next.filter(|next| *next <= LARGEST)?;
            }
        }
        for (one, worker) in kept.iter().zip(workers.iter().cycle()) {
            for (counter, value) in worker.growing().zip(&one.0) {
                counter.fetch_add(*value, Ordering::Relaxed);
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Counter, DropReason};
    use super::*;

    #[test]
    fn counters_go_on_whatever_the_number_of_workers() {
        let old = [Counters::new(), Counters::new(), Counters::new()];
        for (worker, count) in old.iter().zip(1..) {
            worker.add(Counter::PacketsIn, count);
            worker.drop_packet(DropReason::TcpPaws);
            worker.set_timers(7);
        }
        let kept: Vec<_> = old.iter().map(KeptCounters::of).collect();
        for count in [1, 2, 5] {
            let new: Vec<_> = (0..count).map(|_| Counters::new()).collect();
            let workers: Vec<_> = new.iter().collect();
            KeptCounters::add_all(&kept, &workers).expect("good ones");
            let sum = |get: &dyn Fn(&Counters) -> u64| new.iter().map(get).sum::<u64>();
            assert_eq!(sum(&|one| one.count(Counter::PacketsIn)), 6);
            assert_eq!(sum(&|one| one.dropped(DropReason::TcpPaws)), 3);
            assert_eq!(sum(&Counters::timers), 0);
        }
    }

    #[test]
    fn what_no_worker_counts_is_refused() {
        let (counters, good) = (Counters::new(), KeptCounters::of(&Counters::new()));
        let workers = [&counters];
        let mut short = good.clone();
        short.0.pop();
        let mut large = good.clone();
        large.0[0] = LARGEST;
        let mut one = good.clone();
        one.0[0] = 1;
        for bad in [vec![short], vec![large, one]] {
            assert_eq!(KeptCounters::add_all(&bad, &workers), None);
            assert_eq!(KeptCounters::of(&counters), good, "nothing was added");
        }
        let none = KeptCounters::add_all(&[], &workers);
        assert!(none.is_some() && KeptCounters::of(&counters) == good);
    }
}
