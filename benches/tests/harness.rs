//! Runs the benchmark on the kernel peers: every measurement gives values. The test does not check how
//! large they are.

use std::process::Command;

#[test]
fn the_kernel_peers_give_every_metric() {
    let json = std::env::temp_dir().join(format!("tunbench-{}.json", std::process::id()));
    let output = Command::new(env!("CARGO_BIN_EXE_tunbench"))
        .args(["--kernel-only", "--rounds=1", "--millis=50", "--json"])
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
    let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let rows = value["rows"].as_array().expect("rows");
    // 20 metrics and 2 families for 2 peers, 4 of the metrics for a third.
    assert_eq!(rows.len(), (20 * 2 + 4) * 2, "{out}");
    for row in rows {
        let median = row["median"].as_f64().expect("a number");
        // Loss may be zero, and CPU ticks are coarse; every other metric is above zero.
        let key = row["metric"].as_str().expect("a key");
        assert!(
            median > 0.0 || key.starts_with("cpu") || key == "udp_lost",
            "{row}"
        );
    }
    assert_eq!(value["failures"].as_array().expect("failures").len(), 0);
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
