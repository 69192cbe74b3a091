//! The file's text with its path: finds the line and the key that a message is about.

use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use crate::failure::Failure;

/// A configuration file as it was read.
#[derive(Clone, Debug)]
pub(crate) struct Text {
    path: PathBuf,
    text: String,
}

impl Text {
    pub(crate) fn new(path: &Path, text: String) -> Self {
        Self {
            path: path.to_owned(),
            text,
        }
    }

    /// Returns where the file is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the file and the line where it sets `key`.
    pub(crate) fn place_of(&self, key: &str) -> Option<String> {
        let span = self.find(key)?;
        Some(format!(
            "{}, line {}",
            self.path.display(),
            self.line_of(&span)
        ))
    }

    /// Returns a failure about `key`, with its line if the file sets it.
    pub(crate) fn fault(&self, key: &str, message: &str) -> Failure {
        self.fault_at(self.find(key), message)
    }

    /// Returns a failure about the place `span`, naming the line and the key there.
    pub(super) fn fault_at(&self, span: Option<Range<usize>>, message: &str) -> Failure {
        let message = message.replace('\n', " ");
        let path = self.path.display();
        let Some(span) = span else {
            return Failure::Config(format!("{path}: {message}"));
        };
        let line = self.line_of(&span);
        let key = self
            .key_at(&span)
            .map_or(String::new(), |key| format!("key '{key}': "));
        Failure::Config(format!("{path}, line {line}: {key}{message}"))
    }

    fn line_of(&self, span: &Range<usize>) -> usize {
        let before = self.text.bytes().take(span.start);
        1 + before.filter(|&byte| byte == b'\n').count()
    }

    /// Returns the dotted key whose name or value covers `span`.
    fn key_at(&self, span: &Range<usize>) -> Option<String> {
        let covers = |outer: Range<usize>| outer.start <= span.start && span.end <= outer.end;
        keys(&self.text)
            .into_iter()
            .filter(|(_, name, value)| covers(name.clone()) || covers(value.clone()))
            // The innermost: its value is the shortest that covers.
            .min_by_key(|(_, _, value)| value.len())
            .map(|(key, _, _)| key)
    }

    fn find(&self, wanted: &str) -> Option<Range<usize>> {
        keys(&self.text)
            .into_iter()
            .find(|(key, _, _)| key == wanted)
            .map(|(_, name, _)| name)
    }
}

/// Returns every dotted key with the spans of its name and its value, two levels deep as the file is.
fn keys(text: &str) -> Vec<(String, Range<usize>, Range<usize>)> {
    let Ok(table) = DeTable::parse(text) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for (name, value) in table.get_ref() {
        found.push((name.get_ref().to_string(), name.span(), value.span()));
        if let DeValue::Table(inner) = value.get_ref() {
            for (leaf, value) in inner {
                let key = format!("{}.{}", name.get_ref(), leaf.get_ref());
                found.push((key, leaf.span(), value.span()));
            }
        }
    }
    found
}
