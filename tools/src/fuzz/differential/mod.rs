//! The same packets and socket calls, drawn from a seed, against the Linux kernel and against this stack.
//!
//! The kernel is in a network namespace behind a TUN device and in real time; this stack is in memory and on virtual
//! time. After each step both must have sent the same packets and returned the same values, apart from what a host may
//! choose (`normal`). A difference that is right is in `known.toml` with its reason. Any other one fails.
//!
//! The kernel answers a packet while the packet is written to its device, so nothing waits and no time decides; its timers
//! are as far away as they can be. A case that the machine held up for so long that one of them may have run is repeated.

mod draw;
mod known;
mod normal;
mod pattern;
mod peer;
mod side;
mod step;

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::net::IpAddr;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use crate::live::namespace::ip;
use crate::pktscript::host::Host as _;
use crate::pktscript::kernel::Kernel;
use crate::pktscript::ours::Ours;
use crate::pktscript::settings::Settings;
use draw::Case;
use known::{Difference, KnownList};
use side::Side;
use step::Place;

/// A case that took longer than this, in microseconds, may have seen a timer of the kernel.
const HELD_UP_MICROS: i64 = 600_000;
/// Attempts of a case that is held up.
const ATTEMPTS: u32 = 8;
/// Failures after which a run ends.
const FAILURES_MAX: usize = 100;

/// A time that no case takes, for timers that shall not run.
const NEVER: Duration = Duration::from_secs(110);

/// Settings of the kernel's namespace: nothing is limited in rate or delayed, and no timer of TCP is near.
const KERNEL: &[(&str, &str)] = &[
    ("net.ipv4.icmp_ratelimit", "0"),
    ("net.ipv4.icmp_msgs_per_sec", "1000000"),
    ("net.ipv4.icmp_msgs_burst", "1000000"),
    ("net.ipv6.icmp.ratelimit", "0"),
    ("net.ipv4.tcp_invalid_ratelimit", "0"),
    ("net.ipv4.tcp_challenge_ack_limit", "2147483647"),
    ("net.ipv4.tcp_early_retrans", "0"),
    ("net.ipv4.tcp_comp_sack_nr", "0"),
    ("net.ipv4.tcp_autocorking", "0"),
    ("net.ipv4.tcp_no_metrics_save", "1"),
    ("net.ipv4.tcp_ecn", "0"),
    ("net.ipv4.conf.all.rp_filter", "0"),
    ("net.ipv4.conf.tun0.rp_filter", "0"),
    ("net.ipv6.conf.tun0.accept_ra", "0"),
    ("net.ipv6.conf.tun0.router_solicitations", "0"),
];

/// The outcome of a run.
#[derive(Debug, Default)]
pub struct Summary {
    /// Cases that were compared.
    pub cases: u64,
    /// Steps of them that were compared.
    pub steps: u64,
    /// Packets and results that both hosts answered with.
    pub answers: u64,
    /// Known differences that were met, by name: how often, and why they are right.
    pub known: BTreeMap<String, (u64, String)>,
    /// Each time that a known difference was met, in the order of the outcomes.
    pub met: Vec<Met>,
    /// The names of the known differences that were not met.
    pub unmet: Vec<String>,
    /// Cases that the machine held up each time.
    pub held_up: u64,
    /// The reports of the cases that failed, by seed.
    pub failures: BTreeMap<u64, String>,
}

/// A known difference that was met.
#[derive(Clone, Debug)]
pub struct Met {
    /// The seed of the case.
    pub seed: u64,
    /// The name of the entry.
    pub name: String,
    /// The kind of the case.
    pub case: String,
    /// The step, and what the kernel and this stack answered.
    pub step: String,
    /// The answer of the kernel.
    pub kernel: String,
    /// The answer of this stack.
    pub ours: String,
    why: String,
}

impl fmt::Display for Met {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            seed, name, case, ..
        } = self;
        writeln!(f, "seed {seed}: {name}: {case}: after \"{}\"", self.step)?;
        writeln!(f, "  kernel  {}", said(&self.kernel))?;
        write!(f, "  ours    {}", said(&self.ours))
    }
}

/// Returns an answer, or a word for none.
fn said(answer: &str) -> &str {
    if answer.is_empty() { "nothing" } else { answer }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known: u64 = self.known.values().map(|(count, _)| count).sum();
        write!(
            f,
            "{} cases, {} steps, {} answers alike, {known} known differences, {} failed",
            self.cases,
            self.steps,
            self.answers,
            self.failures.len()
        )?;
        if self.held_up > 0 {
            write!(
                f,
                ", {} not compared: the machine was too busy",
                self.held_up
            )?;
        }
        Ok(())
    }
}

impl Summary {
    fn add(&mut self, seed: u64, outcome: Outcome) {
        self.cases += 1;
        self.steps += outcome.steps;
        self.answers += outcome.answers;
        self.held_up += u64::from(outcome.is_held_up);
        for met in outcome.known {
            let entry = self.known.entry(met.name.clone());
            entry.or_insert_with(|| (0, met.why.clone())).0 += 1;
            self.met.push(met);
        }
        if let Some(text) = outcome.failure {
            self.failures.insert(seed, text);
        }
    }
}

/// Compares the hosts for each seed: an even one over IPv4, an odd one over IPv6.
///
/// `known` is the text of a list of known differences, for another one than the program has.
///
/// # Errors
/// There can be no namespace or device, a host fails, or the list cannot be read.
pub fn run(seeds: Range<u64>, known: Option<&str>) -> Result<Summary, String> {
    let known = known.unwrap_or(known::LIST);
    let names = KnownList::new(known)?;
    let (sender, outcomes) = channel();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for v6 in [false, true] {
            let (sender, seeds, is_over) = (sender.clone(), seeds.clone(), &is_over);
            // A namespace belongs to a thread.
            scope.spawn(move || {
                if let Err(error) = family(v6, seeds, known, is_over, &sender) {
                    let _ = sender.send(Err(error));
                }
            });
        }
        drop(sender);
        let mut summary = Summary::default();
        for outcome in outcomes {
            match outcome {
                Ok((seed, outcome)) => summary.add(seed, outcome),
                Err(error) => {
                    is_over.store(true, Ordering::Relaxed);
                    return Err(error);
                }
            }
            if summary.failures.len() >= FAILURES_MAX {
                is_over.store(true, Ordering::Relaxed);
            }
        }
        let names = names.names().map(str::to_owned);
        let is_met = |name: &String| summary.known.contains_key(name);
        summary.unmet = names.filter(|name| !is_met(name)).collect();
        Ok(summary)
    })
}

type Sent = Result<(u64, Outcome), String>;

/// Runs the seeds of one version of IP.
fn family(
    v6: bool,
    seeds: Range<u64>,
    known: &str,
    is_over: &AtomicBool,
    outcomes: &Sender<Sent>,
) -> Result<(), String> {
    let seeds = seeds.filter(|seed| (seed % 2 == 1) == v6);
    let mut pair: Option<Pair> = None;
    for seed in seeds {
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        let pair = match &mut pair {
            Some(pair) => pair,
            none => none.insert(Pair::new(v6, known)?),
        };
        let outcome = pair.compare(seed)?;
        if outcomes.send(Ok((seed, outcome))).is_err() {
            break;
        }
    }
    Ok(())
}

/// The outcome of a case.
#[derive(Debug, Default)]
struct Outcome {
    steps: u64,
    answers: u64,
    known: Vec<Met>,
    is_held_up: bool,
    failure: Option<String>,
}

/// The two hosts.
struct Pair {
    kernel: Kernel,
    settings: Settings,
    known: KnownList,
    runs: u32,
}

fn settings(v6: bool) -> Settings {
    let mut settings = Settings {
        v6,
        ..Settings::default()
    };
    if v6 {
        settings.local = IpAddr::from([0xfd3d, 0xfa7b, 0xd17d, 0, 0, 0, 0, 1]);
    }
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    settings.requested = KERNEL.iter().map(own).collect();
    let config = &mut settings.config;
    config.icmp_errors_per_second = 1_000_000;
    config.icmp_error_burst = 1_000_000;
    config.reassembly_timeout = NEVER;
    let tcp = &mut config.tcp;
    tcp.delayed_ack = Duration::ZERO;
    (tcp.rto_min, tcp.rto_initial) = (NEVER, NEVER);
    tcp.ecn = false;
    tcp.ecn_offer = false;
    tcp.pacing = false;
    tcp.path_metrics = false;
    tcp.rack_tlp = false;
    settings
}

impl Pair {
    fn new(v6: bool, known: &str) -> Result<Self, String> {
        let mut settings = settings(v6);
        let mut kernel = Kernel::new(&mut settings)?;
        let family = if v6 { "-6" } else { "-4" };
        // Acknowledgments at once, and no retransmission soon.
        ip(&format!(
            "{family} route replace default dev tun0 quickack 1 rto_min 30s"
        ))?;
        while kernel.packet().is_some() {}
        Ok(Self {
            kernel,
            settings,
            known: KnownList::new(known)?,
            runs: 0,
        })
    }

    fn compare(&mut self, seed: u64) -> Result<Outcome, String> {
        let case = draw::case(seed, self.settings.v6);
        let mut outcome = self.attempt(seed, &case)?;
        if let Some(text) = &mut outcome.failure {
            let small = self.smaller(seed, case)?;
            let again = self.attempt(seed, &small)?;
            *text = again.failure.unwrap_or_else(|| text.clone());
        }
        Ok(outcome)
    }

    /// Leaves out the steps without which a case fails, too.
    fn smaller(&mut self, seed: u64, case: Case) -> Result<Case, String> {
        let mut best = case;
        for at in (0..best.steps.len()).rev() {
            let mut shorter = best.clone();
            shorter.steps.remove(at);
            if self.attempt(seed, &shorter)?.failure.is_some() {
                best = shorter;
            }
        }
        Ok(best)
    }

    /// Runs a case, again if the machine held it up.
    fn attempt(&mut self, seed: u64, case: &Case) -> Result<Outcome, String> {
        for _ in 0..ATTEMPTS {
            let start = self.kernel.now();
            let outcome = self.once(seed, case)?;
            if self.kernel.now() - start < HELD_UP_MICROS {
                return Ok(outcome);
            }
        }
        Ok(Outcome {
            is_held_up: true,
            ..Outcome::default()
        })
    }

    fn once(&mut self, seed: u64, case: &Case) -> Result<Outcome, String> {
        self.runs += 1;
        let place = Place::of_run(self.runs, self.settings.local);
        let mut ours = Ours::new(&self.settings, seed)?;
        let mut kernel = Side::new("kernel", &mut self.kernel, true, place)?;
        let mut ours = Side::new("ours", &mut ours, false, place)?;
        let mut outcome = Outcome::default();
        let mut differs = None;
        let mut before = Vec::new();
        for step in &case.steps {
            let text = ours.describe(step);
            let theirs = kernel.perform(step)?;
            let own = ours.perform(step)?;
            outcome.steps += 1;
            let answers = own.len() as u64;
            let (theirs, own) = (self.known.plain(&theirs), self.known.plain(&own));
            if theirs == own {
                outcome.answers += answers;
                before.push(text);
                continue;
            }
            let found = Difference {
                case: &case.name,
                before: &before,
                step: &text,
                kernel: &theirs,
                ours: &own,
            };
            match self.known.find(found) {
                Some(entry) => {
                    before.push(text.clone());
                    outcome.known.push(Met {
                        seed,
                        name: entry.name.clone(),
                        case: case.name.clone(),
                        step: text,
                        kernel: theirs,
                        ours: own,
                        why: entry.why.clone(),
                    });
                    if entry.ends {
                        break;
                    }
                }
                None => {
                    differs = Some((text, theirs, own));
                    break;
                }
            }
        }
        let traces = [("kernel", kernel.end()), ("ours", ours.end())];
        outcome.failure = differs.map(|(text, theirs, own)| {
            report(
                seed,
                case,
                &text,
                [("kernel", &theirs), ("ours", &own)],
                &traces,
            )
        });
        Ok(outcome)
    }
}

fn report(
    seed: u64,
    case: &Case,
    step: &str,
    answers: [(&str, &String); 2],
    traces: &[(&str, Vec<String>); 2],
) -> String {
    let mut text = format!("seed {seed}: {}: after \"{step}\"\n", case.name);
    for (name, answer) in answers {
        let _ = writeln!(text, "  {name:<7} {}", said(answer));
    }
    for (name, trace) in traces {
        let _ = writeln!(text, "  packets and calls, {name}:");
        for line in trace {
            let _ = writeln!(text, "    {line}");
        }
    }
    let _ = write!(
        text,
        "  to run it again: fuzz differential --seeds {seed}..{}",
        seed + 1
    );
    text
}
