//! Scripts run one by one, and their verdicts as text and as JSON.

use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use serde::Serialize;

use super::ast::Script;
use super::daemon::Daemon;
use super::host::Host;
use super::kernel::Kernel;
use super::ours::Ours;
use super::parser::parse_with;
use super::run::{Failure, Outcome, Verdict, run};
use super::settings::Settings;
use crate::live::daemon::usual_program;

/// Lines of the log that a failed script shows.
const SHOWN_LOG: usize = 12;

/// Least tolerance of times in real time, in microseconds: a machine has other things to do.
const REAL_TIME_MICROS: i64 = 30_000;

/// The stack that a script runs against.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub enum Against {
    /// This project's stack, on virtual time.
    #[default]
    Ours,
    /// The Linux kernel, in a network namespace, in real time. Needs the right to make one.
    Kernel,
    /// A netstackd that is started for each script, in a network namespace, in real time. Needs the right to make one.
    Daemon,
}

/// How scripts are run.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The stack that they run against.
    pub against: Against,
    /// Symbols and their values.
    pub symbols: Vec<(String, String)>,
    /// Seed of the stack's random numbers.
    pub seed: u64,
    /// Scripts are only parsed.
    pub parse_only: bool,
    /// The program of the daemon, unless it is the usual one.
    pub daemon: Option<PathBuf>,
    /// The least tolerance of times in real time, in milliseconds, unless it is the usual one.
    pub tolerance_millis: Option<u32>,
}

/// The verdict of a script.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Report {
    /// The name of its file.
    pub script: String,
    /// `pass`, `fail`, `unsupported` or `error`.
    pub verdict: &'static str,
    /// The place that the verdict is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// The first difference from the script, or the name of what is not supported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The failure of a script that is not supported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// The fields of a packet that differ.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<FieldReport>,
    /// Differences that were let pass, and settings that were not applied.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Packets and calls up to the end, with the time in front.
    pub log: Vec<String>,
}

/// A field that differs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct FieldReport {
    /// The field.
    pub field: &'static str,
    /// The value that the script names.
    pub expected: String,
    /// The value in the packet.
    pub got: String,
}

/// The counts of many scripts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Summary {
    /// Scripts.
    pub scripts: usize,
    /// Those that passed.
    pub passed: usize,
    /// Those that failed.
    pub failed: usize,
    /// Those that need something that is not here.
    pub unsupported: usize,
    /// Those that could not be read.
    pub errors: usize,
}

impl Report {
    fn new(script: &str, verdict: &'static str) -> Self {
        Self {
            script: script.to_owned(),
            verdict,
            line: None,
            reason: None,
            failure: None,
            differences: Vec::new(),
            notes: Vec::new(),
            log: Vec::new(),
        }
    }

    /// Creates the report of a file that cannot be read.
    pub fn error(script: &str, why: impl ToString) -> Self {
        Self {
            reason: Some(why.to_string()),
            ..Self::new(script, "error")
        }
    }

    fn of(script: &str, verdict: Verdict) -> Self {
        let mut report = Self::new(script, verdict.word());
        report.notes = verdict.notes;
        report.log = verdict.log;
        match verdict.outcome {
            Outcome::Passed => {}
            Outcome::Failed(failure) => {
                report.line = Some(failure.at.line);
                report.set_differences(&failure);
                report.reason = Some(failure.what);
            }
            Outcome::Unsupported { at, what, failure } => {
                report.line = Some(at.line);
                report.reason = Some(what);
                if let Some(failure) = failure {
                    report.set_differences(&failure);
                    report.failure = Some(failure.what);
                }
            }
        }
        report
    }

    fn set_differences(&mut self, failure: &Failure) {
        self.differences = failure
            .differences
            .iter()
            .map(|one| FieldReport {
                field: one.field,
                expected: one.expected.clone(),
                got: one.seen.clone(),
            })
            .collect();
    }

    /// Returns the lines that people read. With `all` they have the whole log.
    pub fn text(&self, all: bool) -> String {
        let place = self
            .line
            .filter(|line| *line > 0)
            .map_or(String::new(), |line| format!(":{line}"));
        let mut text = format!("{:<11} {}{place}", self.verdict, self.script);
        if let Some(reason) = &self.reason {
            let _ = write!(text, ": {reason}");
        }
        if self.verdict == "pass" && !self.notes.is_empty() {
            let _ = write!(text, " ({})", self.notes.join("; "));
        }
        if let Some(failure) = &self.failure {
            let _ = write!(text, "\n    without it: {failure}");
        }
        for one in &self.differences {
            let _ = write!(
                text,
                "\n    {}: expected {}, got {}",
                one.field, one.expected, one.got
            );
        }
        let failed = matches!(self.verdict, "fail");
        let from = match (all, failed) {
            (true, _) => 0,
            (false, true) => self.log.len().saturating_sub(SHOWN_LOG),
            (false, false) => self.log.len(),
        };
        for line in self.log.iter().skip(from) {
            let _ = write!(text, "\n      {line}");
        }
        text
    }
}

impl Summary {
    /// Counts a report.
    pub fn add(&mut self, report: &Report) {
        self.scripts += 1;
        match report.verdict {
            "pass" => self.passed += 1,
            "fail" => self.failed += 1,
            "unsupported" => self.unsupported += 1,
            _ => self.errors += 1,
        }
    }

    /// Returns the closing line.
    pub fn text(&self) -> String {
        format!(
            "{} scripts: {} passed, {} failed, {} not supported, {} unreadable",
            self.scripts, self.passed, self.failed, self.unsupported, self.errors
        )
    }

    /// Returns the exit code: 0 if all passed; 1 if one failed; 2 if one could not be read; 3 if one is not
    /// supported.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self { failed: 1.., .. } => 1,
            Self { errors: 1.., .. } => 2,
            Self {
                unsupported: 1.., ..
            } => 3,
            _ => 0,
        }
    }
}

/// Runs the script `text` of the file `name`.
pub fn report(name: &str, text: &str, options: &Options) -> Report {
    let script = match parse_with(text, &options.symbols) {
        Ok(script) => script,
        Err(error) => {
            return Report {
                line: Some(error.at.line),
                ..Report::error(name, format!("column {}: {}", error.at.column, error.what))
            };
        }
    };
    if options.parse_only {
        return Report::new(name, "pass");
    }
    // A panic of the stack is a finding, and the other scripts go on.
    match catch_unwind(AssertUnwindSafe(|| verdict(&script, options))) {
        Ok(verdict) => Report::of(name, verdict),
        Err(panic) => {
            let what = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("no message");
            Report {
                reason: Some(format!("the stack panicked: {what}")),
                ..Report::new(name, "fail")
            }
        }
    }
}

fn verdict(script: &Script, options: &Options) -> Verdict {
    match options.against {
        Against::Ours => {
            let seed = options.seed;
            let mut make =
                |settings: &mut Settings| -> Made { Ok(Box::new(Ours::new(settings, seed)?)) };
            run(script, &mut make)
        }
        Against::Kernel => in_real_time(script, options, &|settings| {
            Ok(Box::new(Kernel::new(settings)?))
        }),
        Against::Daemon => {
            let program = options.daemon.clone().unwrap_or_else(usual_program);
            in_real_time(script, options, &|settings| {
                Ok(Box::new(Daemon::new(settings, &program)?))
            })
        }
    }
}

/// A host, or why there is none.
type Made = Result<Box<dyn Host>, String>;

/// Runs a script against a host in a namespace, which belongs to a thread of its own.
fn in_real_time(
    script: &Script,
    options: &Options,
    make: &(impl Fn(&mut Settings) -> Made + Sync),
) -> Verdict {
    let tolerance = options
        .tolerance_millis
        .map_or(REAL_TIME_MICROS, |millis| i64::from(millis) * 1_000);
    std::thread::scope(|scope| {
        let running = scope.spawn(|| {
            let mut make = |settings: &mut Settings| -> Made {
                settings.tolerance_micros = settings.tolerance_micros.max(tolerance);
                make(settings)
            };
            run(script, &mut make)
        });
        match running.join() {
            Ok(verdict) => verdict,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}
