//! The jobs of the daemon as child processes, and the addresses of servers that they bring flows to.

use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::world::{Running, ip};

/// Addresses of servers outside.
pub const SERVER: [&str; 2] = ["203.0.113.9", "2001:db8::9"];

/// Gives this thread's namespace the servers' addresses.
///
/// # Panics
///
/// Panics if that fails.
pub fn outside() {
    ip("addr add 203.0.113.9/32 dev lo");
    ip("addr add 2001:db8::9/128 dev lo nodad");
}

/// Starts a job such as `proxy`, with the stack as 10.77.0.2 and fd77::2, and waits until it serves.
///
/// # Panics
///
/// Panics with what it printed if it does not.
pub fn start(program: &Path, job: &str, flags: &[&str]) -> Running {
    let child = Command::new(program)
        .args([job, "--exit-with-parent", "--tun", "t0"])
        .args(["--addr", "10.77.0.2/24", "--addr6", "fd77::2/64"])
        .args(flags)
        .stdout(Stdio::piped())
        .spawn();
    let mut job = Running(child.expect("it starts"));
    let text = next_line(&mut job);
    assert!(text.starts_with("ready "), "{text}");
    job
}

/// Returns the next line that a job prints; what it has printed if it ends.
///
/// # Panics
///
/// Panics if its output is not piped.
pub fn next_line(job: &mut Running) -> String {
    let mut text = Vec::new();
    let mut byte = [0; 1];
    let stdout = job.0.stdout.as_mut().expect("a pipe");
    while !text.ends_with(b"\n") && stdout.read_exact(&mut byte).is_ok() {
        text.push(byte[0]);
    }
    String::from_utf8_lossy(&text).into_owned()
}
