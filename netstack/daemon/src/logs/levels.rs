//! The levels of the logs: one for all, and others for parts.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

/// The parts that have a name, and their places in the code.
const PARTS: [(&str, &str); 13] = [
    ("control", "netstackd::control"),
    ("reload", "netstackd::reload"),
    ("metrics", "netstackd::metrics"),
    ("services", "netstackd::services"),
    ("daemon", "netstackd"),
    ("tcp", "netstack::stack::tcp"),
    ("udp", "netstack::stack::udp"),
    ("ip", "netstack::stack::ip"),
    ("memory", "netstack::stack::budget"),
    ("sockets", "netstack::net"),
    ("device", "netstack::device"),
    ("engine", "netstack::engine"),
    ("stack", "netstack"),
];

/// A level for all parts, and levels for some.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Levels {
    text: String,
    all: LevelFilter,
    parts: Vec<(&'static str, LevelFilter)>,
}

impl Default for Levels {
    fn default() -> Self {
        Self {
            text: "warn,engine=off".to_owned(),
            all: LevelFilter::WARN,
            // It tells that the stack has ended, and so does the program's last sentence.
            parts: vec![("netstack::engine", LevelFilter::OFF)],
        }
    }
}

impl Levels {
    pub(super) fn targets(&self) -> Targets {
        Targets::new()
            .with_default(self.all)
            // "netstack" is the beginning of this name, too.
            .with_target("netstackd", self.all)
            .with_targets(self.parts.iter().copied())
    }
}

fn level(text: &str) -> Result<LevelFilter, String> {
    let levels = ["off", "error", "warn", "info", "debug", "trace"];
    let found = levels.contains(&text).then(|| text.parse().ok()).flatten();
    found.ok_or_else(|| format!("there is no level '{text}': use {}", levels.join(", ")))
}

impl FromStr for Levels {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut levels = Self {
            text: text.to_owned(),
            all: LevelFilter::WARN,
            parts: Vec::new(),
        };
        for word in text.split(',').map(str::trim) {
            match word.split_once('=') {
                None => levels.all = level(word)?,
                Some((name, of)) => {
                    let part = PARTS.iter().find(|(part, _)| *part == name);
                    let (_, target) = part.ok_or_else(|| {
                        let names: Vec<&str> = PARTS.iter().map(|(name, _)| *name).collect();
                        format!("there is no part '{name}': use {}", names.join(", "))
                    })?;
                    levels.parts.push((target, level(of)?));
                }
            }
        }
        Ok(levels)
    }
}

impl TryFrom<String> for Levels {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for Levels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn parts_have_levels_of_their_own() {
        let levels: Levels = "error,control=debug,stack=off,tcp=trace"
            .parse()
            .expect("good");
        let targets = levels.targets();
        for (target, level, is_logged) in [
            ("netstackd::run", Level::ERROR, true),
            ("netstackd::run", Level::WARN, false),
            ("netstackd::control", Level::DEBUG, true),
            ("netstack::net", Level::ERROR, false),
            ("netstack::stack::tcp::accept", Level::TRACE, true),
        ] {
            assert_eq!(
                targets.would_enable(target, &level),
                is_logged,
                "{target} {level}"
            );
        }
    }

    #[test]
    fn wrong_levels_are_named() {
        for (text, says) in [
            ("loud", "'loud': use off, error"),
            ("", "''"),
            ("warn,network=info", "'network': use control"),
            ("tcp=5", "'5'"),
        ] {
            let why = text.parse::<Levels>().expect_err(text);
            assert!(why.contains(says), "{text}: {why}");
        }
    }
}
