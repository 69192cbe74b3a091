//! The result of a script.

use crate::pktscript::ast::Position;
use crate::pktscript::wire::compare::Difference;

/// The result of a script.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Everything was as the script says.
    Passed,
    /// Something was not.
    Failed(Failure),
    /// The script needs something that is not here.
    Unsupported {
        /// The place in the script, if it has one.
        at: Position,
        /// Its names.
        what: String,
        /// The failure without it.
        failure: Option<Failure>,
    },
}

/// Something that was not as the script says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// The place in the script.
    pub at: Position,
    /// A sentence.
    pub what: String,
    /// The fields of a packet that differ.
    pub differences: Vec<Difference>,
}

/// The result of a script with its circumstances.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// The result.
    pub outcome: Outcome,
    /// Differences that were let pass, and settings that were not applied.
    pub notes: Vec<String>,
    /// The course of the script, one line a packet or call, with the time in front.
    pub log: Vec<String>,
}

impl Verdict {
    /// Returns the word for the outcome.
    pub fn word(&self) -> &'static str {
        match self.outcome {
            Outcome::Passed => "pass",
            Outcome::Failed(_) => "fail",
            Outcome::Unsupported { .. } => "unsupported",
        }
    }
}
