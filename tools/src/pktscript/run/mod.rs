//! The interpreter: walks through a script, and compares.

mod calls;
mod clock;
mod commands;
mod names;
mod packets;
mod results;
mod sockets;
mod step;
#[cfg(test)]
mod tests;
mod verdict;

use std::collections::{BTreeSet, VecDeque};

use super::ast::{Call, Position, Script};
use super::code::Names;
use super::host::{Host, SocketId};
use super::settings::Settings;
use super::wire::flow::Flow;
use super::wire::read::Seen;
use sockets::Sockets;

pub use names::{errno, error_name};
pub use verdict::{Failure, Outcome, Verdict};

/// Most lines of the log that are kept.
const MAX_LOG: usize = 4_096;

/// The reason why a script ends before its end.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Stop {
    Failed(Failure),
    Unsupported(Position, String),
}

type Step<T = ()> = Result<T, Stop>;

/// Makes the host that a script runs against, once its settings are known.
pub type MakeHost<'a> = dyn FnMut(&mut Settings) -> Result<Box<dyn Host>, String> + 'a;

/// The socket whose packets the script is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum UnderTest {
    /// None yet.
    Nothing,
    /// A listener, which the next packet that arrives is for.
    Listening,
    /// A socket that connects; the next SYN that is sent is its.
    Connecting,
    /// The flow.
    Flow,
}

/// A call that has not returned.
struct Blocked<'a> {
    at: Position,
    call: &'a Call,
    /// When it must return.
    end: Option<i64>,
    tolerance: i64,
}

/// A script on its way.
struct Runner<'a> {
    script: &'a Script,
    settings: Settings,
    make: &'a mut MakeHost<'a>,
    host: Option<Box<dyn Host>>,
    sockets: Sockets,
    flow: Option<Flow>,
    under_test: UnderTest,
    /// The socket of the last `connect`.
    connecting: Option<SocketId>,
    /// Packets that were sent and not yet compared, with their times.
    waiting: VecDeque<(i64, Seen)>,
    blocked: Option<Blocked<'a>>,
    /// The time of the event before, and whether it was a packet that arrives.
    before: Option<(i64, bool)>,
    /// A setting that came too late to be applied: it counts if anything but its undoing follows.
    too_late: Option<(Position, String)>,
    variables: Names,
    /// The payload of segments is the pattern of [`bytes_at`](super::wire::bytes_at).
    is_patterned: bool,
    next_port: u16,
    notes: BTreeSet<String>,
    log: Vec<String>,
}

/// Runs a script. `make` is called once, with the settings that the script's commands made before its first
/// packet or call.
pub fn run<'a>(script: &'a Script, make: &'a mut MakeHost<'a>) -> Verdict {
    let settings = match Settings::of(&script.options) {
        Ok(settings) => settings,
        Err(what) => {
            let at = script.options.first().map(|option| option.at);
            return Verdict {
                outcome: Outcome::Unsupported {
                    at: at.unwrap_or_default(),
                    what,
                    failure: None,
                },
                notes: Vec::new(),
                log: Vec::new(),
            };
        }
    };
    let mut runner = Runner::new(script, settings, make);
    let result = runner.all();
    runner.verdict(result)
}

impl<'a> Runner<'a> {
    fn new(script: &'a Script, settings: Settings, make: &'a mut MakeHost<'a>) -> Self {
        Self {
            script,
            settings,
            make,
            host: None,
            sockets: Sockets::default(),
            flow: None,
            under_test: UnderTest::Nothing,
            connecting: None,
            waiting: VecDeque::new(),
            blocked: None,
            before: None,
            too_late: None,
            variables: Names::new(),
            is_patterned: true,
            next_port: 40_000,
            notes: BTreeSet::new(),
            log: Vec::new(),
        }
    }

    fn all(&mut self) -> Step {
        for command in &self.script.setup {
            self.command(command)?;
        }
        for event in &self.script.events {
            self.event(event)?;
        }
        self.finish_blocked(true)?;
        Ok(())
    }

    /// Returns the verdict after the last step.
    fn verdict(mut self, result: Step) -> Verdict {
        let of_host = self.host.as_ref().and_then(|host| host.missing());
        self.settings.missing.extend(of_host);
        let missing = self.settings.missing.join(", ");
        let outcome = match result {
            Ok(()) => Outcome::Passed,
            Err(Stop::Unsupported(at, what)) => Outcome::Unsupported {
                at,
                what,
                failure: None,
            },
            // A script that fails where a setting was missing may do so for that reason.
            Err(Stop::Failed(failure)) if !missing.is_empty() => Outcome::Unsupported {
                at: failure.at,
                what: missing.clone(),
                failure: Some(failure),
            },
            Err(Stop::Failed(failure)) => Outcome::Failed(failure),
        };
        if outcome == Outcome::Passed && !missing.is_empty() {
            self.notes.insert(format!("without {missing}"));
        }
        Verdict {
            outcome,
            notes: self.notes.into_iter().collect(),
            log: self.log,
        }
    }

    fn note(&mut self, line: String) {
        if self.log.len() < MAX_LOG {
            self.log.push(line);
        }
    }

    /// Returns an error about the script at `at`.
    fn failure<T>(&self, at: Position, what: impl Into<String>) -> Step<T> {
        Err(Stop::Failed(Failure {
            at,
            what: what.into(),
            differences: Vec::new(),
        }))
    }
}

/// Returns microseconds as seconds.
fn seconds(micros: i64) -> String {
    format!("{:.6}", micros as f64 / 1e6)
}
