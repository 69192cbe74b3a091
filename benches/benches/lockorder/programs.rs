//! One small program for each statement about a library.
//!
//! A file in `programs/` has what all programs of a library need, and then one module for each program,
//! with a sentence above it: `/// Refused, E0277: …`, `/// Runs: …`, `/// Panics: …` or
//! `/// Stands still: …`. The module's content is the program.

use std::time::Duration;

use crate::peers::{End, Peers, run};

const FILES: &[(&str, &str)] = &[
    ("lockorder", include_str!("programs/lockorder.rs")),
    ("lock_tree", include_str!("programs/lock_tree.rs")),
    ("lock_ordering", include_str!("programs/lock_ordering.rs")),
    ("happylock", include_str!("programs/happylock.rs")),
    ("surelock", include_str!("programs/surelock.rs")),
    ("ordered_locks", include_str!("programs/ordered_locks.rs")),
    ("tracing_mutex", include_str!("programs/tracing_mutex.rs")),
];

/// A program and what is written above it.
struct Program {
    name: String,
    statement: String,
    source: String,
}

/// Returns the programs of a file.
fn programs(file: &str) -> Vec<Program> {
    let lines: Vec<&str> = file.lines().collect();
    let mut prelude = String::new();
    let mut found: Vec<Program> = Vec::new();
    let mut statement = String::new();
    let mut inside = false;
    for line in lines {
        if inside {
            if line == "}" {
                inside = false;
            } else if let Some(program) = found.last_mut() {
                program
                    .source
                    .push_str(line.strip_prefix("    ").unwrap_or(line));
                program.source.push('\n');
            }
        } else if let Some(words) = line.strip_prefix("/// ") {
            if !statement.is_empty() {
                statement.push(' ');
            }
            statement.push_str(words);
        } else if let Some(name) = line.strip_prefix("mod ").filter(|_| !statement.is_empty()) {
            found.push(Program {
                name: name.trim_end_matches(" {").to_owned(),
                statement: std::mem::take(&mut statement),
                source: prelude.clone(),
            });
            inside = true;
        } else {
            prelude.push_str(line);
            prelude.push('\n');
        }
    }
    found
}

/// Returns what a program does: the first words of a statement.
fn outcome(peers: &Peers, name: &str, program: &Program) -> String {
    let (output, binary) = peers.compile(name, &program.source);
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        let code = words
            .split("error[")
            .nth(1)
            .and_then(|rest| rest.split(']').next());
        return match code {
            Some(code) => format!("Refused, {code}"),
            None => "Refused".to_owned(),
        };
    }
    let notices = program.source.contains("process::exit(3)");
    let still = program.statement.starts_with("Stands still");
    let limit = if still && !notices { 5 } else { 180 };
    match run(&binary, Duration::from_secs(limit)) {
        End::Ran => "Runs",
        End::Panicked => "Panics",
        End::StoodStill => "Stands still",
    }
    .to_owned()
}

/// Builds and runs all of them, and prints a table. Returns how many did something else than is
/// written above them.
pub(crate) fn run_all(peers: &Peers) -> usize {
    println!("| library | program | |\n|---|---|---|");
    let mut surprises = 0;
    for (library, file) in FILES {
        for program in programs(file) {
            let crate_name = format!("{library}__{}", program.name);
            let outcome = outcome(peers, &crate_name, &program);
            let (expected, _) = program.statement.split_once(':').expect("a colon");
            let program_name = program.name.replace('_', " ");
            if outcome == expected {
                println!("| `{library}` | {program_name} | {} |", program.statement);
            } else {
                surprises += 1;
                println!(
                    "| `{library}` | {program_name} | **{outcome}**, but written is: {} |",
                    program.statement
                );
            }
        }
    }
    println!();
    surprises
}
