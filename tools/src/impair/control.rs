//! The commands that people type while the link runs, and their answers.

use impair::Impairment;
use serde::Serialize;

use super::direction::{Direction, Report};

/// The commands, for the help of the program and of the link itself.
pub const COMMANDS: &str = "\
  a-to-b KEY=VALUE,…  changes what happens to packets from A to B, and leaves the rest as it is
  b-to-a KEY=VALUE,…  the same for packets from B to A
  both KEY=VALUE,…    the same for both
  show                what both directions do
  stats               what they have done
  json                the same as one JSON object
  quit                ends the link";

/// The two directions with what they do.
#[derive(Debug)]
pub struct Link {
    a_to_b: (Impairment, Direction),
    b_to_a: (Impairment, Direction),
}

/// The effect of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Lines for whoever typed the command.
    Text(String),
    /// The end of the link.
    Quit,
}

#[derive(Serialize)]
struct Side {
    settings: String,
    #[serde(flatten)]
    report: Report,
}

#[derive(Serialize)]
struct Both {
    a_to_b: Side,
    b_to_a: Side,
}

impl Link {
    /// Brings the running directions together with what they do.
    pub fn new(a_to_b: (Impairment, Direction), b_to_a: (Impairment, Direction)) -> Self {
        Self { a_to_b, b_to_a }
    }

    /// Does what a line says.
    pub fn obey(&mut self, line: &str) -> Answer {
        let (word, rest) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        let text = match word {
            "" => String::new(),
            "a-to-b" => self.change(true, false, rest),
            "b-to-a" => self.change(false, true, rest),
            "both" => self.change(true, true, rest),
            "show" => format!("a-to-b {}\nb-to-a {}", self.a_to_b.0, self.b_to_a.0),
            "stats" => self.summary(),
            "json" => self.json(),
            "help" => COMMANDS.to_owned(),
            "quit" => return Answer::Quit,
            other => format!(
                "error: there is no command '{other}': use a-to-b, b-to-a, both, show, stats, json, help or quit"
            ),
        };
        Answer::Text(text)
    }

    fn change(&mut self, a: bool, b: bool, text: &str) -> String {
        if text.trim().is_empty() {
            return "error: no change is named: write KEY=VALUE, for example loss=1%".to_owned();
        }
        for (is_meant, side) in [(a, &mut self.a_to_b), (b, &mut self.b_to_a)] {
            if !is_meant {
                continue;
            }
            // The text is wrong for both or for none.
            if let Err(error) = side.0.change(text) {
                return format!("error: {error}");
            }
            side.1.set(side.0.clone());
        }
        "ok".to_owned()
    }

    /// Returns what both directions have done as one JSON object.
    pub fn json(&self) -> String {
        let side = |(settings, direction): &(Impairment, Direction)| Side {
            settings: settings.to_string(),
            report: direction.report(),
        };
        let both = Both {
            a_to_b: side(&self.a_to_b),
            b_to_a: side(&self.b_to_a),
        };
        serde_json::to_string(&both).unwrap_or_else(|error| format!("error: {error}"))
    }

    /// Returns what both directions have done, a line each.
    pub fn summary(&self) -> String {
        format!(
            "{}\n{}",
            line("a-to-b", self.a_to_b.1.report()),
            line("b-to-a", self.b_to_a.1.report())
        )
    }
}

/// Names what happened, and leaves out what did not.
fn line(name: &str, report: Report) -> String {
    let Report { wire, refused } = report;
    let mut text = format!(
        "{name} sent={} delivered={} bytes={}",
        wire.sent, wire.delivered, wire.delivered_bytes
    );
    for (what, count) in [
        ("lost", wire.lost),
        ("dropped", wire.dropped),
        ("marked", wire.marked),
        ("duplicated", wire.duplicated),
        ("reordered", wire.reordered),
        ("corrupted", wire.corrupted),
        ("too-big", wire.too_big),
        ("fragmented", wire.fragmented),
        ("overflowed", wire.overflowed),
        ("refused", refused),
        ("queued", wire.queued),
        ("in-flight", wire.in_flight),
    ] {
        if count > 0 {
            text += &format!(" {what}={count}");
        }
    }
    text
}
