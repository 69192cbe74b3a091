//! Counters of a stack at one moment.

use std::fmt;
use std::time::Duration;

use super::stack::Stack;
use crate::base::Counters;
use crate::base::counters::{Counter, DropReason};
use crate::base::mib::Mib;
use crate::stack::tcp::control;
use crate::stack::workers::WorkerHandle;

/// Every counter, summed over the workers, at one moment. Displays those that are not zero, a line
/// each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CountersSnapshot {
    drops: Vec<u64>,
    counts: Vec<u64>,
}

impl CountersSnapshot {
    /// Returns the number of packets discarded for `reason`.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.drops.get(reason as usize).copied().unwrap_or(0)
    }

    /// Returns the value of `counter`.
    pub fn count(&self, counter: Counter) -> u64 {
        self.counts.get(counter as usize).copied().unwrap_or(0)
    }

    /// Returns every counter by its label, drops first.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let drops = DropReason::ALL
            .iter()
            .map(|&r| (r.label(), self.dropped(r)));
        let counts = Counter::ALL.iter().map(|&c| (c.label(), self.count(c)));
        drops.chain(counts)
    }
}

impl fmt::Display for CountersSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (label, value) in self.iter().filter(|&(_, value)| value > 0) {
            writeln!(f, "{label} {value}")?;
        }
        Ok(())
    }
}

/// The work of one worker until now, and what waits for it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerReport {
    /// Its part of [`Stack::counters`]. The first worker counts for threads that are none, too.
    pub counters: CountersSnapshot,
    /// Turns that found something to do.
    pub busy_turns: u64,
    /// The time from the beginning of each of those to the beginning of the next turn: reading, processing, tasks and
    /// sending. A worker that spins or sleeps is not busy.
    pub busy: Duration,
    /// Messages, packets and datagrams of other threads that wait for it now.
    pub queue: usize,
    /// Timers of connections that are armed now.
    pub timers: usize,
}

impl CountersSnapshot {
    /// Reads counters, summed over those that `each` returns.
    fn sum<'a, I: Iterator<Item = &'a Counters>>(each: impl Fn() -> I) -> Self {
        let sum = |get: &dyn Fn(&Counters) -> u64| each().map(get).sum();
        Self {
            drops: DropReason::ALL
                .iter()
                .map(|&r| sum(&|c| c.dropped(r)))
                .collect(),
            counts: Counter::ALL.iter().map(|&c| sum(&|w| w.count(c))).collect(),
        }
    }
}

impl Stack {
    /// Returns the counters as they are now.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// use netstack::{Counter, DropReason};
    ///
    /// let counters = stack.counters();
    /// assert_eq!(counters.dropped(DropReason::NoReceiveBuffer), 0);
    /// assert_eq!(counters.count(Counter::TcpRetransmits), 0);
    /// for (label, value) in counters.iter().filter(|(_, value)| *value > 0) {
    ///     println!("{label} {value}");
    /// }
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    pub fn counters(&self) -> CountersSnapshot {
        CountersSnapshot::sum(|| self.host.workers.counters())
    }

    /// Returns the work of each worker, which shows how even the load is.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// use netstack::Counter;
    ///
    /// let workers = stack.worker_reports();
    /// assert_eq!(workers.len(), stack.workers());
    /// for (number, worker) in workers.iter().enumerate() {
    ///     let packets = worker.counters.count(Counter::PacketsIn);
    ///     println!("worker {number}: {packets} packets, busy for {:?}, {} wait", worker.busy, worker.queue);
    /// }
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    pub fn worker_reports(&self) -> Vec<WorkerReport> {
        let report = |worker: &WorkerHandle| {
            let (busy_turns, busy) = worker.counters.busy();
            WorkerReport {
                counters: CountersSnapshot::sum(|| std::iter::once(&*worker.counters)),
                busy_turns,
                busy,
                queue: worker.mailbox.len(),
                timers: worker.counters.timers() as usize,
            }
        };
        self.host.workers.iter().map(report).collect()
    }

    /// Returns the objects of the MIBs (RFC 4293, RFC 4022, RFC 4113) as they are now, which prints itself as `nstat -a`
    /// does. Each field names what it counts, [`crate::base::mib::objects`] its name in `nstat` and in the MIB.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// use netstack::net::UdpSocket;
    ///
    /// let server = UdpSocket::bind(&stack, "10.77.0.2:7").await?;
    /// server.send_to(b"to itself", "10.77.0.2:7").await?;
    /// server.recv(&mut [0; 16]).await?;
    /// let mib = stack.mib();
    /// assert_eq!((mib.udp.in_datagrams, mib.udp.out_datagrams), (1, 1));
    /// assert_eq!(mib.get("IpInReceives"), Some(1));
    /// println!("{mib}");
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    pub fn mib(&self) -> Mib {
        let established = control::established_count(&self.host);
        Mib::sum(self.host.workers.counters(), established as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_displays_what_is_not_zero() {
        let mut snapshot = CountersSnapshot::default();
        assert_eq!(snapshot.to_string(), "");
        snapshot.drops = vec![0; DropReason::ALL.len()];
        snapshot.counts = vec![0; Counter::ALL.len()];
        snapshot.drops[DropReason::TcpPaws as usize] = 2;
        snapshot.counts[Counter::PacketsIn as usize] = 7;
        assert_eq!(snapshot.to_string(), "tcp_paws 2\npackets_in 7\n");
        assert_eq!(snapshot.dropped(DropReason::TcpPaws), 2);
        assert_eq!(snapshot.count(Counter::PacketsIn), 7);
        assert_eq!(
            snapshot.iter().count(),
            DropReason::ALL.len() + Counter::ALL.len()
        );
    }
}
