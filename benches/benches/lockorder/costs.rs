//! Instructions and times of one uncontended acquisition and release.
//!
//! Instructions are counted by `callgrind`: each case runs in a process of its own, once with few rounds
//! and once with more, and what the added rounds cost, divided by their number, is the answer. It
//! is the same at every run of one binary.
//!
//! Times are given as multiples of the raw lock's under the same library, which is less a matter of
//! the machine. All cases are run in turn, many times, by the thread's processor time, and the least
//! time of each counts: other programs can only add to it.

use std::process::Command;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::cases::{Case, all};

/// The case and its rounds, for the process that runs under valgrind.
pub(crate) const CASE: &str = "LOCK_CASE";

/// How often each case is timed, and how long at a time.
const TIMES: usize = 100;
const SPELL: Duration = Duration::from_millis(1);

/// Runs one case, as the environment says.
pub(crate) fn run_alone(case: &str) {
    let [group, name, rounds] = case.split('\t').collect::<Vec<_>>()[..] else {
        panic!("{CASE} is a group, a name and a number of rounds");
    };
    let case = all()
        .into_iter()
        .find(|case| case.group == group && case.name == name)
        .expect("there is such a case");
    (case.run)(rounds.parse().unwrap());
}

/// Returns the instructions that a process executes for that many rounds of a case.
fn count(case: &Case, rounds: u64) -> u64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe().unwrap())
        .env(CASE, format!("{}\t{}\t{rounds}", case.group, case.name))
        .output()
        .expect("valgrind is there");
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    let collected = words
        .lines()
        .find_map(|line| line.split("Collected : ").nth(1));
    collected
        .and_then(|number| number.trim().parse().ok())
        .unwrap_or_else(|| panic!("no count in: {words}"))
}

/// Returns the instructions of one round.
fn instructions(case: &Case) -> u64 {
    let (few, many) = (1_000, 3_000);
    (count(case, many) - count(case, few) + (many - few) / 2) / (many - few)
}

/// Runs a case, and returns the processor time that it took.
fn time(case: &Case, rounds: u64) -> Duration {
    let now = || {
        let now = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(
            now.tv_sec.unsigned_abs(),
            u32::try_from(now.tv_nsec).unwrap(),
        )
    };
    let begin = now();
    (case.run)(rounds);
    now() - begin
}

/// Returns the least time of a round of each case, in nanoseconds.
fn nanoseconds(cases: &[Case]) -> Vec<f64> {
    let rounds: Vec<u64> = cases
        .iter()
        .map(|case| {
            let mut rounds = 1_000;
            while time(case, rounds) < SPELL {
                rounds *= 2;
            }
            rounds
        })
        .collect();
    let mut least = vec![f64::INFINITY; cases.len()];
    for _ in 0..TIMES {
        for ((case, rounds), least) in cases.iter().zip(&rounds).zip(&mut least) {
            #[allow(clippy::cast_precision_loss)]
            let each = time(case, *rounds).as_nanos() as f64 / *rounds as f64;
            *least = least.min(each);
        }
    }
    least
}

/// Prints both, as a table, for the groups whose names contain one of `groups`, or for all if that is empty.
pub(crate) fn print(groups: &[String]) {
    let mut cases = all();
    if !groups.is_empty() {
        cases.retain(|case| groups.iter().any(|group| case.group.contains(group)));
    }
    let nanoseconds = nanoseconds(&cases);
    println!("| group | | over | instructions | beside the raw lock's | time, × the raw lock's |");
    println!("|---|---|---|---|---|---|");
    let counts: Vec<u64> = cases.iter().map(instructions).collect();
    let mut group = "";
    for (index, case) in cases.iter().enumerate() {
        let raw = cases
            .iter()
            .position(|raw| raw.group == case.group && raw.name == case.over);
        let heading = if case.group == group { "" } else { case.group };
        group = case.group;
        print!("| {heading} | {} | ", case.name);
        match raw {
            Some(raw) if raw != index => println!(
                "{} | {} | {} | {:.2} |",
                case.over,
                counts[index],
                counts[raw],
                nanoseconds[index] / nanoseconds[raw],
            ),
            _ => println!("– | {} | | {:.1} ns |", counts[index], nanoseconds[index]),
        }
    }
    println!();
}
