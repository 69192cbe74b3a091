//! Limits of the process.

use std::fs;
use std::process::Command;

use netstackd::child::Daemon;
use tests::program;
use tests::world::in_namespace;

use super::{NET, serves};

/// Returns a command whose limits of open files are these.
fn limited(soft_and_hard: &str, command: &str) -> Command {
    let mut limited = Command::new("prlimit");
    limited
        .arg(format!("--nofile={soft_and_hard}"))
        .arg("--")
        .arg(program!())
        .args([command, "--exit-with-parent", "--control=none"])
        .args(NET);
    limited
}

fn open_files(daemon: &Daemon) -> u64 {
    let limits = fs::read_to_string(format!("/proc/{}/limits", daemon.pid())).expect("it runs");
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next());
    soft.and_then(|soft| soft.parse().ok()).expect("a number")
}

#[test]
fn a_soft_limit_is_raised_and_a_hard_one_is_told() {
    in_namespace(|| {
        let mut daemon = Daemon::launch(&mut limited("64:4096", "run")).expect("it serves");
        serves();
        let raised = open_files(&daemon);
        assert!((128..=4_096).contains(&raised), "{raised}");
        assert!(daemon.terminate().expect("it ends").success());
        assert_eq!(daemon.stderr(), "");
    });
    in_namespace(|| {
        let mut daemon = Daemon::launch(&mut limited("64:300", "proxy")).expect("it serves");
        assert_eq!(open_files(&daemon), 300);
        assert!(daemon.terminate().expect("it ends").success());
        let says = daemon.stderr();
        assert!(
            says.contains("below what the configuration may need: 300 of 20")
                && says.contains("LimitNOFILE="),
            "{says}"
        );
        assert_eq!(says.trim_end().lines().count(), 1, "{says}");
    });
}
