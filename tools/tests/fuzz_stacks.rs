//! Runs the harnesses of two stacks with an adversary between them, of a device with offload, and of programs that call
//! sockets in any order, for a limited number of iterations, with a seed: a failure prints the seed that repeats it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use netstack::base::Rng;
use tools::fuzz::between::{STREAM_BYTES, fuzz_between};
use tools::fuzz::number_from_environment;
use tools::fuzz::sockets::fuzz_sockets;
use tools::fuzz::stack::fuzz_offload;

/// Seed and iterations, unless `TOOLS_FUZZ_SEED` and `TOOLS_FUZZ_ITERATIONS` give others.
const SEED: u64 = 0x5eed_0003;
const ITERATIONS: u64 = 600;
const LONGEST: u32 = 3_000;

fn iterate(harness: impl Fn(&[u8])) {
    let seed = number_from_environment("TOOLS_FUZZ_SEED", SEED);
    let iterations = number_from_environment("TOOLS_FUZZ_ITERATIONS", ITERATIONS);
    println!("seed {seed}, {iterations} iterations");
    for iteration in 0..iterations {
        let seed = seed.wrapping_add(iteration);
        let mut rng = Rng::from_u64(seed);
        let mut data = vec![0; rng.below(LONGEST) as usize];
        rng.fill(&mut data);
        let run = catch_unwind(AssertUnwindSafe(|| harness(&data)));
        assert!(
            run.is_ok(),
            "TOOLS_FUZZ_SEED={seed} TOOLS_FUZZ_ITERATIONS=1 repeats it"
        );
    }
}

#[test]
fn no_adversary_changes_a_byte_that_arrives() {
    let (whole, part) = (AtomicU64::new(0), AtomicU64::new(0));
    iterate(|data| {
        let read = fuzz_between(data);
        if read == [STREAM_BYTES; 2] {
            whole.fetch_add(1, Ordering::Relaxed);
        } else if read != [0, 0] {
            part.fetch_add(1, Ordering::Relaxed);
        }
    });
    let (whole, part) = (whole.into_inner(), part.into_inner());
    println!("{whole} pairs of streams arrived, {part} in part");
    assert!(
        whole > 0 && part > 0,
        "the adversary is too tame or too wild"
    );
}

#[test]
fn a_device_with_offload_keeps_the_invariants() {
    iterate(|data| drop(fuzz_offload(data)));
}

#[test]
fn programs_may_call_sockets_in_any_order() {
    let compared = AtomicU64::new(0);
    iterate(|data| {
        compared.fetch_add(fuzz_sockets(data), Ordering::Relaxed);
    });
    let compared = compared.into_inner();
    println!("{compared} bytes of streams compared");
    assert!(compared > 100_000, "the programs are too tame");
}
