//! Targets under cargo-fuzz: libFuzzer changes their inputs and keeps those that reach new code.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use super::Target;

/// The longest input, unless a target has longer ones without a corpus.
const LONGEST: usize = 4_096;
/// Seconds after which an input counts as one that does not end.
const INPUT_SECONDS: u32 = 60;
/// Beginnings of the names that libFuzzer gives to inputs that fail.
const FAILURES: [&str; 4] = ["crash-", "timeout-", "oom-", "leak-"];

/// A run of cargo-fuzz.
#[derive(Clone, Copy, Debug)]
pub struct Guided<'a> {
    /// The command `cargo`.
    pub cargo: &'a OsStr,
    /// Directory with a corpus for each target, which is only read.
    pub corpus: &'a Path,
    /// Directory with the dictionaries.
    pub dictionaries: &'a Path,
    /// Directory for inputs that reach new code, with a directory for each target: a later run begins with them.
    pub grown: &'a Path,
    /// Directory for inputs that fail.
    pub out: &'a Path,
    /// The sanitizer that is built in, by the compiler's name for it, or `none`.
    pub sanitizer: &'a str,
    /// Seed of the changes.
    pub seed: u64,
}

impl Guided<'_> {
    /// Runs a target for some time. Returns the files with the inputs that failed.
    ///
    /// # Errors
    /// cargo-fuzz cannot be run, or fails without an input that does.
    pub fn run(&self, target: &Target, time: Duration) -> Result<Vec<PathBuf>, String> {
        let grown = self.grown.join(target.name);
        let made = fs::create_dir_all(&grown);
        made.map_err(|error| format!("{}: {error}", grown.display()))?;
        let before = failures(self.out);
        let mut command = self.command(target, &grown, time);
        let status = command.status().map_err(|error| {
            format!("cargo cannot be run: {error}: install it, a nightly compiler and cargo-fuzz")
        })?;
        let found = failures(self.out);
        let found: Vec<_> = found
            .difference(&before)
            .map(|(path, _)| path.clone())
            .collect();
        if found.is_empty() && !status.success() {
            let name = target.name;
            return Err(format!(
                "cargo-fuzz could not run '{name}' ({status}): it needs a nightly compiler and cargo-fuzz, and runs where the workspace is"
            ));
        }
        Ok(found)
    }

    fn command(&self, target: &Target, grown: &Path, time: Duration) -> Command {
        let mut command = Command::new(self.cargo);
        command.args(["+nightly", "fuzz", "run", "--fuzz-dir", "tools/fuzz"]);
        command.args(["--sanitizer", self.sanitizer, target.name]);
        // libFuzzer writes to the first one.
        command.args([grown, &self.corpus.join(target.name)]);
        let dictionary = format!("{}.dict", target.dictionary);
        let dictionary = self.dictionaries.join(dictionary);
        command.arg("--");
        command.arg(format!("-dict={}", dictionary.display()));
        command.arg(format!("-max_total_time={}", time.as_secs()));
        command.arg(format!("-max_len={}", target.longest.max(LONGEST)));
        command.arg(format!("-timeout={INPUT_SECONDS}"));
        command.arg(format!("-seed={}", self.seed));
        command.arg(format!("-artifact_prefix={}/", self.out.display()));
        command
    }
}

/// Returns the inputs that failed and are in a directory, each with the time at which it was written: one that fails
/// again is written again, under the same name.
fn failures(directory: &Path) -> BTreeSet<(PathBuf, Option<SystemTime>)> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let failures = entries.filter(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        FAILURES.iter().any(|first| name.starts_with(first))
    });
    let written = |entry: &fs::DirEntry| entry.metadata().and_then(|file| file.modified()).ok();
    failures
        .map(|entry| (entry.path(), written(&entry)))
        .collect()
}
