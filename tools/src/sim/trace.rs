//! The trace of a run: its last lines, all of them if somebody wants to read them, and a digest of all.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use netstack::base::Instant;

/// Lines that a failure shows.
const KEPT_LINES: usize = 60;

/// The trace of a run.
#[derive(Debug, Default)]
pub struct Trace {
    now: Instant,
    digest: DefaultHasher,
    last: VecDeque<String>,
    is_printed: bool,
    /// The first fault.
    fault: Option<String>,
}

impl Trace {
    /// Returns an empty trace. `print`: each line is printed to standard output, too.
    pub fn new(print: bool) -> Self {
        Self {
            is_printed: print,
            ..Self::default()
        }
    }

    /// Notes the time of what follows.
    pub fn set_now(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    /// Notes what happened.
    pub fn note(&mut self, what: &str) {
        let millis = self.now.as_nanos() as f64 / 1e6;
        let line = format!("{millis:>14.6}  {what}");
        line.hash(&mut self.digest);
        if self.is_printed {
            println!("{line}");
        }
        if self.last.len() == KEPT_LINES {
            self.last.pop_front();
        }
        self.last.push_back(line);
    }

    /// Adds bytes to the digest alone.
    pub fn digest_bytes(&mut self, bytes: &[u8]) {
        self.digest.write(bytes);
    }

    /// Notes something that must not happen.
    pub fn fault(&mut self, what: String) {
        self.note(&format!("FAULT: {what}"));
        self.fault.get_or_insert(what);
    }

    /// Returns the first thing that must not happen and did.
    pub fn first_fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    /// Returns the last lines.
    pub fn last_lines(&self) -> Vec<String> {
        self.last.iter().cloned().collect()
    }

    /// Returns a number that is the same for two runs in which the same happened.
    pub fn digest(&self) -> u64 {
        self.digest.finish()
    }
}
