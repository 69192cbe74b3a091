//! Transfers of a gibibyte each way at the same time, with their hashes compared, in every combination
//! of family, offload and number of workers.

use std::thread;

use netstackd::probe::stream;
use tests::program;
use tests::transfer::hashed_echo;
use tests::world::{in_namespace, port, serve, targets};

const GIBIBYTE: u64 = 1 << 30;

fn transfers(flags: &[&str]) {
    in_namespace(|| {
        let mut daemon = serve(program!(), flags);
        for target in targets(port::ECHO) {
            let (sent, received, moved) =
                hashed_echo(target, GIBIBYTE).unwrap_or_else(|why| panic!("{flags:?}: {why}"));
            println!(
                "{flags:?}: {target}: 1 GiB each way, {:.1} Gb/s, sha256 {}",
                moved.gigabits_per_second(),
                sent.iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect::<String>()
            );
            assert_eq!(
                sent, received,
                "{flags:?}: {target}: what came back differs"
            );
        }
        let counts = daemon.counters().expect("counters");
        println!(
            "{flags:?}: drops {:?}",
            counts.drops_since(&Default::default())
        );
        assert!(daemon.terminate().expect("it ends").success());
    });
}

#[test]
fn offload_on_1_worker() {
    transfers(&["--offload", "on", "--queues", "1"]);
}

#[test]
fn offload_on_4_workers() {
    transfers(&["--offload", "on", "--queues", "4"]);
}

#[test]
fn offload_off_1_worker() {
    transfers(&["--offload", "off", "--queues", "1"]);
}

#[test]
fn offload_off_4_workers() {
    transfers(&["--offload", "off", "--queues", "4"]);
}

/// One direction alone, where acknowledgements cannot ride on data of the other.
#[test]
fn a_gibibyte_one_way() {
    in_namespace(|| {
        let daemon = serve(program!(), &[]);
        for target in targets(port::DISCARD) {
            let moved = stream::upload_bytes(target, GIBIBYTE).expect("read to the end");
            println!(
                "{target}: 1 GiB in, {:.1} Gb/s",
                moved.gigabits_per_second()
            );
        }
        for target in targets(port::CHARGEN) {
            let moved = stream::download_bytes(target, GIBIBYTE).expect("the pattern");
            println!(
                "{target}: 1 GiB out, {:.1} Gb/s",
                moved.gigabits_per_second()
            );
        }
        let counts = daemon.counters().expect("counters");
        println!("drops {:?}", counts.drops_since(&Default::default()));
    });
}

/// More flows than queues, of both families at once.
#[test]
fn sixteen_flows_over_4_workers() {
    const EACH: u64 = 48 << 20;
    for offload in ["on", "off"] {
        in_namespace(|| {
            let daemon = serve(program!(), &["--offload", offload, "--queues", "4"]);
            thread::scope(|scope| {
                for target in targets(port::ECHO).into_iter().cycle().take(16) {
                    scope.spawn(move || {
                        let (sent, received, _) = hashed_echo(target, EACH).expect("an echo");
                        assert_eq!(sent, received, "offload {offload}: {target}");
                    });
                }
            });
            let counts = daemon.counters().expect("counters");
            println!(
                "offload {offload}: 16 flows of 48 MiB each way, {} packets handed over, drops {:?}",
                counts.get("handed_over"),
                counts.drops_since(&Default::default())
            );
        });
    }
}
