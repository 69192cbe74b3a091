//! Simulations of many stacks: some hundred seeds, and what they must notice.
//!
//! `SIM_SEEDS=FIRST..END` runs others.

use std::ops::Range;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use tools::sim::{Options, run};

fn seeds() -> Range<u64> {
    let given = std::env::var("SIM_SEEDS").ok();
    let parsed = given.as_deref().map(|text| {
        let (first, end) = text.split_once("..").expect("SIM_SEEDS=FIRST..END");
        first.parse().expect("a seed")..end.parse().expect("a seed")
    });
    parsed.unwrap_or(0..600)
}

#[test]
fn nothing_is_wrong_in_hundreds_of_scenarios() {
    let seeds = seeds();
    println!("seeds {seeds:?}");
    let next = AtomicU64::new(seeds.start);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    if let Err(failure) = run(seed, Options::default()) {
                        let trace = failure.trace.join("\n");
                        panic!("sim --seed {seed} --trace: {}\n{trace}", failure.what);
                    }
                }
            });
        }
    });
}

#[test]
fn two_runs_of_a_seed_are_the_same_and_those_of_two_seeds_are_not() {
    let mut digests = Vec::new();
    for seed in 0..25 {
        let first = run(seed, Options::default()).expect("nothing wrong");
        let second = run(seed, Options::default()).expect("nothing wrong");
        assert_eq!(first, second);
        assert!(!digests.contains(&first.digest), "seed {seed}");
        digests.push(first.digest);
    }
}

#[test]
fn a_byte_that_changes_on_the_way_is_noticed() {
    let mut found = 0;
    for packet in 1..60 {
        let spoil = Some(packet);
        let failed = run(
            7,
            Options {
                spoil,
                ..Options::default()
            },
        );
        let Err(failure) = failed else {
            // An acknowledgment, or a packet that was lost.
            continue;
        };
        if failure.what.contains("bytes") {
            assert!(!failure.trace.is_empty());
            found += 1;
        }
    }
    assert!(found > 5, "{found} of 59 changed packets were noticed");
}

fn sim(args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_sim"))
        .args(args)
        .output()
        .expect("sim");
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

#[test]
fn the_tool_tells_what_it_did() {
    let (code, text) = sim(&["--seeds", "3..6"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.starts_with("3 seeds, 0 failed, "), "{text}");
    let (code, text) = sim(&["--seed", "3", "--describe"]);
    assert_eq!(code, Some(0));
    assert!(text.starts_with("seed 3\n  host 0: "), "{text}");
    let (code, text) = sim(&["--seed", "3", "--trace"]);
    assert_eq!(code, Some(0));
    assert!(
        text.lines().count() > 10 && text.contains("10.99.0."),
        "{text}"
    );
    let (code, text) = sim(&["--seeds", "3..6", "--json", "--twice"]);
    assert_eq!(code, Some(0));
    let objects = text
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    assert_eq!(
        objects.filter(|object| object["ok"] == true).count(),
        3,
        "{text}"
    );
}

#[test]
fn wrong_flags_are_refused_by_name() {
    for (args, words) in [
        (
            &["--seeds", "6..3"][..],
            "'6..3' is no range of seeds: write FIRST..END",
        ),
        (&["--seeds", "x"][..], "'x' is no range of seeds"),
        (&["--trace", "--seeds", "1..2"][..], "--seed"),
        (&[][..], "--seeds"),
    ] {
        let (code, text) = sim(args);
        assert_eq!(code, Some(2), "{args:?}: {text}");
        assert!(text.contains(words), "{args:?}: {text}");
    }
}
