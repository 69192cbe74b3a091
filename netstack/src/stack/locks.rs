//! How much the threads of the program wait for each other's locks.

use std::time::Duration;

/// Counts of the locks of all stacks of the program, level by level, since it began.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LockReport {
    /// The levels of the lock order, from the first to the last.
    pub levels: Vec<LockLevel>,
    /// The levels of the longest chain of locks that a thread has held at once, in the order in which it took them.
    pub longest_chain: Vec<&'static str>,
}

/// Counts of the locks of one level.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LockLevel {
    /// The name of the level.
    pub name: &'static str,
    /// How often one of its locks was taken.
    pub acquired: u64,
    /// How often it was found taken.
    pub contended: u64,
    /// The time that was waited for them, all together.
    pub waited: Duration,
    /// The time for which they were held, all together.
    pub held: Duration,
    /// A power of two of nanoseconds that 99 of 100 waits were below.
    pub wait_p99: Duration,
    /// A power of two of nanoseconds that 99 of 100 holds were below.
    pub hold_p99: Duration,
    /// The number of holds with so many significant bits of nanoseconds, by that number.
    pub holds: Vec<u64>,
}

/// Returns the counts; `None` unless the library is built with the feature `track`.
///
/// ```
/// match netstack::net::lock_report() {
///     Some(report) => println!("{} levels", report.levels.len()),
///     None => println!("build with the feature track"),
/// }
/// ```
pub fn lock_report() -> Option<LockReport> {
    read()
}

#[cfg(not(feature = "track"))]
fn read() -> Option<LockReport> {
    None
}

#[cfg(feature = "track")]
fn read() -> Option<LockReport> {
    let report = lockorder::track::report::<super::levels::StackLocks>();
    let levels = report.levels.iter().map(|level| LockLevel {
        name: level.name,
        acquired: level.acquired,
        contended: level.contended,
        waited: Duration::from_nanos(level.wait_nanos),
        held: Duration::from_nanos(level.hold_nanos),
        wait_p99: Duration::from_nanos(level.wait_below(0.99)),
        hold_p99: Duration::from_nanos(level.hold_below(0.99)),
        holds: level.holds.to_vec(),
    });
    Some(LockReport {
        levels: levels.collect(),
        longest_chain: report.longest_chain,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::host::Host;
    use crate::stack::sockets;

    #[test]
    fn locks_are_counted_with_the_feature_alone() {
        let host = Host::example();
        let taken = || {
            let report = lock_report()?;
            let tables = report.levels.iter().find(|level| level.name == "Tables")?;
            assert_eq!(tables.holds.iter().sum::<u64>() > 0, tables.acquired > 0);
            Some(tables.acquired)
        };
        let before = taken();
        assert!(sockets::list(&host).is_empty());
        match cfg!(feature = "track") {
            true => assert!(taken() > before),
            false => assert_eq!(taken(), None),
        }
    }
}
