//! The locks, each acquired and released in a loop.
//!
//! Each library is used as its documentation says for a thread that locks again and again: keys and
//! contexts are had once, collections are made once unless the case says otherwise.

mod happylock;
mod levels;
mod ours;
mod raw;
mod sets;
mod watched;

/// Something that is done again and again.
pub(crate) struct Case {
    /// Cases of one group do the same.
    pub(crate) group: &'static str,
    pub(crate) name: &'static str,
    /// The raw lock underneath: a case of the same group.
    pub(crate) over: &'static str,
    /// Does it that often.
    pub(crate) run: fn(u64),
}

pub(crate) const STD: &str = "std 1.95";
pub(crate) const PL13: &str = "parking_lot 0.13";
pub(crate) const PL12: &str = "parking_lot 0.12";

pub(crate) const ONE: &str = "one lock";
pub(crate) const ATTEMPT: &str = "an attempt";
pub(crate) const KEY: &str = "the thread's key, then one lock";
pub(crate) const SHARED: &str = "one lock, shared";
pub(crate) const THREE: &str = "three levels, one after the other";
pub(crate) const RANKED: &str = "two of one level, one after the other";
pub(crate) const SETS: [&str; 3] = ["a set of 2", "a set of 4", "a set of 16"];

/// Returns all cases, group by group.
pub(crate) fn all() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    cases.extend(raw::cases());
    cases.extend(ours::cases());
    cases.extend(happylock::cases());
    cases.extend(levels::cases());
    cases.extend(watched::cases());
    cases.extend(sets::cases());
    let order: Vec<&str> = [ONE, ATTEMPT, KEY, SHARED, THREE, RANKED]
        .into_iter()
        .chain(SETS)
        .collect();
    cases.sort_by_key(|case| order.iter().position(|group| *group == case.group));
    cases
}

/// Makes a case.
pub(crate) const fn case(
    group: &'static str,
    name: &'static str,
    over: &'static str,
    run: fn(u64),
) -> Case {
    Case {
        group,
        name,
        over,
        run,
    }
}
