//! A soak: ordinary traffic beside every kind of attack, for a time, with restarts.
//!
//! The time is divided into epochs. Each starts a daemon with other settings, runs ordinary clients and hostile ones
//! beside each other, stops the hostile ones, and then expects that nothing of them is left: no connection, no
//! handshake, no TIME-WAIT, no timer, no memory. Every byte of the ordinary clients is compared, and none of their
//! connections may fail. An epoch ends with a graceful stop, or with a kill in the middle of the attacks.
//!
//! One seed decides about settings, clients and attacks; when each packet arrives is up to the machine.

mod attacks;
mod ordinary;

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use netstack::base::Rng;
use netstackd::child::{Counts, Daemon};
use netstackd::probe::now;
use nix::sys::signal::Signal;
use rustix::process::{Resource, getrlimit};

use crate::world::{Scratch, SetOnDrop, in_namespace, serve};
use attacks::Attack;

/// The settings of a soak.
#[derive(Clone, Debug)]
pub struct Options {
    /// Time that the soak takes, about.
    pub time: Duration,
    /// The seed of all decisions.
    pub seed: u64,
    /// The daemon's program.
    pub program: PathBuf,
}

impl Options {
    /// Returns a seed that differs from run to run.
    pub fn random_seed() -> u64 {
        now().as_nanos() as u64 ^ u64::from(std::process::id())
    }
}

/// Shortest and longest epoch, in seconds.
const EPOCH_SECONDS: std::ops::Range<u32> = 5..25;

/// Ordinary clients that run at the same time.
const CLIENTS: u64 = 3;

/// Time after which an attack must have sent something.
const ATTACK_START: Duration = Duration::from_secs(5);

/// Time in which the ordinary clients may finish beside the attacks when the epoch is over. On a busy machine a stream can
/// take minutes beside them: then the attacks end first.
const FINISH: Duration = Duration::from_secs(10);

/// Time in which everything must be gone when the attackers are.
const REST: Duration = Duration::from_secs(60);

/// The counts and the faults of a soak.
#[derive(Debug, Default)]
pub struct Report {
    seed: u64,
    time: Duration,
    epochs: Vec<String>,
    ordinary: ordinary::Tally,
    restarts: u32,
    kills: u32,
    faults: Vec<String>,
}

impl Report {
    /// Returns true if nothing went wrong.
    pub fn is_clean(&self) -> bool {
        self.faults.is_empty()
    }

    /// Returns how many ordinary exchanges there were.
    pub fn exchanges(&self) -> u64 {
        self.ordinary.exchanges
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for epoch in &self.epochs {
            writeln!(f, "{epoch}")?;
        }
        writeln!(
            f,
            "seed {}: {:.0} s, {} epochs, {} graceful restarts, {} kills; {}; {} faults",
            self.seed,
            self.time.as_secs_f64(),
            self.epochs.len(),
            self.restarts,
            self.kills,
            self.ordinary,
            self.faults.len()
        )?;
        self.faults
            .iter()
            .try_for_each(|fault| writeln!(f, "FAULT: {fault}"))
    }
}

/// Soaks the daemon, and returns what happened.
pub fn soak(options: &Options) -> Report {
    let mut report = in_namespace(|| {
        let mut report = Report::default();
        let mut rng = Rng::from_u64(options.seed);
        let end = now() + options.time;
        while now() < end && report.faults.len() < 10 {
            let number = report.epochs.len();
            let epoch = Epoch::new(number, &mut rng, end);
            epoch.run(options, &mut rng, &mut report);
        }
        report.faults.extend(report.ordinary.unanswered());
        report
    });
    report.seed = options.seed;
    report
}

/// The settings of one epoch.
struct Epoch {
    number: usize,
    end: Duration,
    flags: Vec<String>,
    config: String,
    attacks: Vec<Attack>,
    /// It ends with a kill, while the attackers are still there.
    is_killed: bool,
}

impl Epoch {
    fn new(number: usize, rng: &mut Rng, end: Duration) -> Self {
        let seconds = EPOCH_SECONDS.start + rng.below(EPOCH_SECONDS.end - EPOCH_SECONDS.start);
        let pick = |rng: &mut Rng, of: &[&str]| of[rng.below(of.len() as u32) as usize].to_owned();
        let mut flags = vec![
            "--queues".to_owned(),
            pick(rng, &["1", "2"]),
            "--offload".to_owned(),
            pick(rng, &["on", "on", "off"]),
        ];
        let memory = pick(rng, &["", "15M", "64M"]);
        if !memory.is_empty() {
            flags.extend(["--memory".to_owned(), memory]);
        }
        // Keepalive: a reset is sent once. If a full queue of the device loses it, nothing else tells an idle
        // connection that its peer is gone.
        let config = format!(
            "max_half_open = {}\n[tcp]\ntime_wait = \"200ms\"\nfin_wait_2 = \"2s\"\norphan_timeout = \"3s\"\n\
             user_timeout = \"{}s\"\nsyn_retries = 2\nkeepalive_idle = \"10s\"\nkeepalive_interval = \"2s\"\n\
             keepalive_probes = 4\n",
            pick(rng, &["256", "4096"]),
            pick(rng, &["10", "30"]),
        );
        // Most epochs have all attacks at once, the others some of them.
        let all = rng.below(3) > 0;
        let attacks = Attack::ALL
            .iter()
            .copied()
            .filter(|_| all || rng.below(2) == 0)
            .collect();
        Self {
            number,
            end: end.min(now() + Duration::from_secs(seconds.into())),
            flags,
            config,
            attacks,
            is_killed: rng.below(4) == 0,
        }
    }

    fn run(&self, options: &Options, rng: &mut Rng, report: &mut Report) {
        let scratch = Scratch::new("soak");
        let file = scratch.write("config.toml", &self.config);
        let mut flags: Vec<&str> = self.flags.iter().map(String::as_str).collect();
        flags.extend(["--config", &file]);
        let start = now();
        let mut daemon = serve(&options.program, &flags);
        let mut faults = Vec::new();
        let (tally, peak) = self.traffic(&daemon, rng, &mut faults);
        report.ordinary += tally;
        let rest = if self.is_killed {
            report.kills += 1;
            daemon.wait(Duration::from_secs(20)).err().map_or_else(
                || "killed".to_owned(),
                |error| {
                    faults.push(error);
                    "not killed".to_owned()
                },
            )
        } else {
            report.restarts += 1;
            self.rest(&mut daemon, &mut faults)
        };
        report.time += now() - start;
        report.epochs.push(format!(
            "epoch {}: {} {:?}: {tally}; {peak}; {rest}",
            self.number,
            self.flags.join(" "),
            self.attacks,
        ));
        let named = faults
            .into_iter()
            .map(|fault| format!("epoch {}: {fault}", self.number));
        report.faults.extend(named);
    }

    /// Runs the ordinary clients beside the attacks; kills the daemon in the end if that is how the epoch ends.
    fn traffic(
        &self,
        daemon: &Daemon,
        rng: &mut Rng,
        faults: &mut Vec<String>,
    ) -> (ordinary::Tally, Peak) {
        let start = now();
        let (stop_ordinary, stop_hostile) = (AtomicBool::new(false), AtomicBool::new(false));
        thread::scope(|scope| {
            let _stopping = [&stop_ordinary, &stop_hostile].map(SetOnDrop);
            let attacks: Vec<_> = self
                .attacks
                .iter()
                .map(|attack| {
                    let (seed, stop) = (rng.u64(), &stop_hostile);
                    (attack, scope.spawn(move || attack.run(seed, stop)))
                })
                .collect();
            let clients: Vec<_> = (0..CLIENTS)
                .map(|_| {
                    let (seed, stop) = (rng.u64(), &stop_ordinary);
                    scope.spawn(move || ordinary::run(seed, stop))
                })
                .collect();
            let peak = self.watch(daemon, faults);
            let attacked = now() - start;
            stop_ordinary.store(true, Ordering::Relaxed);
            let late = now() + FINISH;
            while clients.iter().any(|client| !client.is_finished()) && now() < late {
                thread::sleep(Duration::from_millis(20));
            }
            let is_late = clients.iter().any(|client| !client.is_finished());
            stop_hostile.store(is_late, Ordering::Relaxed);
            let mut tally = ordinary::Tally::default();
            for client in clients {
                match client.join() {
                    Ok((own, wrong)) => {
                        tally += own;
                        faults.extend(wrong);
                    }
                    Err(_) => faults.push("an ordinary client panicked".to_owned()),
                }
            }
            if self.is_killed {
                daemon.signal(Signal::SIGKILL);
            }
            stop_hostile.store(true, Ordering::Relaxed);
            for (attack, thread) in attacks {
                match thread.join() {
                    Ok(0) if attacked >= ATTACK_START => {
                        faults.push(format!("attack {attack:?} did nothing"));
                    }
                    Ok(_) => {}
                    Err(_) => faults.push(format!("attack {attack:?} panicked")),
                }
            }
            (tally, peak)
        })
    }

    /// Waits for the end of the attacks; returns the greatest numbers that were seen.
    fn watch(&self, daemon: &Daemon, faults: &mut Vec<String>) -> Peak {
        let mut peak = Peak::default();
        while now() < self.end {
            thread::sleep(Duration::from_millis(250));
            match daemon.counters() {
                Ok(counts) => peak.note(&counts, daemon.resident_bytes()),
                Err(error) => {
                    faults.push(error);
                    break;
                }
            }
        }
        if peak.allocated > peak.limit {
            faults.push(format!("memory beyond the limit: {peak}"));
        }
        peak
    }

    /// Expects that everything goes, and stops the daemon.
    fn rest(&self, daemon: &mut Daemon, faults: &mut Vec<String>) -> String {
        let start = now();
        let names = [
            "connections",
            "half_open",
            "time_waits",
            "timers",
            "small_slabs",
        ];
        let left = loop {
            let counts = match daemon.counters() {
                Ok(counts) => counts,
                Err(error) => break Some(error),
            };
            // Each worker holds a large slab to receive into.
            let is_memory_back = counts.get("large_slabs") <= 2;
            let left: Vec<_> = names.iter().filter(|name| counts.get(name) > 0).collect();
            if left.is_empty() && is_memory_back {
                break None;
            }
            if now() - start > REST {
                let numbers = names.map(|name| format!("{name} {}", counts.get(name)));
                break Some(format!(
                    "left after {REST:?}: {}, large slabs {}",
                    numbers.join(", "),
                    counts.get("large_slabs")
                ));
            }
            thread::sleep(Duration::from_millis(100));
        };
        let took = (now() - start).as_secs_f64();
        let outcome = match left {
            None => format!("all gone after {took:.1} s"),
            Some(fault) => {
                faults.push(fault);
                format!("not all gone after {took:.1} s")
            }
        };
        match daemon.terminate() {
            Ok(status) if status.success() => {}
            Ok(status) => faults.push(format!("stopped with {status}: {}", daemon.stderr())),
            Err(error) => faults.push(error),
        }
        outcome
    }
}

/// The greatest numbers of an epoch.
#[derive(Debug, Default)]
struct Peak {
    connections: u64,
    half_open: u64,
    allocated: u64,
    limit: u64,
    resident: u64,
    packets: u64,
    drops: u64,
}

impl Peak {
    fn note(&mut self, counts: &Counts, resident: u64) {
        self.connections = self.connections.max(counts.get("connections"));
        self.half_open = self.half_open.max(counts.get("half_open"));
        self.allocated = self.allocated.max(counts.get("memory_allocated"));
        self.limit = counts.get("memory_limit");
        self.resident = self.resident.max(resident);
        self.packets = counts.get("packets_in");
        let drops = counts.drops_since(&Counts::default());
        self.drops = drops.iter().map(|(_, count)| count).sum();
    }
}

impl fmt::Display for Peak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} packets in, {} dropped; at most {} connections, {} half open, {} of {} kB of packet memory, {} kB \
             resident",
            self.packets,
            self.drops,
            self.connections,
            self.half_open,
            self.allocated / 1_000,
            self.limit / 1_000,
            self.resident / 1_000
        )
    }
}

/// Returns how many sockets an attacker may have open.
fn most_sockets() -> usize {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(1_024);
    usize::try_from(limit / 8).unwrap_or(128).clamp(32, 500)
}
