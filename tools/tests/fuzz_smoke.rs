//! Runs the stack's fuzz harness for a limited number of iterations, with a seed: a failure prints the
//! seed that repeats it.

mod support;

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use netstack::base::Rng;
use support::{Wire, captured, pattern, receive, send};
use tools::fuzz::number_from_environment;
use tools::fuzz::stack::{fuzz_stack, fuzz_stack_with};

/// Seed and iterations, unless `TOOLS_FUZZ_SEED` and `TOOLS_FUZZ_ITERATIONS` give others.
const SEED: u64 = 0x5eed_0001;
const ITERATIONS: u64 = 1_500;
const LONGEST: u32 = 2_048;

/// Counters that a run must reach: otherwise it tests too little.
const REACHED: &[&str] = &[
    "echo_replies",
    "fragment_invalid",
    "fragment_timeout",
    "icmp_errors_sent",
    "icmp_unmatched",
    "ip_header_checksum",
    "ip_parameter_problem",
    "tcp_active_opens",
    "tcp_bad_ack",
    "tcp_challenged",
    "tcp_checksum",
    "tcp_data_after_close",
    "tcp_malformed",
    "tcp_no_buffer",
    "tcp_no_listener",
    "tcp_not_acceptable",
    "tcp_passive_opens",
    "tcp_paws",
    "udp_checksum",
    "udp_no_socket",
];

fn client(stream: TcpStream) {
    send(&stream, &pattern(5, 20_000));
    assert!(receive(&stream) == pattern(6, 30_000));
}

fn server(stream: TcpStream) {
    assert!(receive(&stream) == pattern(5, 20_000));
    send(&stream, &pattern(6, 30_000));
}

#[test]
fn the_stack_keeps_its_invariants_under_arbitrary_packets() {
    let seed = number_from_environment("TOOLS_FUZZ_SEED", SEED);
    let iterations = number_from_environment("TOOLS_FUZZ_ITERATIONS", ITERATIONS);
    let mut seeds = Vec::new();
    for (wire, v6) in [(Wire::Veth, false), (Wire::Loopback, true)] {
        let packets = captured(wire, v6, client, server);
        seeds.extend(packets.into_iter().map(|packet| packet.ip));
    }
    println!(
        "seed {seed}, {iterations} iterations, {} captured packets",
        seeds.len()
    );
    let mut reached = BTreeMap::new();
    for iteration in 0..iterations {
        // Each iteration has its own seed, so that a failing one can run alone.
        let mut rng = Rng::from_u64(seed.wrapping_add(iteration));
        let mut data = vec![0; 64 + rng.below(LONGEST) as usize];
        rng.fill(&mut data);
        let run = catch_unwind(AssertUnwindSafe(|| fuzz_stack_with(&seeds, &data)));
        let Ok(counters) = run else {
            panic!(
                "seed {}: TOOLS_FUZZ_SEED={0} TOOLS_FUZZ_ITERATIONS=1 repeats it",
                seed.wrapping_add(iteration)
            );
        };
        for (label, count) in counters.iter() {
            *reached.entry(label).or_insert(0) += count;
        }
    }
    println!("{reached:#?}");
    if iterations >= ITERATIONS {
        for label in REACHED {
            assert!(
                reached[label] > 0,
                "{label} was never reached: the fuzzer is too tame"
            );
        }
    }
}

#[test]
fn inputs_that_fuzzing_found_keep_the_invariants() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/stack");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("a corpus") {
        let path = entry.expect("an entry").path();
        let data = std::fs::read(&path).expect("an input");
        let run = catch_unwind(AssertUnwindSafe(|| fuzz_stack(&data)));
        assert!(run.is_ok(), "{}", path.display());
        count += 1;
    }
    assert!(count > 100, "only {count} inputs");
}
