//! The daemon as a service: what its supervisor hears and passes on, which rights it gives up, which limits it names, what its
//! packages are made of.

mod confined;
mod handed_over;
mod limits;
mod packaged;
mod passed;
mod supervised;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::process::{Command, Output};

use netstackd::child::Daemon;
use netstackd::probe::stream;
use tests::world::{V4, port};

/// A user and a group without privileges.
const NOBODY: u32 = 65_534;

/// Flags of a daemon at 10.77.0.2.
const NET: [&str; 4] = ["--tun", "t0", "--addr", "10.77.0.2/24"];

/// Shows that the daemon serves.
#[track_caller]
fn serves() {
    stream::echo(SocketAddr::from((V4, port::ECHO)), 100_000).expect("echoed");
}

/// Returns the fields of each thread of a daemon, by their names in `/proc/PID/task/TID/status`.
fn threads(daemon: &Daemon) -> Vec<BTreeMap<String, String>> {
    let tasks = fs::read_dir(format!("/proc/{}/task", daemon.pid())).expect("it runs");
    let status = |path: std::path::PathBuf| fs::read_to_string(path.join("status")).ok();
    let texts = tasks.flatten().filter_map(|task| status(task.path()));
    let fields = |text: String| {
        let pairs = text.lines().filter_map(|line| line.split_once(':'));
        let words = |value: &str| value.split_whitespace().collect::<Vec<_>>().join(" ");
        pairs
            .map(|(name, value)| (name.to_owned(), words(value)))
            .collect()
    };
    texts.map(fields).collect()
}

/// Checks that a command fails with one sentence, and returns it.
#[track_caller]
fn sentence(output: &Output, code: i32) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    let sentence = stderr.trim_end().strip_prefix("netstackd: ");
    let sentence = sentence.unwrap_or_else(|| panic!("one sentence: {stderr}"));
    assert!(!sentence.contains('\n'), "{stderr}");
    println!("{code}: {sentence}");
    sentence.to_owned()
}

#[track_caller]
fn output(command: &mut Command) -> Output {
    command.output().expect("the program runs")
}
