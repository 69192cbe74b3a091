//! Runs cases of packets and calls against the kernel and against the stack: a bounded number, from a fixed seed. A
//! failure prints the seed, the packets of both sides, and the command that repeats it.

use tools::fuzz::{differential, number_from_environment};

/// First seed and count, unless `TOOLS_FUZZ_SEED` and `TOOLS_FUZZ_ITERATIONS` give others.
const SEED: u64 = 0;
const CASES: u64 = 400;

#[test]
fn the_stack_does_what_the_kernel_does() {
    let first = number_from_environment("TOOLS_FUZZ_SEED", SEED);
    let cases = number_from_environment("TOOLS_FUZZ_ITERATIONS", CASES);
    let summary =
        differential::run(first..first + cases, None).expect("a namespace: run this test as root");
    println!("{summary}");
    let failures: Vec<_> = summary.failures.values().map(String::as_str).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert_eq!(summary.cases, cases);
    if cases >= CASES {
        // Otherwise the cases compare too little.
        assert!(summary.answers > 5 * cases, "{summary}");
        assert!(summary.held_up < cases / 2, "{summary}");
    }
}

#[test]
fn a_difference_that_is_not_in_the_list_fails_with_the_packets_of_both_sides() {
    let none = "choice = []\ndifference = []\n";
    let summary =
        differential::run(0..100, Some(none)).expect("a namespace: run this test as root");
    let (seed, text) = summary.failures.first_key_value().expect("a difference");
    let last = text.lines().next_back().unwrap_or_default();
    let again = format!(
        "  to run it again: fuzz differential --seeds {seed}..{}",
        seed + 1
    );
    assert_eq!(last, again);
    for part in [
        "packets and calls, kernel:",
        "packets and calls, ours:",
        "    < ",
    ] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
}

#[test]
fn a_list_without_reasons_is_refused() {
    let list = "choice = []\n[[difference]]\nname = 'n'\nstep = '*'\nkernel = '*'\nours = '*'\nwhy = 'so'\n";
    let error = differential::run(0..1, Some(list)).expect_err("no reason");
    assert_eq!(
        error,
        "known difference 'n': say in `why` what makes it right"
    );
}
