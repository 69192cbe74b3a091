//! Runs the benchmark on the kernel peers: every measurement gives values. The test does not check how
//! large they are.

use std::process::Command;

use serde_json::Value;

/// Runs the benchmark without a daemon, for 50 ms each, and returns its results.
fn run(arguments: &[&str]) -> Value {
    let name = format!("tunbench-{}-{}.json", std::process::id(), arguments.len());
    let json = std::env::temp_dir().join(name);
    let output = Command::new(env!("CARGO_BIN_EXE_tunbench"))
        .args(["--kernel-only", "--rounds=1", "--millis=50"])
        .args(arguments)
        .arg("--json")
        .arg(&json)
        .output()
        .expect("start tunbench");
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{out}\n{err}");
    let text = std::fs::read_to_string(&json).expect("the JSON file");
    std::fs::remove_file(&json).expect("remove the JSON file");
    let value: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(value["failures"].as_array().expect("failures").len(), 0);
    value
}

#[test]
fn the_kernel_peers_give_every_metric() {
    let value = run(&[]);
    let rows = value["rows"].as_array().expect("rows");
    // 24 metrics and 2 families for 2 peers, 4 of the metrics for a third.
    assert_eq!(rows.len(), (24 * 2 + 4) * 2, "{value}");
    for row in rows {
        let median = row["median"].as_f64().expect("a number");
        // Loss may be zero, and CPU ticks are coarse; every other metric is above zero.
        let key = row["metric"].as_str().expect("a key");
        assert!(
            median > 0.0 || key.starts_with("cpu") || key == "udp_lost",
            "{row}"
        );
    }
}

#[test]
fn the_other_programs_answer() {
    let value = run(&[
        "--beside=light,smoltcp",
        "--only=tcp-in,tcp-rtt,udp-rtt,udp-bulk",
    ]);
    let rows = value["rows"].as_array().expect("rows");
    // In both families. smoltcp takes a burst of datagrams for one.
    for (program, expected) in [("light", 2 * 8), ("smoltcp", 2 * 7)] {
        let metrics = rows
            .iter()
            .filter(|row| row["peer"] == program && row["median"].as_f64().is_some())
            .count();
        assert_eq!(metrics, expected, "{program}: {value}");
    }
}

#[test]
fn a_missing_daemon_is_named_with_what_to_do() {
    let output = Command::new(env!("CARGO_BIN_EXE_tunbench"))
        .args(["--netstackd", "/nowhere/netstackd"])
        .output()
        .expect("start tunbench");
    assert!(!output.status.success());
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(
        err.contains("/nowhere/netstackd") && err.contains("cargo build"),
        "{err}"
    );
}
