//! Lock libraries side by side: what each of them refuses, and what its locks cost.
//!
//! ```sh
//! cargo bench -p benches --bench lockorder              # all of it, as Markdown
//! cargo bench -p benches --bench lockorder -- costs     # one part: programs, chains, costs, builds
//! cargo bench -p benches --bench lockorder -- costs set # only groups whose names contain a word
//! ```
//!
//! - `programs` builds and runs one small program for each statement about a library, and compares
//!   the outcome with what is written above it: see the folder of that name.
//! - `chains` builds programs with many levels.
//! - `costs` counts instructions and measures times.
//! - `builds` measures clean builds.
//!
//! Needs valgrind for the instructions. Exits with an error if a program does something else than
//! what is written.
// The raw locks are what is compared with, and the clock is what measures.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::unwrap_used
)]

mod builds;
mod cases;
mod costs;
mod peers;
mod programs;

const PARTS: [&str; 4] = ["programs", "chains", "costs", "builds"];

fn main() {
    if let Ok(case) = std::env::var(costs::CASE) {
        costs::run_alone(&case);
        return;
    }
    let (parts, groups): (Vec<String>, Vec<String>) = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .partition(|word| PARTS.contains(&word.as_str()));
    assert!(
        groups.is_empty() || parts == ["costs"],
        "{groups:?}: only the groups of `costs` can be chosen; the parts are {PARTS:?}"
    );
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|wanted| wanted == part);
    let mut surprises = 0;
    if wanted("programs") || wanted("chains") {
        let peers = peers::Peers::build();
        if wanted("programs") {
            surprises += programs::run_all(&peers);
        }
        if wanted("chains") {
            surprises += builds::chains(&peers);
        }
    }
    if wanted("costs") {
        costs::print(&groups);
    }
    if wanted("builds") {
        builds::clean_builds();
    }
    assert_eq!(
        surprises, 0,
        "programs did something else than is written above them"
    );
}
