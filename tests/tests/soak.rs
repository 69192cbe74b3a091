//! Half a minute of the soak. `cargo run --release -p tests --bin soak -- --seconds 600` runs it for longer.
//!
//! `NETSTACK_SEED=n` takes other decisions.

use std::time::Duration;

use tests::program;
use tests::soak::{Options, soak};

/// A run with each amount of memory and both kinds of end: one epoch that is killed, and at least one that is not.
const DEFAULT_SEED: u64 = 25;

#[test]
fn ordinary_traffic_survives_every_attack_at_once() {
    let seed = std::env::var("NETSTACK_SEED").map_or(DEFAULT_SEED, |text| {
        text.parse().expect("NETSTACK_SEED is a number")
    });
    let options = Options {
        time: Duration::from_secs(30),
        seed,
        program: program!().to_owned(),
    };
    println!("seed {}", options.seed);
    let report = soak(&options);
    println!("{report}");
    assert!(report.is_clean(), "{report}");
    assert!(report.exchanges() > 20, "{report}");
}
