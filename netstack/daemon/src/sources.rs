//! Remembers where each setting came from, so that a message blames the flag or the line of the file
//! that the user wrote.

use crate::failure::Failure;
use crate::file::Text;

/// The flags that were given, and the configuration file if there is one.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Names of the flags, without dashes.
    flags: Vec<&'static str>,
    file: Option<Text>,
}

impl Sources {
    pub(crate) fn new(flags: Vec<&'static str>, file: Option<Text>) -> Self {
        Self { flags, file }
    }

    /// Returns a failure about the value of `key`: [`Failure::Config`] if the value is the file's,
    /// [`Failure::Usage`] otherwise. `message` begins with the value.
    pub(crate) fn fault(&self, key: &str, message: &str) -> Failure {
        match &self.file {
            // Flags win over the file.
            Some(file) if file.has(key) && !self.flags.contains(&key) => file.fault(key, message),
            _ => Failure::Usage(format!("--{key} {message}")),
        }
    }
}
