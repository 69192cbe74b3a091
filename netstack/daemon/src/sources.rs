//! Remembers where each setting came from, so that a message blames the flag, the variable or the line of the file that the
//! user wrote, and `config print` can tell.

use std::fmt;
use std::path::Path;

use crate::failure::Failure;
use crate::file::Text;

/// The variable of the environment that sets `key`.
pub(crate) fn variable_of(key: &str) -> String {
    let name = key.replace(['-', '.'], "_").to_ascii_uppercase();
    format!("NETSTACKD_{name}")
}

/// Where a value came from. Displays itself as the user wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A flag with dashes, and its key if that is a part of it.
    Flag(String),
    /// A variable of the environment.
    Variable(String),
    /// A line of the file.
    File(String),
    /// Descriptors that the supervisor has passed on.
    Passed,
    /// The built-in value.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(text) | Self::Variable(text) | Self::File(text) => f.write_str(text),
            Self::Passed => f.write_str("LISTEN_FDS"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// The keys that flags, the environment and the configuration file set, in the order in which they win.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Keys of flags that have one of their own.
    pub(crate) flags: Vec<&'static str>,
    /// Keys that `--set` gives.
    pub(crate) set: Vec<&'static str>,
    /// Keys that the environment gives.
    pub(crate) variables: Vec<&'static str>,
    pub(crate) file: Option<Text>,
    /// Keys that descriptors of the supervisor give.
    pub(crate) passed: Vec<&'static str>,
}

impl Sources {
    /// Returns where the value of `key` came from.
    pub fn origin(&self, key: &str) -> Origin {
        if self.passed.contains(&key) {
            return Origin::Passed;
        }
        if self.flags.contains(&key) {
            let flag = if key == "memory_bytes" { "memory" } else { key };
            return Origin::Flag(format!("--{flag}"));
        }
        if self.set.contains(&key) {
            return Origin::Flag(format!("--set {key}"));
        }
        if self.variables.contains(&key) {
            return Origin::Variable(variable_of(key));
        }
        let place = self.file.as_ref().and_then(|file| file.place_of(key));
        place.map_or(Origin::Default, Origin::File)
    }

    /// Returns the path of the configuration file, if there is one.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.file.as_ref().map(Text::path)
    }

    /// Returns a failure about the value of `key`: [`Failure::Config`] if the value is the file's,
    /// [`Failure::Usage`] otherwise. `message` begins with the value.
    pub(crate) fn fault(&self, key: &str, message: &str) -> Failure {
        match (self.origin(key), &self.file) {
            (Origin::File(_), Some(file)) => file.fault(key, message),
            (Origin::Passed, _) => Failure::Usage(format!("LISTEN_FDS: descriptor {message}")),
            (Origin::Default, _) => Failure::Usage(format!("--{key} {message}")),
            (origin, _) => Failure::Usage(format!("{origin} {message}")),
        }
    }
}
