//! Half a minute of the soak. `cargo run --release -p tests --bin soak -- --seconds 600` runs it for longer.
//!
//! `NETSTACK_SEED=n` repeats the decisions of a run.

use std::time::Duration;

use tests::program;
use tests::soak::{Options, soak};

#[test]
fn ordinary_traffic_survives_every_attack_at_once() {
    let seed = std::env::var("NETSTACK_SEED").ok();
    let seed = seed.and_then(|text| text.parse().ok());
    let options = Options {
        time: Duration::from_secs(30),
        seed: seed.unwrap_or_else(Options::random_seed),
        program: program!().to_owned(),
    };
    println!("seed {}", options.seed);
    let report = soak(&options);
    println!("{report}");
    assert!(report.is_clean(), "{report}");
    assert!(report.exchanges() > 20, "{report}");
}
